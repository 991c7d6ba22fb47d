//! Names of partitions and positions, used by the client, the offset tracker and the counters. No I/O.

/// A partition of one of the input topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicPartition {
    /// Index of the topic among the input topics of the client (`client::Topics::inputs`).
    pub(crate) topic: u16,
    /// Partition number.
    pub(crate) partition: i32,
}

/// A partition and the offset of the next record to read, which is what Kafka wants committed.
pub(crate) type NextOffset = (TopicPartition, i64);
