//! Reads all partitions of the inputs, each from its own place. Owned by the thread `consumer`.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use ::kafka::client::fetch::Response;
use ::kafka::client::{CommitOffset, FetchGroupOffset, FetchOffset, FetchPartition, KafkaClient};
use ::kafka::error::{Error as KafkaError, KafkaCode};

use super::{connect, provision, words};
use crate::client::Error;
use crate::client::Topics;
use crate::client::records::Headers;
use crate::client::settings::{ClientSettings, GroupId, StartOffset, Subscription};
use crate::client::{ConsumerEvent, NotReady, Polled, Record};
use crate::throttle::{Throttle, WARNING_INTERVAL};
use crate::topic_partition::{NextOffset, TopicPartition};

/// Bytes asked for of a partition at first; doubled, up to the second, where a record does not fit (Fetch version 0 then answers nothing).
const FETCH_BYTES: (i32, i32) = (1 << 20, 1 << 26);

/// See the module.
pub(crate) struct Consumer {
    settings: ClientSettings,
    client: KafkaClient,
    topics: Topics,
    group: GroupId,
    start_offset: StartOffset,
    places: BTreeMap<TopicPartition, RecordLocation>,
    fetched: Fetched,
    events: VecDeque<ConsumerEvent>,
    paused: bool,
    /// The last exchange with a broker failed, and the client is to be made anew.
    unavailable: bool,
    warnings: Throttle,
}

/// Where a partition is being read.
#[derive(Debug, Clone, Copy)]
struct RecordLocation {
    next: i64,
    fetch_bytes: i32,
}

/// What was fetched and not yet lent.
#[derive(Default)]
struct Fetched {
    responses: Vec<Response>,
    /// Response, topic, partition and record that come next.
    at: (usize, usize, usize, usize),
}

impl Consumer {
    /// See [`Client::consumer`](crate::client::Client::consumer).
    pub(super) fn new(settings: &ClientSettings, input: &Subscription, topics: &Topics) -> Self {
        Self {
            client: connect(settings),
            topics: topics.clone(),
            settings: settings.clone(),
            group: input.group.clone(),
            start_offset: input.start_offset,
            places: BTreeMap::new(),
            fetched: Fetched::default(),
            events: VecDeque::new(),
            paused: false,
            unavailable: false,
            warnings: Throttle::new(WARNING_INTERVAL),
        }
    }

    /// Where each partition is to be read: at its committed offset, else where a new group starts.
    fn find_places(&mut self) -> Result<(), KafkaError> {
        for (index, topic) in self.topics.inputs.iter().enumerate() {
            let partitions: Vec<i32> = self
                .client
                .topics()
                .partitions(topic)
                .map(|partitions| partitions.available_ids())
                .unwrap_or_default();
            let start = match self.start_offset {
                StartOffset::Earliest => FetchOffset::Earliest,
                StartOffset::Latest => FetchOffset::Latest,
            };
            let start = self
                .client
                .fetch_offsets(&[topic], start)?
                .remove(topic)
                .unwrap_or_default();
            let mut nexts: BTreeMap<i32, i64> = start
                .into_iter()
                .map(|place| (place.partition, place.offset))
                .collect();
            if let GroupId::Named(group) = &self.group {
                let wanted: Vec<FetchGroupOffset<'_>> = partitions
                    .iter()
                    .map(|&partition| FetchGroupOffset::new(topic, partition))
                    .collect();
                let committed = self
                    .client
                    .fetch_group_offsets(group, &wanted)?
                    .remove(topic)
                    .unwrap_or_default();
                let committed = committed.into_iter().filter(|place| place.offset >= 0);
                nexts.extend(committed.map(|place| (place.partition, place.offset)));
            }
            let topic = u16::try_from(index).unwrap_or_default();
            for partition in partitions {
                if let Some(&next) = nexts.get(&partition) {
                    let place = RecordLocation {
                        next,
                        fetch_bytes: FETCH_BYTES.0,
                    };
                    self.places
                        .insert(TopicPartition { topic, partition }, place);
                }
            }
        }
        Ok(())
    }

