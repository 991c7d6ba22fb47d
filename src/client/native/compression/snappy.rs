//! Snappy in both forms that occur in Kafka: framed blocks, as Java's library writes them (`org.xerial.snappy.SnappyOutputStream`), and
//! one bare block, as Go clients write it. The framed form is written.

use std::io;

use bytes::{Buf, Bytes};
use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::blocks::{BlockSource, extend, take};
use super::{invalid, truncated};

/// Start of the framed form, followed by its version and the oldest version that can read it.
const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const VERSION: u32 = 1;
/// Uncompressed size of the blocks that are written; the default of Java's library.
const BLOCK_SIZE: usize = 32 * 1024;
/// Largest accepted uncompressed size of a block. A larger one would need more compressed bytes than `max.message.bytes` usually allows.
const MAX_BLOCK_SIZE: usize = 64 * 1024 * 1024;

/// Upper bound of the compression ratio, as uncompressed and compressed bytes: the most compact element copies 64 bytes and takes 3.
const MAX_RATIO: (usize, usize) = (64, 3);

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
                return Err(invalid(format!(
                    "the frame requires a reader of version {oldest}"
                )));
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
        let decompressed = decompress_len(&block).map_err(invalid)?;
        // Checked before memory is allocated, because the length is unverified input.
        if decompressed > MAX_BLOCK_SIZE || decompressed / MAX_RATIO.0 > block.len() / MAX_RATIO.1 {
            return Err(invalid(format!(
                "a block of {length} bytes claims to expand to {decompressed}"
            )));
        }
        extend(buffer, decompressed);
        let decompressed = Decoder::new()
            .decompress(&block, &mut buffer[..decompressed])
            .map_err(invalid)?;
        Ok(Some(decompressed))
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
    for block in input.chunks(BLOCK_SIZE) {
        let start = output.len() + size_of::<u32>();
        output.resize(start + max_compress_len(block.len()), 0);
        let length = encoder
            .compress(block, &mut output[start..])
            .map_err(invalid)?;
        output.truncate(start + length);
        // The length of a block is far below 4 GiB.
        output[start - size_of::<u32>()..start].copy_from_slice(&(length as u32).to_be_bytes());
    }
    Ok(())
}
