//! The embedded broker, with a plain producer and consumer for the tests.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::process::{DEADLINE, eventually, while_none_begins};

pub(crate) const INPUT: &str = "timeDest";
pub(crate) const EVEN: &str = "evenDest";
pub(crate) const ODD: &str = "oddDest";
pub(crate) const DEAD: &str = "error.timeDest.group";

/// A broker with the topics of the router.
pub(crate) struct Broker {
    pub(crate) cluster: MockCluster<'static, DefaultProducerContext>,
}

/// A record as a consumer receives it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Read {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) timestamp: Option<i64>,
}

impl Broker {
    pub(crate) fn start(input_partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(INPUT, input_partitions, 1).unwrap();
        for topic in [EVEN, ODD, DEAD] {
            cluster.create_topic(topic, 1, 1).unwrap();
        }
        Self { cluster }
    }

    pub(crate) fn address(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Closes the connections of the broker and refuses new ones. The mock closes its listener and binds the port again at once.
    pub(crate) fn down(&self) {
        while_none_begins(|| self.cluster.broker_down(1)).unwrap();
    }

    pub(crate) fn up(&self) {
        self.cluster.broker_up(1).unwrap();
    }

    /// Returns the arguments of a router that uses this broker.
    pub(crate) fn arguments(&self) -> Vec<String> {
        vec![
            format!(
                "--spring.cloud.stream.kafka.binder.brokers={}",
                self.address()
            ),
            format!("--spring.cloud.stream.bindings.input.destination={INPUT}"),
            format!("--spring.cloud.stream.bindings.even.destination={EVEN}"),
            format!("--spring.cloud.stream.bindings.odd.destination={ODD}"),
            "--spring.cloud.stream.bindings.input.group=group".to_owned(),
        ]
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.address());
        client
    }

    /// Writes records to the input topic, round robin over its partitions, and waits for the acknowledgements.
    pub(crate) fn write(&self, records: &[Read], partitions: i32) {
        let producer: BaseProducer = self.client().set("linger.ms", "1").create().unwrap();
        for (index, record) in records.iter().enumerate() {
            let mut headers = OwnedHeaders::new();
            for (name, value) in &record.headers {
                headers = headers.insert(Header {
                    key: name,
                    value: value.as_ref(),
                });
            }
            let outgoing = BaseRecord {
                topic: INPUT,
                partition: Some(i32::try_from(index).unwrap() % partitions),
                payload: record.value.as_ref(),
                key: record.key.as_ref(),
                timestamp: record.timestamp,
                headers: (!record.headers.is_empty()).then_some(headers),
                delivery_opaque: (),
            };
            producer.send(outgoing).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(DEADLINE).unwrap();
    }

    /// Writes records that have only a value.
    pub(crate) fn write_values(&self, values: impl Iterator<Item = String>, partitions: i32) {
        let records: Vec<Read> = values.map(|value| value_only(value.as_bytes())).collect();
        self.write(&records, partitions);
    }

    /// Reads a topic with one partition from its start until `enough` returns true.
    pub(crate) fn read_until(
        &self,
        topic: &str,
        mut enough: impl FnMut(&[Read]) -> bool,
    ) -> Vec<Read> {
        // librdkafka requires a group for an assignment.
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let mut place = TopicPartitionList::new();
        place
            .add_partition_offset(topic, 0, Offset::Beginning)
            .unwrap();
        consumer.assign(&place).unwrap();
        let mut records = Vec::new();
        let found = std::cell::Cell::new(0);
        eventually(
            &format!("records in {topic}"),
            || {
                while let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
                    records.push(read(&message));
                }
                found.set(records.len());
                enough(&records).then(|| records.clone())
            },
            || format!("{} records there", found.get()),
        )
    }

    pub(crate) fn read(&self, topic: &str, count: usize) -> Vec<Read> {
        self.read_until(topic, |records| records.len() >= count)
    }

    /// Returns the number of records of a topic with one partition.
    pub(crate) fn len(&self, topic: &str) -> i64 {
        let consumer: BaseConsumer = self.client().create().unwrap();
        consumer.fetch_watermarks(topic, 0, DEADLINE).unwrap().1
    }

    /// Returns the committed offsets of a group by input partition, without partitions that have none.
    pub(crate) fn committed(&self, group: &str, partitions: i32) -> BTreeMap<i32, i64> {
        let consumer: BaseConsumer = self.client().set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(INPUT, 0, partitions - 1);
        let list = consumer.committed_offsets(list, DEADLINE).unwrap();
        let offsets = list
            .elements()
            .into_iter()
            .filter_map(|element| Some((element.partition(), element.offset().to_raw()?)));
        offsets.filter(|(_, offset)| *offset >= 0).collect()
    }
}

pub(crate) fn value_only(value: &[u8]) -> Read {
    Read {
        key: None,
        value: Some(value.to_owned()),
        headers: Vec::new(),
        timestamp: None,
    }
}

fn read(message: &impl Message) -> Read {
    let headers = message.headers().map(|headers| {
        headers
            .iter()
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect()
    });
    Read {
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
        timestamp: message.timestamp().to_millis(),
    }
}
