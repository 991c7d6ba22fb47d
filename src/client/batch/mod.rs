//! The unit of work between the consumer and a producer: records of one poll batch, already encoded.
//!
//! After delivery the batch is cleared and reused, so that its buffers are allocated once.

mod record_set;
mod source_offsets;
#[cfg(test)]
mod tests;

use std::fmt;

use super::record::Record;
use super::records::RecordView;
use super::topics::OutputTopic;
use crate::topic_partition::TopicPartition;
use record_set::MAX_RECORD_OVERHEAD;
pub(crate) use record_set::{OutgoingRecord, RecordSet};

/// Records of one poll batch for one producer, as record sets. Each record set keeps the order in which its records were read.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Number of the poll batch.
    pub(crate) poll_batch: u64,
    /// Records that the broker refused permanently. Set by the producer.
    pub(crate) refused: Vec<RefusedRecord>,
    record_sets: Vec<RecordSet>,
    /// Index of the record set that received the last record.
    current: usize,
    /// A cleared record set, kept for its buffers.
    spare: Option<RecordSet>,
    /// Size in bytes at which a record set is full.
    record_set_bytes: usize,
    bytes: usize,
}

/// A record that the broker refused permanently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedRecord {
    /// Location of the record in its batch.
    pub(crate) location: RecordLocation,
    /// Reason given by the broker.
    pub(crate) reason: RefusalReason,
}

/// Reason why a record was refused permanently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RefusalReason {
    /// The record exceeds `max.message.bytes` of the topic.
    TooLarge,
    /// Any other defect of the record, as reported by the broker or the client.
    Invalid(String),
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("larger than the topic's max.message.bytes"),
            Self::Invalid(reason) => f.write_str(reason),
        }
    }
}

/// Location of a record in a batch. Locations are ordered as the records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordLocation {
    /// Index of the record set.
    record_set: usize,
    /// Index of the record in its record set.
    index: usize,
    /// Position of the record in the encoded bytes of its record set.
    position: usize,
}

impl Batch {
    /// Returns an empty batch whose record sets are full at `record_set_bytes`.
    pub(crate) fn new(record_set_bytes: usize) -> Self {
        Self {
            poll_batch: 0,
            refused: Vec::new(),
            record_sets: Vec::new(),
            current: 0,
            spare: None,
            record_set_bytes,
            bytes: 0,
        }
    }

    /// Appends a record for `output` whose value is `prefix` followed by the value of `record`.
    #[inline(always)]
    pub(crate) fn push(&mut self, output: OutputTopic, prefix: &[u8], record: &Record<'_>) {
        let max_size = MAX_RECORD_OVERHEAD
            + prefix.len()
            + record.key.map_or(0, <[u8]>::len)
            + record.value.map_or(0, <[u8]>::len)
            + record.headers.0.len();
        let fits =
            |set: &RecordSet| set.output == output && set.len + max_size <= self.record_set_bytes;
        if !self.record_sets.get(self.current).is_some_and(fits) {
            self.select_record_set(output, max_size);
        }
        if let Some(set) = self.record_sets.get_mut(self.current) {
            let before = set.len;
            set.push(prefix, record);
            self.bytes += set.len - before;
        }
    }

    /// Selects the record set for the next record of this topic: the topic's last one, or a new one if `max_size` more bytes do not fit.
    #[cold]
    fn select_record_set(&mut self, output: OutputTopic, max_size: usize) {
        let last = self
            .record_sets
            .iter()
            .rposition(|set| set.output == output);
        let has_room = |index: &usize| {
            self.record_sets
                .get(*index)
                .is_some_and(|set| set.len + max_size <= self.record_set_bytes)
        };
        self.current = last.filter(has_room).unwrap_or_else(|| {
            let mut set = self.spare.take().unwrap_or_default();
            set.output = output;
            self.record_sets.push(set);
            self.record_sets.len() - 1
        });
    }