    fn fetch(&mut self, timeout: Duration) -> Result<(), KafkaError> {
        if self.unavailable {
            self.client = connect(&self.settings);
            self.client.load_metadata(&self.topics.all())?;
            self.unavailable = false;
            self.events.push_back(ConsumerEvent::Available);
        }
        self.client.set_fetch_max_wait_time(timeout)?;
        self.client.set_fetch_min_bytes(1);
        let wanted = self.places.iter().map(|(partition, place)| {
            FetchPartition::new(
                self.topics.input(partition.topic),
                partition.partition,
                place.next,
            )
            .with_max_bytes(place.fetch_bytes)
        });
        let wanted: Vec<FetchPartition<'_>> = wanted.collect();
        let responses = self.client.fetch_messages(&wanted)?;
        self.fetched = Fetched {
            responses,
            at: (0, 0, 0, 0),
        };
        Ok(())
    }

    /// The exchange failed: the next one begins with a new client.
    fn lost(&mut self, error: &KafkaError) {
        if !self.unavailable {
            self.unavailable = true;
            self.events
                .push_back(ConsumerEvent::Unavailable(words(error)));
        }
    }

    /// Looks at what was fetched before it is lent: errors of single partitions, and records that did not fit.
    fn check_fetched(&mut self) -> Result<(), Error> {
        let mut reload = false;
        for topic in self.fetched.responses.iter().flat_map(Response::topics) {
            let Some(index) = self
                .topics
                .inputs
                .iter()
                .position(|input| input == topic.topic())
            else {
                continue;
            };
            for partition in topic.partitions() {
                let key = TopicPartition {
                    topic: u16::try_from(index).unwrap_or_default(),
                    partition: partition.partition(),
                };
                let Some(place) = self.places.get_mut(&key) else {
                    continue;
                };
                match partition.data() {
                    Ok(data) => {
                        let short =
                            data.messages().is_empty() && data.highwatermark_offset() > place.next;
                        place.fetch_bytes = if short {
                            place.fetch_bytes.saturating_mul(2).min(FETCH_BYTES.1)
                        } else {
                            FETCH_BYTES.0
                        };
                    }
                    Err(error) => {
                        if let Some(suppressed) = self.warnings.admit(Instant::now()) {
                            log::warn!(
                                "fetch {}-{} at offset {}: {} ({suppressed} more like this since the last line)",
                                topic.topic(),
                                key.partition,
                                place.next,
                                words(&error)
                            );
                        }
                        match *error {
                            KafkaError::Kafka(KafkaCode::OffsetOutOfRange) => place.next = -1,
                            KafkaError::UnsupportedCompression => {
                                return Err(Error::Kafka {
                                    operation: "fetch",
                                    reason: words(&error),
                                });
                            }
                            _ => reload = true,
                        }
                    }
                }
            }
        }
        if reload {
            self.lost(&KafkaError::Kafka(KafkaCode::LeaderNotAvailable));
        }
        if self.places.values().any(|place| place.next < 0) {
            self.reset_places();
        }
        Ok(())
    }

    /// Retention has passed a partition's place: it goes on where a new group would start.
    fn reset_places(&mut self) {
        let old = std::mem::take(&mut self.places);
        if let Err(error) = self.find_places() {
            self.lost(&error);
        }
        for (partition, place) in old {
            if place.next >= 0 || !self.places.contains_key(&partition) {
                self.places.insert(partition, place);
            }
        }
    }
}

impl crate::client::Consumer for Consumer {
    fn prepare(&mut self) -> Result<(), NotReady> {
        provision::check_broker(&self.settings.brokers)?;
        let prepared = provision::check_topics(
            &mut self.client,
            &self.topics,
            self.settings.topics.auto_create,
        )
        .and_then(|()| {
            self.find_places().map_err(|error| {
                NotReady::Waiting(format!("look for committed offsets: {}", words(&error)))
            })
        });
        if prepared.is_err() {
            self.client = connect(&self.settings);
        } else {
            self.events.push_back(ConsumerEvent::Assigned(
                self.places.keys().copied().collect(),
            ));
        }
        prepared
    }

