//! Delivery of the records of a compressed batch: decompresses into a window that is about as long as the longest record. No I/O.

use std::io::Read;
use std::ops::ControlFlow;

use super::batch_records::BatchRecords;
use crate::client::Record;
use crate::client::native::compression::Decoder;
use crate::client::records::RecordView;

/// Largest record in bytes; no buffer is allocated for a longer one, since its length is more likely corrupt than true.
const MAX_RECORD_BYTES: usize = 100_000_000;

/// Bytes to decompress at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// A compressed batch that is being delivered.
pub(super) struct CompressedRecords {
    decoder: Box<Decoder>,
    /// Start of the bytes in the window that are not delivered yet.
    from: usize,
    /// End of the decompressed bytes in the window.
    to: usize,
}

impl CompressedRecords {
    pub(super) fn new(decoder: Decoder) -> Self {
        Self {
            decoder: Box::new(decoder),
            from: 0,
            to: 0,
        }
    }

    /// Delivers records until `handle` breaks or `left` is 0; see [`BatchRecords::deliver`].
    pub(super) fn deliver(
        &mut self,
        batch: &BatchRecords<'_>,
        window: &mut Vec<u8>,
        left: &mut i32,
        next: &mut i64,
        handle: &mut impl FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, String> {
        while *left > 0 {
            let bytes = window.get(self.from..self.to).unwrap_or_default();
            let wanted = match RecordView::size(bytes) {
                Some(size) if size <= bytes.len() => {
                    let Some((raw, _)) = RecordView::read(bytes) else {
                        return Err("a record of the batch cannot be decoded".to_owned());
                    };
                    self.from += size;
                    *left -= 1;
                    if batch.deliver_one(&raw, next, handle) == ControlFlow::Break(()) {
                        return Ok(ControlFlow::Break(()));
                    }
                    continue;
                }
                Some(size) if size > MAX_RECORD_BYTES => {
                    return Err(format!("a record has {size} bytes"));
                }
                size => size.unwrap_or_default(),
            };
            self.decompress(window, wanted)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Moves the undelivered bytes to the start of the window and decompresses more behind them, for a record of `wanted` bytes.
    fn decompress(&mut self, window: &mut Vec<u8>, wanted: usize) -> Result<(), String> {
        window.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        // At most doubles the window at a time, because the length of the record may be corrupt.
        let capacity = (self.to + CHUNK_BYTES).max(wanted.min(2 * self.to + CHUNK_BYTES));
        if window.len() < capacity {
            window.resize(capacity, 0);
        }
        let free = window.get_mut(self.to..).unwrap_or_default();
        match self.decoder.read(free) {
            Ok(0) => Err("the compressed batch ends too early".to_owned()),
            Ok(read) => {
                self.to += read;
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}
