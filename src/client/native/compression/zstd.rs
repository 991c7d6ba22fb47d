//! Zstandard frames (RFC 8878, KIP-110).
//!
//! A frame declares its window: how far back matches can reach, and so how much decompressed data has to be kept. The window is limited to 8 MiB here
//! whatever the frame declares, so a larger batch can be read as long as its matches reach no farther.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::encoding::{CompressionLevel, compress as encode};

use super::blocks::{take, take_u32_le};
use super::{invalid, truncated};

const MAGIC: u32 = 0xFD2F_B528;
/// Skippable frames have one of sixteen magic numbers.
const SKIPPABLE: u32 = 0x184D_2A50;
const SKIPPABLE_MASK: u32 = !0xF;

/// Bits of the frame header descriptor.
const SINGLE_SEGMENT: u8 = 1 << 5;
const RESERVED: u8 = 1 << 3;
const CHECKSUM: u8 = 1 << 2;
const DICTIONARY_MASK: u8 = 0b11;

/// Largest window in bytes. Java producers write windows of 2 MiB at their default level 3, 8 MiB with `compression.zstd.level` 17 to 19,
/// and up to 128 MiB above. RFC 8878 recommends that decoders support 8 MiB.
const MAX_WINDOW: u64 = 1 << MAX_WINDOW_LOG;
const MAX_WINDOW_LOG: u8 = 23;
/// Base-2 logarithm of the smallest window.
const MIN_WINDOW_LOG: u8 = 10;

/// Decompresses all frames in sequence.
pub(super) struct Reader {
    /// Input that the decoder has not consumed.
    input: Bytes,
    /// Decoder of the current frame; `None` at the end of the input.
    frame: Option<FrameDecoder>,
}

impl Reader {
    pub(super) fn new(mut input: Bytes) -> io::Result<Self> {
        let frame = next_frame(&mut input)?;
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
                    .map_err(invalid)?;
                continue;
            }
            if let Some(checksum) = frame.get_checksum_from_data()
                && frame.get_calculated_checksum() != Some(checksum)
            {
                return Err(invalid("wrong checksum of the content"));
            }
            self.frame = next_frame(&mut self.input)?;
        }
        Ok(0)
    }
}

/// Skips skippable frames, consumes the header of the next frame and returns its decoder, or `None` at the end of the input.
fn next_frame(input: &mut Bytes) -> io::Result<Option<FrameDecoder>> {
    while !input.is_empty() {
        let magic = take_u32_le(input)?;
        if magic == MAGIC {
            let mut frame = FrameDecoder::new();
            frame.init(&header(input)?[..]).map_err(invalid)?;
            return Ok(Some(frame));
        }
        if magic & SKIPPABLE_MASK != SKIPPABLE {
            return Err(invalid("not a frame"));
        }
        let length = take_u32_le(input)?;
        take(input, length as usize)?;
    }
    Ok(None)
}

/// Size of the headers that [`header`] returns.
const HEADER_SIZE: usize = 6;

/// Consumes a frame header after the magic number and returns an equivalent header for the decoder, with the window limited to
/// [`MAX_WINDOW`].
fn header(input: &mut Bytes) -> io::Result<[u8; HEADER_SIZE]> {
    let descriptor = input.try_get_u8().map_err(|_| truncated())?;
    if descriptor & RESERVED != 0 {
        return Err(invalid("a reserved bit of the frame header is set"));
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
        return Err(invalid("dictionaries are not supported"));
    }
    let size = match descriptor >> 6 {
        0 => usize::from(single),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let size = take(input, size)?;
    let window = window.unwrap_or_else(|| window_for(&size));
    let window = window.min((MAX_WINDOW_LOG - MIN_WINDOW_LOG) << 3);
    let [a, b, c, d] = MAGIC.to_le_bytes();
    Ok([a, b, c, d, descriptor & CHECKSUM, window])
}

/// Returns the encoded window for an encoded content size. A frame of a single segment declares no window, because its window is its
/// content.
fn window_for(size: &[u8]) -> u8 {
    let mut bytes = [0; 8];
    bytes[..size.len()].copy_from_slice(size);
    let mut content = u64::from_le_bytes(bytes);
    if size.len() == 2 {
        content = content.saturating_add(256);
    }
    let log = content
        .clamp(1 << MIN_WINDOW_LOG, MAX_WINDOW)
        .next_power_of_two()
        .trailing_zeros();
    // `log` is between 10 and 23.
    (log as u8 - MIN_WINDOW_LOG) << 3
}

pub(super) fn compress(input: &[u8], output: &mut Vec<u8>) {
    encode(input, output, CompressionLevel::Fastest);
}
