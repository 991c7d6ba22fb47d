//! Tests of the fetcher and of the delivery of record batches.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::{FetchResponse, ProducerId};
use proptest::prelude::*;

use super::partition_records::PartitionRecords;
use super::*;
use crate::client::batch::Batch;
use crate::client::native::compression;
use crate::client::native::metadata::Metadata;
use crate::client::native::request::topic_name;
use crate::client::records::{HeaderFields, Headers};
use crate::client::settings::{Compression, ConnectionSettings};
use crate::client::{Record, Timestamp};

const PARTITION: TopicPartition = TopicPartition {
    topic: 0,
    partition: 3,
};

/// Properties of a batch to build.
#[derive(Debug, Clone, Copy)]
struct BatchSpec {
    base: i64,
    compression: Compression,
    attributes: i16,
    producer: i64,
}

fn spec(base: i64) -> BatchSpec {
    BatchSpec {
        base,
        compression: Compression::None,
        attributes: 0,
        producer: -1,
    }
}

/// Builds a batch of records with these values. The timestamp of each is its index.
fn batch(spec: BatchSpec, values: &[&str]) -> Vec<u8> {
    let mut built = Batch::new(1 << 20);
    for (number, value) in values.iter().enumerate() {
        let record = Record {
            partition: PARTITION,
            offset: 0,
            timestamp: Some(Timestamp::CreateTime(number as i64)),
            key: None,
            value: Some(value.as_bytes()),
            headers: Headers::default(),
        };
        built.push(0, b"", &record);
    }
    let records = built.record_sets().first().unwrap();
    encode(spec, records.encoded(), records.header_fields().count)
}

fn encode(spec: BatchSpec, records: &[u8], count: i32) -> Vec<u8> {
    let mut body = Vec::new();
    compression::compress(spec.compression, records, &mut body).unwrap();
    let fields = HeaderFields {
        attributes: spec.attributes | i16::from(spec.compression.id()),
        base_timestamp: 0,
        max_timestamp: 1000,
        producer: (spec.producer, 0),
        base_sequence: -1,
        count,
    };
    let mut header = fields.encode(&body);
    header[..8].copy_from_slice(&spec.base.to_be_bytes());
    [header.as_slice(), &body].concat()
}

/// Builds a transaction marker of type `kind`: 0 is ABORT, 1 is COMMIT.
fn marker(base: i64, producer: i64, kind: u8) -> Vec<u8> {
    let record = [32, 0, 0, 0, 8, 0, 0, 0, kind, 12, 0, 0, 0, 0, 0, 0, 0];
    let spec = BatchSpec {
        attributes: 0x30,
        producer,
        ..spec(base)
    };
    encode(spec, &record, 1)
}

/// `aborted` lists producer ids and first offsets of aborted transactions.
fn partition_records(records: &[u8], next: i64, aborted: &[(i64, i64)]) -> PartitionRecords {
    let aborted = aborted.iter().map(|&(producer, first)| {
        AbortedTransaction::default()
            .with_producer_id(ProducerId(producer))
            .with_first_offset(first)
    });
    PartitionRecords::new(
        PARTITION,
        Bytes::copy_from_slice(records),
        next,
        aborted.collect(),
    )
}

/// Offset, timestamp and value of a record.
type DeliveredRecord = (i64, i64, String);

