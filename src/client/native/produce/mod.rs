//! The producer of the native client. Each producer thread owns one and runs everything in it, within `send` and `poll`; only `poll` blocks.
//!
//! | file | what it does | in Kafka's Java producer |
//! |---|---|---|
//! | `accumulator` | queues records by partition | `RecordAccumulator` |
//! | `incomplete_batches` | keeps batches until they are delivered | `IncompleteBatches` |
//! | `partitioner`, `sticky_partitioner` | choose the partition of a record | `BuiltInPartitioner` |
//! | `producer_batch`, `records_builder` | one batch for one partition | `ProducerBatch`, `MemoryRecordsBuilder` |
//! | `partition_queue` | the batches of one partition: linger, merging, back-off | a deque of `RecordAccumulator` |
//! | `in_flight` | which batch may be sent next, with which sequence number | `TxnPartitionEntry` |
//! | `sender` | sends the batches that may be sent | `Sender.sendProducerData` |
//! | `response_handler`, `error_class` | complete, retry or refuse batches | `Sender.completeBatch` |
//! | `producer_id` | requests producer id and epoch | `ProducerIdAndEpoch` |
//! | `transaction_manager` | adds partitions to the transaction | `TransactionManager` |

mod accumulator;
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

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admin;
use super::metadata::Metadata;
use super::network::{Network, Node};
use crate::client::settings::{ClientSettings, ProducerSettings, TopicSettings};
use crate::client::{Batch, Error, NotReady, Topics, Transaction};
use crate::throttle::{Throttle, WARNING_INTERVAL, more_suppressed};

use accumulator::RecordAccumulator;
use producer_id::ProducerId;
use sticky_partitioner::StickyPartitioner;
use transaction_manager::TransactionManager;

/// Tells which request a response answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestTag {
    /// A request of `admin`, which blocks until its response.
    Prepare,
    Metadata,
    InitProducerId,
    FindCoordinator,
    AddPartitionsToTxn,
    Produce(BatchId),
}

/// Identifies an in-flight batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BatchId {
    /// Index of its partition's queue.
    queue: usize,
    id: u64,
}

#[derive(Debug)]
pub(crate) struct Producer {
    /// Name of the thread.
    name: &'static str,
    settings: ProducerSettings,
    topic_settings: TopicSettings,
    topics: Topics,
    network: Network<RequestTag>,
    metadata: Metadata,
    producer_id: ProducerId,
    /// `None` unless the producer is transactional.
    transaction_manager: Option<TransactionManager>,
    accumulator: RecordAccumulator,
    /// One per output.
    sticky_partitioners: Vec<StickyPartitioner>,
    /// Brokers that must not be sent to before the time (KIP-219).
    throttled_until: BTreeMap<Node, Instant>,
    /// Reused buffer for the part of a produce request in front of its record batch.
    request_head: Vec<u8>,
    warnings: Throttle,
}

impl Producer {
    /// Does not connect yet.
    pub(crate) fn new(
        client: &ClientSettings,
        settings: &ProducerSettings,
        topics: &Topics,
        name: &'static str,
        transaction: Option<&Arc<Transaction>>,
    ) -> Self {
        let outputs = topics.outputs.iter().map(String::as_str);
        Self {
            name,
            settings: settings.clone(),
            topic_settings: client.topics.clone(),
            topics: topics.clone(),
            network: Network::new(&client.connection, Some(name)),
            metadata: Metadata::new(&client.brokers, outputs.clone()),
            producer_id: ProducerId::default(),
            transaction_manager: transaction.map(TransactionManager::new),
            accumulator: RecordAccumulator::new(settings, topics),
            sticky_partitioners: outputs.map(|_| StickyPartitioner::default()).collect(),
            throttled_until: BTreeMap::new(),
            request_head: Vec::new(),
            warnings: Throttle::new(WARNING_INTERVAL),
        }
    }

