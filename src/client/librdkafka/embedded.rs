//! A broker within the process: librdkafka's `MockCluster`. It speaks Kafka's protocol over TCP, keeps records in memory, and is for the
//! demo: nothing survives its end.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::failure;
use crate::client::Error;

/// One broker with topics of one partition. It ends when it is dropped.
pub(crate) struct EmbeddedBroker(MockCluster<'static, DefaultProducerContext>);

impl EmbeddedBroker {
    /// Starts it. Topics are made now: it does not know the request for that.
    pub(crate) fn start(topics: &[&str]) -> Result<Self, Error> {
        let cluster =
            MockCluster::new(1).map_err(|error| failure("start the embedded broker", &error))?;
        for topic in topics {
            cluster
                .create_topic(topic, 1, 1)
                .map_err(|error| failure("make a topic", &error))?;
        }
        Ok(Self(cluster))
    }

    /// `host:port` of the broker.
    pub(crate) fn address(&self) -> String {
        self.0.bootstrap_servers()
    }
}