/// Delivers all records, at most `most` at a time.
fn deliver(
    records: &mut PartitionRecords,
    most: usize,
) -> (Vec<DeliveredRecord>, Result<(), String>) {
    let mut window = Vec::new();
    let mut found = Vec::new();
    loop {
        let before = found.len();
        let end = records.deliver(true, &mut window, &mut |record| {
            let value = String::from_utf8_lossy(record.value.unwrap()).into_owned();
            found.push((record.offset, record.timestamp.unwrap().millis(), value));
            if found.len() - before < most {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        match end {
            DeliveryEnd::Break => (),
            DeliveryEnd::Exhausted => return (found, Ok(())),
            DeliveryEnd::Unreadable(batch) => return (found, Err(batch.reason)),
        }
    }
}

#[track_caller]
fn check(records: &[u8], next: i64, aborted: &[(i64, i64)], offsets: &[i64], end: i64) {
    for most in [1, 2, 1000] {
        let mut records = partition_records(records, next, aborted);
        let (found, result) = deliver(&mut records, most);
        let found: Vec<i64> = found.into_iter().map(|(offset, ..)| offset).collect();
        assert_eq!((found.as_slice(), result), (offsets, Ok(())));
        assert_eq!(records.next, end);
    }
}

#[test]
fn batches_are_delivered_from_the_fetch_offset() {
    let two = [
        batch(spec(10), &["a", "b", "c"]),
        batch(spec(20), &["d", "e"]),
    ]
    .concat();
    check(&two, 10, &[], &[10, 11, 12, 20, 21], 22);
    check(&two, 12, &[], &[12, 20, 21], 22);
    check(&two, 22, &[], &[], 22);
    // The second batch is cut off by the size limit of the fetch.
    check(&two[..two.len() - 1], 10, &[], &[10, 11, 12], 13);
    check(&[], 7, &[], &[], 7);
}

#[test]
fn every_compression_type_is_read() {
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let long = "x".repeat(100_000);
        let values = ["a", &long, "", &long, "b"];
        let records = batch(
            BatchSpec {
                compression,
                ..spec(5)
            },
            &values,
        );
        for most in [1, 3, 100] {
            let (found, result) = deliver(&mut partition_records(&records, 5, &[]), most);
            assert_eq!(result, Ok(()), "{compression:?}");
            let expected: Vec<_> = (0..5)
                .map(|number| (5 + number, number, values[number as usize].to_owned()))
                .collect();
            assert!(found == expected, "{compression:?}");
        }
    }
}

#[test]
fn records_of_aborted_transactions_are_skipped() {
    let transactional = |base, producer| BatchSpec {
        attributes: 0x10,
        producer,
        ..spec(base)
    };
    let records = [
        batch(transactional(0, 1), &["a"]),
        batch(transactional(1, 2), &["b"]),
        batch(spec(2), &["c"]),
        marker(3, 1, 0),
        batch(transactional(4, 1), &["d"]),
        marker(5, 2, 1),
        marker(6, 1, 1),
    ]
    .concat();
    check(&records, 0, &[(1, 0)], &[1, 2, 4], 7);
    check(&records, 0, &[(2, 1), (1, 0)], &[2, 4], 7);
    check(&records, 0, &[(1, 0), (1, 4)], &[1, 2], 7);
    check(&records, 0, &[], &[0, 1, 2, 4], 7);
    // From an offset after the aborted records: the broker lists the transaction up to its marker.
    check(&records, 1, &[(1, 0)], &[1, 2, 4], 7);
    check(&records, 2, &[(2, 1), (1, 0)], &[2, 4], 7);
    let behind = [
        batch(spec(2), &["c"]),
        marker(3, 1, 0),
        batch(transactional(4, 1), &["d"]),
        marker(5, 1, 1),
    ]
    .concat();
    check(&behind, 2, &[(1, 0)], &[2, 4], 6);
    check(&behind, 3, &[(1, 0)], &[4], 6);
}

#[test]
fn log_append_time_applies_to_all_records() {
    let records = batch(
        BatchSpec {
            attributes: 8,
            ..spec(0)
        },
        &["a", "b"],
    );
    let (found, _) = deliver(&mut partition_records(&records, 0, &[]), 10);
    let times: Vec<i64> = found.into_iter().map(|(_, time, _)| time).collect();
    assert_eq!(times, [1000, 1000]);
}

#[track_caller]
fn check_unreadable(records: &[u8], before: usize, expected: &str) {
    let (found, result) = deliver(&mut partition_records(records, 0, &[]), 1000);
    let reason = result.unwrap_err();
    assert!(
        reason.contains(expected) && found.len() == before,
        "{reason}, {} records",
        found.len()
    );
}

#[test]
fn unreadable_batches_are_reported() {
    let good = batch(spec(0), &["a"]);
    let mut bad = batch(spec(1), &["b", "c"]);
    *bad.last_mut().unwrap() ^= 1;
    check_unreadable(&[good.clone(), bad].concat(), 1, "CRC");
    let old = [&[0; 16][..], &[1; 50]].concat();
    check_unreadable(&[good.clone(), old].concat(), 1, "format v1");
    let unknown = BatchSpec {
        attributes: 7,
        ..spec(1)
    };
    check_unreadable(&batch(unknown, &["d"]), 0, "unknown compression type 7");
    // The header counts more records than the batch has.
    for compression in [Compression::None, Compression::Gzip] {
        let mut body = Vec::new();
        compression::compress(compression, b"\x0c\0\0\0\x01\x00\0", &mut body).unwrap();
        let spec = BatchSpec {
            compression,
            ..spec(0)
        };
        check_unreadable(&encode(spec, b"\x0c\0\0\0\x01\x00\0", 2), 1, "");
    }
}

/// A fetcher of [`PARTITION`], with the connections and the metadata that it needs.
struct Fetching {
    fetcher: Fetcher,
    network: Network<i32>,
    metadata: Metadata,
}

impl Fetching {
    fn new() -> Self {
        let topics = Topics {
            inputs: vec!["in".to_owned()],
            outputs: Vec::new(),
        };
        let mut fetcher = Fetcher::new(&ConsumerSettings::default(), &topics, 1 << 20);
        fetcher
            .positions
            .add(&[PARTITION], PositionState::AwaitReset);
        Self {
            fetcher,
            network: Network::new(&ConnectionSettings::default(), None),
            metadata: Metadata::new(&[], std::iter::empty()),
        }
    }

    /// Handles this response to a fetch from `offset`.
    fn respond(&mut self, offset: i64, partition: PartitionData) {
        self.fetcher.in_flight.insert(1, vec![(PARTITION, offset)]);
        let topic = FetchableTopicResponse::default()
            .with_topic(topic_name("in"))
            .with_partitions(vec![partition.with_partition_index(PARTITION.partition)]);
        let response = FetchResponse::default().with_responses(vec![topic]);
        self.fetcher
            .handle_response(
                &mut self.network,
                &mut self.metadata,
                1,
                response,
                Bytes::new(),
            )
            .unwrap();
    }

    fn fetched(&mut self, offset: i64, records: Vec<u8>) {
        let records = Some(Bytes::from(records));
        self.respond(offset, PartitionData::default().with_records(records));
    }

    /// Returns the position after each item of one poll.
    fn poll(&mut self) -> Vec<i64> {
        let mut positions = Vec::new();
        let mut handle = |polled: Polled<'_>| {
            positions.push(match polled {
                Polled::Record(record) => record.offset + 1,
                Polled::Position((_, next)) => next,
            });
            ControlFlow::Continue(())
        };
        self.fetcher
            .deliver(&mut self.network, &mut handle)
            .unwrap();
        positions
    }
}

#[test]
fn positions_grow_within_a_poll() {
    let mut fetching = Fetching::new();
    fetching.fetcher.positions.seek(PARTITION, Some(0));
    let transactional = BatchSpec {
        attributes: 0x10,
        producer: 1,
        ..spec(0)
    };
    let first = [batch(transactional, &["a"]), marker(1, 1, 1)].concat();
    fetching.fetched(0, first);
    fetching.fetched(2, batch(spec(2), &["b", "c"]));
    assert_eq!(fetching.poll(), [1, 2, 3, 4]);
}

#[test]
fn a_poll_ends_before_a_partition_goes_back() {
    let mut fetching = Fetching::new();
    fetching.fetcher.positions.seek(PARTITION, Some(10));
    fetching.fetched(10, batch(spec(10), &["a", "b"]));
    let out_of_range = ResponseError::OffsetOutOfRange.code();
    fetching.respond(12, PartitionData::default().with_error_code(out_of_range));
    fetching.fetcher.positions.seek(PARTITION, Some(0));
    fetching.fetched(0, batch(spec(0), &["c"]));
    assert_eq!(fetching.poll(), [11, 12]);
    assert_eq!(fetching.poll(), [1]);
}

proptest! {
    #[test]
    fn any_bytes_are_delivered_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = deliver_all(Bytes::from(bytes));
    }

    #[test]
    fn a_changed_batch_is_delivered_or_refused(
        index in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        compression in prop::sample::select(vec![Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]),
    ) {
        let mut bytes = batch(BatchSpec { compression, ..spec(0) }, &["one", "two", "three"]);
        let index = index.index(bytes.len());
        bytes[index] = byte;
        let _ = deliver_all(Bytes::from(bytes));
    }
}
