//! The seam: the interface of a Kafka client to the threads that use it. Everything above this module works with any of the clients below it.
//!
//! | client | what it is |
//! |---|---|
//! | `native` | our own, in pure Rust: the default |
//! | `librdkafka` | the C library, for TLS and SASL (feature `librdkafka`) |
//! | `kafka` | the crate `kafka`, without group membership and idempotence (feature `kafka`; module `kafka_rust`) |
//!
//! The consumer thread owns a [`Consumer`], each producer thread a [`Producer`]. Neither is shared between threads, and `native` does all its
//! work on the thread that calls it, blocking no longer than the timeout of the call. A record passes the seam in four steps:
//!
//! 1. [`Consumer::poll`] delivers records as borrowed views of the client's buffers ([`Polled`]).
//! 2. The caller encodes each record into a [`Batch`], in the form that [`Producer::send`] puts on the wire.
//! 3. [`Producer::delivered`] returns a batch when all its records are acknowledged or rejected; it is then reused.
//! 4. [`Consumer::commit`] commits offsets below which everything is delivered. Its result is a [`ConsumerEvent`].
//!
//! The seam depends on nothing above it: settings, topics, errors and records are its own types. With exactly once, the clients of both
//! threads share a [`Transaction`].

pub(crate) mod batch;
mod error;
#[cfg(feature = "kafka")]
mod kafka_rust;
#[cfg(feature = "librdkafka")]
mod librdkafka;
pub(crate) mod murmur2;
mod native;
mod record;
pub(crate) mod records;
pub(crate) mod settings;
mod topics;
mod transaction;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use batch::Batch;
#[cfg(feature = "kafka")]
pub(crate) use kafka_rust::KafkaRust;
#[cfg(feature = "librdkafka")]
pub(crate) use librdkafka::{Librdkafka, embedded::EmbeddedBroker};
pub(crate) use native::Native;
#[cfg(fuzzing)]
pub(crate) use native::fuzz;

use crate::client::settings::{ClientSettings, ProducerSettings, Subscription};
use crate::topic_partition::{NextOffset, TopicPartition};
pub(crate) use error::{Error, report};

pub(crate) use record::{Record, Timestamp};
pub(crate) use topics::{OutputTopic, Topics};
pub(crate) use transaction::Transaction;

/// A Kafka client: creates consumers and producers.
pub(crate) trait Client: 'static {
    type Consumer: Consumer;
    type Producer: Producer;

    /// Returns the bounds on what may be in flight between the threads.
    fn bounds(settings: &ClientSettings) -> Bounds;

    /// Creates a consumer without sending any request. Fails if the settings are invalid for this client.
    ///
    /// With a `transaction`, [`Consumer::commit`] adds the offsets to it and commits it. The configuration only allows it for clients that
    /// support transactions.
    fn consumer(
        settings: &ClientSettings,
        input: &Subscription,
        topics: &Topics,
        transaction: Option<&Arc<Transaction>>,
    ) -> Result<Self::Consumer, Error>;

    /// Creates the producer of the thread `name` without sending any request. Fails if the settings are invalid for this client.
    fn producer(
        client_settings: &ClientSettings,
        settings: &ProducerSettings,
        topics: &Topics,
        name: &'static str,
        transaction: Option<&Arc<Transaction>>,
    ) -> Result<Self::Producer, Error>;
}

/// Bounds on what may be in flight between the threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Poll batches in flight. It is the capacity of each channel too, so that sending to a channel never blocks.
    pub(crate) poll_batches: usize,
    /// Records of one poll batch.
    pub(crate) poll_batch_records: usize,
    /// Bytes of encoded records after which a poll batch is full.
    pub(crate) poll_batch_bytes: usize,
    /// Bytes of encoded records after which a record set of a batch is full.
    pub(crate) record_set_bytes: usize,
}

/// Bounds of the clients that handle records one by one.
///
/// 1,024 records make the cost of a channel operation negligible. 256 KiB is a quarter of Kafka's default limit of 1 MB for a record, so
/// that many small records fill a batch and a large one travels alone. With 16 poll batches an output has up to 16,384 records in flight,
/// below librdkafka's default limit of 100,000 (`queue.buffering.max.messages`). Its buffers take 16 x 256 KiB = 4 MiB, half as much again
/// for record lengths and spare capacity, and one record of any size per poll batch.
#[cfg(any(feature = "librdkafka", feature = "kafka"))]
const RECORD_BY_RECORD: Bounds = Bounds {
    poll_batches: 16,
    poll_batch_records: 1024,
    poll_batch_bytes: 256 * 1024,
    record_set_bytes: 256 * 1024,
};

impl Bounds {
    /// Returns the number of batches that can exist: one for each of two outputs per poll batch.
    pub(crate) fn batches(self) -> usize {
        2 * self.poll_batches
    }
}

