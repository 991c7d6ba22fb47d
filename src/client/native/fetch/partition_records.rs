//! Record batches of one partition of a fetch response, and their delivery record by record. No I/O.
//!
//! The batches stay in the memory that the response arrived in; the handler gets borrowed views of it. It may break after any record and
//! the walk resumes there in the next poll.

use std::ops::ControlFlow;

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::AbortedTransaction;

use super::aborted_transactions::AbortedTransactions;
use super::batch_records::BatchRecords;
use super::decompression::CompressedRecords;
use crate::client::Record;
use crate::client::native::compression;
use crate::client::records::{BATCH_HEADER_SIZE, BatchHeader, ParsedHeader, RecordView};
use crate::client::settings::Compression;
use crate::topic_partition::TopicPartition;

/// Record batches of one partition, and how far they are delivered.
pub(super) struct PartitionRecords {
    pub(super) partition: TopicPartition,
    /// The batches as they are in the response; the last one may be cut off.
    records: Bytes,
    /// Start of the open batch in `records`, or of the next one if none is open.
    batch_start: usize,
    /// The position: offset of the next record to deliver. Those below it are skipped, as the first batch may begin below the fetch offset.
    pub(super) next: i64,
    /// The records begin below those delivered before, so they must be delivered by a new poll.
    pub(super) went_back: bool,
    aborted: AbortedTransactions,
    /// The batch that is being delivered.
    open: Option<OpenBatch>,
}

/// A batch that is being delivered.
struct OpenBatch {
    header: BatchHeader,
    /// Records that are not read yet.
    left: i32,
    source: RecordSource,
}

enum RecordSource {
    /// Start of the next record and end of the batch, in [`PartitionRecords::records`].
    Uncompressed {
        at: usize,
        end: usize,
    },
    Compressed(CompressedRecords),
}

/// The reason why [`PartitionRecords::deliver`] ended.
pub(super) enum DeliveryEnd {
    /// The handler broke.
    Break,
    /// All whole batches are delivered.
    Exhausted,
    Unreadable(UnreadableBatch),
}

/// A batch that cannot be read.
pub(super) struct UnreadableBatch {
    pub(super) reason: String,
    /// Fetching it again cannot help.
    pub(super) is_permanent: bool,
}

impl UnreadableBatch {
    fn corrupt(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            is_permanent: false,
        }
    }
}

/// Returns the offset after the last whole batch.
pub(super) fn end_offset(records: &[u8]) -> Option<i64> {
    let mut end = None;
    let mut at = 0;
    while let Some(ParsedHeader::Batch(header)) = records.get(at..).and_then(BatchHeader::parse) {
        end = Some(header.next_offset());
        at += header.size;
    }
    end
}

impl PartitionRecords {
    /// `next` is the offset that was fetched, `aborted` the aborted transactions from the same response.
    pub(super) fn new(
        partition: TopicPartition,
        records: Bytes,
        next: i64,
        aborted: Vec<AbortedTransaction>,
    ) -> Self {
        Self {
            partition,
            records,
            batch_start: 0,
            next,
            went_back: false,
            aborted: AbortedTransactions::new(aborted),
            open: None,
        }
    }

