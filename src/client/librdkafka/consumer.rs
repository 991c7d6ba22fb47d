//! The consumer of the client `librdkafka`. Runs on the thread `consumer`, and so do its callbacks, during `poll`.

use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use super::event_callbacks::EventCallbacks;
use super::pending_commit::PendingCommit;
use super::{admin, client_error, common_config, creation_error};
use crate::client::Error;
use crate::client::Topics;
use crate::client::records::{Headers, HeadersBuffer};
use crate::client::settings::{
    ClientSettings, GroupId, Isolation, StartOffset, Subscription, TopicSettings,
};
use crate::client::{ConsumerEvent, NotReady, Polled, Record, Timestamp};
use crate::throttle::{Throttle, WARNING_INTERVAL, more_suppressed};
use crate::topic_partition::{NextOffset, TopicPartition};

/// Interval of metadata requests while no broker is available. librdkafka reports only the loss of the brokers, not their return.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);

/// Longest wait for the response to a metadata request or a request for committed offsets.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(200);

/// Bound on the errors that [`Consumer::explain`] reads.
const MAX_ERRORS: usize = 16;

/// The consumer of the client `librdkafka`.
pub(crate) struct Consumer {
    consumer: BaseConsumer<EventCallbacks>,
    client: ClientConfig,
    topics: Topics,
    topic_settings: TopicSettings,
    /// Topic of the last record, which is most often that of the next one too.
    last_topic: u16,
    /// Headers of the record that is being delivered.
    headers: HeadersBuffer,
    pending_commit: Option<PendingCommit>,
    /// Time of the next metadata request; `None` while brokers are available.
    probe_at: Option<Instant>,
    warnings: Throttle,
}