    fn poll(
        &mut self,
        timeout: Duration,
        mut handle: impl FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if self.paused {
            thread::sleep(timeout);
            return Ok(());
        }
        if self.fetched.is_empty() {
            if let Err(error) = self.fetch(timeout) {
                if matches!(error, KafkaError::UnsupportedCompression) {
                    return Err(Error::Kafka {
                        operation: "fetch",
                        reason: words(&error),
                    });
                }
                self.lost(&error);
                // As long as a fetch would have waited, so that a broker that is down is not asked in a tight loop.
                thread::sleep(timeout);
                return Ok(());
            }
            self.check_fetched()?;
        }
        let Self {
            fetched,
            topics,
            places,
            ..
        } = self;
        fetched.lend(topics, |record| {
            if let Some(place) = places.get_mut(&record.partition) {
                place.next = record.offset + 1;
            }
            handle(Polled::Record(record))
        });
        Ok(())
    }

    fn next_event(&mut self) -> Option<ConsumerEvent> {
        self.events.pop_front()
    }

    fn pause(&mut self) -> Result<(), Error> {
        self.paused = true;
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Error> {
        self.paused = false;
        Ok(())
    }

    fn commit(&mut self, offsets: &[NextOffset]) -> Result<(), Error> {
        let GroupId::Named(group) = &self.group else {
            return Ok(());
        };
        if self.unavailable {
            self.events.push_back(ConsumerEvent::CommitFailed(
                "no broker can be reached".to_owned(),
            ));
            return Ok(());
        }
        let commits = offsets.iter().map(|&(partition, next)| {
            CommitOffset::new(
                self.topics.input(partition.topic),
                partition.partition,
                next,
            )
        });
        let commits: Vec<CommitOffset<'_>> = commits.collect();
        match self.client.commit_offsets(group, &commits) {
            Ok(()) => self
                .events
                .push_back(ConsumerEvent::Committed(offsets.to_vec())),
            Err(error) => {
                self.events
                    .push_back(ConsumerEvent::CommitFailed(words(&error)));
                self.lost(&error);
            }
        }
        Ok(())
    }

    fn release(&mut self, _partitions: &[TopicPartition]) -> Result<(), Error> {
        Ok(())
    }

    fn close(self) {}
}

impl Fetched {
    fn is_empty(&self) -> bool {
        self.at.0 >= self.responses.len()
    }

    /// Lends records until the taker is full or all are lent.
    fn lend(&mut self, topics: &Topics, mut take: impl FnMut(Record<'_>) -> ControlFlow<()>) {
        let (mut response, mut topic, mut partition, mut message) = self.at;
        'lending: while let Some(fetched) = self.responses.get(response) {
            while let Some(of_topic) = fetched.topics().get(topic) {
                let index = topics
                    .inputs
                    .iter()
                    .position(|input| input == of_topic.topic());
                let index = index
                    .and_then(|index| u16::try_from(index).ok())
                    .unwrap_or_default();
                while let Some(of_partition) = of_topic.partitions().get(partition) {
                    let key = TopicPartition {
                        topic: index,
                        partition: of_partition.partition(),
                    };
                    let data = of_partition.data();
                    let messages = data
                        .as_ref()
                        .map(|data| data.messages())
                        .unwrap_or_default();
                    while let Some(record) = messages.get(message) {
                        message += 1;
                        let record = Record {
                            partition: key,
                            offset: record.offset,
                            timestamp: None,
                            // The crate tells neither no key from an empty one, nor no value from an empty one: an empty value must not
                            // be lost, so both count as that.
                            key: (!record.key.is_empty()).then_some(record.key),
                            value: Some(record.value),
                            headers: Headers::default(),
                        };
                        if take(record) == ControlFlow::Break(()) {
                            break 'lending;
                        }
                    }
                    (partition, message) = (partition + 1, 0);
                }
                (topic, partition) = (topic + 1, 0);
            }
            (response, topic) = (response + 1, 0);
        }
        self.at = (response, topic, partition, message);
        if self.is_empty() {
            self.responses.clear();
        }
    }
}
