//! One in-flight batch: its sequence numbers, and what the brokers' responses say about it.

/// Something that takes one sequence number per record.
pub(in crate::client::native::produce) trait RecordCount {
    /// Number of records, at least 1.
    fn record_count(&self) -> i32;
}

/// A batch of the partition, from the moment it may be sent until it and all batches in front of it are acknowledged.
#[derive(Debug)]
pub(super) struct InFlightBatch<B> {
    pub(super) id: u64,
    /// `None` once it is acknowledged: the entry then only keeps its sequence numbers occupied.
    pub(super) batch: Option<B>,
    pub(super) record_count: i32,
    pub(super) base_sequence: Option<i32>,
    pub(super) state: BatchState,
    /// A broker may have appended it under `base_sequence`, or may still do so.
    pub(super) is_possibly_appended: bool,
    /// A broker has rejected it at least once without appending it.
    pub(super) was_rejected: bool,
    /// The broker answered OUT_OF_ORDER_SEQUENCE_NUMBER although it may have appended the batch.
    pub(super) is_out_of_sequence: bool,
    /// Offset of the first record, if the broker returned one.
    pub(super) base_offset: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchState {
    /// To be sent, for the first time or again.
    Unsent,
    /// Sent, without a response yet.
    Sent,
    Acknowledged,
}

impl<B: RecordCount> InFlightBatch<B> {
    pub(super) fn new(id: u64, batch: B) -> Self {
        Self {
            id,
            record_count: batch.record_count(),
            batch: Some(batch),
            base_sequence: None,
            state: BatchState::Unsent,
            is_possibly_appended: false,
            was_rejected: false,
            is_out_of_sequence: false,
            base_offset: None,
        }
    }
}
