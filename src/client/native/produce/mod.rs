//! The producer of our own client. Owned by one producer thread; everything happens on it, within `send` and `poll`, and nothing waits but
//! `poll`. A batch stays as it is until it is delivered (`held`). Its parts become bodies of record batches (`body`), which go to the line of
//! their partition (`place`, `line`); `sequence` says what of a line may be sent when, `send` sends it, `answer` has what comes of it.

mod error_class;
mod in_flight;
mod incomplete_batches;
mod partition_queue;
mod partitioner;
mod producer_batch;
mod producer_id;
mod records_builder;
mod response_handler;
mod sender;
mod sticky_partitioner;
#[cfg(test)]
mod tests;
mod transaction_manager;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admin;
use super::compression::Codec;
use super::metadata;
use super::network::{Network, Node};
use crate::client::Error;
use crate::client::settings::{ClientSettings, Compression, ProducerSettings, TopicSettings};
use crate::client::{Batch, NotReady, Transaction};
use crate::client::{OutputTopic, Topics};
use crate::throttle::{Throttle, WARNING_INTERVAL};

use incomplete_batches::IncompleteBatches;
use partition_queue::{Form, PartitionQueue};
use producer_id::ProducerIdState;
use sticky_partitioner::StickyPartitioner;
use transaction_manager::TransactionManager;

/// What an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    /// `admin`'s calls, which wait for it.
    Prepare,
    Metadata,
    ProducerIdentity,
    /// The transaction's.
    Coordinator,
    /// To be added to the transaction.
    Partitions,
    /// The body of this name, in the window of that line.
    ProducerBatch {
        queue: usize,
        id: u64,
    },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Producer {
    name: &'static str,
    settings: ProducerSettings,
    form: Form,
    topic_settings: TopicSettings,
    topics: Topics,
    network: Network<Tag>,
    metadata: metadata::Metadata,
    /// For lines that have no producer id yet.
    producer_id: ProducerIdState,
    /// None where it writes without one.
    transaction: Option<TransactionManager>,
    incomplete: IncompleteBatches,
    /// Parts that no line has yet: slot and number of each, and when it came.
    unplaced: VecDeque<(usize, usize, Instant)>,
    /// Partitions that something was sent to, or is to be.
    queues: Vec<PartitionQueue>,
    queue_of: BTreeMap<(OutputTopic, i32), usize>,
    sticky: Vec<StickyPartitioner>,
    /// The line that is asked first.
    turn: usize,
    /// Brokers that want nothing more before (KIP-219).
    throttled: BTreeMap<Node, Instant>,
    /// The beginning of a request; the buffer is used again.
    head: Vec<u8>,
    warnings: Throttle,
}

impl Producer {
    /// See [`Client::producer`](crate::client::Client::producer).
    pub(crate) fn new(
        cluster: &ClientSettings,
        settings: &ProducerSettings,
        topics: &Topics,
        name: &'static str,
        transaction: Option<&Arc<Transaction>>,
    ) -> Self {
        let outputs = topics.outputs.iter().map(String::as_str);
        let longest_name = outputs.clone().max_by_key(|topic| topic.len());
        let largest = partition_queue::records_within(
            settings.max_request_size,
            longest_name.unwrap_or_default(),
        );
        Self {
            name,
            form: Form {
                codec: codec(settings.compression),
                linger: settings.linger,
                merged: settings.batch_size.unwrap_or(largest).min(largest),
                largest,
            },
            settings: settings.clone(),
            topic_settings: cluster.topics.clone(),
            topics: topics.clone(),
            network: Network::new(&cluster.connection, Some(name)),
            metadata: metadata::Metadata::new(&cluster.brokers, outputs.clone()),
            producer_id: ProducerIdState::default(),
            transaction: transaction.map(TransactionManager::new),
            incomplete: IncompleteBatches::default(),
            unplaced: VecDeque::new(),
            queues: Vec::new(),
            queue_of: BTreeMap::new(),
            sticky: outputs.map(|_| StickyPartitioner::default()).collect(),
            turn: 0,
            throttled: BTreeMap::new(),
            head: Vec::new(),
            warnings: Throttle::new(WARNING_INTERVAL),
        }
    }

