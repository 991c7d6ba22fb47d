//! A batch of encoded records for one partition. No I/O.
//!
//! Its records are a whole record set of an incomplete batch, used in place, or a copy of its own where a record set had to be split, merged or
//! compressed. It remembers the location of each record, to split the batch again and to complete its records.

use std::collections::BTreeMap;
use std::time::Instant;

use super::in_flight::RecordCount;
use super::incomplete_batches::{IncompleteBatches, RecordIndex, RecordRange};
use super::records_builder::{RecordsBuilder, for_each_record};
use crate::client::OutputTopic;
use crate::client::murmur2;
use crate::client::native::compression;
use crate::client::records::HeaderFields;
use crate::client::settings::Compression;

#[derive(Debug)]
pub(super) struct ProducerBatch {
    ranges: Vec<RecordRange>,
    /// `None` if the records are a whole, uncompressed record set.
    copy: Option<Vec<u8>>,
    header_fields: HeaderFields,
    /// When the producer accepted the records.
    pub(super) created: Instant,
    /// The broker has answered CORRUPT_MESSAGE to it.
    pub(super) is_corrupt: bool,
}

impl RecordCount for ProducerBatch {
    fn record_count(&self) -> i32 {
        self.header_fields.count
    }
}

impl ProducerBatch {
    /// Creates a batch from a whole record set, without a copy. Returns `None` if there is no such record set.
    pub(super) fn from_record_set(
        incomplete: &IncompleteBatches,
        slot: usize,
        record_set: usize,
        created: Instant,
    ) -> Option<Self> {
        let source = incomplete.record_set(slot, record_set)?;
        Some(Self {
            ranges: vec![RecordRange {
                slot,
                record_set,
                from: 0,
                to: usize::try_from(source.header_fields().count).unwrap_or_default(),
            }],
            copy: None,
            header_fields: source.header_fields(),
            created,
            is_corrupt: false,
        })
    }

    fn from_builder(builder: RecordsBuilder, created: Instant) -> Option<Self> {
        let (ranges, bytes, header_fields) = builder.build()?;
        Some(Self {
            ranges,
            copy: Some(bytes),
            header_fields,
            created,
            is_corrupt: false,
        })
    }

    /// Returns the output topic of the first record, and whether a record of its record set has a key.
    pub(super) fn source(&self, incomplete: &IncompleteBatches) -> Option<(OutputTopic, bool)> {
        let first = self.ranges.first()?;
        let record_set = incomplete.record_set(first.slot, first.record_set)?;
        Some((record_set.output(), record_set.is_keyed()))
    }

    pub(super) fn ranges(&self) -> &[RecordRange] {
        &self.ranges
    }

    /// Fields of the record batch header, without producer id and sequence number.
    pub(super) fn header_fields(&self) -> HeaderFields {
        self.header_fields
    }

    /// The encoded records, as they follow the record batch header.
    pub(super) fn records<'a>(&'a self, incomplete: &'a IncompleteBatches) -> &'a [u8] {
        match (&self.copy, self.ranges.as_slice()) {
            (Some(copy), _) => copy,
            (None, [whole]) => incomplete
                .record_set(whole.slot, whole.record_set)
                .map_or(&[], |record_set| record_set.encoded()),
            (None, _) => &[],
        }
    }

    /// Compresses the records, unless they are compressed already or would become larger.
    pub(super) fn compress(
        &mut self,
        compression_type: Compression,
        incomplete: &IncompleteBatches,
    ) -> Result<(), compression::Error> {
        if compression_type == Compression::None || self.header_fields.attributes != 0 {
            return Ok(());
        }
        let records = self.records(incomplete);
        let mut compressed = Vec::with_capacity(records.len() / 2);
        compression::compress(compression_type, records, &mut compressed)?;
        if compressed.len() < records.len() {
            compressed.shrink_to_fit();
            self.copy = Some(compressed);
            self.header_fields.attributes = i16::from(compression_type.id());
        }
        Ok(())
    }

    /// Returns the two halves in order, or only one batch if there is a single record.
    pub(super) fn halves(&self, incomplete: &IncompleteBatches) -> Vec<Self> {
        let middle = usize::try_from(self.record_count()).unwrap_or_default() / 2;
        let mut number = 0;
        let (mut first, mut second) = (RecordsBuilder::default(), RecordsBuilder::default());
        for_each_record(&self.ranges, incomplete, |range, timestamp, raw| {
            let half = if number < middle {
                &mut first
            } else {
                &mut second
            };
            half.append(range, timestamp, raw);
            number += 1;
        });
        let halves = [first, second].into_iter();
        halves
            .filter_map(|half| Self::from_builder(half, self.created))
            .collect()
    }

