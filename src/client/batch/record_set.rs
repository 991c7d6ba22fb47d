//! Encoded records for one output topic. A record is encoded once, in its final wire form, with one copy and no allocation.

use super::source_offsets::SourceOffsets;
use crate::client::record::{Record, Timestamp};
use crate::client::records::{HeaderFields, Headers, NO_TIMESTAMP, RecordView, Writer, varint_len};
use crate::client::topics::OutputTopic;
use crate::topic_partition::TopicPartition;

/// Initial capacity in bytes of a record set, which doubles as needed.
const INITIAL_CAPACITY: usize = 4096;

/// Upper bound of what a record takes besides key, value and headers: the length (5 bytes), the attributes (1), the timestamp delta (10),
/// the offset delta (5), and the lengths of key and value (5 each).
pub(super) const MAX_RECORD_OVERHEAD: usize = 5 + 1 + 10 + 5 + 5 + 5;

/// Encoded records for one output topic: what follows the header of a record batch.
#[derive(Debug, Default)]
pub(crate) struct RecordSet {
    pub(super) output: OutputTopic,
    /// The encoded records in the first `len` bytes; the rest is spare capacity, already zeroed.
    bytes: Vec<u8>,
    pub(super) len: usize,
    pub(super) count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    /// True if at least one record has a key.
    has_key: bool,
    /// Length of the prefix of every value.
    pub(super) prefix_len: usize,
    pub(super) sources: SourceOffsets,
}

/// A record to be written, decoded from a record set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutgoingRecord<'a> {
    /// Topic to write to.
    pub(crate) output: OutputTopic,
    /// Input partition.
    pub(crate) partition: TopicPartition,
    /// Offset in that partition.
    pub(crate) offset: i64,
    /// `None` if the record has no timestamp or the client cannot read it.
    pub(crate) timestamp: Option<Timestamp>,
    /// The key as it was read.
    pub(crate) key: Option<&'a [u8]>,
    /// The value, prefix included.
    pub(crate) value: &'a [u8],
    /// The headers.
    pub(crate) headers: Headers<'a>,
}

impl RecordSet {
    /// Appends a record whose value is `prefix` followed by the value of `record`.
    #[inline(always)]
    pub(super) fn push(&mut self, prefix: &[u8], record: &Record<'_>) {
        let value = record.value.unwrap_or_default();
        let key = record.key.unwrap_or_default();
        let key_len = record.key.map_or(-1, |key| key.len() as i64);
        let value_len = prefix.len() + value.len();
        let headers = record.headers.0;
        let max_size = MAX_RECORD_OVERHEAD + key.len() + value_len + headers.len();
        if self.bytes.len() - self.len < max_size {
            self.reserve(max_size);
        }
        let (timestamp, has_append_time) = match record.timestamp {
            None => (NO_TIMESTAMP, false),
            Some(Timestamp::CreateTime(millis)) => (millis, false),
            Some(Timestamp::LogAppendTime(millis)) => (millis, true),
        };
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
            self.prefix_len = prefix.len();
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
            position: 0,
        };
        writer.varint(length as i64);
        // The attributes, of which Kafka uses none.
        writer.byte(0);
        writer.varint(timestamp_delta);
        writer.varint(offset_delta);
        writer.varint(key_len);
        writer.copy(key);
        writer.varint(value_len as i64);
        writer.copy(prefix);
        writer.copy(value);
        writer.copy(headers);
        self.len += writer.position;
        self.count += 1;
        self.has_key |= record.key.is_some();
        self.sources
            .push(record.partition, record.offset, has_append_time);
    }

    /// Makes room for `additional` bytes.
    #[cold]
    fn reserve(&mut self, additional: usize) {
        let capacity = (self.len + additional).max(INITIAL_CAPACITY);
        self.bytes.resize(capacity.next_power_of_two(), 0);
    }

    /// Topic to write to.
    pub(crate) fn output(&self) -> OutputTopic {
        self.output
    }

    /// The encoded records.
    pub(crate) fn encoded(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Returns true if at least one record has a key.
    pub(crate) fn is_keyed(&self) -> bool {
        self.has_key
    }

    /// Returns the header fields of an uncompressed record batch of these records.
    pub(crate) fn header_fields(&self) -> HeaderFields {
        HeaderFields::uncompressed(self.base_timestamp, self.max_timestamp, self.count)
    }

    /// Iterates over the records with their positions in the encoded bytes.
    pub(crate) fn records(&self) -> impl Iterator<Item = (usize, RecordView<'_>)> {
        let bytes = self.encoded();
        let mut next = 0;
        std::iter::from_fn(move || {
            let (record, size) = RecordView::read(bytes.get(next..)?)?;
            let position = next;
            next += size;
            Some((position, record))
        })
    }

    /// Combines the record at `index` with its origin.
    pub(super) fn outgoing<'a>(
        &'a self,
        index: usize,
        record: &RecordView<'a>,
    ) -> Option<OutgoingRecord<'a>> {
        let (run, offset) = self.sources.get(index)?;
        let millis = self.base_timestamp.wrapping_add(record.timestamp_delta);
        let timestamp = match (millis, run.has_append_time) {
            (NO_TIMESTAMP, _) => None,
            (millis, false) => Some(Timestamp::CreateTime(millis)),
            (millis, true) => Some(Timestamp::LogAppendTime(millis)),
        };
        Some(OutgoingRecord {
            output: self.output,
            partition: run.partition,
            offset,
            timestamp,
            key: record.key,
            value: record.value.unwrap_or_default(),
            headers: record.headers,
        })
    }

    /// Removes all records. Keeps the memory for reuse, but at most `max_capacity` bytes of it.
    pub(super) fn clear(&mut self, max_capacity: usize) {
        self.sources.clear();
        self.len = 0;
        self.count = 0;
        self.has_key = false;
        if self.bytes.len() > max_capacity {
            self.bytes.truncate(max_capacity);
            self.bytes.shrink_to_fit();
        }
    }
}
