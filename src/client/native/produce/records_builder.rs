//! Builds the records of a producer batch from records of any incomplete batches. No I/O.

use super::incomplete_batches::{IncompleteBatches, RecordRange};
use crate::client::records::{HeaderFields, RecordView, write_record};

/// Calls `visit` for each record of `ranges`, with the range of this record alone and its timestamp.
pub(super) fn for_each_record(
    ranges: &[RecordRange],
    incomplete: &IncompleteBatches,
    mut visit: impl FnMut(RecordRange, i64, &RecordView<'_>),
) {
    let mut ranges = ranges.iter().peekable();
    while let Some(&&RecordRange {
        slot, record_set, ..
    }) = ranges.peek()
    {
        let Some(source) = incomplete.record_set(slot, record_set) else {
            return;
        };
        let base_timestamp = source.header_fields().base_timestamp;
        // Each record set is read once, because its ranges are adjacent and in ascending order.
        let mut records = source.records().enumerate();
        let mut next = 0;
        while let Some(range) = ranges.next_if(|range| {
            range.slot == slot && range.record_set == record_set && range.from >= next
        }) {
            let skipped = range.from - next;
            for (index, (_, raw)) in records.by_ref().skip(skipped).take(range.len()) {
                let record = RecordRange {
                    from: index,
                    to: index + 1,
                    ..*range
                };
                visit(
                    record,
                    base_timestamp.wrapping_add(raw.timestamp_delta),
                    &raw,
                );
            }
            next = range.to;
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct RecordsBuilder {
    bytes: Vec<u8>,
    ranges: Vec<RecordRange>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl RecordsBuilder {
    /// Appends the record that is stored at `range`.
    pub(super) fn append(&mut self, range: RecordRange, timestamp: i64, raw: &RecordView<'_>) {
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let record = RecordView {
            timestamp_delta: timestamp.wrapping_sub(self.base_timestamp),
            offset_delta: self.count,
            ..*raw
        };
        write_record(&mut self.bytes, &record);
        self.count += 1;
        match self.ranges.last_mut() {
            Some(last)
                if (last.slot, last.record_set, last.to)
                    == (range.slot, range.record_set, range.from) =>
            {
                last.to = range.to;
            }
            _ => self.ranges.push(range),
        }
    }

    /// Returns the ranges of the records, their encoded bytes and their header fields, or `None` if there are no records.
    pub(super) fn build(self) -> Option<(Vec<RecordRange>, Vec<u8>, HeaderFields)> {
        let header_fields =
            HeaderFields::uncompressed(self.base_timestamp, self.max_timestamp, self.count);
        (self.count > 0).then_some((self.ranges, self.bytes, header_fields))
    }
}
