//! Puts records that stand anywhere in the held batches together, for a record batch of their own.

use super::incomplete_batches::{IncompleteBatches, Span};
use crate::client::records::{HeaderFields, RawRecord, write_record};

/// Lends the records of `spans`, each with a span of its own and its time.
pub(super) fn each(
    spans: &[Span],
    incomplete: &IncompleteBatches,
    mut take: impl FnMut(Span, i64, &RawRecord<'_>),
) {
    let mut spans = spans.iter().peekable();
    while let Some(&&Span { slot, part, .. }) = spans.peek() {
        let Some(source) = incomplete.part(slot, part) else {
            return;
        };
        let base = source.stamp().base_timestamp;
        // Each part is walked through once: its spans come one behind the other, in their order.
        let mut records = source.raw().enumerate();
        let mut next = 0;
        while let Some(span) =
            spans.next_if(|span| span.slot == slot && span.part == part && span.from >= next)
        {
            let skipped = span.from - next;
            for (index, (_, raw)) in records.by_ref().skip(skipped).take(span.len()) {
                let alone = Span {
                    from: index,
                    to: index + 1,
                    ..*span
                };
                take(alone, base.wrapping_add(raw.timestamp_delta), &raw);
            }
            next = span.to;
        }
    }
}

/// Puts records together for a batch of their own.
#[derive(Debug, Default)]
pub(super) struct RecordsBuilder {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl RecordsBuilder {
    /// Appends a record, which stands at `span`.
    pub(super) fn push(&mut self, span: Span, timestamp: i64, raw: &RawRecord<'_>) {
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let record = RawRecord {
            timestamp_delta: timestamp.wrapping_sub(self.base_timestamp),
            offset_delta: self.count,
            ..*raw
        };
        write_record(&mut self.bytes, &record);
        self.count += 1;
        match self.spans.last_mut() {
            Some(last) if (last.slot, last.part, last.to) == (span.slot, span.part, span.from) => {
                last.to = span.to;
            }
            _ => self.spans.push(span),
        }
    }

    /// Where the records stand, their bytes, and their part of a header; none where there are none.
    pub(super) fn finish(self) -> Option<(Vec<Span>, Vec<u8>, HeaderFields)> {
        let stamp = HeaderFields {
            attributes: 0,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer: (-1, -1),
            base_sequence: -1,
            count: self.count,
        };
        (self.count > 0).then_some((self.spans, self.bytes, stamp))
    }
}
