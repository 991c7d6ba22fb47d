//! The codecs of record batches in the message format v2: batches are inflated as a stream, so that one that inflates enormously is
//! never held whole, and deflated into a buffer. Whoever reads and writes batches uses it.

mod blocks;
mod lz4;
mod snappy;
#[cfg(test)]
mod tests;
mod zstd;

use std::fmt;
use std::io::{self, Cursor, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use blocks::BlockReader;

/// What a batch's records are compressed with: bits 0 to 2 of the batch's attributes, and the value of `compression.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// As they are.
    None,
    /// GZIP, RFC 1952.
    Gzip,
    /// Snappy's blocks, in the framing of Java's snappy library or bare.
    Snappy,
    /// LZ4's frame format.
    Lz4,
    /// Zstandard, RFC 8878 (KIP-110).
    Zstd,
}

/// The bits of a batch's attributes that tell the codec.
const ATTRIBUTES_MASK: i16 = 0b111;

impl Codec {
    /// All of them, each at the place that its number in a batch's attributes says.
    const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec that a batch's attributes name; none for the numbers that Kafka has not given away.
    pub(crate) fn from_attributes(attributes: i16) -> Option<Self> {
        let number = usize::try_from(attributes & ATTRIBUTES_MASK).ok()?;
        Self::ALL.get(number).copied()
    }

    /// The codec's bits in a batch's attributes.
    pub(crate) fn attributes(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Its name in `compression.type`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why records could not be inflated or deflated. Which topic's they are, the caller knows.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} records by {codec}")]
pub(crate) struct Error {
    operation: &'static str,
    codec: Codec,
    source: io::Error,
}

impl Error {
    fn inflate(codec: Codec, source: io::Error) -> Self {
        Self {
            operation: "inflate",
            codec,
            source,
        }
    }
}

/// What is wrong with bytes from outside.
fn broken(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// The bytes end where there must be more of them.
fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the data is cut off")
}

/// The records of a batch as they come out of `compressed`, all of which is of this batch. Fails where its beginning already tells that it
/// cannot be read.
pub(crate) fn reader(codec: Codec, compressed: Bytes) -> Result<Decoder, Error> {
    let failed = |source| Error::inflate(codec, source);
    // Every codec writes something even for no records.
    if compressed.is_empty() && codec != Codec::None {
        return Err(failed(truncated()));
    }
    let stream = match codec {
        Codec::None => Stream::Plain(Cursor::new(compressed)),
        Codec::Gzip => Stream::Gzip(Box::new(MultiGzDecoder::new(Cursor::new(compressed)))),
        Codec::Snappy => Stream::Snappy(BlockReader::new(
            snappy::Source::new(compressed).map_err(failed)?,
        )),
        Codec::Lz4 => Stream::Lz4(BlockReader::new(
            lz4::Source::new(compressed).map_err(failed)?,
        )),
        Codec::Zstd => Stream::Zstd(Box::new(zstd::Reader::new(compressed).map_err(failed)?)),
    };
    Ok(Decoder { codec, stream })
}

/// A batch's records, inflated while they are read. Its memory is bounded: a window of at most 8 MiB for zstd, a block of at most 4 MiB for
/// lz4; for snappy a block of at most 64 MiB, and never more than 22 times the bytes it came from.
pub(crate) struct Decoder {
    codec: Codec,
    stream: Stream,
}

enum Stream {
    Plain(Cursor<Bytes>),
    Gzip(Box<MultiGzDecoder<Cursor<Bytes>>>),
    Snappy(BlockReader<snappy::Source>),
    Lz4(BlockReader<lz4::Source>),
    Zstd(Box<zstd::Reader>),
    /// It is broken: what would come now is not what was written.
    Failed,
}

impl Read for Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.read(buffer),
            Stream::Gzip(stream) => stream.read(buffer),
            Stream::Snappy(stream) => stream.read(buffer),
            Stream::Lz4(stream) => stream.read(buffer),
            Stream::Zstd(stream) => stream.read(buffer),
            Stream::Failed => Err(broken("the data before was broken")),
        };
        read.map_err(|source| {
            self.stream = Stream::Failed;
            io::Error::new(source.kind(), Error::inflate(self.codec, source))
        })
    }
}

/// Appends `input`, deflated, to `output`, in the form that Kafka's Java clients write and read.
pub(crate) fn compress(codec: Codec, input: &[u8], output: &mut Vec<u8>) -> Result<(), Error> {
    match codec {
        Codec::None => {
            output.extend_from_slice(input);
            Ok(())
        }
        Codec::Gzip => {
            let mut encoder = GzEncoder::new(output, Compression::default());
            encoder.write_all(input).and_then(|()| encoder.try_finish())
        }
        Codec::Snappy => snappy::compress(input, output),
        Codec::Lz4 => lz4::compress(input, output),
        Codec::Zstd => {
            zstd::compress(input, output);
            Ok(())
        }
    }
    .map_err(|source| Error {
        operation: "deflate",
        codec,
        source,
    })
}
