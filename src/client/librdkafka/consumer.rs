//! librdkafka's consumer. Owned by the thread `consumer`; its callbacks run on that thread too, within `poll`.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, RebalanceProtocol,
};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::{admin, failure, refused, settings};
use crate::client::Error;
use crate::client::Topics;
use crate::client::records::HeadersBuffer;
use crate::client::settings::{
    ClientSettings, GroupId, Isolation, StartOffset, Subscription, TopicSettings,
};
use crate::client::{ConsumerEvent, NotReady, Polled, Record, Timestamp};
use crate::throttle::{Throttle, WARNING_INTERVAL};
use crate::topic_partition::{NextOffset, TopicPartition};

/// While no broker answers: how often it is asked, and how long an answer is waited for. librdkafka tells only the loss.
const ASK_EVERY: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_millis(200);

/// How soon after a commit the broker is asked for it, how often again, and when the commit has failed.
const CONFIRM_AFTER: Duration = Duration::from_millis(20);
const CONFIRM_EVERY: Duration = Duration::from_millis(200);
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

/// Of what is told besides an answer that does not come, so much is listened to.
const TOLD_AT_ONCE: usize = 16;

struct Unconfirmed {
    offsets: Vec<NextOffset>,
    ask: Instant,
    until: Instant,
}

/// See the module.
pub(crate) struct Consumer {
    consumer: BaseConsumer<Callbacks>,
    client: ClientConfig,
    topics: Topics,
    topic_settings: TopicSettings,
    /// The topic of the last record: most often that of the next one too.
    last_topic: u16,
    /// Headers of the record being lent.
    headers: HeadersBuffer,
    /// The commit that is not confirmed yet. librdkafka 2.12 tells the outcome of an asynchronous commit only to a C callback, which
    /// `rdkafka` 0.39 does not set, and a synchronous one waits up to the session timeout where the coordinator is away. So the broker is
    /// asked what it has.
    unconfirmed: Option<Unconfirmed>,
    /// No broker answers; then, when to ask next.
    ask_again: Option<Instant>,
    warnings: Throttle,
}

impl Consumer {
    /// See [`Client::consumer`](crate::client::Client::consumer).
    pub(super) fn new(
        cluster: &ClientSettings,
        input: &Subscription,
        topics: &Topics,
    ) -> Result<Self, Error> {
        let client = settings(cluster);
        let group = match &input.group {
            GroupId::Named(name) => name.clone(),
            // Spring's name for it is `anonymous.<UUID>`; what counts is that nobody else has it.
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
            // Once its queue is full it would sleep a second; at 2 ms it is five times as fast (measured).
            .set("fetch.queue.backoff.ms", "2")
            // Memory for what is fetched ahead; one fetch may come on top.
            .set("queued.max.messages.kbytes", "4096")
            .set("queued.min.messages", "10000")
            .set("fetch.max.bytes", "4194304")
            .extend(input.consumer.librdkafka.iter().cloned());
        consumer
            .set("group.id", group)
            .set("auto.offset.reset", reset)
            // Offsets are committed by the router, after delivery.
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "false")
            .set("isolation.level", isolation);
        let callbacks = Callbacks {
            topics: topics.clone(),
            ..Callbacks::default()
        };
        let consumer = consumer
            .create_with_context(callbacks)
            .map_err(|error| refused("make the consumer", &error))?;
        Ok(Self {
            consumer,
            client,
            topics: topics.clone(),
            topic_settings: cluster.topics.clone(),
            last_topic: 0,
            headers: HeadersBuffer::default(),
            unconfirmed: None,
            ask_again: None,
            warnings: Throttle::new(WARNING_INTERVAL),
        })
    }

