//! The body of one record batch for one partition: a whole part of a batch as it stands there, or, where the part had to be split, merged or
//! compressed, a copy of its own. It remembers which records it has, so that it can be put together anew.

use std::collections::BTreeMap;
use std::time::Instant;

use super::encoder::{Encoder, each};
use super::held::{Held, Single, Span};
use super::sequence::Counted;
use crate::client::OutputTopic;
use crate::client::murmur2;
use crate::client::native::compression::{self, Codec};
use crate::client::records::HeaderFields;

/// See the module.
#[derive(Debug)]
pub(super) struct Body {
    spans: Vec<Span>,
    /// None where it is a whole part, uncompressed.
    copy: Option<Vec<u8>>,
    stamp: HeaderFields,
    /// When its records were given to the producer.
    pub(super) since: Instant,
    /// The broker found that it had not arrived as it was sent.
    pub(super) corrupt: bool,
}

impl Counted for Body {
    fn count(&self) -> i32 {
        self.stamp.count
    }
}

impl Body {
    /// A whole part, as it is; none where there is no such part.
    pub(super) fn whole(held: &Held, slot: usize, part: usize, since: Instant) -> Option<Self> {
        let source = held.part(slot, part)?;
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

    fn encoded(encoder: Encoder, since: Instant) -> Option<Self> {
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
    pub(super) fn source(&self, held: &Held) -> Option<(OutputTopic, bool)> {
        let first = self.spans.first()?;
        let part = held.part(first.slot, first.part)?;
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
    pub(super) fn records<'a>(&'a self, held: &'a Held) -> &'a [u8] {
        match (&self.copy, self.spans.as_slice()) {
            (Some(copy), _) => copy,
            (None, [whole]) => held
                .part(whole.slot, whole.part)
                .map_or(&[], |part| part.records()),
            (None, _) => &[],
        }
    }

    /// Compresses it, once, and unless that makes it larger.
    pub(super) fn compress(&mut self, codec: Codec, held: &Held) -> Result<(), compression::Error> {
        if codec == Codec::None || self.stamp.attributes != 0 {
            return Ok(());
        }
        let records = self.records(held);
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
    pub(super) fn halves(&self, held: &Held) -> Vec<Self> {
        let middle = usize::try_from(self.count()).unwrap_or_default() / 2;
        let mut number = 0;
        let (mut first, mut second) = (Encoder::default(), Encoder::default());
        each(&self.spans, held, |span, timestamp, raw| {
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
    pub(super) fn without(&self, held: &Held, numbers: &[usize]) -> Option<Self> {
        let mut number = 0;
        let mut left = Encoder::default();
        each(&self.spans, held, |span, timestamp, raw| {
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
    pub(super) fn merge(bodies: Vec<Self>, held: &Held) -> Option<Self> {
        let since = bodies.first()?.since;
        let mut merged = Encoder::default();
        for body in &bodies {
            each(&body.spans, held, |span, timestamp, raw| {
                merged.push(span, timestamp, raw);
            });
        }
        Self::encoded(merged, since)
    }

    /// A part, split by the partitions that Kafka's own producer gives the records' keys; those without a key go to `keyless`.
    pub(super) fn split(&self, held: &Held, partitions: i32, keyless: i32) -> Vec<(i32, Self)> {
        let mut split: BTreeMap<i32, Encoder> = BTreeMap::new();
        each(&self.spans, held, |span, timestamp, raw| {
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
    fn hold(held: &mut Held, from: i64, to: i64) -> (usize, usize) {
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
        (held.take(batch), parts)
    }

    fn whole(held: &Held, slot: usize, part: usize) -> Body {
        Body::whole(held, slot, part, Instant::now()).unwrap()
    }

    /// Reads a body, and checks that it is one that a broker takes.
    fn seen(held: &Held, body: &Body) -> Vec<Seen> {
        let mut bytes = body.records(held);
        let stamp = body.stamp();
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
            let single = body.single(number).unwrap();
            let part = held.part(single.slot, single.part).unwrap();
            let (_, raw) = part.raw().nth(single.index).unwrap();
            assert_eq!(part.stamp().base_timestamp + raw.timestamp_delta, *time);
        }
        assert_eq!(body.single(seen.len()), None);
        seen
    }

    #[track_caller]
    fn check(held: &Held, body: &Body, expected: &[i64]) {
        let expected: Vec<Seen> = expected
            .iter()
            .map(|number| (1000 - number, number.to_string()))
            .collect();
        assert_eq!(seen(held, body), expected);
    }

    #[test]
    fn a_part_is_taken_as_it_is() {
        let mut held = Held::default();
        let (slot, parts) = hold(&mut held, 0, 6);
        assert_eq!(parts, 2);
        check(&held, &whole(&held, slot, 0), &[0, 1, 2, 3]);
        check(&held, &whole(&held, slot, 1), &[4, 5]);
        let records = held.part(slot, 0).unwrap().records();
        assert!(std::ptr::eq(whole(&held, slot, 0).records(&held), records));
        assert!(Body::whole(&held, slot, 2, Instant::now()).is_none());
    }

    #[test]
    fn parts_are_merged_and_taken_apart() {
        let mut held = Held::default();
        let (first, _) = hold(&mut held, 0, 6);
        let (second, _) = hold(&mut held, 6, 9);
        let bodies = vec![
            whole(&held, first, 0),
            whole(&held, first, 1),
            whole(&held, second, 0),
        ];
        let merged = Body::merge(bodies, &held).unwrap();
        check(&held, &merged, &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(merged.spans().len(), 3);
        let halves = merged.halves(&held);
        check(&held, &halves[0], &[0, 1, 2, 3]);
        check(&held, &halves[1], &[4, 5, 6, 7, 8]);
        let left = halves[1].without(&held, &[1, 2]).unwrap();
        check(&held, &left, &[4, 7, 8]);
        let left = left.without(&held, &[0]).unwrap();
        check(&held, &left, &[7, 8]);
        assert!(left.without(&held, &[0, 1]).is_none());
        let single = left.without(&held, &[1]).unwrap();
        assert_eq!(single.halves(&held).len(), 1);
    }

    #[test]
    fn a_part_is_split_by_key() {
        let mut held = Held::default();
        let (slot, _) = hold(&mut held, 0, 4);
        let split = whole(&held, slot, 0).split(&held, 3, 7);
        let partition_of = |key: &str| murmur2::partition(key.as_bytes(), 3);
        let mut expected: BTreeMap<i32, Vec<i64>> = BTreeMap::from([(7, vec![0, 2])]);
        for key in [1, 3] {
            let partition = partition_of(&key.to_string());
            expected.entry(partition).or_default().push(key);
        }
        assert_eq!(split.len(), expected.len());
        for (partition, body) in &split {
            check(&held, body, &expected[partition]);
        }
    }

    #[test]
    fn what_does_not_become_smaller_is_not_compressed() {
        let mut held = Held::default();
        let (slot, _) = hold(&mut held, 0, 1);
        let mut body = whole(&held, slot, 0);
        body.compress(Codec::Gzip, &held).unwrap();
        assert_eq!(body.stamp().attributes, 0);
        check(&held, &body, &[0]);
        let (slot, _) = hold(&mut held, 0, 4);
        let mut body = whole(&held, slot, 0);
        body.compress(Codec::Gzip, &held).unwrap();
        assert_eq!(body.stamp().attributes, 1);
        let size = body.records(&held).len();
        assert!(size < held.part(slot, 0).unwrap().records().len());
        body.compress(Codec::Gzip, &held).unwrap();
        assert_eq!(body.records(&held).len(), size);
    }
}
