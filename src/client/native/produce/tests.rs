//! The producer against librdkafka's mock cluster, which returns the errors that a test requests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::Producer;
use crate::client::Topics;
use crate::client::batch::RefusalReason;
use crate::client::native::network::Node;
use crate::client::records::Headers;
use crate::client::records::HeadersBuffer;
use crate::client::settings::{
    Acks, ClientSettings, Compression, ConnectionSettings, ProducerSettings, TopicSettings,
};
use crate::client::{Batch, Producer as _, Record, Timestamp, murmur2};
use crate::topic_partition::TopicPartition;

const DEADLINE: Duration = Duration::from_secs(60);

/// Partition, key and value of a record.
type ReadRecord = (i32, Option<Vec<u8>>, String);

struct Fixture {
    cluster: MockCluster<'static, DefaultProducerContext>,
    topics: Topics,
    partitions: i32,
}

impl Fixture {
    fn new(brokers: i32, partitions: i32) -> Self {
        let cluster = MockCluster::new(brokers).unwrap();
        for topic in ["even", "odd"] {
            cluster
                .create_topic(topic, partitions, brokers.min(3))
                .unwrap();
        }
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            cluster,
            topics: Topics {
                inputs: names(&["in"]),
                outputs: names(&["even", "odd"]),
            },
            partitions,
        }
    }

    fn producer(&self, settings: &ProducerSettings) -> Producer {
        let brokers = self.cluster.bootstrap_servers();
        let cluster = ClientSettings {
            brokers: brokers.split(',').map(str::to_owned).collect(),
            topics: TopicSettings {
                auto_create: false,
                min_partition_count: 1,
                replication_factor: -1,
            },
            connection: ConnectionSettings::default(),
            memory: 1 << 24,
            librdkafka: Vec::new(),
        };
        Producer::new(&cluster, settings, &self.topics, "producer-even", None)
    }

    /// Reads `count` records of the even topic, and checks that there are no more. Sorted by partition, then by offset.
    fn read(&self, count: usize) -> Vec<ReadRecord> {
        self.read_from(0..self.partitions, count)
    }

    /// Like [`Fixture::read`], for some of the partitions.
    fn read_from(&self, partitions: Range<i32>, count: usize) -> Vec<ReadRecord> {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("check.crcs", "true");
        let consumer: BaseConsumer = client.create().unwrap();
        let mut assignment = TopicPartitionList::new();
        for partition in partitions.clone() {
            assignment
                .add_partition_offset("even", partition, Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&assignment).unwrap();
        let until = Instant::now() + DEADLINE;
        let mut records: Vec<ReadRecord> = Vec::new();
        while records.len() < count {
            assert!(
                Instant::now() < until,
                "{} of {count} records",
                records.len()
            );
            if let Some(message) = consumer.poll(Duration::from_millis(50)) {
                let message = message.unwrap();
                let value = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
                records.push((
                    message.partition(),
                    message.key().map(<[u8]>::to_vec),
                    value,
                ));
            }
        }
        for partition in partitions {
            let (low, high) = consumer
                .fetch_watermarks("even", partition, DEADLINE)
                .unwrap();
            let read = records
                .iter()
                .filter(|record| record.0 == partition)
                .count();
            assert_eq!(high - low, read as i64, "partition {partition}");
        }
        records.sort_by_key(|record| record.0);
        records
    }
}

fn push(batch: &mut Batch, offset: i64, key: Option<&[u8]>, value: &str, headers: Headers<'_>) {
    let record = Record {
        partition: TopicPartition {
            topic: 0,
            partition: 0,
        },
        offset,
        timestamp: Some(Timestamp::CreateTime(1_700_000_000_000 + offset)),
        key,
        value: Some(value.as_bytes()),
        headers,
    };
    batch.push(0, b"", &record);
}

/// Creates `count` batches of `records` records each, whose values count from 0.
fn batches(count: usize, records: usize, keyed: bool) -> Vec<Batch> {
    let headers = HeadersBuffer::from_pairs(&[("name", b"value")]);
    let batch = |number: usize| {
        let mut batch = Batch::new(1 << 18);
        batch.poll_batch = number as u64;
        for record in number * records..(number + 1) * records {
            let key = (record % 7).to_string();
            push(
                &mut batch,
                record as i64,
                keyed.then_some(key.as_bytes()),
                &record.to_string(),
                headers.headers(),
            );
        }
        batch
    };
    (0..count).map(batch).collect()
}

