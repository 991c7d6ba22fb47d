//! Zstandard (KIP-110). A frame says how far back its matches can reach, and that much of what came out has to be kept: here 8 MiB at
//! most, whatever the frame says, so that a batch of more than that is readable as long as its matches reach no farther.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::encoding::{CompressionLevel, compress as encode};

use super::blocks::{take, take_u32_le};
use super::{broken, truncated};

const MAGIC: u32 = 0xFD2F_B528;
/// Frames to be skipped have any of sixteen magic numbers.
const SKIPPABLE: u32 = 0x184D_2A50;
const SKIPPABLE_MASK: u32 = !0xF;

/// Bits of the header's first byte.
const SINGLE_SEGMENT: u8 = 1 << 5;
const RESERVED: u8 = 1 << 3;
const CHECKSUM: u8 = 1 << 2;
const DICTIONARY_MASK: u8 = 0b11;

/// The most that is kept, in bytes, and its exponent. Java's producers at their default level, 3, write frames with a window of 2 MiB; with
/// `compression.zstd.level` 17 to 19 it is 8 MiB, and up to 128 MiB above. Zstandard recommends that decoders have 8 MiB.
const WINDOW_LIMIT: u64 = 1 << WINDOW_LIMIT_LOG;
const WINDOW_LIMIT_LOG: u8 = 23;
/// What a window's exponent in the header starts from.
const WINDOW_LOG: u8 = 10;

/// Reads all frames, one after the other.
pub(super) struct Reader {
    /// What is behind that which the decoder took.
    input: Bytes,
    /// The decoder of the frame that is being read.
    frame: Option<FrameDecoder>,
}

impl Reader {
    pub(super) fn new(mut input: Bytes) -> io::Result<Self> {
        let frame = begin(&mut input)?;
        Ok(Self { input, frame })
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(frame) = &mut self.frame {
            if frame.can_collect() > 0 {
                return frame.read(buffer);
            }
            if !frame.is_finished() {
                let source = (&mut self.input).reader();
                frame
                    .decode_blocks(source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(broken)?;
                continue;
            }
            if let Some(checksum) = frame.get_checksum_from_data()
                && frame.get_calculated_checksum() != Some(checksum)
            {
                return Err(broken("the content's checksum is wrong"));
            }
            self.frame = begin(&mut self.input)?;
        }
        Ok(0)
    }
}

/// Takes the header off of the first frame in `input` that has something to be inflated; none where nothing is left.
fn begin(input: &mut Bytes) -> io::Result<Option<FrameDecoder>> {
    while !input.is_empty() {
        let magic = take_u32_le(input)?;
        if magic == MAGIC {
            let mut frame = FrameDecoder::new();
            frame.init(&header(input)?[..]).map_err(broken)?;
            return Ok(Some(frame));
        }
        if magic & SKIPPABLE_MASK != SKIPPABLE {
            return Err(broken("not a frame"));
        }
        let length = take_u32_le(input)?;
        take(input, length as usize)?;
    }
    Ok(None)
}

const HEADER: usize = 6;

/// Takes a frame's header off, behind the magic number, and makes another one for the decoder, whose window is within the limit.
fn header(input: &mut Bytes) -> io::Result<[u8; HEADER]> {
    let descriptor = input.try_get_u8().map_err(|_| truncated())?;
    if descriptor & RESERVED != 0 {
        return Err(broken("a frame of an unknown kind"));
    }
    let single = descriptor & SINGLE_SEGMENT != 0;
    let window = if single {
        None
    } else {
        Some(input.try_get_u8().map_err(|_| truncated())?)
    };
    let dictionary = take(
        input,
        [0, 1, 2, 4][usize::from(descriptor & DICTIONARY_MASK)],
    )?;
    if dictionary.iter().any(|byte| *byte != 0) {
        return Err(broken("a dictionary"));
    }
    let size = match descriptor >> 6 {
        0 => usize::from(single),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let size = take(input, size)?;
    let window = window.unwrap_or_else(|| window_for(&size));
    let window = window.min((WINDOW_LIMIT_LOG - WINDOW_LOG) << 3);
    let [a, b, c, d] = MAGIC.to_le_bytes();
    Ok([a, b, c, d, descriptor & CHECKSUM, window])
}

/// The window, as a header tells it, that a content of this size needs, which is given as a header tells it: a frame of a single segment
/// tells no window, since it is all of its content.
fn window_for(size: &[u8]) -> u8 {
    let mut bytes = [0; 8];
    bytes[..size.len()].copy_from_slice(size);
    let mut content = u64::from_le_bytes(bytes);
    if size.len() == 2 {
        content = content.saturating_add(256);
    }
    let log = content
        .clamp(1 << WINDOW_LOG, WINDOW_LIMIT)
        .next_power_of_two()
        .trailing_zeros();
    // Between 10 and 23.
    (log as u8 - WINDOW_LOG) << 3
}

pub(super) fn compress(input: &[u8], output: &mut Vec<u8>) {
    encode(input, output, CompressionLevel::Fastest);
}
