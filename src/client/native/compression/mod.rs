//! Compression and decompression of record batches.
//!
//! Batches are decompressed as a stream, so that a batch that expands enormously is never in memory as a whole, and compressed into a
//! buffer.

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

/// Records could not be compressed or decompressed. The caller adds topic and partition.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} records with {}", compression.name())]
pub(crate) struct Error {
    operation: &'static str,
    compression: Compression,
    source: io::Error,
}

impl Error {
    fn decompress(compression: Compression, source: io::Error) -> Self {
        Self {
            operation: "decompress",
            compression,
            source,
        }
    }
}

/// An error for compressed data that is malformed.
fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// An error for compressed data that ends too early.
fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the data is truncated")
}

/// Returns a stream of the decompressed records of a batch; `compressed` is everything after its header. Fails if the start of the data is
/// already invalid.
pub(crate) fn reader(compression: Compression, compressed: Bytes) -> Result<Decoder, Error> {
    let failed = |source| Error::decompress(compression, source);
    // Every compression type writes at least a header, even without records.
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

/// Decompresses records while they are read. Its memory is bounded: a window of at most 8 MiB for zstd, a block of at most 4 MiB for lz4, and
/// for snappy a block of at most 64 MiB and 22 times its compressed size.
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
    /// A read failed. Everything after the failure would be wrong.
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
            Stream::Failed => Err(invalid("an earlier read failed")),
        };
        read.map_err(|source| {
            self.stream = Stream::Failed;
            io::Error::new(source.kind(), Error::decompress(self.compression, source))
        })
    }
}

/// Compresses `input` and appends it to `output`, in the form that Kafka's Java clients write and read.
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
        operation: "compress",
        compression,
        source,
    })
}