impl Consumer {
    /// Implements [`Client::consumer`](crate::client::Client::consumer).
    pub(super) fn new(
        settings: &ClientSettings,
        input: &Subscription,
        topics: &Topics,
    ) -> Result<Self, Error> {
        let client = common_config(settings);
        let group = match &input.group {
            GroupId::Named(name) => name.clone(),
            // librdkafka requires a group id, so this one is random.
            GroupId::Anonymous => {
                format!(
                    "anonymous.{:016x}{:016x}",
                    RandomState::new().hash_one(0),
                    RandomState::new().hash_one(1)
                )
            }
        };
        let reset = match input.start_offset {
            StartOffset::Earliest => "earliest",
            StartOffset::Latest => "latest",
        };
        let isolation = match input.consumer.isolation {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        };
        let mut consumer = client.clone();
        consumer
            .set("check.crcs", "true")
            // The default is 1 s: librdkafka then sleeps that long when its queue is full. With 2 ms it is five times as fast (measured).
            .set("fetch.queue.backoff.ms", "2")
            // Bound on prefetched records in KiB; one fetch can exceed it.
            .set("queued.max.messages.kbytes", "4096")
            .set("queued.min.messages", "10000")
            .set("fetch.max.bytes", "4194304")
            .extend(input.consumer.librdkafka.iter().cloned());
        consumer
            .set("group.id", group)
            .set("auto.offset.reset", reset)
            // Offsets are committed explicitly, after delivery.
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "false")
            .set("isolation.level", isolation);
        let consumer = consumer
            .create_with_context(EventCallbacks::new(topics))
            .map_err(|error| creation_error("create the consumer", &error))?;
        Ok(Self {
            consumer,
            client,
            topics: topics.clone(),
            topic_settings: settings.topics.clone(),
            last_topic: 0,
            headers: HeadersBuffer::default(),
            pending_commit: None,
            probe_at: None,
            warnings: Throttle::new(WARNING_INTERVAL),
        })
    }

    /// Handles an error from a poll. Fatal errors end the consumer; librdkafka recovers from all others itself.
    fn handle_error(&mut self, error: KafkaError) -> Result<(), Error> {
        match error {
            KafkaError::MessageConsumptionFatal(_) => return Err(client_error("consume", &error)),
            KafkaError::MessageConsumption(RDKafkaErrorCode::AllBrokersDown) => {
                self.mark_unavailable()
            }
            // Errors of single connections; the loss of all of them is reported as AllBrokersDown.
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut,
            ) => (),
            error => {
                if let Some(suppressed) = self.warnings.admit(Instant::now()) {
                    log::warn!(
                        "consume failed: {error}, retrying{}",
                        more_suppressed(suppressed)
                    );
                }
            }
        }
        Ok(())
    }

    /// Requests metadata, to find out whether a broker is available again.
    fn probe_broker(&mut self) {
        let topic = self.topics.inputs.first().map(String::as_str);
        match self.consumer.fetch_metadata(topic, RESPONSE_TIMEOUT) {
            Ok(_) => self.mark_available(),
            Err(_) => self.mark_unavailable(),
        }
    }

    /// Adds the reason of the last failed connection: metadata requests fail with "transport failure", and only the error callback gets a cause
    /// such as an expired certificate.
    fn explain(&self, failure: NotReady) -> NotReady {
        // Error callbacks run during polls. Before the subscription a poll returns no records.
        for _ in 0..MAX_ERRORS {
            if self.consumer.poll(Duration::ZERO).is_none() {
                break;
            }
        }
        let reason = self.consumer.context().reason();
        match failure {
            NotReady::Waiting(what) if !reason.is_empty() => {
                NotReady::Waiting(format!("{what}: {reason}"))
            }
            failure => failure,
        }
    }

    /// Reports the loss of all brokers, and schedules the next metadata request.
    fn mark_unavailable(&mut self) {
        if self.probe_at.is_none() {
            let mut reason = self.consumer.context().reason().clone();
            if reason.is_empty() {
                reason.push_str("all brokers are down");
            }
            self.consumer
                .context()
                .events()
                .push_back(ConsumerEvent::Unavailable(reason));
        }
        self.probe_at = Some(Instant::now() + PROBE_INTERVAL);
    }

    /// Reports that a broker responds again.
    fn mark_available(&mut self) {
        if self.probe_at.take().is_some() {
            self.consumer
                .context()
                .events()
                .push_back(ConsumerEvent::Available);
        }
    }

    /// Checks whether the broker has the offsets of the pending commit, if it is time to, and reports the outcome.
    fn check_commit(&mut self) {
        let now = Instant::now();
        let is_due = |commit: &mut PendingCommit| commit.is_due(now);
        let Some(mut commit) = self.pending_commit.take_if(is_due) else {
            return;
        };
        let list = self.list(&commit.partitions());
        let context = self.consumer.context();
        let mut reason = "the broker does not have the committed offsets".to_owned();
        match self.consumer.committed_offsets(list, RESPONSE_TIMEOUT) {
            Ok(list) => {
                let confirmed = commit.confirm(&context.offsets(&list));
                context
                    .events()
                    .push_back(ConsumerEvent::Committed(confirmed));
            }
            Err(error) => reason = error.to_string(),
        }
        if commit.is_confirmed() {
            return;
        }
        if commit.schedule_check(now) {
            self.pending_commit = Some(commit);
        } else {
            context
                .events()
                .push_back(ConsumerEvent::CommitFailed(reason));
        }
    }

    /// Converts partitions to librdkafka's form.
    fn list(&self, partitions: &[TopicPartition]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(self.topics.input(partition.topic), partition.partition);
        }
        list
    }
}

impl crate::client::Consumer for Consumer {
    fn prepare(&mut self) -> Result<(), NotReady> {
        admin::ensure_topics(
            self.consumer.client(),
            &self.client,
            &self.topics.all(),
            &self.topic_settings,
        )
        .map_err(|failure| self.explain(failure))?;
        let inputs: Vec<&str> = self.topics.inputs.iter().map(String::as_str).collect();
        self.consumer
            .subscribe(&inputs)
            .map_err(|error| NotReady::Failed(client_error("subscribe", &error)))?;
        // Failures of earlier attempts no longer apply.
        self.consumer.context().events().clear();
        Ok(())
    }

