//! A batch of records on its way from the consumer to a producer, in Kafka's own form (`records`): what is routed is written once, as it
//! goes over the wire, so that a record costs one copy and no allocation. It travels back empty-handed once it is delivered, and its
//! buffers are used again.

use std::fmt;
use std::ops::Range;

use super::record::{Record, Timestamp};
use super::records::{
    HeaderFields, Headers, HeadersBuffer, NO_TIMESTAMP, RawRecord, Writer, varint_len,
};
use crate::client::OutputTopic;
use crate::topic_partition::TopicPartition;

/// Routed records of one round, in parts: of each part the records are in the order in which they were read.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The round it belongs to.
    pub(crate) poll_batch: u64,
    /// Records that the broker refused for good. Filled by the producer.
    pub(crate) refused: Vec<RefusedRecord>,
    parts: Vec<RecordSet>,
    /// The part that took the last record.
    last: usize,
    /// Emptied parts, for their buffers.
    spare: Vec<RecordSet>,
    /// Bytes of records after which a part is full.
    record_set_bytes: usize,
    bytes: usize,
}

/// A record that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedRecord {
    /// Which.
    pub(crate) place: RecordLocation,
    /// Why.
    pub(crate) reason: RefusalReason,
}

/// Why a record was refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RefusalReason {
    /// It is larger than the topic's `max.message.bytes`.
    TooLarge,
    /// Another reason that lies in the record, in the client's words.
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

/// Records for one topic, encoded one behind the other: the body of a record batch.
#[derive(Debug, Default)]
pub(crate) struct RecordSet {
    output: OutputTopic,
    /// Longer than what is in it: the rest is room.
    bytes: Vec<u8>,
    len: usize,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    /// Records with a key.
    keyed: i32,
    /// Bytes that were written in front of each value.
    prefix: usize,
    origins: Origins,
}

/// Where a record stands in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordLocation {
    part: usize,
    index: usize,
    at: usize,
}

/// Where a record was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Topic and partition.
    pub(crate) partition: TopicPartition,
    /// Offset.
    pub(crate) offset: i64,
    /// Time, where the client has it.
    pub(crate) timestamp: Option<Timestamp>,
}

/// A record to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutgoingRecord<'a> {
    /// Topic to write to.
    pub(crate) output: OutputTopic,
    /// Where it was read.
    pub(crate) origin: Origin,
    /// Its key, as it was read.
    pub(crate) key: Option<&'a [u8]>,
    /// Its value, prefix included.
    pub(crate) value: &'a [u8],
    /// Its headers.
    pub(crate) headers: Headers<'a>,
}

/// Offsets of a part's records. Four bytes for each: what is refused must be named, and a gap can be anywhere.
#[derive(Debug, Default)]
struct Origins {
    runs: Vec<Run>,
    /// Above the run's base, for each record.
    deltas: Vec<u32>,
}

/// Records from one partition with one kind of time.
#[derive(Debug)]
struct Run {
    first: usize,
    partition: TopicPartition,
    base: i64,
    appended: bool,
}

impl Origins {
    #[inline(always)]
    fn push(&mut self, partition: TopicPartition, offset: i64, appended: bool) {
        if let Some(run) = self.runs.last() {
            let delta = u32::try_from(offset.wrapping_sub(run.base));
            if let Ok(delta) = delta
                && run.partition == partition
                && run.appended == appended
            {
                self.deltas.push(delta);
                return;
            }
        }
        self.runs.push(Run {
            first: self.deltas.len(),
            partition,
            base: offset,
            appended,
        });
        self.deltas.push(0);
    }

    /// Of each run its partition and the indexes of its records.
    fn runs(&self) -> impl Iterator<Item = (TopicPartition, Range<usize>)> {
        let ends = self.runs.iter().skip(1).map(|run| run.first);
        let ends = ends.chain([self.deltas.len()]);
        self.runs
            .iter()
            .zip(ends)
            .map(|(run, end)| (run.partition, run.first..end))
    }

    fn get(&self, index: usize) -> Option<(&Run, i64)> {
        let run = self.runs.iter().rev().find(|run| run.first <= index)?;
        let delta = self.deltas.get(index).copied()?;
        Some((run, run.base + i64::from(delta)))
    }

    fn clear(&mut self) {
        self.runs.clear();
        self.deltas.clear();
    }
}

/// The first room of a part; it is doubled until the part is full.
const FIRST_ROOM: usize = 4096;

/// A record's length, attributes, time, offset, and the lengths of key and value at most.
const OVERHEAD: usize = 5 + 1 + 10 + 5 + 5 + 5;

