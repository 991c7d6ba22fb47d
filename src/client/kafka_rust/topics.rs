//! Checks of brokers and topics before records flow.

use ::kafka::client::KafkaClient;

use super::{api_versions, describe};
use crate::client::Error;
use crate::client::NotReady;
use crate::client::Topics;

/// Checks that the first broker that can be reached supports Fetch version 0, which the `kafka` crate sends.
pub(super) fn check_broker(brokers: &[String], client_id: &str) -> Result<(), NotReady> {
    let mut reason = String::new();
    for broker in brokers {
        match api_versions::fetch_versions(broker, client_id) {
            Ok(Some((lowest, highest))) if lowest > 0 => {
                return Err(NotReady::Failed(Error::Kafka {
                    operation: "connect",
                    reason: format!(
                        "broker {broker} supports Fetch versions {lowest} to {highest}, but the client `kafka` requires version 0, \
                         which Kafka 4.0 removed (KIP-896); use the client `native`, or a broker up to Kafka 3.9"
                    ),
                }));
            }
            Ok(_) => return Ok(()),
            Err(error) => reason = format!("{broker}: {error}"),
        }
    }
    Err(NotReady::Waiting(reason))
}

/// Checks that all topics exist and have leaders, and loads their metadata. With `auto_create` a metadata request creates missing topics if
/// the broker has `auto.create.topics.enable`; the crate has no other way to create a topic.
pub(super) fn check_topics(
    client: &mut KafkaClient,
    topics: &Topics,
    auto_create: bool,
) -> Result<(), NotReady> {
    let all = topics.all();
    if !auto_create {
        // A metadata request for all topics creates none.
        client
            .load_metadata_all()
            .map_err(|error| NotReady::Waiting(describe(&error)))?;
        let missing = all.iter().filter(|topic| !client.topics().contains(topic));
        let missing: Vec<String> = missing.map(|&topic| topic.to_owned()).collect();
        if !missing.is_empty() {
            return Err(NotReady::MissingTopics(missing));
        }
    }
    client
        .load_metadata(&all)
        .map_err(|error| NotReady::Waiting(describe(&error)))?;
    for topic in all {
        let has_leaders = client.topics().partitions(topic).is_some_and(|partitions| {
            !partitions.is_empty() && partitions.iter().all(|partition| partition.is_available())
        });
        if !has_leaders {
            return Err(NotReady::Waiting(format!(
                "topic {topic} does not exist or has no leader; the client `kafka` can create topics only if the broker has \
                 auto.create.topics.enable=true"
            )));
        }
    }
    Ok(())
}
