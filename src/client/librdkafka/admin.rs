//! Looks for a role's topics and makes those that are missing, as Spring's `KafkaTopicProvisioner` does.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{Client, ClientContext, DefaultClientContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;

use crate::client::NotReady;
use crate::client::settings::TopicSettings;

/// Longest wait for one answer of a broker.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Longest wait until a topic that was made has a leader.
const LEADER_WITHIN: Duration = Duration::from_secs(5);

/// Checks that all topics are there, with leaders, by asking a client that exists; makes the missing ones where `settings` says so.
pub(super) fn provision<C: ClientContext>(
    asked: &Client<C>,
    client: &ClientConfig,
    topics: &[&str],
    settings: &TopicSettings,
) -> Result<(), NotReady> {
    let mut missing = Vec::new();
    for &topic in topics {
        match partitions(asked, topic)? {
            None => missing.push(topic),
            Some(partitions) if i64::from(settings.min_partition_count) > partitions as i64 => {
                log::warn!(
                    "topic {topic} has {partitions} partitions, fewer than \
                 spring.cloud.stream.kafka.binder.minPartitionCount={}; it stays as it is",
                    settings.min_partition_count
                )
            }
            Some(_) => (),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    if !settings.auto_create {
        return Err(NotReady::Waiting(format!(
            "missing topics: {}; spring.cloud.stream.kafka.binder.autoCreateTopics=false",
            missing.join(", ")
        )));
    }
    create(client, &missing, settings)?;
    let deadline = Instant::now() + LEADER_WITHIN;
    for topic in missing {
        while partitions(asked, topic)?.is_none() {
            if Instant::now() > deadline {
                return Err(NotReady::Waiting(format!(
                    "topic {topic} was made, but has no leader yet"
                )));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// How many partitions a topic has; none where it does not exist, or has no leader for one of them yet.
fn partitions<C: ClientContext>(asked: &Client<C>, topic: &str) -> Result<Option<usize>, NotReady> {
    let waiting = |error: KafkaError| NotReady::Waiting(format!("look for topic {topic}: {error}"));
    let metadata = asked
        .fetch_metadata(Some(topic), ANSWER_WITHIN)
        .map_err(waiting)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(None);
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None => {
            let led = found
                .partitions()
                .iter()
                .all(|partition| partition.leader() >= 0);
            Ok((led && !found.partitions().is_empty()).then(|| found.partitions().len()))
        }
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::LeaderNotAvailable) => {
            Ok(None)
        }
        Some(code) => Err(waiting(KafkaError::MetadataFetch(code))),
    }
}

fn create(
    client: &ClientConfig,
    topics: &[&str],
    settings: &TopicSettings,
) -> Result<(), NotReady> {
    let waiting = |error: KafkaError| {
        NotReady::Waiting(format!("make topics {}: {error}", topics.join(", ")))
    };
    let admin: AdminClient<DefaultClientContext> = client.create().map_err(waiting)?;
    let replication = i32::from(settings.replication_factor);
    let new = |topic| {
        NewTopic::new(
            topic,
            settings.min_partition_count,
            TopicReplication::Fixed(replication),
        )
    };
    let wanted: Vec<NewTopic<'_>> = topics.iter().copied().map(new).collect();
    let options = AdminOptions::new()
        .request_timeout(Some(LEADER_WITHIN))
        .operation_timeout(Some(ANSWER_WITHIN));
    let results = wait(
        admin.create_topics(&wanted, &options),
        Instant::now() + LEADER_WITHIN + ANSWER_WITHIN,
    )
    .unwrap_or(Err(KafkaError::AdminOp(
        RDKafkaErrorCode::OperationTimedOut,
    )))
    .map_err(waiting)?;
    for result in results {
        match result {
            Ok(topic) => log::info!("made topic {topic}"),
            // Another instance was faster.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => (),
            Err((topic, code)) => {
                return Err(NotReady::Waiting(format!("make topic {topic}: {code}")));
            }
        }
    }
    Ok(())
}

/// Waits for the only thing in `rdkafka` that is a future, on this thread, which a library's `block_on` would do without a deadline.
fn wait<T>(
    future: impl Future<Output = KafkaResult<T>>,
    deadline: Instant,
) -> Option<KafkaResult<T>> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(result);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
