//! Each compression against what others wrote, against itself, and against bytes that nobody wrote.

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

/// What the fixtures hold: see `Codecs.java` beside them.
fn text() -> String {
    let mut text = String::new();
    for n in 0..3000 {
        let (millis, parity) = (n * 7919 % 1000, ["even", "odd"][n % 2]);
        writeln!(text, "{n}: 2026-01-02T03:04:05.{millis:03} is {parity}").unwrap();
    }
    text
}

fn inflate(compression: Compression, deflated: &[u8]) -> io::Result<Vec<u8>> {
    let mut inflated = Vec::new();
    reader(compression, Bytes::copy_from_slice(deflated))
        .map_err(io::Error::other)?
        .read_to_end(&mut inflated)?;
    Ok(inflated)
}

fn deflate(compression: Compression, input: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    compress(compression, input, &mut output).unwrap();
    output
}

#[track_caller]
fn check(compression: Compression, deflated: &[u8]) {
    assert!(inflate(compression, deflated).unwrap() == text().as_bytes());
}

/// Its error with all causes.
#[track_caller]
fn check_error(compression: Compression, deflated: &[u8], expected: &str) {
    let error = match reader(compression, Bytes::copy_from_slice(deflated)) {
        Err(error) => crate::client::report(&error),
        Ok(mut stream) => crate::client::report(&stream.read_to_end(&mut Vec::new()).unwrap_err()),
    };
    assert_eq!(error, expected);
}

#[test]
fn reads_what_kafka_wrote() {
    check(Compression::Gzip, fixture!("kafka.gzip"));
    check(Compression::Snappy, fixture!("kafka.snappy"));
    check(Compression::Lz4, fixture!("kafka.lz4"));
    check(Compression::Zstd, fixture!("kafka.zstd"));
}

#[test]
fn reads_what_others_wrote() {
    check(Compression::Gzip, fixture!("python.gzip"));
    check(Compression::Snappy, fixture!("bare.snappy"));
    check(Compression::Lz4, fixture!("reference.lz4"));
    check(Compression::Zstd, fixture!("reference.zstd"));
    // Its frame says that its window is 128 MiB.
    check(Compression::Zstd, fixture!("kafka-22.zstd"));
}

#[test]
fn appends_to_what_is_there() {
    for compression in ALL {
        let mut output = b"header".to_vec();
        compress(compression, b"records", &mut output).unwrap();
        let deflated = output.strip_prefix(b"header").unwrap();
        assert_eq!(inflate(compression, deflated).unwrap(), b"records");
    }
}

#[test]
fn nothing_deflates_to_something() {
    for compression in &ALL[1..] {
        let deflated = deflate(*compression, b"");
        assert!(!deflated.is_empty());
        assert_eq!(inflate(*compression, &deflated).unwrap(), b"");
    }
    assert_eq!(inflate(Compression::None, b"").unwrap(), b"");
}

#[test]
fn tells_of_cut_off_data_wherever_it_is_cut() {
    let text = text();
    for compression in &ALL[1..] {
        let deflated = deflate(*compression, text.as_bytes());
        for end in (0..200).chain(deflated.len() - 200..deflated.len()) {
            // Between two of snappy's blocks nothing tells that there was another one.
            let inflated = inflate(*compression, &deflated[..end]);
            assert!(
                inflated.is_err() || *compression == Compression::Snappy && end == 16,
                "{compression:?}: {end}"
            );
        }
    }
    check_error(
        Compression::Lz4,
        b"",
        "cannot inflate records by lz4: the data is cut off",
    );
    check_error(
        Compression::Snappy,
        fixture!("kafka.snappy").split_last().unwrap().1,
        "cannot inflate records by snappy: the data is cut off",
    );
}

#[test]
fn tells_what_is_wrong() {
    let altered = |deflated: &[u8], at: usize, value: u8| {
        let mut deflated = deflated.to_vec();
        deflated[at] = value;
        deflated
    };
    let lz4 = |at, value| altered(fixture!("reference.lz4"), at, value);
    let end = fixture!("reference.lz4").len();
    for (deflated, reason) in [
        (lz4(0, 0x05), "not a frame"),
        (lz4(4, 0x3c), "a frame of another version than 1"),
        (lz4(4, 0x5c), "blocks that depend on each other"),
        (lz4(4, 0x7d), "a dictionary"),
        (lz4(5, 0x30), "unknown block size 3"),
        (lz4(5, 0x70), "the header's checksum is wrong"),
        (lz4(30, 0xff), "a block's checksum is wrong"),
        (lz4(end - 1, 0xff), "the content's checksum is wrong"),
    ] {
        check_error(
            Compression::Lz4,
            &deflated,
            &format!("cannot inflate records by lz4: {reason}"),
        );
    }
    let zstd = fixture!("reference.zstd");
    for (deflated, reason) in [
        (altered(zstd, 0, 0), "not a frame"),
        (altered(zstd, 4, 0xac), "a frame of an unknown kind"),
        (altered(zstd, 4, 0xa5), "a dictionary"),
        (
            altered(zstd, zstd.len() - 1, 0),
            "the content's checksum is wrong",
        ),
    ] {
        check_error(
            Compression::Zstd,
            &deflated,
            &format!("cannot inflate records by zstd: {reason}"),
        );
    }
    check_error(
        Compression::Snappy,
        &altered(fixture!("kafka.snappy"), 15, 2),
        "cannot inflate records by snappy: a frame for readers of version 2",
    );
}