    /// Goes on as far as it can without waiting. Whether anything came or went.
    fn work(&mut self) -> Result<bool, Error> {
        let now = Instant::now();
        let mut worked = false;
        while let Some(arrival) = self.network.next_event() {
            self.arrived(arrival, now)?;
            worked = true;
        }
        self.metadata.poll(&mut self.network, Tag::Metadata);
        self.ask_identity(now)?;
        loop {
            self.place(now)?;
            self.add_partitions(now);
            if !self.send_each(now)? {
                return Ok(worked);
            }
            worked = true;
        }
    }

    /// Bodies that are placed and do not come next yet.
    fn waiting(&self) -> usize {
        self.queues.iter().map(PartitionQueue::waiting).sum()
    }

    /// A line does not get on: it rests. That is told once, until something of it is acknowledged.
    fn trouble(&mut self, number: usize, now: Instant, what: &str) {
        let back_off = self.network.settings().retry_backoff;
        if let Some(queue) = self.queues.get_mut(number) {
            queue.rest(now, back_off);
            if !std::mem::replace(&mut queue.is_troubled, true) {
                self.warn(now, what);
            } else {
                log::debug!("produce: {what}");
            }
        }
    }

    fn warn(&mut self, now: Instant, what: &str) {
        if let Some(suppressed) = self.warnings.admit(now) {
            log::warn!(
                "produce: {what}; trying again ({suppressed} more like this since the last line)"
            );
        }
    }

    /// When there will be something to do that nothing arrives for.
    fn due(&self, now: Instant) -> Option<Instant> {
        let queues = self
            .queues
            .iter()
            .filter(|queue| !queue.is_idle())
            .flat_map(|queue| [queue.until, queue.lingers_until(&self.form)])
            .flatten();
        let others = [
            self.metadata.next_poll(&self.network),
            self.producer_id.not_before,
            self.transaction
                .as_ref()
                .and_then(|manager| manager.not_before),
        ];
        let dues = queues
            .chain(others.into_iter().flatten())
            .chain(self.throttled.values().copied());
        dues.filter(|due| *due > now).min()
    }
}

fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::None => Codec::None,
        Compression::Gzip => Codec::Gzip,
        Compression::Snappy => Codec::Snappy,
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
    }
}

fn failure(reason: String) -> Error {
    Error::Kafka {
        operation: "produce",
        reason,
    }
}

impl crate::client::Producer for Producer {
    fn prepare(&mut self) -> Result<(), NotReady> {
        admin::provision(
            &mut self.network,
            &mut self.metadata,
            Tag::Prepare,
            &self.topics.all(),
            &self.topic_settings,
        )
    }

    fn send(&mut self, batch: Batch) -> Result<(), Error> {
        let parts = batch.parts().len();
        let slot = self.incomplete.take(batch);
        let now = Instant::now();
        self.unplaced
            .extend((0..parts).map(|part| (slot, part, now)));
        Ok(())
    }

    fn accepts(&self) -> bool {
        self.unplaced.is_empty()
            && (!self.form.linger.is_zero() || self.waiting() < self.settings.max_in_flight)
    }

    fn poll(&mut self, timeout: Duration) -> Result<(), Error> {
        // What was given since the last call, or has become due.
        let worked = self.work()?;
        let now = Instant::now();
        let until = if worked || self.incomplete.has_delivered() {
            now
        } else {
            let until = now + timeout;
            self.due(now).map_or(until, |due| due.min(until))
        };
        self.network.wait(until);
        self.work().map(drop)
    }

    fn delivered(&mut self) -> Option<Batch> {
        self.incomplete.delivered()
    }

    fn in_flight(&self) -> usize {
        self.incomplete.len()
    }
}
