//! Snappy in both forms that are met in Kafka: framed in blocks as Java's library does it (`org.xerial.snappy.SnappyOutputStream`), and
//! one bare block, as clients in Go write it. We write the framed form.

use std::io;

use bytes::{Buf, Bytes};
use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::blocks::{BlockSource, lengthen, take};
use super::{broken, truncated};

/// What the framed form begins with, followed by its version and the oldest one that can read it.
const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const VERSION: u32 = 1;
/// Java's default for a block, in bytes.
const BLOCK: usize = 32 * 1024;
/// No batch can have so much in one block: a bare block of more compressed bytes than `max.message.bytes` usually is.
const BLOCK_LIMIT: usize = 64 * 1024 * 1024;

/// The densest element that the format has: 64 bytes copied, said in 3.
const DENSEST: (usize, usize) = (64, 3);

pub(super) struct Source {
    input: Bytes,
    framed: bool,
}

impl Source {
    pub(super) fn new(mut input: Bytes) -> io::Result<Self> {
        let framed = input.starts_with(&MAGIC);
        if framed {
            input.advance(MAGIC.len());
            take_u32(&mut input)?;
            let oldest = take_u32(&mut input)?;
            if oldest > VERSION {
                return Err(broken(format!("a frame for readers of version {oldest}")));
            }
        }
        Ok(Self { input, framed })
    }
}

impl BlockSource for Source {
    fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
        if self.input.is_empty() {
            return Ok(None);
        }
        let length = if self.framed {
            take_u32(&mut self.input)? as usize
        } else {
            self.input.len()
        };
        let block = take(&mut self.input, length)?;
        let inflated = decompress_len(&block).map_err(broken)?;
        // Before there is memory for it: the length is somebody's claim.
        if inflated > BLOCK_LIMIT || inflated / DENSEST.0 > block.len() / DENSEST.1 {
            return Err(broken(format!(
                "a block of {length} bytes that claims to hold {inflated}"
            )));
        }
        lengthen(buffer, inflated);
        let inflated = Decoder::new()
            .decompress(&block, &mut buffer[..inflated])
            .map_err(broken)?;
        Ok(Some(inflated))
    }
}

fn take_u32(input: &mut Bytes) -> io::Result<u32> {
    input.try_get_u32().map_err(|_| truncated())
}

pub(super) fn compress(input: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    output.extend_from_slice(&MAGIC);
    output.extend_from_slice(&VERSION.to_be_bytes());
    output.extend_from_slice(&VERSION.to_be_bytes());
    let mut encoder = Encoder::new();
    for block in input.chunks(BLOCK) {
        let start = output.len() + size_of::<u32>();
        output.resize(start + max_compress_len(block.len()), 0);
        let length = encoder
            .compress(block, &mut output[start..])
            .map_err(broken)?;
        output.truncate(start + length);
        // A block's length is far below 4 GiB.
        output[start - size_of::<u32>()..start].copy_from_slice(&(length as u32).to_be_bytes());
    }
    Ok(())
}
