//! Batches: encoding, record sets, refusals.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::client::record::Timestamp;
use crate::client::records::HeadersBuffer;

const CAPACITY: usize = 1 << 20;

fn push(batch: &mut Batch, offset: i64, key: Option<&str>, value: &str) {
    let headers = HeadersBuffer::from_pairs(&[("own", b"1")]);
    let record = Record {
        partition: TopicPartition {
            topic: 0,
            partition: 3,
        },
        offset,
        timestamp: Some(Timestamp::CreateTime(1)),
        key: key.map(str::as_bytes),
        value: Some(value.as_bytes()),
        headers: headers.headers(),
    };
    batch.push(0, b"Even timestamp: ", &record);
}

#[track_caller]
fn check(batch: &Batch, expected: &[(OutputTopic, i64, Option<&str>, &str)]) {
    let found: Vec<_> = batch
        .iter()
        .map(|(_, record)| (record.output, record.offset, record.key, record.value))
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(output, offset, key, value)| {
            (*output, *offset, key.map(str::as_bytes), value.as_bytes())
        })
        .collect();
    assert_eq!(found, expected);
    for (location, record) in batch.iter() {
        assert_eq!(batch.get(location), Some(record));
        assert_eq!(
            batch.locations(location.record_set).nth(location.index),
            Some(location)
        );
    }
}

#[test]
fn records_are_returned_as_they_were_pushed() {
    let mut batch = Batch::new(CAPACITY);
    push(&mut batch, 1, None, "2");
    push(&mut batch, 2, Some(""), "4");
    push(&mut batch, 1 << 40, Some("key"), "6");
    let long = "8".repeat(100);
    push(&mut batch, (1 << 40) + 7, None, &long);
    let expected = [
        (0, 1, None, "Even timestamp: 2"),
        (0, 2, Some(""), "Even timestamp: 4"),
        (0, 1 << 40, Some("key"), "Even timestamp: 6"),
        (0, (1 << 40) + 7, None, &*format!("Even timestamp: {long}")),
    ];
    check(&batch, &expected);
    assert_eq!((batch.len(), batch.record_sets().len()), (4, 1));
    batch.clear(1 << 20);
    assert!(batch.is_empty());
}

#[test]
fn a_full_record_set_is_followed_by_another() {
    let mut batch = Batch::new(100);
    for offset in 0..5 {
        push(&mut batch, offset, None, "2");
    }
    assert_eq!(batch.record_sets().len(), 3);
    assert_eq!(
        batch.bytes(),
        batch
            .record_sets()
            .iter()
            .map(|set| set.encoded().len())
            .sum::<usize>()
    );
    let expected: Vec<_> = (0..5)
        .map(|offset| (0, offset, None, "Even timestamp: 2"))
        .collect();
    check(&batch, &expected);
    // A record that is larger than a record set gets its own.
    push(&mut batch, 5, None, &"2".repeat(200));
    assert_eq!(batch.record_sets().len(), 4);
}

#[test]
fn refused_records_are_returned_as_they_were_read() {
    let mut batch = Batch::new(CAPACITY);
    push(&mut batch, 1, Some("a"), "2");
    push(&mut batch, 2, None, "4");
    push(&mut batch, 3, Some("a longer key than the prefix"), "6");
    push(&mut batch, 4, None, "8");
    let locations: Vec<RecordLocation> = batch.iter().map(|(location, _)| location).collect();
    batch.refuse(locations[2], RefusalReason::TooLarge);
    batch.refuse(locations[1], RefusalReason::Invalid("bad time".to_owned()));
    let partition = TopicPartition {
        topic: 0,
        partition: 3,
    };
    let counts: Vec<_> = batch.accepted_counts().collect();
    assert_eq!(counts, [(partition, 0, 2)]);
    let refused = batch.take_refused();
    assert!(batch.refused.is_empty());
    let read: Vec<_> = refused
        .iter()
        .filter_map(|refused| batch.input_record(refused.location))
        .map(|record| (record.offset, record.key, record.value))
        .collect();
    assert_eq!(
        read,
        [
            (2, None, Some(b"4".as_slice())),
            (
                3,
                Some(b"a longer key than the prefix".as_slice()),
                Some(b"6".as_slice())
            ),
        ]
    );
}
