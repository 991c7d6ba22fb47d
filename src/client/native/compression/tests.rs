//! Each compression type against data of other implementations, against itself, and against arbitrary bytes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::io::Read;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::blocks::BlockSource;
use super::*;

const ALL: [Compression; 5] = Compression::ALL;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/fixtures/codecs/", $name)).as_slice()
    };
}

/// Content of the fixtures; see `Codecs.java` beside them.
fn text() -> String {
    let mut text = String::new();
    for n in 0..3000 {
        let (millis, parity) = (n * 7919 % 1000, ["even", "odd"][n % 2]);
        writeln!(text, "{n}: 2026-01-02T03:04:05.{millis:03} is {parity}").unwrap();
    }
    text
}

fn decompress(compression: Compression, compressed: &[u8]) -> io::Result<Vec<u8>> {
    let mut decompressed = Vec::new();
    reader(compression, Bytes::copy_from_slice(compressed))
        .map_err(io::Error::other)?
        .read_to_end(&mut decompressed)?;
    Ok(decompressed)
}

fn compressed_bytes(compression: Compression, input: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    compress(compression, input, &mut output).unwrap();
    output
}

#[track_caller]
fn check(compression: Compression, compressed: &[u8]) {
    assert!(decompress(compression, compressed).unwrap() == text().as_bytes());
}

/// Checks the error with all its causes.
#[track_caller]
fn check_error(compression: Compression, compressed: &[u8], expected: &str) {
    let error = match reader(compression, Bytes::copy_from_slice(compressed)) {
        Err(error) => crate::client::report(&error),
        Ok(mut stream) => crate::client::report(&stream.read_to_end(&mut Vec::new()).unwrap_err()),
    };
    assert_eq!(error, expected);
}

#[test]
fn reads_data_of_kafka() {
    check(Compression::Gzip, fixture!("kafka.gzip"));
    check(Compression::Snappy, fixture!("kafka.snappy"));
    check(Compression::Lz4, fixture!("kafka.lz4"));
    check(Compression::Zstd, fixture!("kafka.zstd"));
}

#[test]
fn reads_data_of_other_implementations() {
    check(Compression::Gzip, fixture!("python.gzip"));
    check(Compression::Snappy, fixture!("bare.snappy"));
    check(Compression::Lz4, fixture!("reference.lz4"));
    check(Compression::Zstd, fixture!("reference.zstd"));
    // The frame declares a window of 128 MiB.
    check(Compression::Zstd, fixture!("kafka-22.zstd"));
}

#[test]
fn appends_to_the_output() {
    for compression in ALL {
        let mut output = b"header".to_vec();
        compress(compression, b"records", &mut output).unwrap();
        let compressed = output.strip_prefix(b"header").unwrap();
        assert_eq!(decompress(compression, compressed).unwrap(), b"records");
    }
}

#[test]
fn no_records_compress_to_something() {
    for compression in &ALL[1..] {
        let compressed = compressed_bytes(*compression, b"");
        assert!(!compressed.is_empty());
        assert_eq!(decompress(*compression, &compressed).unwrap(), b"");
    }
    assert_eq!(decompress(Compression::None, b"").unwrap(), b"");
}

#[test]
fn truncated_data_is_an_error_wherever_it_is_cut() {
    let text = text();
    for compression in &ALL[1..] {
        let compressed = compressed_bytes(*compression, text.as_bytes());
        for end in (0..200).chain(compressed.len() - 200..compressed.len()) {
            // A cut between two snappy blocks is not detectable.
            let decompressed = decompress(*compression, &compressed[..end]);
            assert!(
                decompressed.is_err() || *compression == Compression::Snappy && end == 16,
                "{compression:?}: {end}"
            );
        }
    }
    check_error(
        Compression::Lz4,
        b"",
        "cannot decompress records with lz4: the data is truncated",
    );
    check_error(
        Compression::Snappy,
        fixture!("kafka.snappy").split_last().unwrap().1,
        "cannot decompress records with snappy: the data is truncated",
    );
}

#[test]
fn errors_name_the_defect() {
    let altered = |compressed: &[u8], at: usize, value: u8| {
        let mut compressed = compressed.to_vec();
        compressed[at] = value;
        compressed
    };
    let lz4 = |at, value| altered(fixture!("reference.lz4"), at, value);
    let end = fixture!("reference.lz4").len();
    for (compressed, reason) in [
        (lz4(0, 0x05), "not a frame"),
        (lz4(4, 0x3c), "not version 1 of the frame format"),
        (lz4(4, 0x5c), "dependent blocks are not supported"),
        (lz4(4, 0x7d), "dictionaries are not supported"),
        (lz4(5, 0x30), "unknown block size 3"),
        (lz4(5, 0x70), "wrong checksum of the frame header"),
        (lz4(30, 0xff), "wrong checksum of a block"),
        (lz4(end - 1, 0xff), "wrong checksum of the content"),
    ] {
        check_error(
            Compression::Lz4,
            &compressed,
            &format!("cannot decompress records with lz4: {reason}"),
        );
    }
    let zstd = fixture!("reference.zstd");
    for (compressed, reason) in [
        (altered(zstd, 0, 0), "not a frame"),
        (
            altered(zstd, 4, 0xac),
            "a reserved bit of the frame header is set",
        ),
        (altered(zstd, 4, 0xa5), "dictionaries are not supported"),
        (
            altered(zstd, zstd.len() - 1, 0),
            "wrong checksum of the content",
        ),
    ] {
        check_error(
            Compression::Zstd,
            &compressed,
            &format!("cannot decompress records with zstd: {reason}"),
        );
    }
    check_error(
        Compression::Snappy,
        &altered(fixture!("kafka.snappy"), 15, 2),
        "cannot decompress records with snappy: the frame requires a reader of version 2",
    );
}

