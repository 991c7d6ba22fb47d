//! The seam: what a Kafka client is to the router. Two threads' worth of it, a [`Consumer`] and a [`Producer`], both about batches:
//! a poll lends its records one after the other as borrowed views, what is routed travels in a [`Batch`], and what comes back from a
//! producer is that a batch is delivered. Only the files beside this one name a client's types.

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

/// A Kafka client: makes consumers and producers.
pub(crate) trait Client: 'static {
    /// See [`Consumer`].
    type Consumer: Consumer;
    /// See [`Producer`].
    type Producer: Producer;

    /// How much may be on its way at once.
    fn bounds(cluster: &ClientSettings) -> Bounds;

    /// Makes a consumer; no broker is asked for anything yet. Fails on what no waiting would heal. With a `transaction`, of which the
    /// configuration sees to it that the client has them, [`Consumer::commit`] ends it.
    fn consumer(
        cluster: &ClientSettings,
        input: &Subscription,
        topics: &Topics,
        transaction: Option<&Arc<Transaction>>,
    ) -> Result<Self::Consumer, Error>;

    /// Makes the producer of a output, as [`Client::consumer`] does. `name` is the thread's.
    fn producer(
        cluster: &ClientSettings,
        settings: &ProducerSettings,
        topics: &Topics,
        name: &'static str,
        transaction: Option<&Arc<Transaction>>,
    ) -> Result<Self::Producer, Error>;
}

/// How much may be on its way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Rounds in flight at most, and so the capacity of each channel: a sender never waits.
    pub(crate) poll_batches: usize,
    /// Records in a round at most.
    pub(crate) poll_batch_records: usize,
    /// Bytes of encoded records after which a round takes no more.
    pub(crate) poll_batch_bytes: usize,
    /// Bytes of encoded records after which a part of a batch is full.
    pub(crate) record_set_bytes: usize,
}

/// Bounds of the clients that work record by record. A channel operation for a thousand records costs little beside routing them, and
/// 256 KiB is a quarter of Kafka's usual 1 MB limit for a record, so that many small records fill a batch and a large one travels alone.
/// With 16 poll batches of 1,024 records an output has up to 16,384 records in flight, below librdkafka's 100,000 in a producer's queue;
/// their buffers hold 16 x 256 KiB = 4 MiB and half as much again for lengths and room, plus one record of any size for each poll batch.
#[cfg(any(feature = "librdkafka", feature = "kafka"))]
const RECORD_BY_RECORD: Bounds = Bounds {
    poll_batches: 16,
    poll_batch_records: 1024,
    poll_batch_bytes: 256 * 1024,
    record_set_bytes: 256 * 1024,
};

impl Bounds {
    /// Batches that can exist: two outputs to a round.
    pub(crate) fn batches(self) -> usize {
        2 * self.poll_batches
    }
}

/// One item of a poll.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Polled<'a> {
    /// The next record of a partition; its position is then the offset after the record.
    Record(Record<'a>),
    /// The position of a partition after skipped offsets, which have no record to deliver: control batches, aborted transactions, compacted
    /// records.
    Position(NextOffset),
}

/// What happened to a consumer besides records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConsumerEvent {
    /// These partitions are ours from now on, besides those that were; maybe none.
    Assigned(Vec<TopicPartition>),
    /// These partitions will be another member's once [`Consumer::release`] is called; until then their offsets can be committed.
    Revoked(Vec<TopicPartition>),
    /// As `Revoked`, but they may be another member's already: nothing can be committed.
    Lost(Vec<TopicPartition>),
    /// So many records of the partition were deleted, by retention or on purpose, before they were read; reading goes on behind them.
    RecordsLost(TopicPartition, u64),
    /// A commit is confirmed.
    Committed(Vec<NextOffset>),
    /// A commit failed; what was to be committed has to be tried again.
    CommitFailed(String),
    /// No broker can be worked with. The client goes on trying.
    Unavailable(String),
    /// A broker answers.
    Available,
}

/// Why preparing did not succeed.
#[derive(Debug)]
pub(crate) enum NotReady {
    /// It can succeed later: no broker there, a topic missing that somebody else is to make.
    Waiting(String),
    /// It never will.
    Failed(Error),
}

/// What the consumer thread needs of a client.
pub(crate) trait Consumer {
    /// Checks the broker, makes the topics that are missing and joins the group. Called again until it succeeds; waits for an answer at
    /// most a few seconds each time.
    fn prepare(&mut self) -> Result<(), NotReady>;

    /// Delivers what has been fetched, waiting at most `timeout` for the first record. Returns early when `handle` breaks, or when there is
    /// an event for [`Consumer::next_event`].
    ///
    /// Each partition is delivered in log order, so its position grows with every call of `handle`. If a partition is read again from an
    /// earlier offset (its topic was recreated or truncated), that begins with a new poll.
    fn poll(
        &mut self,
        timeout: Duration,
        handle: impl FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error>;

    /// Serves the group without lending records, and without waiting: where the taker is busy for longer. A client with threads of its
    /// own does that by itself.
    fn poll_group(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Records of each partition that are not read yet, as the brokers last told; nothing of a client that does not know. What cannot be
    /// fetched counts as one at least.
    fn lags(&self) -> Vec<(TopicPartition, u64)> {
        Vec::new()
    }

    /// The oldest event not yet told.
    fn next_event(&mut self) -> Option<ConsumerEvent>;

    /// Lends no records until [`Consumer::resume`], but stays in the group as long as it is polled.
    fn pause(&mut self) -> Result<(), Error>;

    /// Ends a pause.
    fn resume(&mut self) -> Result<(), Error>;

    /// A commit will follow, and nothing is lent before it: what can be asked without its offsets is asked now. Only where there are
    /// transactions.
    fn prepare_commit(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Begins to commit; the outcome is an event.
    fn commit(&mut self, offsets: &[NextOffset]) -> Result<(), Error>;

    /// Gives up what [`ConsumerEvent::Revoked`] or [`ConsumerEvent::Lost`] named.
    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), Error>;

    /// Leaves the group. What is assigned goes to the other members at once.
    fn close(self);
}

/// What a producer thread needs of a client.
pub(crate) trait Producer {
    /// Checks the broker and makes the topics that are missing: for a role without a consumer, which would do it. Called as
    /// [`Consumer::prepare`] is.
    fn prepare(&mut self) -> Result<(), NotReady>;

    /// Takes a batch to send. Never waits; call it only when [`Producer::accepts`] says so.
    fn send(&mut self, batch: Batch) -> Result<(), Error>;

    /// Whether a batch may be given to it now.
    fn accepts(&self) -> bool;

    /// Goes on with sending and takes in acknowledgements, waiting for them no longer than `timeout`. Fails on what no waiting would heal.
    fn poll(&mut self, timeout: Duration) -> Result<(), Error>;

    /// A batch all of whose records were acknowledged by all in-sync replicas, or refused for good ([`Batch::refused`]).
    fn delivered(&mut self) -> Option<Batch>;

    /// Batches not yet delivered.
    fn in_flight(&self) -> usize;
}
