//! The body of one record batch for one partition: a whole part of a batch as it stands there, or, where the part had to be split, merged or
//! compressed, a copy of its own. It remembers which records it has, so that it can be put together anew.

use std::collections::BTreeMap;
use std::time::Instant;

use super::in_flight::Counted;
use super::incomplete_batches::{IncompleteBatches, Single, Span};
use super::records_builder::{RecordsBuilder, each};
use crate::client::OutputTopic;
use crate::client::murmur2;
use crate::client::native::compression::{self, Codec};
use crate::client::records::HeaderFields;

/// See the module.
#[derive(Debug)]
pub(super) struct ProducerBatch {
    spans: Vec<Span>,
    /// None where it is a whole part, uncompressed.
    copy: Option<Vec<u8>>,
    stamp: HeaderFields,
    /// When its records were given to the producer.
    pub(super) since: Instant,
    /// The broker found that it had not arrived as it was sent.
    pub(super) corrupt: bool,
}

impl Counted for ProducerBatch {
    fn count(&self) -> i32 {
        self.stamp.count
    }
}

impl ProducerBatch {
    /// A whole part, as it is; none where there is no such part.
    pub(super) fn whole(
        incomplete: &IncompleteBatches,
        slot: usize,
        part: usize,
        since: Instant,
    ) -> Option<Self> {
        let source = incomplete.part(slot, part)?;
        Some(Self {
            spans: vec![Span {
                slot,
                part,
                from: 0,
                to: usize::try_from(source.stamp().count).unwrap_or_default(),
            }],
            copy: None,
            stamp: source.stamp(),
            since,
            corrupt: false,
        })
    }

    fn encoded(encoder: RecordsBuilder, since: Instant) -> Option<Self> {
        let (spans, bytes, stamp) = encoder.finish()?;
        Some(Self {
            spans,
            copy: Some(bytes),
            stamp,
            since,
            corrupt: false,
        })
    }

    /// The topic that its first record is bound for, and whether the part that it comes from has keys.
    pub(super) fn source(&self, incomplete: &IncompleteBatches) -> Option<(OutputTopic, bool)> {
        let first = self.spans.first()?;
        let part = incomplete.part(first.slot, first.part)?;
        Some((part.output(), part.is_keyed()))
    }

    /// Which records it has.
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// What is known of its header.
    pub(super) fn stamp(&self) -> HeaderFields {
        self.stamp
    }

    /// Its bytes as they go over the wire.
    pub(super) fn records<'a>(&'a self, incomplete: &'a IncompleteBatches) -> &'a [u8] {
        match (&self.copy, self.spans.as_slice()) {
            (Some(copy), _) => copy,
            (None, [whole]) => incomplete
                .part(whole.slot, whole.part)
                .map_or(&[], |part| part.records()),
            (None, _) => &[],
        }
    }

    /// Compresses it, once, and unless that makes it larger.
    pub(super) fn compress(
        &mut self,
        codec: Codec,
        incomplete: &IncompleteBatches,
    ) -> Result<(), compression::Error> {
        if codec == Codec::None || self.stamp.attributes != 0 {
            return Ok(());
        }
        let records = self.records(incomplete);
        let mut compressed = Vec::with_capacity(records.len() / 2);
        compression::compress(codec, records, &mut compressed)?;
        if compressed.len() < records.len() {
            compressed.shrink_to_fit();
            self.copy = Some(compressed);
            self.stamp.attributes = codec.attributes();
        }
        Ok(())
    }

    /// Its two halves, in their order; of a single record only one.
    pub(super) fn halves(&self, incomplete: &IncompleteBatches) -> Vec<Self> {
        let middle = usize::try_from(self.count()).unwrap_or_default() / 2;
        let mut number = 0;
        let (mut first, mut second) = (RecordsBuilder::default(), RecordsBuilder::default());
        each(&self.spans, incomplete, |span, timestamp, raw| {
            let half = if number < middle {
                &mut first
            } else {
                &mut second
            };
            half.push(span, timestamp, raw);
            number += 1;
        });
        let halves = [first, second].into_iter();
        halves
            .filter_map(|half| Self::encoded(half, self.since))
            .collect()
    }

    /// It without the records of these numbers, which are sorted; none where nothing is left.
    pub(super) fn without(
        &self,
        incomplete: &IncompleteBatches,
        numbers: &[usize],
    ) -> Option<Self> {
        let mut number = 0;
        let mut left = RecordsBuilder::default();
        each(&self.spans, incomplete, |span, timestamp, raw| {
            if numbers.binary_search(&number).is_err() {
                left.push(span, timestamp, raw);
            }
            number += 1;
        });
        Self::encoded(left, self.since)
    }

    /// Its record of this number.
    pub(super) fn single(&self, mut number: usize) -> Option<Single> {
        for span in &self.spans {
            if number < span.len() {
                return Some(Single {
                    slot: span.slot,
                    part: span.part,
                    index: span.from + number,
                });
            }
            number -= span.len();
        }
        None
    }

    /// One of all of them, in their order.
    pub(super) fn merge(batches: Vec<Self>, incomplete: &IncompleteBatches) -> Option<Self> {
        let since = batches.first()?.since;
        let mut merged = RecordsBuilder::default();
        for batch in &batches {
            each(&batch.spans, incomplete, |span, timestamp, raw| {
                merged.push(span, timestamp, raw);
            });
        }
        Self::encoded(merged, since)
    }