impl RecordSet {
    /// Appends a record: `prefix`, then its value.
    #[inline(always)]
    fn push(&mut self, prefix: &[u8], record: &Record<'_>) {
        let value = record.value.unwrap_or_default();
        let key = record.key.unwrap_or_default();
        let key_len = record.key.map_or(-1, |key| key.len() as i64);
        let value_len = prefix.len() + value.len();
        let headers = record.headers.0;
        let room = OVERHEAD + key.len() + value_len + headers.len();
        if self.bytes.len() - self.len < room {
            self.grow(room);
        }
        let (timestamp, appended) = match record.timestamp {
            None => (NO_TIMESTAMP, false),
            Some(Timestamp::CreateTime(millis)) => (millis, false),
            Some(Timestamp::LogAppendTime(millis)) => (millis, true),
        };
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
            self.prefix = prefix.len();
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let offset_delta = i64::from(self.count);
        let length = 1
            + varint_len(timestamp_delta)
            + varint_len(offset_delta)
            + varint_len(key_len)
            + key.len()
            + varint_len(value_len as i64)
            + value_len
            + headers.len();
        let mut writer = Writer {
            out: self.bytes.get_mut(self.len..).unwrap_or_default(),
            at: 0,
        };
        writer.varint(length as i64);
        writer.byte(0);
        writer.varint(timestamp_delta);
        writer.varint(offset_delta);
        writer.varint(key_len);
        writer.copy(key);
        writer.varint(value_len as i64);
        writer.copy(prefix);
        writer.copy(value);
        writer.copy(headers);
        self.len += writer.at;
        self.count += 1;
        self.keyed += i32::from(record.key.is_some());
        self.origins.push(record.partition, record.offset, appended);
    }

    #[cold]
    fn grow(&mut self, room: usize) {
        let wanted = (self.len + room).max(FIRST_ROOM);
        self.bytes.resize(wanted.next_power_of_two(), 0);
    }

    /// Topic to write to.
    pub(crate) fn output(&self) -> OutputTopic {
        self.output
    }

    /// Its records, encoded.
    pub(crate) fn records(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Whether one of them has a key.
    pub(crate) fn is_keyed(&self) -> bool {
        self.keyed > 0
    }

    /// The header's part that is known of them.
    pub(crate) fn stamp(&self) -> HeaderFields {
        HeaderFields {
            attributes: 0,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer: (-1, -1),
            base_sequence: -1,
            count: self.count,
        }
    }

    fn clear(&mut self, keep_bytes: usize) {
        self.origins.clear();
        self.len = 0;
        self.count = 0;
        self.keyed = 0;
        if self.bytes.len() > keep_bytes {
            self.bytes.truncate(keep_bytes);
            self.bytes.shrink_to_fit();
        }
    }

    fn outgoing<'a>(&'a self, index: usize, raw: &RawRecord<'a>) -> Option<OutgoingRecord<'a>> {
        let (run, offset) = self.origins.get(index)?;
        let millis = self.base_timestamp.wrapping_add(raw.timestamp_delta);
        let timestamp = match (millis, run.appended) {
            (NO_TIMESTAMP, _) => None,
            (millis, false) => Some(Timestamp::CreateTime(millis)),
            (millis, true) => Some(Timestamp::LogAppendTime(millis)),
        };
        Some(OutgoingRecord {
            output: self.output,
            origin: Origin {
                partition: run.partition,
                offset,
                timestamp,
            },
            key: raw.key,
            value: raw.value.unwrap_or_default(),
            headers: raw.headers,
        })
    }

    /// The index of the first record that stands at `at` or behind it is given by walking; for what is rare.
    pub(crate) fn raw(&self) -> impl Iterator<Item = (usize, RawRecord<'_>)> {
        let bytes = self.records();
        let mut at = 0;
        std::iter::from_fn(move || {
            let (raw, size) = RawRecord::read(bytes.get(at..)?)?;
            let here = at;
            at += size;
            Some((here, raw))
        })
    }
}

impl Batch {
    /// An empty one, whose parts are full at so many bytes of records.
    pub(crate) fn new(record_set_bytes: usize) -> Self {
        Self {
            poll_batch: 0,
            refused: Vec::new(),
            parts: Vec::new(),
            last: 0,
            spare: Vec::new(),
            record_set_bytes,
            bytes: 0,
        }
    }