    /// Returns the batch without the records at `indexes`, which are sorted, or `None` if no record is left.
    pub(super) fn without(
        &self,
        incomplete: &IncompleteBatches,
        indexes: &[usize],
    ) -> Option<Self> {
        let mut index = 0;
        let mut remaining = RecordsBuilder::default();
        for_each_record(&self.ranges, incomplete, |range, timestamp, raw| {
            if indexes.binary_search(&index).is_err() {
                remaining.append(range, timestamp, raw);
            }
            index += 1;
        });
        Self::from_builder(remaining, self.created)
    }

    /// Returns the location of the record at `index` of this batch.
    pub(super) fn locate(&self, mut index: usize) -> Option<RecordIndex> {
        for range in &self.ranges {
            if index < range.len() {
                return Some(RecordIndex {
                    slot: range.slot,
                    record_set: range.record_set,
                    index: range.from + index,
                });
            }
            index -= range.len();
        }
        None
    }

    /// Merges all batches into one, in order.
    pub(super) fn merge(batches: Vec<Self>, incomplete: &IncompleteBatches) -> Option<Self> {
        let created = batches.first()?.created;
        let mut merged = RecordsBuilder::default();
        for batch in &batches {
            for_each_record(&batch.ranges, incomplete, |range, timestamp, raw| {
                merged.append(range, timestamp, raw);
            });
        }
        Self::from_builder(merged, created)
    }