    /// The record sets in the order in which they were started. Those of one topic must be sent in this order.
    pub(crate) fn record_sets(&self) -> &[RecordSet] {
        &self.record_sets
    }

    /// Returns the record at `location`, if it exists.
    pub(crate) fn get(&self, location: RecordLocation) -> Option<OutgoingRecord<'_>> {
        let set = self.record_sets.get(location.record_set)?;
        let (record, _) = RecordView::read(set.encoded().get(location.position..)?)?;
        set.outgoing(location.index, &record)
    }

    /// Iterates over all records with their locations, in order.
    #[cfg(any(test, feature = "librdkafka", feature = "kafka"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RecordLocation, OutgoingRecord<'_>)> {
        let sets = self.record_sets.iter().enumerate();
        sets.flat_map(|(record_set, set)| {
            let records = set.records().enumerate();
            records.filter_map(move |(index, (position, record))| {
                let location = RecordLocation {
                    record_set,
                    index,
                    position,
                };
                Some((location, set.outgoing(index, &record)?))
            })
        })
    }

    /// Iterates over the locations of the records of one record set, in order.
    pub(crate) fn locations(&self, record_set: usize) -> impl Iterator<Item = RecordLocation> {
        let set = self.record_sets.get(record_set);
        let records = set.into_iter().flat_map(RecordSet::records).enumerate();
        records.map(move |(index, (position, _))| RecordLocation {
            record_set,
            index,
            position,
        })
    }

    /// Counts the records that were not refused, by input partition and output topic. A pair can occur more than once.
    pub(crate) fn accepted_counts(
        &self,
    ) -> impl Iterator<Item = (TopicPartition, OutputTopic, u64)> {
        let sets = self.record_sets.iter().enumerate();
        sets.flat_map(move |(record_set, set)| {
            set.sources.runs().map(move |(partition, indexes)| {
                let refused = self.refused.iter().filter(|refused| {
                    refused.location.record_set == record_set
                        && indexes.contains(&refused.location.index)
                });
                let count = indexes.len().saturating_sub(refused.count());
                (partition, set.output, count as u64)
            })
        })
    }

    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.record_sets
            .iter()
            .map(|set| set.count.unsigned_abs() as usize)
            .sum()
    }

    /// Returns true if the batch has no records.
    pub(crate) fn is_empty(&self) -> bool {
        self.record_sets.is_empty()
    }

    /// Size of all encoded records in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Marks the record at `location` as refused permanently.
    pub(crate) fn refuse(&mut self, location: RecordLocation, reason: RefusalReason) {
        self.refused.push(RefusedRecord { location, reason });
    }

    /// Removes and returns the refused records, in the order of the records.
    pub(crate) fn take_refused(&mut self) -> Vec<RefusedRecord> {
        let mut refused = std::mem::take(&mut self.refused);
        refused.sort_by_key(|refused| refused.location);
        refused
    }

    /// Returns the record at `location` as it was read, without the prefix.
    pub(crate) fn input_record(&self, location: RecordLocation) -> Option<Record<'_>> {
        let outgoing = self.get(location)?;
        let set = self.record_sets.get(location.record_set)?;
        Some(Record {
            partition: outgoing.partition,
            offset: outgoing.offset,
            timestamp: outgoing.timestamp,
            key: outgoing.key,
            value: outgoing.value.get(set.prefix_len..),
            headers: outgoing.headers,
        })
    }

    /// Returns an empty batch of the same poll batch and with the same bounds.
    pub(crate) fn successor(&self) -> Self {
        Self {
            poll_batch: self.poll_batch,
            ..Self::new(self.record_set_bytes)
        }
    }

    /// Removes all records. Keeps the buffers of one record set for reuse, but at most `max_capacity` bytes of them.
    pub(crate) fn clear(&mut self, max_capacity: usize) {
        self.refused.clear();
        self.current = 0;
        self.bytes = 0;
        if let Some(mut set) = self.record_sets.drain(..).next() {
            set.clear(max_capacity);
            self.spare = Some(set);
        }
    }
}