    /// An error that `poll` told: fatal ones end the consumer, of the others librdkafka takes care.
    fn note(&mut self, error: KafkaError) -> Result<(), Error> {
        match error {
            KafkaError::MessageConsumptionFatal(_) => return Err(failure("consume", &error)),
            KafkaError::MessageConsumption(RDKafkaErrorCode::AllBrokersDown) => self.unavailable(),
            // Single connections come and go; what all of them mean is told above.
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut,
            ) => (),
            error => {
                if let Some(suppressed) = self.warnings.admit(Instant::now()) {
                    log::warn!(
                        "consume: {error} ({suppressed} more like this since the last line)"
                    );
                }
            }
        }
        Ok(())
    }

    /// With what librdkafka tells by another way, as that a certificate has expired, where metadata fail to come with "transport failure".
    fn explain(&self, failure: NotReady) -> NotReady {
        // Errors are told within polls. There are no records before the subscription.
        for _ in 0..TOLD_AT_ONCE {
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

    fn unavailable(&mut self) {
        if self.ask_again.is_none() {
            let mut reason = self.consumer.context().reason().clone();
            if reason.is_empty() {
                reason.push_str("all brokers are down");
            }
            self.consumer
                .context()
                .events()
                .push_back(ConsumerEvent::Unavailable(reason));
        }
        self.ask_again = Some(Instant::now() + ASK_EVERY);
    }

    fn available(&mut self) {
        if self.ask_again.take().is_some() {
            self.consumer
                .context()
                .events()
                .push_back(ConsumerEvent::Available);
        }
    }

    /// Asks the broker for the offsets of the last commit, if it is time to.
    fn confirm(&mut self) {
        let now = Instant::now();
        let Some(mut unconfirmed) = self
            .unconfirmed
            .take_if(|unconfirmed| unconfirmed.ask <= now)
        else {
            return;
        };
        let partitions: Vec<TopicPartition> = unconfirmed
            .offsets
            .iter()
            .map(|&(partition, _)| partition)
            .collect();
        let mut reason = "the broker has not taken it".to_owned();
        match self
            .consumer
            .committed_offsets(self.list(&partitions), ANSWER_WITHIN)
        {
            Ok(list) => {
                let found =
                    list.elements()
                        .into_iter()
                        .filter_map(|element| match element.offset() {
                            Offset::Offset(next) => Some((
                                self.consumer
                                    .context()
                                    .partition(element.topic(), element.partition())?,
                                next,
                            )),
                            _ => None,
                        });
                let found: Vec<NextOffset> = found.collect();
                let has = |&(partition, next): &NextOffset| {
                    found
                        .iter()
                        .any(|&(other, at)| other == partition && at == next)
                };
                let (confirmed, left) = unconfirmed.offsets.into_iter().partition(has);
                unconfirmed.offsets = left;
                self.consumer
                    .context()
                    .events()
                    .push_back(ConsumerEvent::Committed(confirmed));
            }
            Err(error) => reason = error.to_string(),
        }
        if unconfirmed.offsets.is_empty() {
            return;
        }
        if now >= unconfirmed.until {
            self.consumer
                .context()
                .events()
                .push_back(ConsumerEvent::CommitFailed(reason));
        } else {
            unconfirmed.ask = now + CONFIRM_EVERY;
            self.unconfirmed = Some(unconfirmed);
        }
    }

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
        admin::provision(
            self.consumer.client(),
            &self.client,
            &self.topics.all(),
            &self.topic_settings,
        )
        .map_err(|failure| self.explain(failure))?;
        let inputs: Vec<&str> = self.topics.inputs.iter().map(String::as_str).collect();
        self.consumer
            .subscribe(&inputs)
            .map_err(|error| NotReady::Failed(failure("subscribe", &error)))?;
        // What the first attempts met is over.
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
        let mut taken = false;
        while let Some(polled) = self.consumer.poll(wait) {
            wait = Duration::ZERO;
            let message = match polled {
                Ok(message) => message,
                Err(told) => {
                    error = Some(told);
                    break;
                }
            };
            if self.topics.input(last_topic) != message.topic() {
                let index = self
                    .topics
                    .inputs
                    .iter()
                    .position(|topic| topic == message.topic());
                last_topic = index
                    .and_then(|index| u16::try_from(index).ok())
                    .unwrap_or_default();
            }
            let none = HeadersBuffer::default();
            let headers = message.headers().map_or(&none, |headers| {
                self.headers.begin(headers.count());
                for header in headers.iter() {
                    self.headers.push(header.key.as_bytes(), header.value);
                }
                &self.headers
            });
            let record = Record {
                partition: TopicPartition {
                    topic: last_topic,
                    partition: message.partition(),
                },
                offset: message.offset(),
                timestamp: timestamp(message.timestamp()),
                key: message.key(),
                value: message.payload(),
                headers: headers.headers(),
            };
            taken = true;
            if handle(Polled::Record(record)) == ControlFlow::Break(()) {
                break;
            }
        }
        self.last_topic = last_topic;
        if let Some(error) = error {
            self.note(error)?;
        }
        if taken {
            self.available();
        } else if self.ask_again.is_some_and(|at| at <= Instant::now()) {
            match self.consumer.fetch_metadata(
                self.topics.inputs.first().map(String::as_str),
                ANSWER_WITHIN,
            ) {
                Ok(_) => self.available(),
                Err(_) => self.unavailable(),
            }
        }
        self.confirm();
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
        paused.map_err(|error| failure("pause", &error))
    }

    fn resume(&mut self) -> Result<(), Error> {
        let resumed = self
            .consumer
            .assignment()
            .and_then(|assigned| self.consumer.resume(&assigned));
        resumed.map_err(|error| failure("resume", &error))
    }

    fn commit(&mut self, offsets: &[NextOffset]) -> Result<(), Error> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for &(partition, next) in offsets {
            list.add_partition_offset(
                self.topics.input(partition.topic),
                partition.partition,
                Offset::Offset(next),
            )
            .map_err(|error| failure("commit", &error))?;
        }
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            self.consumer
                .context()
                .events()
                .push_back(ConsumerEvent::CommitFailed(error.to_string()));
            return Ok(());
        }
        let now = Instant::now();
        let until = self
            .unconfirmed
            .as_ref()
            .map_or(now + CONFIRM_WITHIN, |earlier| earlier.until);
        self.unconfirmed = Some(Unconfirmed {
            offsets: offsets.to_vec(),
            ask: now + CONFIRM_AFTER,
            until,
        });
        Ok(())
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        let released = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                self.consumer.incremental_unassign(&self.list(partitions))
            }
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer.unassign(),
        };
        self.unconfirmed = None;
        released.map_err(|error| failure("give partitions up", &error))
    }

    fn close(self) {
        self.consumer.context().closing.store(true, Relaxed);
        // Of a revocation that came during the last commit librdkafka still waits to be told; it would not close before.
        if let Err(error) = self.consumer.unassign() {
            log::debug!("give partitions up at the end: {error}");
        }
        // Dropping it leaves the group.
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

/// Collects what librdkafka tells besides records.
#[derive(Default)]
struct Callbacks {
    topics: Topics,
    events: Mutex<VecDeque<ConsumerEvent>>,
    /// Why the last connection failed.
    reason: Mutex<String>,
    /// The consumer is being dropped: nobody takes events any more, so partitions are given up at once.
    closing: AtomicBool,
}

impl Callbacks {
    fn events(&self) -> MutexGuard<'_, VecDeque<ConsumerEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reason(&self) -> MutexGuard<'_, String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn partition(&self, topic: &str, partition: i32) -> Option<TopicPartition> {
        let index = self.topics.inputs.iter().position(|input| input == topic)?;
        Some(TopicPartition {
            topic: u16::try_from(index).ok()?,
            partition,
        })
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<TopicPartition> {
        list.elements()
            .iter()
            .filter_map(|element| self.partition(element.topic(), element.partition()))
            .collect()
    }
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log::debug!("consumer: {error}: {reason}");
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            // How long it took is another time each time; what is told once would be told again.
            let lasting = reason.split(" (after ").next().unwrap_or_default();
            lasting.clone_into(&mut self.reason());
        }
    }
}

impl ConsumerContext for Callbacks {
    /// An assignment is taken at once. A revocation waits for [`crate::client::Consumer::release`]: until then librdkafka keeps the
    /// partitions, so that what is in flight can be delivered and committed.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let cooperative = matches!(
            consumer.rebalance_protocol(),
            RebalanceProtocol::Cooperative
        );
        let partitions = self.partitions(list);
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let assigned = if cooperative {
                consumer.incremental_assign(list)
            } else {
                consumer.assign(list)
            };
            // A partition paused before it was given away would stay so.
            match assigned.and_then(|()| consumer.resume(list)) {
                Ok(()) => self.events().push_back(ConsumerEvent::Assigned(partitions)),
                Err(error) => log::error!("take the assignment: {error}"),
            }
        } else if self.closing.load(Relaxed) {
            let released = if cooperative {
                consumer.incremental_unassign(list)
            } else {
                consumer.unassign()
            };
            if let Err(error) = released {
                log::debug!("give partitions up at the end: {error}");
            }
        } else if consumer.assignment_lost() {
            self.events().push_back(ConsumerEvent::Lost(partitions));
        } else {
            self.events().push_back(ConsumerEvent::Revoked(partitions));
        }
    }
}