/// An item that [`Consumer::poll`] delivers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Polled<'a> {
    /// The next record of a partition. The position of the partition is then the offset after it.
    Record(Record<'a>),
    /// The position of a partition after skipped offsets, which have no record to deliver: control batches, aborted transactions and
    /// compacted records.
    Position(NextOffset),
}

/// An event of a consumer other than records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConsumerEvent {
    /// These partitions are assigned in addition to the earlier ones. The list may be empty.
    Assigned(Vec<TopicPartition>),
    /// These partitions are to be given up with [`Consumer::release`]. Until then their offsets can be committed.
    Revoked(Vec<TopicPartition>),
    /// These partitions are to be given up too, but another member may own them already: their offsets cannot be committed.
    Lost(Vec<TopicPartition>),
    /// This many records of a partition were deleted, usually by retention, before they were read. Reading continues after them.
    RecordsLost(TopicPartition, u64),
    /// These offsets are committed.
    Committed(Vec<NextOffset>),
    /// A commit failed for this reason, and has to be repeated.
    CommitFailed(String),
    /// No broker is available, for this reason. The client keeps trying.
    Unavailable(String),
    /// A broker is available again.
    Available,
}

/// The reason why a client is not ready.
#[derive(Debug)]
pub(crate) enum NotReady {
    /// A retry can succeed, for example because no broker is available.
    Waiting(String),
    /// These topics do not exist, and [`TopicSettings::auto_create`](settings::TopicSettings::auto_create) is off. A retry succeeds once
    /// they are created.
    MissingTopics(Vec<String>),
    /// A retry cannot succeed.
    Failed(Error),
}

/// A consumer, for the thread `consumer`. It subscribes to [`Topics::inputs`].
pub(crate) trait Consumer {
    /// Connects to a broker, creates missing topics if it may, and joins the group. Blocks for a few seconds at most. The caller repeats
    /// it until it succeeds.
    fn prepare(&mut self) -> Result<(), NotReady>;

    /// Delivers what has been fetched, waiting at most `timeout` for the first record. Returns early when `handle` breaks, or when there is
    /// an event for [`Consumer::next_event`].
    ///
    /// The client `native` delivers each partition in ascending order within a poll. If the partition is read again from an earlier offset,
    /// because its topic was recreated or truncated, a new poll begins. librdkafka can go back within a poll; the position then follows the
    /// last record.
    fn poll(
        &mut self,
        timeout: Duration,
        handle: impl FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error>;

    /// Polls the group without delivering records and without blocking, for a caller that cannot handle records for a while. Clients with
    /// threads of their own have nothing to do here.
    fn poll_group(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the number of records of each assigned partition that are not delivered yet, as of its last fetch. It is at least 1 if the
    /// partition cannot be fetched. Clients that do not know it return nothing.
    fn lags(&self) -> Vec<(TopicPartition, u64)> {
        Vec::new()
    }

    /// Returns the oldest event that was not returned yet.
    fn next_event(&mut self) -> Option<ConsumerEvent>;

    /// Stops delivering records of the assigned partitions until [`Consumer::resume`]. The consumer stays in the group as long as it is
    /// polled.
    fn pause(&mut self) -> Result<(), Error>;

    /// Ends a pause.
    fn resume(&mut self) -> Result<(), Error>;

    /// Announces that the caller polls no more records before the next [`Consumer::commit`], so that requests that do not need its offsets
    /// are sent now. Only called with a transaction.
    fn prepare_commit(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Starts a commit. Its result is [`ConsumerEvent::Committed`] or [`ConsumerEvent::CommitFailed`].
    fn commit(&mut self, offsets: &[NextOffset]) -> Result<(), Error>;

    /// Gives up the partitions of a [`ConsumerEvent::Revoked`] or [`ConsumerEvent::Lost`]; none of their records is delivered any more.
    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), Error>;

    /// Leaves the group, so that its partitions are reassigned at once instead of after the session timeout.
    fn close(self);
}

/// A producer, for one producer thread.
pub(crate) trait Producer {
    /// Connects to a broker and creates missing topics if it may. Only called in roles without a consumer; in the others
    /// [`Consumer::prepare`] does this. Repeated like it.
    fn prepare(&mut self) -> Result<(), NotReady>;

    /// Queues a batch. Never blocks. Only called if [`Producer::accepts`] returns true.
    fn send(&mut self, batch: Batch) -> Result<(), Error>;

    /// Returns whether the producer can take another batch.
    fn accepts(&self) -> bool;

    /// Sends what is queued and handles acknowledgements, waiting at most `timeout` for them. Fails if a retry cannot help.
    fn poll(&mut self, timeout: Duration) -> Result<(), Error>;

    /// Returns a batch whose records are all acknowledged, or rejected for good ([`Batch::refused`]).
    fn delivered(&mut self) -> Option<Batch>;

    /// Returns the number of batches that are queued or sent, and not delivered.
    fn in_flight(&self) -> usize;
}
