//! A consumed record: borrowed views of the bytes that a broker sent.

use super::records::Headers;
use crate::topic_partition::TopicPartition;

/// A record that a consumer passes to the callback of a poll. It borrows the consumer's buffers and is valid only during the call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    /// Partition the record was read from.
    pub(crate) partition: TopicPartition,
    /// Offset in that partition.
    pub(crate) offset: i64,
    /// `None` if the record has no timestamp or the client cannot read it.
    pub(crate) timestamp: Option<Timestamp>,
    /// `None` is a null key, which differs from an empty one.
    pub(crate) key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub(crate) value: Option<&'a [u8]>,
    /// Empty if the client cannot read headers.
    pub(crate) headers: Headers<'a>,
}

/// Timestamp of a record, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timestamp {
    /// Set by the producer of the record.
    CreateTime(i64),
    /// Set by the broker that appended the record.
    LogAppendTime(i64),
}

impl Timestamp {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub(crate) fn millis(self) -> i64 {
        match self {
            Self::CreateTime(millis) | Self::LogAppendTime(millis) => millis,
        }
    }

    /// Name of the timestamp type in Kafka (`org.apache.kafka.common.record.TimestampType`).
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::CreateTime(_) => "CreateTime",
            Self::LogAppendTime(_) => "LogAppendTime",
        }
    }
}
