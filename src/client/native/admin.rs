//! Looks for a role's topics and makes those that are missing, as Spring's `KafkaTopicProvisioner` does. It waits for its answers: records
//! do not flow yet.

use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{CreateTopicsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::metadata::Metadata;
use super::network::{Network, Node, Reach};
use crate::client::Error;
use crate::client::NotReady;
use crate::client::settings::TopicSettings;

/// Longest wait for a connection and for one answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Longest wait until a topic that was made has a leader.
const LEADER_WITHIN: Duration = Duration::from_secs(5);

/// Checks that all topics are there, with leaders; makes the missing ones where `settings` says so. `tag` is for the calls of this module
/// alone.
pub(super) fn provision<T: Copy + PartialEq>(
    network: &mut Network<T>,
    cluster: &mut Metadata,
    tag: T,
    topics: &[&str],
    settings: &TopicSettings,
) -> Result<(), NotReady> {
    look(network, cluster, tag)?;
    let mut missing = Vec::new();
    for &name in topics {
        let Some(topic) = cluster.topic(name) else {
            continue;
        };
        match topic.error {
            None if topic.is_led() => (),
            None => return Err(waiting(format!("topic {name} has no leader"))),
            Some(ResponseError::UnknownTopicOrPartition | ResponseError::LeaderNotAvailable) => {
                missing.push(name);
                continue;
            }
            Some(error) => return Err(waiting(format!("look for topic {name}: {error}"))),
        }
        let partitions = topic.leaders.len();
        if i64::from(settings.min_partition_count) > partitions as i64 {
            log::warn!(
                "topic {name} has {partitions} partitions, fewer than \
                 spring.cloud.stream.kafka.binder.minPartitionCount={}; it stays as it is",
                settings.min_partition_count
            );
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    if !settings.auto_create {
        return Err(waiting(format!(
            "missing topics: {}; spring.cloud.stream.kafka.binder.autoCreateTopics=false",
            missing.join(", ")
        )));
    }
    create(network, cluster, tag, &missing, settings)?;
    let deadline = Instant::now() + LEADER_WITHIN;
    loop {
        look(network, cluster, tag)?;
        let unled = missing.iter().find(|&&name| {
            !cluster
                .topic(name)
                .is_some_and(super::metadata::Topic::is_led)
        });
        match unled {
            None => return Ok(()),
            Some(name) if Instant::now() > deadline => {
                return Err(waiting(format!(
                    "topic {name} was made, but has no leader yet"
                )));
            }
            Some(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn waiting(reason: String) -> NotReady {
    NotReady::Waiting(reason)
}

/// A broker that can be asked, connected to where none is.
pub(super) fn connect<T>(network: &mut Network<T>, cluster: &Metadata) -> Result<Node, NotReady> {
    let until = Instant::now() + ANSWER_WITHIN;
    let before = cluster.failures(network);
    loop {
        if let Some(peer) = cluster.any(network) {
            return Ok(peer);
        }
        // Each of them has been tried once more, and in vain.
        let mut tried = before.iter().zip(cluster.failures(network));
        if Instant::now() >= until || tried.all(|(before, now)| now > *before) {
            let reason = network.reason();
            let reason = if reason.is_empty() {
                "no broker answers"
            } else {
                reason
            };
            return Err(waiting(reason.to_owned()));
        }
        network.poll(until);
    }
}

/// Asks for the topics as they are now.
fn look<T: Copy + PartialEq>(
    network: &mut Network<T>,
    cluster: &mut Metadata,
    tag: T,
) -> Result<(), NotReady> {
    let peer = connect(network, cluster)?;
    // What cannot be asked of a broker cannot be healed by waiting.
    let failed = |reason: String| {
        NotReady::Failed(Error::Kafka {
            operation: "connect",
            reason,
        })
    };
    network
        .version::<kafka_protocol::messages::MetadataRequest>(peer)
        .map_err(failed)?;
    let until = Instant::now() + ANSWER_WITHIN;
    let answer = network
        .call(peer, &cluster.request(), tag, until)
        .map_err(waiting)?;
    cluster.handle_response(network, &answer);
    network
        .version::<kafka_protocol::messages::FetchRequest>(peer)
        .and_then(|_| network.version::<kafka_protocol::messages::ProduceRequest>(peer))
        .map(drop)
        .map_err(failed)
}

fn create<T: Copy + PartialEq>(
    network: &mut Network<T>,
    cluster: &Metadata,
    tag: T,
    topics: &[&str],
    settings: &TopicSettings,
) -> Result<(), NotReady> {
    let until = Instant::now() + LEADER_WITHIN;
    let peer = loop {
        let Some((peer, address)) = cluster.controller() else {
            break connect(network, cluster)?;
        };
        if network.reach(peer, address) == Reach::Ready {
            break peer;
        }
        if Instant::now() >= until || network.failures(peer) > 0 {
            return Err(waiting(format!("controller {}", network.reason())));
        }
        network.poll(until);
    };
    let said = |error: String| waiting(format!("make topics {}: {error}", topics.join(", ")));
    let version = network.version::<CreateTopicsRequest>(peer).map_err(said)?;
    if version < 4 && settings.replication_factor < 0 {
        return Err(said(
            "this broker has no default for replication, which Kafka 2.4 brought (KIP-464): set \
             spring.cloud.stream.kafka.binder.replicationFactor"
                .to_owned(),
        ));
    }
    let new = topics.iter().map(|&topic| {
        CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
            .with_num_partitions(settings.min_partition_count)
            .with_replication_factor(settings.replication_factor)
    });
    let request = CreateTopicsRequest::default()
        .with_topics(new.collect())
        .with_timeout_ms(ANSWER_WITHIN.as_millis() as i32);
    let answer = network.call(peer, &request, tag, until).map_err(said)?;
    for topic in answer.topics {
        let name = topic.name.as_str();
        match ResponseError::try_from_code(topic.error_code) {
            None => log::info!("made topic {name}"),
            // Another instance was faster.
            Some(ResponseError::TopicAlreadyExists) => (),
            Some(error) => {
                let more = topic.error_message.as_deref().unwrap_or_default();
                return Err(waiting(format!("make topic {name}: {error} {more}")));
            }
        }
    }
    Ok(())
}