    /// Handles all responses and sends all that may be sent, without blocking. Returns whether there was anything to handle or send.
    fn run_once(&mut self) -> Result<bool, Error> {
        let now = Instant::now();
        let mut has_worked = false;
        while let Some(event) = self.network.next_event() {
            self.handle_event(event, now)?;
            has_worked = true;
        }
        self.metadata.poll(&mut self.network, RequestTag::Metadata);
        self.request_producer_id(now)?;
        loop {
            self.assign_partitions(now)?;
            self.add_partitions(now);
            if !self.send_batches(now)? {
                return Ok(has_worked);
            }
            has_worked = true;
        }
    }

    /// Backs off from a partition whose leader is unknown or has moved. Does not warn of [`EXPECTED_LEADER_FAILURES`].
    ///
    /// [`EXPECTED_LEADER_FAILURES`]: super::metadata::EXPECTED_LEADER_FAILURES
    fn handle_leader_failure(&mut self, queue: usize, now: Instant, cause: &str) {
        let next_step = "refreshing metadata";
        match self.accumulator.queues.get_mut(queue) {
            Some(queue) if queue.is_expected_leader_failure(now) => {
                queue.back_off(now, self.network.settings().retry_backoff);
                let topic = self.topics.output(queue.output);
                let partition = queue.partition;
                log::debug!("produce {topic}-{partition} failed: {cause}, {next_step}");
            }
            _ => self.handle_failure(queue, now, cause, next_step),
        }
    }

    /// Backs off from a partition after a failure. Logs a warning for the first failure since the last acknowledgement.
    fn handle_failure(&mut self, queue: usize, now: Instant, cause: &str, next_step: &str) {
        let Some(queue) = self.accumulator.queues.get_mut(queue) else {
            return;
        };
        queue.back_off(now, self.network.settings().retry_backoff);
        let topic = self.topics.output(queue.output);
        let partition = queue.partition;
        let message = format!("produce {topic}-{partition} failed: {cause}, {next_step}");
        if std::mem::replace(&mut queue.has_warned, true) {
            log::debug!("{message}");
        } else {
            self.warn(now, &message);
        }
    }

    /// Logs a warning, at most one per [`WARNING_INTERVAL`].
    fn warn(&mut self, now: Instant, message: &str) {
        if let Some(suppressed) = self.warnings.admit(now) {
            log::warn!("{message}{}", more_suppressed(suppressed));
        }
    }

    /// Returns the next moment at which there is something to do without a response.
    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let manager = self.transaction_manager.as_ref();
        let retries = [
            self.metadata.next_poll(&self.network),
            self.producer_id.backoff.until(),
            manager.and_then(|manager| manager.backoff.until()),
        ];
        let deadlines = self
            .accumulator
            .deadlines()
            .chain(retries.into_iter().flatten())
            .chain(self.throttled_until.values().copied());
        deadlines.filter(|deadline| *deadline > now).min()
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
            RequestTag::Prepare,
            &self.topics.all(),
            &self.topic_settings,
        )
    }

    fn send(&mut self, batch: Batch) -> Result<(), Error> {
        self.accumulator.append(batch, Instant::now());
        Ok(())
    }

    fn accepts(&self) -> bool {
        self.accumulator.has_room()
    }

    fn poll(&mut self, timeout: Duration) -> Result<(), Error> {
        // Before blocking, send what was appended since the last call, or is due.
        let has_worked = self.run_once()?;
        let now = Instant::now();
        let until = if has_worked || self.accumulator.incomplete.has_delivered() {
            now
        } else {
            let until = now + timeout;
            self.next_deadline(now)
                .map_or(until, |deadline| deadline.min(until))
        };
        self.network.wait(until);
        self.run_once().map(drop)
    }

    fn delivered(&mut self) -> Option<Batch> {
        self.accumulator.incomplete.pop_delivered()
    }

    fn in_flight(&self) -> usize {
        self.accumulator.incomplete.len()
    }
}
