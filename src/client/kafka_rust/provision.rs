//! Whether this client can speak to the broker, and whether the topics are there.

use ::kafka::client::KafkaClient;

use super::{api_versions, words};
use crate::client::Error;
use crate::client::NotReady;
use crate::client::Topics;

/// Ends with a sentence on a broker that this client cannot speak to.
pub(super) fn check_broker(brokers: &[String]) -> Result<(), NotReady> {
    let mut reason = String::new();
    for broker in brokers {
        match api_versions::fetch_versions(broker) {
            Ok(Some((lowest, highest))) if lowest > 0 => {
                return Err(NotReady::Failed(Error::Kafka {
                    operation: "connect",
                    reason: format!(
                        "broker {broker} takes Fetch requests of version {lowest} to {highest}, and the client `kafka` sends \
                         version 0, which Kafka 4.0 removed (KIP-896): use parity-router.client=native, or a broker up to \
                         Kafka 3.9"
                    ),
                }));
            }
            Ok(_) => return Ok(()),
            Err(error) => reason = format!("{broker}: {error}"),
        }
    }
    Err(NotReady::Waiting(reason))
}

/// Asking for a topic's metadata makes it, where the broker's `auto.create.topics.enable` says so: this client has no other way.
pub(super) fn check_topics(
    client: &mut KafkaClient,
    topics: &Topics,
    auto_create: bool,
) -> Result<(), NotReady> {
    let all = topics.all();
    if !auto_create {
        client
            .load_metadata_all()
            .map_err(|error| NotReady::Waiting(words(&error)))?;
        if let Some(missing) = all.iter().find(|topic| !client.topics().contains(topic)) {
            return Err(NotReady::Waiting(format!(
                "missing topic: {missing}; spring.cloud.stream.kafka.binder.autoCreateTopics=false"
            )));
        }
    }
    client
        .load_metadata(&all)
        .map_err(|error| NotReady::Waiting(words(&error)))?;
    for topic in all {
        let led = client.topics().partitions(topic).is_some_and(|partitions| {
            !partitions.is_empty() && partitions.iter().all(|partition| partition.is_available())
        });
        if !led {
            return Err(NotReady::Waiting(format!(
                "topic {topic} is missing or has no leader; the client `kafka` can make topics only where the broker's \
                 auto.create.topics.enable is true"
            )));
        }
    }
    Ok(())
}