    /// Splits the batch by partition: a record with a key goes where Kafka's own producer sends this key, one without a key to `keyless`.
    pub(super) fn split_by_partition(
        &self,
        incomplete: &IncompleteBatches,
        partitions: i32,
        keyless: i32,
    ) -> Vec<(i32, Self)> {
        let mut builders: BTreeMap<i32, RecordsBuilder> = BTreeMap::new();
        for_each_record(&self.ranges, incomplete, |range, timestamp, raw| {
            let partition = raw
                .key
                .map_or(keyless, |key| murmur2::partition(key, partitions));
            builders
                .entry(partition)
                .or_default()
                .append(range, timestamp, raw);
        });
        let builders = builders.into_iter();
        builders
            .filter_map(|(partition, builder)| {
                Some((partition, Self::from_builder(builder, self.created)?))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::client::records::{HeadersBuffer, RecordView};
    use crate::client::{Batch, Record, Timestamp};
    use crate::topic_partition::TopicPartition;

    /// Timestamp and value of a record. Its key is `None` or equal to its value.
    type Decoded = (i64, String);

    /// Inserts a batch of the records `from` to `to`, with four records per record set. Odd records have a key.
    fn insert(incomplete: &mut IncompleteBatches, from: i64, to: i64) -> (usize, usize) {
        let mut batch = Batch::new(120);
        let headers = HeadersBuffer::from_pairs(&[("name", b"value")]);
        for number in from..to {
            let value = number.to_string();
            let record = Record {
                partition: TopicPartition {
                    topic: 0,
                    partition: 0,
                },
                offset: number,
                timestamp: Some(Timestamp::CreateTime(1000 - number)),
                key: (number % 2 == 1).then_some(value.as_bytes()),
                value: Some(value.as_bytes()),
                headers: headers.headers(),
            };
            batch.push(0, b"", &record);
        }
        let record_sets = batch.record_sets().len();
        (incomplete.insert(batch), record_sets)
    }

    fn whole_batch(
        incomplete: &IncompleteBatches,
        slot: usize,
        record_set: usize,
    ) -> ProducerBatch {
        ProducerBatch::from_record_set(incomplete, slot, record_set, Instant::now()).unwrap()
    }

    /// Decodes a batch, and checks what a broker checks.
    fn decode(incomplete: &IncompleteBatches, batch: &ProducerBatch) -> Vec<Decoded> {
        let mut bytes = batch.records(incomplete);
        let header = batch.header_fields();
        let mut decoded = Vec::new();
        while let Some((raw, size)) = RecordView::read(bytes) {
            assert_eq!(raw.offset_delta, decoded.len() as i32);
            assert_eq!(raw.headers.len(), 1);
            assert!(raw.key.is_none_or(|key| Some(key) == raw.value));
            let value = String::from_utf8(raw.value.unwrap().to_vec()).unwrap();
            decoded.push((header.base_timestamp + raw.timestamp_delta, value));
            bytes = &bytes[size..];
        }
        assert!(bytes.is_empty());
        assert_eq!(header.count as usize, decoded.len());
        assert_eq!(
            Some(header.base_timestamp),
            decoded.first().map(|decoded| decoded.0)
        );
        assert_eq!(
            header.max_timestamp,
            decoded.iter().map(|decoded| decoded.0).max().unwrap()
        );
        for (number, (time, _)) in decoded.iter().enumerate() {
            let location = batch.locate(number).unwrap();
            let record_set = incomplete
                .record_set(location.slot, location.record_set)
                .unwrap();
            let (_, raw) = record_set.records().nth(location.index).unwrap();
            assert_eq!(
                record_set.header_fields().base_timestamp + raw.timestamp_delta,
                *time
            );
        }
        assert_eq!(batch.locate(decoded.len()), None);
        decoded
    }

    #[track_caller]
    fn check(incomplete: &IncompleteBatches, batch: &ProducerBatch, expected: &[i64]) {
        let expected: Vec<Decoded> = expected
            .iter()
            .map(|number| (1000 - number, number.to_string()))
            .collect();
        assert_eq!(decode(incomplete, batch), expected);
    }

    #[test]
    fn a_whole_record_set_is_used_in_place() {
        let mut incomplete = IncompleteBatches::default();
        let (slot, record_sets) = insert(&mut incomplete, 0, 6);
        assert_eq!(record_sets, 2);
        check(
            &incomplete,
            &whole_batch(&incomplete, slot, 0),
            &[0, 1, 2, 3],
        );
        check(&incomplete, &whole_batch(&incomplete, slot, 1), &[4, 5]);
        let records = incomplete.record_set(slot, 0).unwrap().encoded();
        assert!(std::ptr::eq(
            whole_batch(&incomplete, slot, 0).records(&incomplete),
            records
        ));
        assert!(ProducerBatch::from_record_set(&incomplete, slot, 2, Instant::now()).is_none());
    }

    #[test]
    fn batches_are_merged_and_split() {
        let mut incomplete = IncompleteBatches::default();
        let (first, _) = insert(&mut incomplete, 0, 6);
        let (second, _) = insert(&mut incomplete, 6, 9);
        let batches = vec![
            whole_batch(&incomplete, first, 0),
            whole_batch(&incomplete, first, 1),
            whole_batch(&incomplete, second, 0),
        ];
        let merged = ProducerBatch::merge(batches, &incomplete).unwrap();
        check(&incomplete, &merged, &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(merged.ranges().len(), 3);
        let halves = merged.halves(&incomplete);
        check(&incomplete, &halves[0], &[0, 1, 2, 3]);
        check(&incomplete, &halves[1], &[4, 5, 6, 7, 8]);
        let left = halves[1].without(&incomplete, &[1, 2]).unwrap();
        check(&incomplete, &left, &[4, 7, 8]);
        let left = left.without(&incomplete, &[0]).unwrap();
        check(&incomplete, &left, &[7, 8]);
        assert!(left.without(&incomplete, &[0, 1]).is_none());
        let single = left.without(&incomplete, &[1]).unwrap();
        assert_eq!(single.halves(&incomplete).len(), 1);
    }

    #[test]
    fn a_batch_is_split_by_key() {
        let mut incomplete = IncompleteBatches::default();
        let (slot, _) = insert(&mut incomplete, 0, 4);
        let split = whole_batch(&incomplete, slot, 0).split_by_partition(&incomplete, 3, 7);
        let partition_of = |key: &str| murmur2::partition(key.as_bytes(), 3);
        let mut expected: BTreeMap<i32, Vec<i64>> = BTreeMap::from([(7, vec![0, 2])]);
        for key in [1, 3] {
            let partition = partition_of(&key.to_string());
            expected.entry(partition).or_default().push(key);
        }
        assert_eq!(split.len(), expected.len());
        for (partition, batch) in &split {
            check(&incomplete, batch, &expected[partition]);
        }
    }

    #[test]
    fn incompressible_records_stay_uncompressed() {
        let mut incomplete = IncompleteBatches::default();
        let (slot, _) = insert(&mut incomplete, 0, 1);
        let mut batch = whole_batch(&incomplete, slot, 0);
        batch.compress(Compression::Gzip, &incomplete).unwrap();
        assert_eq!(batch.header_fields().attributes, 0);
        check(&incomplete, &batch, &[0]);
        let (slot, _) = insert(&mut incomplete, 0, 4);
        let mut batch = whole_batch(&incomplete, slot, 0);
        batch.compress(Compression::Gzip, &incomplete).unwrap();
        assert_eq!(batch.header_fields().attributes, 1);
        let size = batch.records(&incomplete).len();
        assert!(size < incomplete.record_set(slot, 0).unwrap().encoded().len());
        batch.compress(Compression::Gzip, &incomplete).unwrap();
        assert_eq!(batch.records(&incomplete).len(), size);
    }
}