    /// Appends a record: `prefix`, then its value, to `output`.
    #[inline(always)]
    pub(crate) fn push(&mut self, output: OutputTopic, prefix: &[u8], record: &Record<'_>) {
        let size = OVERHEAD
            + prefix.len()
            + record.key.map_or(0, <[u8]>::len)
            + record.value.map_or(0, <[u8]>::len)
            + record.headers.0.len();
        let fits =
            |part: &RecordSet| part.output == output && part.len + size <= self.record_set_bytes;
        if !self.parts.get(self.last).is_some_and(fits) {
            self.open(output, size);
        }
        if let Some(part) = self.parts.get_mut(self.last) {
            let before = part.len;
            part.push(prefix, record);
            self.bytes += part.len - before;
        }
    }

    /// Makes `last` the part that takes the next record of this topic: the last of that topic, or a new one where it is full.
    #[cold]
    fn open(&mut self, output: OutputTopic, size: usize) {
        let last = self.parts.iter().rposition(|part| part.output == output);
        let has_room = |index: &usize| {
            self.parts
                .get(*index)
                .is_some_and(|part| part.len + size <= self.record_set_bytes)
        };
        self.last = last.filter(has_room).unwrap_or_else(|| {
            let mut part = self.spare.pop().unwrap_or_default();
            part.output = output;
            self.parts.push(part);
            self.parts.len() - 1
        });
    }

    /// Its parts, in the order in which they were begun; those of one topic are to be written in it.
    pub(crate) fn parts(&self) -> &[RecordSet] {
        &self.parts
    }

    /// The record at `place`, if there is one.
    pub(crate) fn get(&self, place: RecordLocation) -> Option<OutgoingRecord<'_>> {
        let part = self.parts.get(place.part)?;
        let (raw, _) = RawRecord::read(part.records().get(place.at..)?)?;
        part.outgoing(place.index, &raw)
    }

