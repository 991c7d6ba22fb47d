//! Destination and content of routed records: bytes, keys, headers, timestamps, dead letters.

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::broker::{Broker, DEAD, EVEN, INPUT, ODD, Read, value_only};
use crate::process::Router;

fn sent(
    key: Option<&str>,
    value: Option<&[u8]>,
    headers: &[(&str, Option<&[u8]>)],
    timestamp: i64,
) -> Read {
    Read {
        key: key.map(|key| key.as_bytes().to_vec()),
        value: value.map(<[u8]>::to_vec),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.map(<[u8]>::to_vec)))
            .collect(),
        timestamp: Some(timestamp),
    }
}

fn with_value(record: &Read, prefix: &[u8]) -> Read {
    let value = [prefix, record.value.as_deref().unwrap()].concat();
    Read {
        value: Some(value),
        ..record.clone()
    }
}

#[test]
fn records_arrive_whole_and_in_order() {
    let broker = Broker::start(1);
    let even = sent(
        Some("key"),
        Some(b"11/23/26 17:56:36"),
        &[("contentType", Some(b"application/json")), ("null", None)],
        1_000,
    );
    let odd = sent(
        None,
        Some(b"\x00\xff7"),
        &[("a", Some(b"\x00\x01")), ("a", Some(b""))],
        2_000,
    );
    let second = sent(Some(""), Some(b"8"), &[], 3_000);
    let tombstone = sent(Some("key"), None, &[("h", Some(b"1"))], 4_000);
    broker.write(&[even.clone(), odd.clone(), tombstone, second.clone()], 1);
    let router = Router::start(&broker.arguments());
    assert_eq!(
        broker.read(EVEN, 2),
        [
            with_value(&even, b"Even timestamp: "),
            with_value(&second, b"Even timestamp: ")
        ]
    );
    assert_eq!(broker.read(ODD, 1), [with_value(&odd, b"Odd timestamp:")]);
    let log = router.stop();
    assert!(
        log.contains("stopped: 4 records in, 2 even, 1 odd, 0 dead-lettered, 1 skipped"),
        "{log}"
    );
    assert_eq!(broker.len(DEAD), 0);
    assert_eq!(broker.committed("group", 1), [(0, 4)].into());
}

#[test]
fn records_without_a_digit_become_dead_letters() {
    let broker = Broker::start(1);
    let bad = sent(
        Some("key"),
        Some(b"no digit"),
        &[("own", Some(b"1"))],
        1_700_000_000_000,
    );
    let empty = sent(None, Some(b""), &[], 1_700_000_000_001);
    broker.write(
        &[
            value_only(b"2"),
            bad.clone(),
            empty.clone(),
            value_only(b"3"),
        ],
        1,
    );
    let router = Router::start(&broker.arguments());
    let dead = broker.read(DEAD, 2);
    for (letter, (original, offset, reason)) in dead.iter().zip([
        (&bad, 1_i64, "the last byte of the value is not a digit"),
        (&empty, 2, "the value is empty"),
    ]) {
        let mut expected = original.clone();
        let header = |name: &str, value: &[u8]| (name.to_owned(), Some(value.to_vec()));
        expected.headers.extend([
            header("x-original-topic", INPUT.as_bytes()),
            header("x-original-partition", &0_i32.to_be_bytes()),
            header("x-original-offset", &offset.to_be_bytes()),
            header(
                "x-original-timestamp",
                &original.timestamp.unwrap().to_be_bytes(),
            ),
            header("x-original-timestamp-type", b"CreateTime"),
            header("x-exception-message", reason.as_bytes()),
        ]);
        assert_eq!(*letter, expected);
    }
    broker.read(ODD, 1);
    let log = router.stop();
    assert!(
        log.contains("stopped: 4 records in, 1 even, 1 odd, 2 dead-lettered, 0 skipped"),
        "{log}"
    );
    // The log names partition and offset, never the payload, and not every record.
    assert!(log.contains("timeDest-0: cannot route the record at offset 1: the last byte of the value is not a digit, sending it to the dead-letter topic"), "{log}");
    assert!(
        !log.contains("no digit ") && !log.contains("offset 2:"),
        "{log}"
    );
}