#[test]
fn reads_consecutive_frames() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let mut compressed = compressed_bytes(compression, b"one, ");
        if compression == Compression::Zstd {
            // A skippable frame.
            compressed.extend_from_slice(&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
        }
        compressed.extend_from_slice(&compressed_bytes(compression, b"two"));
        assert_eq!(decompress(compression, &compressed).unwrap(), b"one, two");
    }
}

/// Data after a failure would otherwise be taken for records.
#[test]
fn fails_again_after_a_failure() {
    for compression in &ALL[1..] {
        let mut compressed = compressed_bytes(*compression, text().as_bytes());
        let middle = compressed.len() / 2;
        compressed[middle..middle + 64].fill(0xff);
        let mut stream = reader(*compression, Bytes::from(compressed)).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap_err();
        stream.read(&mut [0; 1]).unwrap_err();
    }
}

/// A declared length must not allocate memory before the data is there.
#[test]
fn a_declared_length_does_not_cost_memory() {
    // A varint of 1 GiB and no data.
    let claim = [0x80, 0x80, 0x80, 0x80, 0x04];
    check_error(
        Compression::Snappy,
        &claim,
        "cannot decompress records with snappy: a block of 5 bytes claims to expand to 1073741824",
    );
    let mut framed = compressed_bytes(Compression::Snappy, b"");
    framed.extend_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
    framed.extend_from_slice(&claim);
    check_error(
        Compression::Snappy,
        &framed,
        "cannot decompress records with snappy: the data is truncated",
    );

    // A frame with the largest block size, and a block of four bytes.
    let header = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];
    let block = [4, 0, 0, 0, 0x30, 1, 2, 3, 0, 0, 0, 0];
    let mut stream = BlockReader::new(
        lz4::Source::new(Bytes::from([&header[..], &block[..]].concat())).unwrap(),
    );
    assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 3);
    assert!(stream.capacity() <= 4 * 255);
}

/// Matches that reach beyond the window must fail instead of returning wrong data.
#[test]
fn a_match_beyond_the_window_is_an_error() {
    let mut noise = 1u32;
    let mut input = vec![0u8; 64 * 1024];
    for byte in &mut input {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (noise >> 24) as u8;
    }
    let compressed = compressed_bytes(Compression::Zstd, &[input.as_slice(), &input].concat());
    // The byte after the descriptor is the window: 1 KiB instead of 128 KiB.
    assert_eq!(compressed[5], 7 << 3);
    let mut narrow = compressed;
    narrow[5] = 0;
    assert!(decompress(Compression::Zstd, &narrow).is_err());
}

/// Reads in pieces of all sizes up to the end, an error, or `most` bytes.
fn drain(stream: &mut impl Read, most: usize) {
    let mut buffer = [0; 4096];
    let mut total = 0;
    while let Ok(length) = stream.read(&mut buffer[..1 + total % 4096]) {
        total += length;
        if length == 0 || total > most {
            return;
        }
    }
}

fn check_memory<S: BlockSource>(source: io::Result<S>, most: usize) {
    if let Ok(source) = source {
        let mut stream = BlockReader::new(source);
        drain(&mut stream, 1 << 20);
        assert!(stream.capacity() <= most);
    }
}

proptest! {
    #[test]
    fn compressed_data_is_decompressed(
        // Repeated, so that it compresses and fills several blocks.
        input in vec(any::<u8>(), 0..3000),
        times in 0..100usize,
        compression in proptest::sample::select(&ALL),
    ) {
        let input = input.repeat(times);
        prop_assert!(decompress(compression, &compressed_bytes(compression, &input)).unwrap() == input);
    }

    #[test]
    fn any_bytes_are_read_or_rejected(bytes in vec(any::<u8>(), 0..600)) {
        for compression in ALL {
            if let Ok(mut stream) = reader(compression, Bytes::from(bytes.clone())) {
                drain(&mut stream, 1 << 20);
            }
        }
    }

    /// Starts with a valid header, so that the decoder reaches the blocks.
    #[test]
    fn any_blocks_are_read_or_rejected(
        bytes in vec(any::<u8>(), 0..600),
        compression in proptest::sample::select(&ALL),
        keep in 0..40usize,
    ) {
        let mut compressed = compressed_bytes(compression, b"0123456789");
        compressed.truncate(keep);
        compressed.extend_from_slice(&bytes);
        if let Ok(mut stream) = reader(compression, Bytes::from(compressed.clone())) {
            drain(&mut stream, 1 << 20);
        }
        check_memory(snappy::Source::new(Bytes::from(compressed.clone())), 64 + compressed.len() * 22);
        check_memory(lz4::Source::new(Bytes::from(compressed.clone())), compressed.len() * 255);
    }

    #[test]
    fn altered_data_is_read_or_rejected(
        changes in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        fixture in proptest::sample::select(vec![
            (Compression::Gzip, fixture!("kafka.gzip")),
            (Compression::Snappy, fixture!("kafka.snappy")),
            (Compression::Snappy, fixture!("bare.snappy")),
            (Compression::Lz4, fixture!("kafka.lz4")),
            (Compression::Zstd, fixture!("kafka.zstd")),
            (Compression::Zstd, fixture!("reference.zstd")),
        ]),
    ) {
        let (compression, compressed) = fixture;
        let mut compressed = compressed.to_vec();
        for (at, value) in changes {
            let at = at.index(compressed.len());
            compressed[at] = value;
        }
        if let Ok(mut stream) = reader(compression, Bytes::from(compressed)) {
            drain(&mut stream, 1 << 20);
        }
    }
}
