//! A broker inside the process for demonstrations: librdkafka's `MockCluster`, which speaks Kafka's protocol over TCP and keeps records in
//! memory only.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::client_error;
use crate::client::Error;

/// One broker with topics of one partition each. Dropping it stops the broker.
pub(crate) struct EmbeddedBroker(MockCluster<'static, DefaultProducerContext>);

impl EmbeddedBroker {
    /// Starts the broker and creates `topics`: it does not support CreateTopics requests.
    pub(crate) fn start(topics: &[&str]) -> Result<Self, Error> {
        let cluster = MockCluster::new(1)
            .map_err(|error| client_error("start the embedded broker", &error))?;
        for topic in topics {
            cluster
                .create_topic(topic, 1, 1)
                .map_err(|error| client_error("create a topic", &error))?;
        }
        Ok(Self(cluster))
    }

    /// `bootstrap.servers` of the broker.
    pub(crate) fn address(&self) -> String {
        self.0.bootstrap_servers()
    }
}
