//! What snappy and lz4 have in common: data in blocks, each inflated whole into a buffer that is used again for the next one.

use std::io::{self, Read};

use bytes::{Buf, Bytes};

use super::truncated;

/// Inflates block by block.
pub(super) trait BlockSource {
    /// Inflates the next block to the beginning of `buffer`, which it lengthens where that is needed, and gives its length; none at the
    /// end.
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>>;
}

/// Reads the blocks of a source as one stream.
pub(super) struct BlockReader<S> {
    source: S,
    buffer: Vec<u8>,
    /// What of the buffer is still to be read.
    start: usize,
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

    /// The memory it has, in bytes.
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

/// Lengthens `buffer` to `length` bytes at least, no longer than that in memory either.
pub(super) fn lengthen(buffer: &mut Vec<u8>, length: usize) {
    if buffer.len() < length {
        buffer.reserve_exact(length - buffer.len());
        buffer.resize(length, 0);
    }
}

/// Takes the next `length` bytes off.
pub(super) fn take(input: &mut Bytes, length: usize) -> io::Result<Bytes> {
    if length > input.len() {
        return Err(truncated());
    }
    Ok(input.split_to(length))
}

/// Takes a number of 32 bits off, its least significant byte first.
pub(super) fn take_u32_le(input: &mut Bytes) -> io::Result<u32> {
    input.try_get_u32_le().map_err(|_| truncated())
}