    /// Delivers records until `handle` breaks or all whole batches are delivered. `window` is a buffer for decompressed records.
    pub(super) fn deliver(
        &mut self,
        check_crcs: bool,
        window: &mut Vec<u8>,
        handle: &mut impl FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> DeliveryEnd {
        loop {
            let Some(mut open) = self.open.take() else {
                match self.open_next(check_crcs) {
                    Ok(true) => continue,
                    Ok(false) => return DeliveryEnd::Exhausted,
                    Err(batch) => return DeliveryEnd::Unreadable(batch),
                }
            };
            let batch = BatchRecords {
                partition: self.partition,
                header: &open.header,
            };
            let (left, next) = (&mut open.left, &mut self.next);
            let flow = match &mut open.source {
                RecordSource::Uncompressed { at, end } => {
                    let bytes = self.records.get(..*end).unwrap_or_default();
                    batch.deliver(bytes, at, left, next, handle)
                }
                RecordSource::Compressed(records) => {
                    records.deliver(&batch, window, left, next, handle)
                }
            };
            match flow {
                Ok(ControlFlow::Continue(())) => self.pass_batch(&open.header),
                Ok(ControlFlow::Break(())) => {
                    self.open = Some(open);
                    return DeliveryEnd::Break;
                }
                Err(reason) => {
                    return DeliveryEnd::Unreadable(UnreadableBatch::corrupt(reason));
                }
            }
        }
    }

    /// Opens the next batch that has records to deliver, and skips the others. Returns false if there is none.
    fn open_next(&mut self, check_crcs: bool) -> Result<bool, UnreadableBatch> {
        loop {
            let bytes = self.records.get(self.batch_start..).unwrap_or_default();
            let header = match BatchHeader::parse(bytes) {
                Some(ParsedHeader::Batch(header)) => header,
                Some(ParsedHeader::Partial) => return Ok(false),
                Some(ParsedHeader::Legacy(magic)) => {
                    return Err(UnreadableBatch {
                        reason: format!(
                            "message format v{magic} (before Kafka 0.11) is not supported by the client \"native\"; \
                             the client \"librdkafka\" reads it"
                        ),
                        is_permanent: true,
                    });
                }
                None => return Err(UnreadableBatch::corrupt("not a record batch")),
            };
            if check_crcs && !header.is_intact(bytes) {
                return Err(UnreadableBatch::corrupt(
                    "the CRC of the record batch is wrong",
                ));
            }
            if header.is_control() {
                self.end_transaction(&header);
            }
            let is_below = header.next_offset() <= self.next;
            let is_skipped = is_below
                || header.is_control()
                || self.aborted.covers(&header)
                || header.count == 0;
            if is_skipped {
                self.pass_batch(&header);
            } else {
                self.open = Some(self.open_batch(header)?);
                return Ok(true);
            }
        }
    }

    fn open_batch(&self, header: BatchHeader) -> Result<OpenBatch, UnreadableBatch> {
        let start = self.batch_start + BATCH_HEADER_SIZE;
        let end = self.batch_start + header.size;
        let source = match Compression::from_id(header.compression_id()) {
            Some(Compression::None) => RecordSource::Uncompressed { at: start, end },
            Some(compression_type) => {
                let decoder = compression::reader(compression_type, self.records.slice(start..end));
                let decoder = decoder
                    .map_err(|error| UnreadableBatch::corrupt(crate::client::report(&error)))?;
                RecordSource::Compressed(CompressedRecords::new(decoder))
            }
            None => {
                let reason = format!("unknown compression type {}", header.compression_id());
                return Err(UnreadableBatch::corrupt(reason));
            }
        };
        Ok(OpenBatch {
            left: header.count,
            header,
            source,
        })
    }

    /// Moves on to the next batch. The position passes all offsets of this one, including those that compaction has removed.
    fn pass_batch(&mut self, header: &BatchHeader) {
        self.batch_start += header.size;
        self.next = self.next.max(header.next_offset());
    }

    /// Handles a transaction marker. After an abort marker, later records of its producer are no longer skipped.
    fn end_transaction(&mut self, header: &BatchHeader) {
        let records = self
            .records
            .get(self.batch_start + BATCH_HEADER_SIZE..self.batch_start + header.size);
        let key = records
            .and_then(RecordView::read)
            .and_then(|(marker, _)| marker.key);
        // The key is a version and a type, of two bytes each; type 0 is ABORT.
        if key.and_then(|key| key.get(2..4)) == Some(&[0, 0]) {
            self.aborted.end(header);
        }
    }
}

/// Delivers all batches of arbitrary bytes and returns a count of what was found; for fuzzing.
#[cfg(any(test, fuzzing))]
pub(in crate::client::native) fn deliver_all(records: Bytes) -> Result<usize, String> {
    let partition = TopicPartition {
        topic: 0,
        partition: 0,
    };
    let mut records = PartitionRecords::new(partition, records, 0, Vec::new());
    let mut count = 0;
    let end = records.deliver(false, &mut Vec::new(), &mut |record| {
        count += record.headers.iter().count().min(1) + 1;
        ControlFlow::Continue(())
    });
    match end {
        DeliveryEnd::Break | DeliveryEnd::Exhausted => Ok(count),
        DeliveryEnd::Unreadable(batch) => Err(batch.reason),
    }
}
