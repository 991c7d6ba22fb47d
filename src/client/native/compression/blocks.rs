//! Block-wise decompression for snappy and lz4: each block is decompressed as a whole into a buffer that is reused for the next one.

use std::io::{self, Read};

use bytes::{Buf, Bytes};

use super::truncated;

/// A source of compressed blocks.
pub(super) trait BlockSource {
    /// Decompresses the next block to the start of `buffer`, which is extended if necessary, and returns its length, or `None` at the end.
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>>;
}

/// Reads the blocks of a source as one stream.
pub(super) struct BlockReader<S> {
    source: S,
    buffer: Vec<u8>,
    /// Start of the bytes in `buffer` that have not been read.
    start: usize,
    /// End of these bytes.
    end: usize,
}

impl<S: BlockSource> BlockReader<S> {
    pub(super) fn new(source: S) -> Self {
        Self {
            source,
            buffer: Vec::new(),
            start: 0,
            end: 0,
        }
    }

    /// Capacity of the buffer in bytes.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}

impl<S: BlockSource> Read for BlockReader<S> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        while self.start == self.end {
            let Some(length) = self.source.next(&mut self.buffer)? else {
                return Ok(0);
            };
            (self.start, self.end) = (0, length);
        }
        let length = target.len().min(self.end - self.start);
        target[..length].copy_from_slice(&self.buffer[self.start..self.start + length]);
        self.start += length;
        Ok(length)
    }
}

/// Extends `buffer` to at least `length` bytes, without spare capacity.
pub(super) fn extend(buffer: &mut Vec<u8>, length: usize) {
    if buffer.len() < length {
        buffer.reserve_exact(length - buffer.len());
        buffer.resize(length, 0);
    }
}

/// Removes and returns the next `length` bytes.
pub(super) fn take(input: &mut Bytes, length: usize) -> io::Result<Bytes> {
    if length > input.len() {
        return Err(truncated());
    }
    Ok(input.split_to(length))
}

/// Removes and returns a little-endian 32-bit number.
pub(super) fn take_u32_le(input: &mut Bytes) -> io::Result<u32> {
    input.try_get_u32_le().map_err(|_| truncated())
}
