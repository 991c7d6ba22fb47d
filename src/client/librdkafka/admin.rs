//! Checks that topics exist and creates missing ones.

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

/// Longest wait for one response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for the leaders of a created topic.
const LEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Checks through `client` that all topics exist and have leaders. Creates missing ones, with an admin client made of `config`, if `settings`
/// allow it.
pub(super) fn ensure_topics<C: ClientContext>(
    client: &Client<C>,
    config: &ClientConfig,
    topics: &[&str],
    settings: &TopicSettings,
) -> Result<(), NotReady> {
    let mut missing = Vec::new();
    for &topic in topics {
        match partition_count(client, topic)? {
            None => missing.push(topic),
            Some(count) if i64::from(settings.min_partition_count) > count as i64 => {
                log::warn!(
                    "topic {topic} has {count} partitions, fewer than the configured minimum of {}; the topic is not changed",
                    settings.min_partition_count
                );
            }
            Some(_) => (),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    if !settings.auto_create {
        return Err(NotReady::MissingTopics(
            missing.into_iter().map(str::to_owned).collect(),
        ));
    }
    create(config, &missing, settings)?;
    let deadline = Instant::now() + LEADER_TIMEOUT;
    for topic in missing {
        while partition_count(client, topic)?.is_none() {
            if Instant::now() > deadline {
                return Err(NotReady::Waiting(format!(
                    "topic {topic} was created, but has no leader yet"
                )));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// Returns the partition count of a topic, or `None` if the topic does not exist or a partition has no leader.
fn partition_count<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
) -> Result<Option<usize>, NotReady> {
    let waiting = |error: KafkaError| NotReady::Waiting(format!("describe topic {topic}: {error}"));
    let metadata = client
        .fetch_metadata(Some(topic), RESPONSE_TIMEOUT)
        .map_err(waiting)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(None);
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None => {
            let partitions = found.partitions();
            let have_leaders = partitions.iter().all(|partition| partition.leader() >= 0);
            Ok((have_leaders && !partitions.is_empty()).then_some(partitions.len()))
        }
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::LeaderNotAvailable) => {
            Ok(None)
        }
        Some(code) => Err(waiting(KafkaError::MetadataFetch(code))),
    }
}

fn create(
    config: &ClientConfig,
    topics: &[&str],
    settings: &TopicSettings,
) -> Result<(), NotReady> {
    let waiting = |error: KafkaError| {
        NotReady::Waiting(format!("create topics {}: {error}", topics.join(", ")))
    };
    let admin: AdminClient<DefaultClientContext> = config.create().map_err(waiting)?;
    let replication = i32::from(settings.replication_factor);
    let new_topic = |topic| {
        NewTopic::new(
            topic,
            settings.min_partition_count,
            TopicReplication::Fixed(replication),
        )
    };
    let new_topics: Vec<NewTopic<'_>> = topics.iter().copied().map(new_topic).collect();
    let options = AdminOptions::new()
        .request_timeout(Some(LEADER_TIMEOUT))
        .operation_timeout(Some(RESPONSE_TIMEOUT));
    let results = wait(
        admin.create_topics(&new_topics, &options),
        Instant::now() + LEADER_TIMEOUT + RESPONSE_TIMEOUT,
    )
    .unwrap_or(Err(KafkaError::AdminOp(
        RDKafkaErrorCode::OperationTimedOut,
    )))
    .map_err(waiting)?;
    for result in results {
        match result {
            Ok(topic) => log::info!("created topic {topic}"),
            // Another instance created it at the same time.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => (),
            Err((topic, code)) => {
                return Err(NotReady::Waiting(format!("create topic {topic}: {code}")));
            }
        }
    }
    Ok(())
}

/// Blocks until the future completes, or returns `None` at the deadline. Creating topics is the only operation of `rdkafka` that has no blocking
/// form, and the `block_on` of other crates has no deadline.
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