/// Sends all batches as a producer thread does, and returns them in the order of their delivery.
fn deliver(producer: &mut Producer, batches: Vec<Batch>) -> Vec<Batch> {
    let count = batches.len();
    let mut batches = batches.into_iter();
    let mut delivered = Vec::new();
    let until = Instant::now() + DEADLINE;
    while delivered.len() < count {
        assert!(
            Instant::now() < until,
            "{} of {count} batches delivered",
            delivered.len()
        );
        if producer.accepts()
            && let Some(batch) = batches.next()
        {
            producer.send(batch).unwrap();
            producer.poll(Duration::ZERO).unwrap();
        } else {
            producer.poll(Duration::from_millis(1)).unwrap();
        }
        while let Some(batch) = producer.delivered() {
            delivered.push(batch);
        }
    }
    assert_eq!(producer.in_flight(), 0);
    delivered
}

/// Polls until `count` batches are delivered.
fn deliver_all(producer: &mut Producer, count: usize) {
    let until = Instant::now() + DEADLINE;
    let mut delivered = 0;
    while delivered < count {
        assert!(
            Instant::now() < until,
            "{delivered} of {count} batches delivered"
        );
        producer.poll(Duration::from_millis(1)).unwrap();
        while producer.delivered().is_some() {
            delivered += 1;
        }
    }
}

fn values(records: &[ReadRecord]) -> Vec<usize> {
    records
        .iter()
        .map(|(_, _, value)| value.parse().unwrap())
        .collect()
}

#[test]
fn records_of_a_partition_keep_their_order() {
    let fixture = Fixture::new(1, 1);
    let mut producer = fixture.producer(&ProducerSettings::default());
    producer.prepare().unwrap();
    let delivered = deliver(&mut producer, batches(40, 50, false));
    assert!(delivered.iter().all(|batch| batch.refused.is_empty()));
    let poll_batches: Vec<u64> = delivered.iter().map(|batch| batch.poll_batch).collect();
    assert_eq!(poll_batches, (0..40).collect::<Vec<u64>>());
    let expected: Vec<usize> = (0..2000).collect();
    assert_eq!(values(&fixture.read(2000)), expected);
}

#[test]
fn records_with_a_key_go_to_the_partition_of_javas_producer() {
    let fixture = Fixture::new(3, 4);
    let mut producer = fixture.producer(&ProducerSettings::default());
    producer.prepare().unwrap();
    deliver(&mut producer, batches(20, 50, true));
    let records = fixture.read(1000);
    let mut last: BTreeMap<i32, usize> = BTreeMap::new();
    for (partition, key, value) in &records {
        assert_eq!(*partition, murmur2::partition(key.as_ref().unwrap(), 4));
        let value: usize = value.parse().unwrap();
        let before = last.insert(*partition, value);
        assert!(before.is_none_or(|before| before < value));
    }
    let all: BTreeSet<usize> = values(&records).into_iter().collect();
    assert_eq!(all.len(), 1000);
}

#[test]
fn records_without_a_key_change_the_partition_with_each_batch() {
    let fixture = Fixture::new(3, 4);
    let mut producer = fixture.producer(&ProducerSettings::default());
    producer.prepare().unwrap();
    deliver(&mut producer, batches(8, 10, false));
    let records = fixture.read(80);
    for partition in 0..4 {
        let read = records.iter().filter(|record| record.0 == partition);
        assert_eq!(read.count(), 20, "partition {partition}");
    }
}

/// Without zstd, which this build of librdkafka does not support.
#[test]
fn compressed_records_can_be_read() {
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4] {
        let fixture = Fixture::new(1, 1);
        let mut producer = fixture.producer(&ProducerSettings {
            compression,
            ..ProducerSettings::default()
        });
        producer.prepare().unwrap();
        deliver(&mut producer, batches(5, 200, true));
        let expected: Vec<usize> = (0..1000).collect();
        assert_eq!(values(&fixture.read(1000)), expected, "{compression:?}");
    }
}