#[test]
fn reads_frames_one_after_the_other() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let mut deflated = deflate(compression, b"one, ");
        if compression == Compression::Zstd {
            // A frame to be skipped.
            deflated.extend_from_slice(&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
        }
        deflated.extend_from_slice(&deflate(compression, b"two"));
        assert_eq!(inflate(compression, &deflated).unwrap(), b"one, two");
    }
}

/// What follows the first failure would be taken for records.
#[test]
fn fails_again_after_a_failure() {
    for compression in &ALL[1..] {
        let mut deflated = deflate(*compression, text().as_bytes());
        let middle = deflated.len() / 2;
        deflated[middle..middle + 64].fill(0xff);
        let mut stream = reader(*compression, Bytes::from(deflated)).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap_err();
        stream.read(&mut [0; 1]).unwrap_err();
    }
}

/// A length is somebody's claim until the data is there.
#[test]
fn a_claim_does_not_cost_memory() {
    // A varint of a gigabyte, and nothing in it.
    let claim = [0x80, 0x80, 0x80, 0x80, 0x04];
    check_error(
        Compression::Snappy,
        &claim,
        "cannot inflate records by snappy: a block of 5 bytes that claims to hold 1073741824",
    );
    let mut framed = deflate(Compression::Snappy, b"");
    framed.extend_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
    framed.extend_from_slice(&claim);
    check_error(
        Compression::Snappy,
        &framed,
        "cannot inflate records by snappy: the data is cut off",
    );

    // The largest blocks there are, and one of four bytes that holds nothing.
    let header = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];
    let block = [4, 0, 0, 0, 0x30, 1, 2, 3, 0, 0, 0, 0];
    let mut stream = BlockReader::new(
        lz4::Source::new(Bytes::from([&header[..], &block[..]].concat())).unwrap(),
    );
    assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 3);
    assert!(stream.capacity() <= 4 * 255);
}

/// Every match reaches farther back than is kept: told, not made up.
#[test]
fn a_match_beyond_the_window_is_an_error() {
    let mut noise = 1u32;
    let mut input = vec![0u8; 64 * 1024];
    for byte in &mut input {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (noise >> 24) as u8;
    }
    let deflated = deflate(Compression::Zstd, &[input.as_slice(), &input].concat());
    // The window is the byte behind the descriptor: 1 KiB in place of 128 KiB.
    assert_eq!(deflated[5], 7 << 3);
    let mut narrow = deflated;
    narrow[5] = 0;
    assert!(inflate(Compression::Zstd, &narrow).is_err());
}

/// Reads it in pieces of all sizes, to the end or an error, and at most so much.
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
    fn what_is_written_is_read(
        // Repeated, so that there is something to deflate, over several blocks.
        input in vec(any::<u8>(), 0..3000),
        times in 0..100usize,
        compression in proptest::sample::select(&ALL),
    ) {
        let input = input.repeat(times);
        prop_assert!(inflate(compression, &deflate(compression, &input)).unwrap() == input);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..600)) {
        for compression in ALL {
            if let Ok(mut stream) = reader(compression, Bytes::from(bytes.clone())) {
                drain(&mut stream, 1 << 20);
            }
        }
    }

    /// With a beginning that lets the decoder get as far as the blocks.
    #[test]
    fn any_blocks_are_read_or_refused(
        bytes in vec(any::<u8>(), 0..600),
        compression in proptest::sample::select(&ALL),
        keep in 0..40usize,
    ) {
        let mut deflated = deflate(compression, b"0123456789");
        deflated.truncate(keep);
        deflated.extend_from_slice(&bytes);
        if let Ok(mut stream) = reader(compression, Bytes::from(deflated.clone())) {
            drain(&mut stream, 1 << 20);
        }
        check_memory(snappy::Source::new(Bytes::from(deflated.clone())), 64 + deflated.len() * 22);
        check_memory(lz4::Source::new(Bytes::from(deflated.clone())), deflated.len() * 255);
    }

    #[test]
    fn altered_data_is_read_or_refused(
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
        let (compression, deflated) = fixture;
        let mut deflated = deflated.to_vec();
        for (at, value) in changes {
            let at = at.index(deflated.len());
            deflated[at] = value;
        }
        if let Ok(mut stream) = reader(compression, Bytes::from(deflated)) {
            drain(&mut stream, 1 << 20);
        }
    }
}
