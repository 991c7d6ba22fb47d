//! The record accumulator: takes batches from the producer thread and queues their records by partition until the sender drains them. No I/O.
//!
//! A record set first waits for the partitioner, which needs the metadata of its topic. It then becomes one producer batch in the queue of its
//! partition, or several if its keys belong to several partitions.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::in_flight::InFlightBatches;
use super::incomplete_batches::IncompleteBatches;
use super::partition_queue::{BatchSettings, PartitionQueue, max_records_size};
use super::producer_batch::ProducerBatch;
use crate::client::settings::ProducerSettings;
use crate::client::{Batch, OutputTopic, Topics};

#[derive(Debug)]
pub(super) struct RecordAccumulator {
    pub(super) batch_settings: BatchSettings,
    /// Bound on the queued batches of all partitions: `max.in.flight.requests.per.connection`.
    max_queued: usize,
    pub(super) incomplete: IncompleteBatches,
    /// Record sets without a partition, oldest first.
    unassigned: VecDeque<UnassignedRecordSet>,
    pub(super) queues: Vec<PartitionQueue>,
    /// Indexes into `queues`.
    queue_of: BTreeMap<(OutputTopic, i32), usize>,
    /// Index of the queue that is drained first. Advances, so that each partition has its turn.
    first_queue: usize,
}

#[derive(Debug, Clone, Copy)]
struct UnassignedRecordSet {
    slot: usize,
    record_set: usize,
    created: Instant,
}

impl RecordAccumulator {
    pub(super) fn new(settings: &ProducerSettings, topics: &Topics) -> Self {
        let outputs = topics.outputs.iter().map(String::as_str);
        let longest_name = outputs.max_by_key(|topic| topic.len());
        let max_size =
            max_records_size(settings.max_request_size, longest_name.unwrap_or_default());
        Self {
            batch_settings: BatchSettings {
                compression: settings.compression,
                linger: settings.linger,
                merged_size: settings.batch_size.unwrap_or(max_size).min(max_size),
                max_size,
            },
            max_queued: settings.max_in_flight,
            incomplete: IncompleteBatches::default(),
            unassigned: VecDeque::new(),
            queues: Vec::new(),
            queue_of: BTreeMap::new(),
            first_queue: 0,
        }
    }

    pub(super) fn append(&mut self, batch: Batch, now: Instant) {
        let record_sets = batch.record_sets().len();
        let slot = self.incomplete.insert(batch);
        let record_sets = (0..record_sets).map(|record_set| UnassignedRecordSet {
            slot,
            record_set,
            created: now,
        });
        self.unassigned.extend(record_sets);
    }

    /// True if [`RecordAccumulator::append`] may be called: all record sets have their partition, and the queues have room.
    pub(super) fn has_room(&self) -> bool {
        self.unassigned.is_empty() && self.queues_have_room()
    }

    /// With `linger.ms`, batches have to queue up to be merged; the number of poll batches in flight bounds them.
    fn queues_have_room(&self) -> bool {
        !self.batch_settings.linger.is_zero() || self.queued() < self.max_queued
    }

    /// Number of queued batches of all partitions.
    fn queued(&self) -> usize {
        self.queues.iter().map(PartitionQueue::queued).sum()
    }

    /// Returns the oldest record set without a partition as a batch, or `None` if there is none or the queues are full. It stays unassigned
    /// until [`RecordAccumulator::pop_unassigned`].
    pub(super) fn next_unassigned(&mut self) -> Option<ProducerBatch> {
        while self.queues_have_room() {
            let next = self.unassigned.front()?;
            let (slot, record_set) = (next.slot, next.record_set);
            let batch =
                ProducerBatch::from_record_set(&self.incomplete, slot, record_set, next.created);
            if batch.is_some() {
                return batch;
            }
            // Its batch has no records and was delivered at once.
            self.unassigned.pop_front();
        }
        None
    }

    pub(super) fn pop_unassigned(&mut self) {
        self.unassigned.pop_front();
    }

    /// Appends a batch to the queue of its partition. The queue is created for the first batch, with the result of `in_flight`.
    pub(super) fn enqueue(
        &mut self,
        output: OutputTopic,
        partition: i32,
        batch: ProducerBatch,
        in_flight: impl FnOnce() -> InFlightBatches<ProducerBatch>,
    ) {
        let queues = &mut self.queues;
        let index = *self.queue_of.entry((output, partition)).or_insert_with(|| {
            queues.push(PartitionQueue::new(output, partition, in_flight()));
            queues.len() - 1
        });
        if let Some(queue) = queues.get_mut(index) {
            queue.push(batch);
        }
    }

    /// Returns the indexes of the queues in the order in which they are drained, which starts with another queue at each call.
    pub(super) fn drain_order(&mut self) -> impl Iterator<Item = usize> + use<> {
        let count = self.queues.len();
        let first = self.first_queue;
        self.first_queue = first.wrapping_add(1);
        (0..count).map(move |offset| (first + offset) % count)
    }

    /// Returns the ends of the back-offs and lingers of all queues.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Instant> {
        self.queues
            .iter()
            .filter(|queue| !queue.is_empty())
            .flat_map(|queue| {
                [
                    queue.backoff.until(),
                    queue.linger_end(&self.batch_settings),
                ]
            })
            .flatten()
    }
}
