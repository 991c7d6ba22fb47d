//! Describes the topics of a client and creates missing ones, like Spring's `KafkaTopicProvisioner`. Blocks until the responses arrive,
//! because no records flow yet.

use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, FetchRequest, MetadataRequest, ProduceRequest,
};

use super::error_name::{kafka_name, with_message};
use super::metadata::{Metadata, Topic};
use super::network::{Network, Node};
use super::request::topic_name;
use crate::client::NotReady;
use crate::client::error::Error;
use crate::client::settings::TopicSettings;

/// Longest wait for a connection or for one response.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for the leaders of a created topic.
const LEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Time between two requests for the leaders of a created topic.
const LEADER_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Checks that all topics exist and have leaders, and creates missing ones if `settings` allow it. `tag` must not be used by any other
/// request of the caller.
pub(super) fn provision<T: Copy + PartialEq>(
    network: &mut Network<T>,
    metadata: &mut Metadata,
    tag: T,
    topics: &[&str],
    settings: &TopicSettings,
) -> Result<(), NotReady> {
    describe(network, metadata, tag)?;
    let missing = missing_topics(metadata, topics, settings)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !settings.auto_create {
        return Err(NotReady::MissingTopics(
            missing.into_iter().map(str::to_owned).collect(),
        ));
    }
    create(network, metadata, tag, &missing, settings)?;
    let deadline = Instant::now() + LEADER_TIMEOUT;
    loop {
        describe(network, metadata, tag)?;
        let without_leader = missing
            .iter()
            .find(|name| !metadata.topic(name).is_some_and(Topic::has_leaders));
        match without_leader {
            None => return Ok(()),
            Some(name) if Instant::now() > deadline => {
                return Err(waiting(format!(
                    "topic {name} was created, but has no leader yet"
                )));
            }
            Some(_) => thread::sleep(LEADER_POLL_INTERVAL),
        }
    }
}

/// Returns the topics that do not exist. Fails if the state of another topic is unknown or one of its partitions has no leader.
fn missing_topics<'a>(
    metadata: &Metadata,
    topics: &[&'a str],
    settings: &TopicSettings,
) -> Result<Vec<&'a str>, NotReady> {
    let mut missing = Vec::new();
    for &name in topics {
        let Some(topic) = metadata.topic(name) else {
            continue;
        };
        match topic.error {
            None if topic.has_leaders() => (),
            None => return Err(waiting(format!("topic {name} has no leader"))),
            Some(ResponseError::UnknownTopicOrPartition | ResponseError::LeaderNotAvailable) => {
                missing.push(name);
                continue;
            }
            Some(error) => {
                return Err(waiting(format!(
                    "describe topic {name}: {}",
                    kafka_name(error)
                )));
            }
        }
        let partitions = topic.leaders.len();
        if i64::from(settings.min_partition_count) > partitions as i64 {
            log::warn!(
                "topic {name} has {partitions} partitions, fewer than the configured minimum of {}; the topic is not changed",
                settings.min_partition_count
            );
        }
    }
    Ok(missing)
}

fn waiting(reason: String) -> NotReady {
    NotReady::Waiting(reason)
}

/// Returns a node that is ready, connecting to one if needed.
pub(super) fn connect<T>(network: &mut Network<T>, metadata: &Metadata) -> Result<Node, NotReady> {
    let deadline = Instant::now() + RESPONSE_TIMEOUT;
    let before = metadata.connect_failures(network);
    loop {
        if let Some(node) = metadata.connect_any(network) {
            return Ok(node);
        }
        let mut failures = before.iter().zip(metadata.connect_failures(network));
        let each_failed_again = failures.all(|(before, now)| now > *before);
        if each_failed_again || Instant::now() >= deadline {
            let reason = match network.last_error() {
                "" => "no broker responds",
                error => error,
            };
            return Err(waiting(reason.to_owned()));
        }
        network.poll(deadline);
    }
}

/// Updates the metadata of the topics.
fn describe<T: Copy + PartialEq>(
    network: &mut Network<T>,
    metadata: &mut Metadata,
    tag: T,
) -> Result<(), NotReady> {
    let node = connect(network, metadata)?;
    // A retry would not help against a broker that is too old.
    let failed = |reason: String| {
        NotReady::Failed(Error::Kafka {
            operation: "connect",
            reason,
        })
    };
    network.version::<MetadataRequest>(node).map_err(failed)?;
    let deadline = Instant::now() + RESPONSE_TIMEOUT;
    let response = network
        .call(node, &metadata.request(), tag, deadline)
        .map_err(waiting)?;
    metadata.handle_response(network, &response);
    network
        .version::<FetchRequest>(node)
        .and_then(|_| network.version::<ProduceRequest>(node))
        .map(drop)
        .map_err(failed)
}

fn create<T: Copy + PartialEq>(
    network: &mut Network<T>,
    metadata: &Metadata,
    tag: T,
    topics: &[&str],
    settings: &TopicSettings,
) -> Result<(), NotReady> {
    let deadline = Instant::now() + LEADER_TIMEOUT;
    let node = connect_controller(network, metadata, deadline)?;
    let failed = |error: String| waiting(format!("create topics {}: {error}", topics.join(", ")));
    let version = network
        .version::<CreateTopicsRequest>(node)
        .map_err(failed)?;
    if version < 4 && settings.replication_factor < 0 {
        return Err(failed(
            "the broker does not support a default replication factor, which requires Kafka 2.4 (KIP-464); \
             configure the replication factor of new topics"
                .to_owned(),
        ));
    }
    let new = topics.iter().map(|&topic| {
        CreatableTopic::default()
            .with_name(topic_name(topic))
            .with_num_partitions(settings.min_partition_count)
            .with_replication_factor(settings.replication_factor)
    });
    let request = CreateTopicsRequest::default()
        .with_topics(new.collect())
        .with_timeout_ms(RESPONSE_TIMEOUT.as_millis() as i32);
    let response = network
        .call(node, &request, tag, deadline)
        .map_err(failed)?;
    for topic in response.topics {
        let name = topic.name.as_str();
        match ResponseError::try_from_code(topic.error_code) {
            None => log::info!("created topic {name}"),
            // Another instance created it first.
            Some(ResponseError::TopicAlreadyExists) => (),
            Some(error) => {
                let cause = with_message(error, topic.error_message.as_deref());
                return Err(waiting(format!("create topic {name}: {cause}")));
            }
        }
    }
    Ok(())
}

/// Returns the controller's node, connecting to it if needed, or any node if the controller is not known.
fn connect_controller<T>(
    network: &mut Network<T>,
    metadata: &Metadata,
    deadline: Instant,
) -> Result<Node, NotReady> {
    loop {
        let Some((node, address)) = metadata.controller() else {
            return connect(network, metadata);
        };
        if network.connect(node, address) {
            return Ok(node);
        }
        if Instant::now() >= deadline || network.connect_failures(node) > 0 {
            return Err(waiting(format!(
                "connect to the controller: {}",
                network.last_error()
            )));
        }
        network.poll(deadline);
    }
}