#[test]
fn many_bad_records_log_few_lines() {
    let broker = Broker::start(1);
    broker.write_values((0..20_000).map(|number| format!("{number}x")), 1);
    let router = Router::start(&broker.arguments());
    assert_eq!(broker.read(DEAD, 20_000).len(), 20_000);
    let log = router.stop();
    assert!(log.contains("20000 dead-lettered"), "{log}");
    let lines = log
        .lines()
        .filter(|line| line.contains("is not a digit"))
        .count();
    assert!((1..60).contains(&lines), "{lines} lines");
}

#[test]
fn bad_records_can_be_skipped() {
    let broker = Broker::start(1);
    broker.write_values(["2", "x", "", "3"].into_iter().map(str::to_owned), 1);
    let mut arguments = broker.arguments();
    arguments.push("--parity-router.invalid=skip".to_owned());
    let router = Router::start(&arguments);
    broker.read(ODD, 1);
    let log = router.stop();
    assert!(
        log.contains("stopped: 4 records in, 1 even, 1 odd, 0 dead-lettered, 2 skipped"),
        "{log}"
    );
    assert_eq!(broker.committed("group", 1), [(0, 4)].into());
}

#[test]
fn bad_records_can_stop_the_router_before_them() {
    let broker = Broker::start(1);
    broker.write_values(["2", "4", "x", "3"].into_iter().map(str::to_owned), 1);
    let mut arguments = broker.arguments();
    arguments.push("--parity-router.invalid=fail".to_owned());
    let mut router = Router::start(&arguments);
    assert_eq!(router.wait().code(), Some(1));
    let log = router.log();
    assert!(
        log.contains("timeDest-0: the record at offset 2 cannot be routed"),
        "{log}"
    );
    assert_eq!(
        (broker.len(EVEN), broker.len(ODD), broker.len(DEAD)),
        (2, 0, 0)
    );
    assert_eq!(broker.committed("group", 1), [(0, 2)].into());
}

#[test]
fn several_inputs_are_read() {
    let broker = Broker::start(1);
    broker.cluster.create_topic("other", 3, 1).unwrap();
    broker
        .cluster
        .create_topic("error.other.group", 1, 1)
        .unwrap();
    broker.write_values((0..10).map(|number| number.to_string()), 1);
    let mut arguments =
        vec!["--spring.cloud.stream.bindings.input.destination=other, timeDest".to_owned()];
    arguments.extend(broker.arguments());
    let router = Router::start(&arguments);
    broker.read(EVEN, 5);
    router.wait_for("partitions assigned: ");
    let log = router.stop();
    for partition in ["other-0", "other-1", "other-2", "timeDest-0"] {
        assert!(log.contains(partition), "{log}");
    }
}

#[test]
fn rejected_records_become_dead_letters() {
    let broker = Broker::start(1);
    let record = sent(Some("key"), Some(b"8"), &[("own", Some(b"1"))], 1_000);
    broker.write(std::slice::from_ref(&record), 1);
    broker.cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE],
    );
    let router = Router::start(&broker.arguments());
    // The dead letter is unchanged, because the headers of a dead letter would make it even larger.
    assert_eq!(broker.read(DEAD, 1), [record]);
    broker.write_values(["2".to_owned()].into_iter(), 1);
    assert_eq!(
        broker.read(EVEN, 1)[0].value.as_deref(),
        Some(b"Even timestamp: 2".as_slice())
    );
    let log = router.stop();
    assert!(
        log.contains(
            "topic evenDest rejected the record at offset 0: larger than the topic's max.message.bytes"
        ),
        "{log}"
    );
    assert!(
        log.contains("2 records in, 1 even, 0 odd, 1 dead-lettered, 0 skipped"),
        "{log}"
    );
}

#[test]
fn a_rejected_dead_letter_stops_the_router_before_it() {
    let broker = Broker::start(1);
    broker.write_values(["x".to_owned()].into_iter(), 1);
    broker.cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE],
    );
    let mut router = Router::start(&broker.arguments());
    assert_eq!(router.wait().code(), Some(1));
    let log = router.log();
    assert!(
        log.contains(
            "produce: timeDest-0: topic error.timeDest.group rejected the record at offset 0"
        ),
        "{log}"
    );
    assert!(broker.committed("group", 1).is_empty());
}