#[test]
fn lingering_batches_are_merged() {
    let fixture = Fixture::new(1, 2);
    let mut producer = fixture.producer(&ProducerSettings {
        linger: Duration::from_millis(50),
        ..ProducerSettings::default()
    });
    producer.prepare().unwrap();
    deliver(&mut producer, batches(30, 3, false));
    let records = fixture.read(90);
    let all: BTreeSet<usize> = values(&records).into_iter().collect();
    assert_eq!(all.len(), 90);
}

#[test]
fn acks_of_the_leader_alone_are_enough() {
    let fixture = Fixture::new(1, 1);
    let mut producer = fixture.producer(&ProducerSettings {
        acks: Acks::Leader,
        idempotent: false,
        ..ProducerSettings::default()
    });
    producer.prepare().unwrap();
    deliver(&mut producer, batches(10, 10, false));
    let expected: Vec<usize> = (0..100).collect();
    assert_eq!(values(&fixture.read(100)), expected);
}

/// Answers the first requests with `errors`, without appending their records. One request is in flight at a time, because the mock cluster
/// does not check sequence numbers.
#[track_caller]
fn check_retried(errors: &[RDKafkaRespErr]) {
    let fixture = Fixture::new(1, 1);
    let mut producer = fixture.producer(&ProducerSettings {
        max_in_flight: 1,
        ..ProducerSettings::default()
    });
    producer.prepare().unwrap();
    fixture
        .cluster
        .request_errors(RDKafkaApiKey::Produce, errors);
    let delivered = deliver(&mut producer, batches(30, 10, false));
    assert!(delivered.iter().all(|batch| batch.refused.is_empty()));
    let expected: Vec<usize> = (0..300).collect();
    assert_eq!(values(&fixture.read(300)), expected, "{errors:?}");
}

#[test]
fn batches_are_retried() {
    use RDKafkaRespErr::*;
    check_retried(&[RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS]);
    check_retried(&[
        RD_KAFKA_RESP_ERR_NO_ERROR,
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
    ]);
    check_retried(&[
        RD_KAFKA_RESP_ERR_NO_ERROR,
        RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
    ]);
    check_retried(&[RD_KAFKA_RESP_ERR_INVALID_MSG]);
    check_retried(&[RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    check_retried(&[RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID]);
}

#[test]
fn an_unauthorized_topic_is_fatal() {
    let fixture = Fixture::new(1, 1);
    let mut producer = fixture.producer(&ProducerSettings::default());
    producer.prepare().unwrap();
    fixture.cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED],
    );
    producer.send(batches(1, 1, false).remove(0)).unwrap();
    let until = Instant::now() + DEADLINE;
    let error = loop {
        assert!(Instant::now() < until);
        if let Err(error) = producer.poll(Duration::from_millis(1)) {
            break error;
        }
    };
    assert_eq!(
        error.to_string(),
        "produce: topic even: TOPIC_AUTHORIZATION_FAILED"
    );
}

/// MESSAGE_TOO_LARGE for batches of ten, five, two and one record: only the first record is refused.
#[test]
fn a_too_large_record_is_found() {
    let fixture = Fixture::new(1, 1);
    let mut producer = fixture.producer(&ProducerSettings {
        max_in_flight: 1,
        ..ProducerSettings::default()
    });
    producer.prepare().unwrap();
    let too_large = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    fixture
        .cluster
        .request_errors(RDKafkaApiKey::Produce, &[too_large; 4]);
    let delivered = deliver(&mut producer, batches(3, 10, false));
    let refused = &delivered[0].refused;
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].reason, RefusalReason::TooLarge);
    let record = delivered[0].get(refused[0].location).unwrap();
    assert_eq!(record.offset, 0);
    let expected: Vec<usize> = (1..30).collect();
    assert_eq!(values(&fixture.read(29)), expected);
}

