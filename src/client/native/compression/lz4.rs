//! LZ4's frame format as Kafka has it (`org.apache.kafka.common.compress.Lz4BlockOutputStream`): one frame of independent blocks. The
//! checksum of the frame's header is right in the message format v2; in v0 and v1 it was not (KIP-57), and these are not read here.

use std::hash::Hasher;
use std::io;

use bytes::{Buf, Bytes};
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};
use twox_hash::XxHash32;

use super::blocks::{BlockSource, lengthen, take, take_u32_le};
use super::{broken, truncated};

const MAGIC: u32 = 0x184D_2204;
/// The header that Kafka writes: the magic number, version 1 with independent blocks, blocks of at most 64 KiB, and the checksum of
/// these two.
const HEADER: [u8; 7] = [0x04, 0x22, 0x4D, 0x18, 0x60, 0x40, 0x82];
const BLOCK: usize = 64 * 1024;
const END_MARK: u32 = 0;
/// Set in the length of a block that is as it was.
const UNCOMPRESSED: u32 = 1 << 31;

/// Bits of the header's first byte.
const VERSION_MASK: u8 = 0b1100_0000;
const VERSION: u8 = 0b0100_0000;
const INDEPENDENT: u8 = 1 << 5;
const BLOCK_CHECKSUMS: u8 = 1 << 4;
const CONTENT_SIZE: u8 = 1 << 3;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const DICTIONARY: u8 = 1;

/// No byte of a block can stand for more than so many.
const DENSEST: usize = 255;

pub(super) struct Source {
    input: Bytes,
    /// The longest that a block of this frame can be, in bytes.
    longest: usize,
    block_checksums: bool,
    /// Of all that was inflated, where the frame has the checksum of it.
    content: Option<XxHash32>,
    ended: bool,
}

impl Source {
    pub(super) fn new(mut input: Bytes) -> io::Result<Self> {
        if take_u32_le(&mut input)? != MAGIC {
            return Err(broken("not a frame"));
        }
        let [flags, sizes, ..] = input[..] else {
            return Err(truncated());
        };
        if flags & VERSION_MASK != VERSION {
            return Err(broken("a frame of another version than 1"));
        }
        // Neither has Kafka: `Lz4BlockInputStream` refuses them too.
        if flags & INDEPENDENT == 0 {
            return Err(broken("blocks that depend on each other"));
        }
        if flags & DICTIONARY != 0 {
            return Err(broken("a dictionary"));
        }
        let longest = match sizes >> 4 {
            4 => 64 * 1024,
            5 => 256 * 1024,
            6 => 1024 * 1024,
            7 => 4 * 1024 * 1024,
            other => return Err(broken(format!("unknown block size {other}"))),
        };
        let size = if flags & CONTENT_SIZE != 0 { 8 } else { 0 };
        let descriptor = take(&mut input, 2 + size)?;
        let checksum = input.try_get_u8().map_err(|_| truncated())?;
        if (XxHash32::oneshot(0, &descriptor) >> 8) as u8 != checksum {
            return Err(broken("the header's checksum is wrong"));
        }
        Ok(Self {
            input,
            longest,
            block_checksums: flags & BLOCK_CHECKSUMS != 0,
            content: (flags & CONTENT_CHECKSUM != 0).then(|| XxHash32::with_seed(0)),
            ended: false,
        })
    }
}

impl BlockSource for Source {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
        if self.ended {
            return Ok(None);
        }
        let length = take_u32_le(&mut self.input)?;
        if length == END_MARK {
            self.ended = true;
            if let Some(content) = &self.content
                && take_u32_le(&mut self.input)? != content.finish_32()
            {
                return Err(broken("the content's checksum is wrong"));
            }
            return Ok(None);
        }
        let block = take(&mut self.input, (length & !UNCOMPRESSED) as usize)?;
        if self.block_checksums && take_u32_le(&mut self.input)? != XxHash32::oneshot(0, &block) {
            return Err(broken("a block's checksum is wrong"));
        }
        let inflated = if length & UNCOMPRESSED == 0 {
            let most = self.longest.min(block.len().saturating_mul(DENSEST));
            lengthen(buffer, most);
            decompress_into(&block, &mut buffer[..most]).map_err(broken)?
        } else if block.len() <= self.longest {
            lengthen(buffer, block.len());
            buffer[..block.len()].copy_from_slice(&block);
            block.len()
        } else {
            return Err(broken("a block is longer than the frame's can be"));
        };
        if let Some(content) = &mut self.content {
            content.write(&buffer[..inflated]);
        }
        Ok(Some(inflated))
    }
}

pub(super) fn compress(input: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    output.extend_from_slice(&HEADER);
    for block in input.chunks(BLOCK) {
        let start = output.len() + size_of::<u32>();
        output.resize(start + get_maximum_output_size(block.len()), 0);
        let deflated = compress_into(block, &mut output[start..]).map_err(broken)?;
        output.truncate(start + deflated);
        // Both are far below 2 GiB.
        let length = if deflated < block.len() {
            deflated as u32
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