    /// A part, split by the partitions that Kafka's own producer gives the records' keys; those without a key go to `keyless`.
    pub(super) fn split(
        &self,
        incomplete: &IncompleteBatches,
        partitions: i32,
        keyless: i32,
    ) -> Vec<(i32, Self)> {
        let mut split: BTreeMap<i32, RecordsBuilder> = BTreeMap::new();
        each(&self.spans, incomplete, |span, timestamp, raw| {
            let partition = raw
                .key
                .map_or(keyless, |key| murmur2::partition(key, partitions));
            split
                .entry(partition)
                .or_default()
                .push(span, timestamp, raw);
        });
        let split = split.into_iter();
        split
            .filter_map(|(partition, encoder)| {
                Some((partition, Self::encoded(encoder, self.since)?))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::client::batch::header_list;
    use crate::client::records::RawRecord;
    use crate::client::{Batch, Record, Timestamp};
    use crate::topic_partition::TopicPartition;

    /// Time and value of a record; its key is the same as its value, or there is none.
    type Seen = (i64, String);

    /// A batch of the records `from` to `to`, whose parts take four each. The odd ones have a key.
    fn hold(incomplete: &mut IncompleteBatches, from: i64, to: i64) -> (usize, usize) {
        let mut batch = Batch::new(120);
        let headers = header_list(&[("name", b"value")]);
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
        let parts = batch.parts().len();
        (incomplete.take(batch), parts)
    }

    fn whole(incomplete: &IncompleteBatches, slot: usize, part: usize) -> ProducerBatch {
        ProducerBatch::whole(incomplete, slot, part, Instant::now()).unwrap()
    }

    /// Reads a body, and checks that it is one that a broker takes.
    fn seen(incomplete: &IncompleteBatches, batch: &ProducerBatch) -> Vec<Seen> {
        let mut bytes = batch.records(incomplete);
        let stamp = batch.stamp();
        let mut seen = Vec::new();
        while let Some((raw, size)) = RawRecord::read(bytes) {
            assert_eq!(raw.offset_delta, seen.len() as i32);
            assert_eq!(raw.headers.len(), 1);
            assert!(raw.key.is_none_or(|key| Some(key) == raw.value));
            let value = String::from_utf8(raw.value.unwrap().to_vec()).unwrap();
            seen.push((stamp.base_timestamp + raw.timestamp_delta, value));
            bytes = &bytes[size..];
        }
        assert!(bytes.is_empty());
        assert_eq!(stamp.count as usize, seen.len());
        assert_eq!(Some(stamp.base_timestamp), seen.first().map(|seen| seen.0));
        assert_eq!(
            stamp.max_timestamp,
            seen.iter().map(|seen| seen.0).max().unwrap()
        );
        for (number, (time, _)) in seen.iter().enumerate() {
            let single = batch.single(number).unwrap();
            let part = incomplete.part(single.slot, single.part).unwrap();
            let (_, raw) = part.raw().nth(single.index).unwrap();
            assert_eq!(part.stamp().base_timestamp + raw.timestamp_delta, *time);
        }
        assert_eq!(batch.single(seen.len()), None);
        seen
    }

    #[track_caller]
    fn check(incomplete: &IncompleteBatches, batch: &ProducerBatch, expected: &[i64]) {
        let expected: Vec<Seen> = expected
            .iter()
            .map(|number| (1000 - number, number.to_string()))
            .collect();
        assert_eq!(seen(incomplete, batch), expected);
    }

    #[test]
    fn a_part_is_taken_as_it_is() {
        let mut incomplete = IncompleteBatches::default();
        let (slot, parts) = hold(&mut incomplete, 0, 6);
        assert_eq!(parts, 2);
        check(&incomplete, &whole(&incomplete, slot, 0), &[0, 1, 2, 3]);
        check(&incomplete, &whole(&incomplete, slot, 1), &[4, 5]);
        let records = incomplete.part(slot, 0).unwrap().records();
        assert!(std::ptr::eq(
            whole(&incomplete, slot, 0).records(&incomplete),
            records
        ));
        assert!(ProducerBatch::whole(&incomplete, slot, 2, Instant::now()).is_none());
    }

    #[test]
    fn parts_are_merged_and_taken_apart() {
        let mut incomplete = IncompleteBatches::default();
        let (first, _) = hold(&mut incomplete, 0, 6);
        let (second, _) = hold(&mut incomplete, 6, 9);
        let batches = vec![
            whole(&incomplete, first, 0),
            whole(&incomplete, first, 1),
            whole(&incomplete, second, 0),
        ];
        let merged = ProducerBatch::merge(batches, &incomplete).unwrap();
        check(&incomplete, &merged, &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(merged.spans().len(), 3);
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
    fn a_part_is_split_by_key() {
        let mut incomplete = IncompleteBatches::default();
        let (slot, _) = hold(&mut incomplete, 0, 4);
        let split = whole(&incomplete, slot, 0).split(&incomplete, 3, 7);
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
    fn what_does_not_become_smaller_is_not_compressed() {
        let mut incomplete = IncompleteBatches::default();
        let (slot, _) = hold(&mut incomplete, 0, 1);
        let mut batch = whole(&incomplete, slot, 0);
        batch.compress(Codec::Gzip, &incomplete).unwrap();
        assert_eq!(batch.stamp().attributes, 0);
        check(&incomplete, &batch, &[0]);
        let (slot, _) = hold(&mut incomplete, 0, 4);
        let mut batch = whole(&incomplete, slot, 0);
        batch.compress(Codec::Gzip, &incomplete).unwrap();
        assert_eq!(batch.stamp().attributes, 1);
        let size = batch.records(&incomplete).len();
        assert!(size < incomplete.part(slot, 0).unwrap().records().len());
        batch.compress(Codec::Gzip, &incomplete).unwrap();
        assert_eq!(batch.records(&incomplete).len(), size);
    }
}