/// The mock cluster does not say which record is invalid.
#[test]
fn an_invalid_record_is_found() {
    let fixture = Fixture::new(1, 1);
    let mut producer = fixture.producer(&ProducerSettings::default());
    producer.prepare().unwrap();
    let invalid = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD;
    let no_error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    // A batch of two records, then its halves: only the second record is invalid.
    fixture
        .cluster
        .request_errors(RDKafkaApiKey::Produce, &[invalid, no_error, invalid]);
    let delivered = deliver(&mut producer, batches(1, 2, false));
    let refused = &delivered[0].refused;
    assert_eq!(refused.len(), 1);
    let record = delivered[0].get(refused[0].location).unwrap();
    assert_eq!(record.offset, 1);
    assert_eq!(
        refused[0].reason,
        RefusalReason::Invalid("INVALID_RECORD".to_owned())
    );
    assert_eq!(values(&fixture.read(1)), [0]);
}

#[test]
fn batches_follow_the_leader() {
    let fixture = Fixture::new(3, 1);
    let mut producer = fixture.producer(&ProducerSettings::default());
    producer.prepare().unwrap();
    fixture
        .cluster
        .partition_leader("even", 0, Some(1))
        .unwrap();
    deliver(&mut producer, batches(5, 10, false));
    fixture
        .cluster
        .partition_leader("even", 0, Some(2))
        .unwrap();
    let next = batches(10, 10, false).split_off(5);
    deliver(&mut producer, next);
    let expected: Vec<usize> = (0..100).collect();
    assert_eq!(values(&fixture.read(100)), expected);
}

#[test]
fn batches_survive_a_broker_restart() {
    let fixture = Fixture::new(1, 1);
    let mut producer = fixture.producer(&ProducerSettings::default());
    producer.prepare().unwrap();
    let mut batches = batches(20, 10, false);
    let last = batches.split_off(10);
    deliver(&mut producer, batches);
    fixture.cluster.broker_down(1).unwrap();
    let count = last.len();
    for batch in last {
        producer.send(batch).unwrap();
    }
    poll_until(&mut producer, |producer| {
        producer.network.connect_failures(Node::Broker(1)) > 1
    });
    assert_eq!(producer.in_flight(), count);
    fixture.cluster.broker_up(1).unwrap();
    deliver_all(&mut producer, count);
    let expected: Vec<usize> = (0..200).collect();
    assert_eq!(values(&fixture.read(200)), expected);
}

/// Polls until `condition` holds, and checks that no batch is delivered before.
fn poll_until(producer: &mut Producer, condition: impl Fn(&Producer) -> bool) {
    let in_flight = producer.in_flight();
    let until = Instant::now() + DEADLINE;
    while !condition(producer) {
        assert!(Instant::now() < until);
        producer.poll(Duration::from_millis(1)).unwrap();
    }
    assert_eq!(producer.in_flight(), in_flight);
    assert!(producer.delivered().is_none());
}

#[test]
fn batches_wait_for_a_missing_topic() {
    let mut fixture = Fixture::new(1, 2);
    fixture.topics.outputs = vec!["late".to_owned(), "even".to_owned()];
    let mut producer = fixture.producer(&ProducerSettings::default());
    let mut batches = batches(3, 10, false);
    producer.send(batches.remove(0)).unwrap();
    poll_until(&mut producer, |producer| {
        let topic = producer.metadata.topic("late").unwrap();
        topic.error.is_some()
    });
    fixture.cluster.create_topic("late", 1, 1).unwrap();
    deliver_all(&mut producer, 1);
    assert_eq!(deliver(&mut producer, batches).len(), 2);
}

#[test]
fn only_records_with_a_key_wait_for_a_leader() {
    let fixture = Fixture::new(1, 2);
    fixture.cluster.partition_leader("even", 1, None).unwrap();
    let mut producer = fixture.producer(&ProducerSettings::default());
    deliver(&mut producer, batches(4, 10, false));
    let records = fixture.read_from(0..1, 40);
    assert!(records.iter().all(|record| record.0 == 0));
    producer.send(batches(1, 10, true).remove(0)).unwrap();
    // The records of the other partition are acknowledged.
    poll_until(&mut producer, |producer| {
        let queues = producer.accumulator.queues.iter();
        let is_empty: BTreeMap<i32, bool> = queues
            .map(|queue| (queue.partition, queue.is_empty()))
            .collect();
        producer.accepts() && is_empty == BTreeMap::from([(0, true), (1, false)])
    });
    fixture
        .cluster
        .partition_leader("even", 1, Some(1))
        .unwrap();
    deliver_all(&mut producer, 1);
    assert_eq!(fixture.read(50).len(), 50);
}
