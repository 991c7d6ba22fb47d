//! The codecs of record batches in the message format v2: batches are inflated as a stream, so that one that inflates enormously is
//! never held whole, and deflated into a buffer. Whoever reads and writes batches uses it.

mod blocks;
mod lz4;
mod snappy;
#[cfg(test)]
mod tests;
mod zstd;

use std::io::{self, Cursor, Read, Write};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::client::settings::Compression;
use blocks::BlockReader;

/// Why records could not be inflated or deflated. Which topic's they are, the caller knows.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} records by {}", compression.name())]
pub(crate) struct Error {
    operation: &'static str,
    compression: Compression,
    source: io::Error,
}

impl Error {
    fn inflate(compression: Compression, source: io::Error) -> Self {
        Self {
            operation: "inflate",
            compression,
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
pub(crate) fn reader(compression: Compression, compressed: Bytes) -> Result<Decoder, Error> {
    let failed = |source| Error::inflate(compression, source);
    // Every compression writes something even for no records.
    if compressed.is_empty() && compression != Compression::None {
        return Err(failed(truncated()));
    }
    let stream = match compression {
        Compression::None => Stream::Plain(Cursor::new(compressed)),
        Compression::Gzip => Stream::Gzip(Box::new(MultiGzDecoder::new(Cursor::new(compressed)))),
        Compression::Snappy => Stream::Snappy(BlockReader::new(
            snappy::Source::new(compressed).map_err(failed)?,
        )),
        Compression::Lz4 => Stream::Lz4(BlockReader::new(
            lz4::Source::new(compressed).map_err(failed)?,
        )),
        Compression::Zstd => Stream::Zstd(Box::new(zstd::Reader::new(compressed).map_err(failed)?)),
    };
    Ok(Decoder {
        compression,
        stream,
    })
}

/// A batch's records, inflated while they are read. Its memory is bounded: a window of at most 8 MiB for zstd, a block of at most 4 MiB for
/// lz4; for snappy a block of at most 64 MiB, and never more than 22 times the bytes it came from.
pub(crate) struct Decoder {
    compression: Compression,
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
            io::Error::new(source.kind(), Error::inflate(self.compression, source))
        })
    }
}

/// Appends `input`, deflated, to `output`, in the form that Kafka's Java clients write and read.
pub(crate) fn compress(
    compression: Compression,
    input: &[u8],
    output: &mut Vec<u8>,
) -> Result<(), Error> {
    match compression {
        Compression::None => {
            output.extend_from_slice(input);
            Ok(())
        }
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(output, flate2::Compression::default());
            encoder.write_all(input).and_then(|()| encoder.try_finish())
        }
        Compression::Snappy => snappy::compress(input, output),
        Compression::Lz4 => lz4::compress(input, output),
        Compression::Zstd => {
            zstd::compress(input, output);
            Ok(())
        }
    }
    .map_err(|source| Error {
        operation: "deflate",
        compression,
        source,
    })
}
