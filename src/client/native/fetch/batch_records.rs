//! Delivery of the records of one batch, which compressed and uncompressed batches share. No I/O.

use std::ops::ControlFlow;

use crate::client::records::{BatchHeader, NO_TIMESTAMP, RecordView};
use crate::client::{Record, Timestamp};
use crate::topic_partition::TopicPartition;

/// A batch whose records are being delivered: what they have in common.
pub(super) struct BatchRecords<'a> {
    pub(super) partition: TopicPartition,
    pub(super) header: &'a BatchHeader,
}

impl BatchRecords<'_> {
    /// Delivers the uncompressed records that begin at `at` until `handle` breaks or `left` is 0.
    ///
    /// Moves `next` past the records it delivers. Fails with the reason if a record cannot be decoded.
    #[inline]
    pub(super) fn deliver(
        &self,
        bytes: &[u8],
        at: &mut usize,
        left: &mut i32,
        next: &mut i64,
        handle: &mut impl FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, String> {
        let mut here = *at;
        let mut flow = ControlFlow::Continue(());
        while *left > 0 && flow == ControlFlow::Continue(()) {
            let Some((raw, size)) = bytes.get(here..).and_then(RecordView::read) else {
                return Err("a record of the batch cannot be decoded".to_owned());
            };
            here += size;
            *left -= 1;
            flow = self.deliver_one(&raw, next, handle);
        }
        *at = here;
        Ok(flow)
    }

    #[inline(always)]
    pub(super) fn deliver_one(
        &self,
        raw: &RecordView<'_>,
        next: &mut i64,
        handle: &mut impl FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let offset = self.header.base_offset + i64::from(raw.offset_delta);
        if offset < *next {
            // The fetch offset was in the middle of the batch.
            return ControlFlow::Continue(());
        }
        let timestamp = if self.header.has_append_time() {
            Timestamp::LogAppendTime(self.header.max_timestamp)
        } else {
            Timestamp::CreateTime(self.header.base_timestamp.wrapping_add(raw.timestamp_delta))
        };
        *next = offset + 1;
        handle(Record {
            partition: self.partition,
            offset,
            timestamp: (timestamp.millis() != NO_TIMESTAMP).then_some(timestamp),
            key: raw.key,
            value: raw.value,
            headers: raw.headers,
        })
    }
}