    /// All records with their places, part by part.
    #[cfg(any(test, feature = "librdkafka", feature = "kafka"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RecordLocation, OutgoingRecord<'_>)> {
        self.parts.iter().enumerate().flat_map(|(number, part)| {
            let records = part.raw().enumerate();
            records.filter_map(move |(index, (at, raw))| {
                let place = RecordLocation {
                    part: number,
                    index,
                    at,
                };
                Some((place, part.outgoing(index, &raw)?))
            })
        })
    }

    /// The places of a part's records, in their order.
    pub(crate) fn places(&self, part: usize) -> impl Iterator<Item = RecordLocation> {
        let records = self.parts.get(part).map(|part| part.raw().enumerate());
        let records = records.into_iter().flatten();
        records.map(move |(index, (at, _))| RecordLocation { part, index, at })
    }

    /// Where its records were read, and what for: a partition, the topic they were written to, and how many; those that were refused are
    /// none of them. A partition can come more than once.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = (TopicPartition, OutputTopic, u64)> {
        self.parts
            .iter()
            .enumerate()
            .flat_map(move |(number, part)| {
                part.origins.runs().map(move |(partition, indexes)| {
                    let refused = self.refused.iter().filter(|refused| {
                        refused.place.part == number && indexes.contains(&refused.place.index)
                    });
                    let count = indexes.len().saturating_sub(refused.count());
                    (partition, part.output, count as u64)
                })
            })
    }

    /// Records in it.
    pub(crate) fn len(&self) -> usize {
        self.parts
            .iter()
            .map(|part| part.count.unsigned_abs() as usize)
            .sum()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes of its records.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes that the broker refused the record at `place` for good.
    pub(crate) fn refuse(&mut self, place: RecordLocation, reason: RefusalReason) {
        self.refused.push(RefusedRecord { place, reason });
    }

    /// Removes and returns the refusals, in the order of the records.
    pub(crate) fn take_refused(&mut self) -> Vec<RefusedRecord> {
        let mut refused = std::mem::take(&mut self.refused);
        refused.sort_by_key(|refused| refused.place);
        refused
    }

    /// Returns the record at `place` as it was read, without the prefix.
    pub(crate) fn as_read(&self, place: RecordLocation) -> Option<Record<'_>> {
        let outgoing = self.get(place)?;
        let prefix = self.parts.get(place.part).map_or(0, |part| part.prefix);
        Some(Record {
            partition: outgoing.origin.partition,
            offset: outgoing.origin.offset,
            timestamp: outgoing.origin.timestamp,
            key: outgoing.key,
            value: outgoing.value.get(prefix..),
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

    /// Empties it, but keeps its buffers for the next round; an outsized one is given back.
    pub(crate) fn clear(&mut self, keep_bytes: usize) {
        self.refused.clear();
        self.last = 0;
        self.bytes = 0;
        for mut part in self.parts.drain(..) {
            part.clear(keep_bytes);
            if self.spare.is_empty() {
                self.spare.push(part);
            }
        }
    }
}

/// For who has headers one by one.
pub(crate) fn header_list(headers: &[(&str, &[u8])]) -> HeadersBuffer {
    let mut buffer = HeadersBuffer::default();
    buffer.begin(headers.len());
    for (name, value) in headers {
        buffer.push(name.as_bytes(), Some(value));
    }
    buffer
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const ROOM: usize = 1 << 20;

    fn push(batch: &mut Batch, offset: i64, key: Option<&str>, value: &str) {
        let headers = header_list(&[("own", b"1")]);
        let record = Record {
            partition: TopicPartition {
                topic: 0,
                partition: 3,
            },
            offset,
            timestamp: Some(Timestamp::CreateTime(1)),
            key: key.map(str::as_bytes),
            value: Some(value.as_bytes()),
            headers: headers.headers(),
        };
        batch.push(0, b"Even timestamp: ", &record);
    }

    #[track_caller]
    fn check(batch: &Batch, expected: &[(OutputTopic, i64, Option<&str>, &str)]) {
        let found: Vec<_> = batch
            .iter()
            .map(|(_, record)| {
                (
                    record.output,
                    record.origin.offset,
                    record.key,
                    record.value,
                )
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(output, offset, key, value)| {
                (*output, *offset, key.map(str::as_bytes), value.as_bytes())
            })
            .collect();
        assert_eq!(found, expected);
        for (place, record) in batch.iter() {
            assert_eq!(batch.get(place), Some(record));
            assert_eq!(batch.places(place.part).nth(place.index), Some(place));
        }
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let mut batch = Batch::new(ROOM);
        push(&mut batch, 1, None, "2");
        push(&mut batch, 2, Some(""), "4");
        push(&mut batch, 1 << 40, Some("key"), "6");
        let long = "8".repeat(100);
        push(&mut batch, (1 << 40) + 7, None, &long);
        let expected = [
            (0, 1, None, "Even timestamp: 2"),
            (0, 2, Some(""), "Even timestamp: 4"),
            (0, 1 << 40, Some("key"), "Even timestamp: 6"),
            (0, (1 << 40) + 7, None, &*format!("Even timestamp: {long}")),
        ];
        check(&batch, &expected);
        assert_eq!((batch.len(), batch.parts().len()), (4, 1));
        batch.clear(1 << 20);
        assert!(batch.is_empty());
    }

    #[test]
    fn a_full_part_is_followed_by_another() {
        let mut batch = Batch::new(100);
        for offset in 0..5 {
            push(&mut batch, offset, None, "2");
        }
        assert_eq!(batch.parts().len(), 3);
        assert_eq!(
            batch.bytes(),
            batch
                .parts()
                .iter()
                .map(|part| part.records().len())
                .sum::<usize>()
        );
        let expected: Vec<_> = (0..5)
            .map(|offset| (0, offset, None, "Even timestamp: 2"))
            .collect();
        check(&batch, &expected);
        // A record that is larger than a part goes alone.
        push(&mut batch, 5, None, &"2".repeat(200));
        assert_eq!(batch.parts().len(), 4);
    }

    #[test]
    fn refused_records_as_they_were_read() {
        let mut batch = Batch::new(ROOM);
        push(&mut batch, 1, Some("a"), "2");
        push(&mut batch, 2, None, "4");
        push(&mut batch, 3, Some("a longer key than the prefix"), "6");
        push(&mut batch, 4, None, "8");
        let places: Vec<RecordLocation> = batch.iter().map(|(place, _)| place).collect();
        batch.refuse(places[2], RefusalReason::TooLarge);
        batch.refuse(places[1], RefusalReason::Invalid("bad time".to_owned()));
        let partition = TopicPartition {
            topic: 0,
            partition: 3,
        };
        let tallies: Vec<_> = batch.tallies().collect();
        assert_eq!(tallies, [(partition, 0, 2)]);
        let refused = batch.take_refused();
        assert!(batch.refused.is_empty());
        let read: Vec<_> = refused
            .iter()
            .filter_map(|refused| batch.as_read(refused.place))
            .map(|record| (record.offset, record.key, record.value))
            .collect();
        assert_eq!(
            read,
            [
                (2, None, Some(b"4".as_slice())),
                (
                    3,
                    Some(b"a longer key than the prefix".as_slice()),
                    Some(b"6".as_slice())
                ),
            ]
        );
    }
}
