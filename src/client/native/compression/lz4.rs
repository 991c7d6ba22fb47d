//! LZ4 frames as Kafka writes them (`org.apache.kafka.common.compress.Lz4BlockOutputStream`): one frame of independent blocks.
//!
//! Since message format v1 the checksum of the frame header is correct; in v0 it was not (KIP-57). Only v2 is read here.

use std::hash::Hasher;
use std::io;

use bytes::{Buf, Bytes};
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};
use twox_hash::XxHash32;

use super::blocks::{BlockSource, extend, take, take_u32_le};
use super::{invalid, truncated};

const MAGIC: u32 = 0x184D_2204;
/// Frame header that Kafka writes: magic number, flags (version 1, independent blocks), block size (at most 64 KiB), and the checksum of
/// flags and block size.
const HEADER: [u8; 7] = [0x04, 0x22, 0x4D, 0x18, 0x60, 0x40, 0x82];
/// Uncompressed size of the blocks that are written.
const BLOCK_SIZE: usize = 64 * 1024;
const END_MARK: u32 = 0;
/// Bit of a block's length that marks the block as uncompressed.
const UNCOMPRESSED: u32 = 1 << 31;

/// Bits of the flags byte.
const VERSION_MASK: u8 = 0b1100_0000;
const VERSION: u8 = 0b0100_0000;
const INDEPENDENT: u8 = 1 << 5;
const BLOCK_CHECKSUMS: u8 = 1 << 4;
const CONTENT_SIZE: u8 = 1 << 3;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const DICTIONARY: u8 = 1;

/// Upper bound of the compression ratio: a byte of a block expands to at most 255 bytes.
const MAX_RATIO: usize = 255;

pub(super) struct Source {
    input: Bytes,
    /// Largest uncompressed size of a block of this frame.
    max_block_size: usize,
    block_checksums: bool,
    /// Checksum of everything decompressed so far; `None` if the frame has no content checksum.
    content: Option<XxHash32>,
    is_finished: bool,
}

impl Source {
    pub(super) fn new(mut input: Bytes) -> io::Result<Self> {
        if take_u32_le(&mut input)? != MAGIC {
            return Err(invalid("not a frame"));
        }
        let [flags, sizes, ..] = input[..] else {
            return Err(truncated());
        };
        if flags & VERSION_MASK != VERSION {
            return Err(invalid("not version 1 of the frame format"));
        }
        // Kafka's `Lz4BlockInputStream` rejects dependent blocks and dictionaries too.
        if flags & INDEPENDENT == 0 {
            return Err(invalid("dependent blocks are not supported"));
        }
        if flags & DICTIONARY != 0 {
            return Err(invalid("dictionaries are not supported"));
        }
        let max_block_size = match sizes >> 4 {
            4 => 64 * 1024,
            5 => 256 * 1024,
            6 => 1024 * 1024,
            7 => 4 * 1024 * 1024,
            other => return Err(invalid(format!("unknown block size {other}"))),
        };
        let size = if flags & CONTENT_SIZE != 0 { 8 } else { 0 };
        let descriptor = take(&mut input, 2 + size)?;
        let checksum = input.try_get_u8().map_err(|_| truncated())?;
        if (XxHash32::oneshot(0, &descriptor) >> 8) as u8 != checksum {
            return Err(invalid("wrong checksum of the frame header"));
        }
        Ok(Self {
            input,
            max_block_size,
            block_checksums: flags & BLOCK_CHECKSUMS != 0,
            content: (flags & CONTENT_CHECKSUM != 0).then(|| XxHash32::with_seed(0)),
            is_finished: false,
        })
    }
}

impl BlockSource for Source {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
        if self.is_finished {
            return Ok(None);
        }
        let length = take_u32_le(&mut self.input)?;
        if length == END_MARK {
            self.is_finished = true;
            if let Some(content) = &self.content
                && take_u32_le(&mut self.input)? != content.finish_32()
            {
                return Err(invalid("wrong checksum of the content"));
            }
            return Ok(None);
        }
        let block = take(&mut self.input, (length & !UNCOMPRESSED) as usize)?;
        if self.block_checksums && take_u32_le(&mut self.input)? != XxHash32::oneshot(0, &block) {
            return Err(invalid("wrong checksum of a block"));
        }
        let decompressed = if length & UNCOMPRESSED == 0 {
            let max_size = self
                .max_block_size
                .min(block.len().saturating_mul(MAX_RATIO));
            extend(buffer, max_size);
            decompress_into(&block, &mut buffer[..max_size]).map_err(invalid)?
        } else if block.len() <= self.max_block_size {
            extend(buffer, block.len());
            buffer[..block.len()].copy_from_slice(&block);
            block.len()
        } else {
            return Err(invalid("a block exceeds the block size of the frame"));
        };
        if let Some(content) = &mut self.content {
            content.write(&buffer[..decompressed]);
        }
        Ok(Some(decompressed))
    }
}

pub(super) fn compress(input: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    output.extend_from_slice(&HEADER);
    for block in input.chunks(BLOCK_SIZE) {
        let start = output.len() + size_of::<u32>();
        output.resize(start + get_maximum_output_size(block.len()), 0);
        let compressed = compress_into(block, &mut output[start..]).map_err(invalid)?;
        output.truncate(start + compressed);
        // Both lengths are far below 2 GiB.
        let length = if compressed < block.len() {
            compressed as u32
        } else {
            output.truncate(start);
            output.extend_from_slice(block);
            block.len() as u32 | UNCOMPRESSED
        };
        output[start - size_of::<u32>()..start].copy_from_slice(&length.to_le_bytes());
    }
    output.extend_from_slice(&END_MARK.to_le_bytes());
    Ok(())
}