    fn poll(
        &mut self,
        timeout: Duration,
        mut handle: impl FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut wait = timeout;
        let mut error = None;
        let mut last_topic = self.last_topic;
        let mut has_records = false;
        while let Some(polled) = self.consumer.poll(wait) {
            wait = Duration::ZERO;
            let message = match polled {
                Ok(message) => message,
                Err(failure) => {
                    error = Some(failure);
                    break;
                }
            };
            if self.topics.input(last_topic) != message.topic() {
                let partition = self.topics.input_partition(message.topic(), 0);
                let Some(partition) = partition else {
                    continue;
                };
                last_topic = partition.topic;
            }
            let headers = match message.headers() {
                Some(headers) => {
                    self.headers.begin(headers.count());
                    for header in headers.iter() {
                        self.headers.push(header.key.as_bytes(), header.value);
                    }
                    self.headers.headers()
                }
                None => Headers::default(),
            };
            let record = Record {
                partition: TopicPartition {
                    topic: last_topic,
                    partition: message.partition(),
                },
                offset: message.offset(),
                timestamp: timestamp(message.timestamp()),
                key: message.key(),
                value: message.payload(),
                headers,
            };
            has_records = true;
            if handle(Polled::Record(record)) == ControlFlow::Break(()) {
                break;
            }
        }
        self.last_topic = last_topic;
        if let Some(error) = error {
            self.handle_error(error)?;
        }
        if has_records {
            self.mark_available();
        } else if self.probe_at.is_some_and(|at| at <= Instant::now()) {
            self.probe_broker();
        }
        self.check_commit();
        Ok(())
    }

    fn next_event(&mut self) -> Option<ConsumerEvent> {
        self.consumer.context().events().pop_front()
    }

    fn pause(&mut self) -> Result<(), Error> {
        let paused = self
            .consumer
            .assignment()
            .and_then(|assigned| self.consumer.pause(&assigned));
        paused.map_err(|error| client_error("pause", &error))
    }

    fn resume(&mut self) -> Result<(), Error> {
        let resumed = self
            .consumer
            .assignment()
            .and_then(|assigned| self.consumer.resume(&assigned));
        resumed.map_err(|error| client_error("resume", &error))
    }

    fn commit(&mut self, offsets: &[NextOffset]) -> Result<(), Error> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for &(partition, next) in offsets {
            list.add_partition_offset(
                self.topics.input(partition.topic),
                partition.partition,
                Offset::Offset(next),
            )
            .map_err(|error| client_error("commit", &error))?;
        }
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            self.consumer
                .context()
                .events()
                .push_back(ConsumerEvent::CommitFailed(error.to_string()));
            return Ok(());
        }
        let previous = self.pending_commit.as_ref();
        self.pending_commit = Some(PendingCommit::new(offsets, previous, Instant::now()));
        Ok(())
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        let released = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                self.consumer.incremental_unassign(&self.list(partitions))
            }
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer.unassign(),
        };
        self.pending_commit = None;
        released.map_err(|error| client_error("release partitions", &error))
    }

    fn close(self) {
        self.consumer.context().begin_close();
        // If partitions were revoked during the last commit, librdkafka waits for the revocation to be confirmed before it closes.
        if let Err(error) = self.consumer.unassign() {
            log::debug!("release partitions when closing: {error}");
        }
        // Dropping the consumer leaves the group.
        drop(self.consumer);
    }
}

fn timestamp(timestamp: rdkafka::Timestamp) -> Option<Timestamp> {
    match timestamp {
        rdkafka::Timestamp::NotAvailable => None,
        rdkafka::Timestamp::CreateTime(millis) => Some(Timestamp::CreateTime(millis)),
        rdkafka::Timestamp::LogAppendTime(millis) => Some(Timestamp::LogAppendTime(millis)),
    }
}
