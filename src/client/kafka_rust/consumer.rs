//! The consumer of the client `kafka`: reads all partitions of the input topics. Runs on the thread `consumer`.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use ::kafka::client::fetch::Response;
use ::kafka::client::{CommitOffset, FetchGroupOffset, FetchOffset, FetchPartition, KafkaClient};
use ::kafka::error::{Error as KafkaError, KafkaCode};

use super::fetched_records::FetchedRecords;
use super::{describe, new_client, topics};
use crate::client::Error;
use crate::client::Topics;
use crate::client::settings::{ClientSettings, GroupId, StartOffset, Subscription};
use crate::client::{ConsumerEvent, NotReady, Polled, Record};
use crate::throttle::{Throttle, WARNING_INTERVAL, more_suppressed};
use crate::topic_partition::{NextOffset, TopicPartition};

/// Initial `max_bytes` of a partition in a fetch. Fetch version 0 returns no record at all if the next one is larger, so the limit is doubled
/// until the record fits.
const INITIAL_FETCH_BYTES: i32 = 1 << 20;

/// Upper bound of the doubled `max_bytes`.
const MAX_FETCH_BYTES: i32 = 1 << 26;

/// The consumer of the client `kafka`.
pub(crate) struct Consumer {
    settings: ClientSettings,
    client: KafkaClient,
    topics: Topics,
    group: GroupId,
    start_offset: StartOffset,
    positions: BTreeMap<TopicPartition, FetchPosition>,
    fetched: FetchedRecords,
    events: VecDeque<ConsumerEvent>,
    is_paused: bool,
    /// True if the last request failed; the next fetch then starts with a new client.
    is_unavailable: bool,
    warnings: Throttle,
}

/// Fetch position of a partition.
#[derive(Debug, Clone, Copy)]
struct FetchPosition {
    /// Next offset to fetch; -1 if the offset was out of range and has to be reset.
    next: i64,
    max_bytes: i32,
}

impl Consumer {
    /// Implements [`Client::consumer`](crate::client::Client::consumer).
    pub(super) fn new(settings: &ClientSettings, input: &Subscription, topics: &Topics) -> Self {
        Self {
            client: new_client(settings),
            topics: topics.clone(),
            settings: settings.clone(),
            group: input.group.clone(),
            start_offset: input.start_offset,
            positions: BTreeMap::new(),
            fetched: FetchedRecords::default(),
            events: VecDeque::new(),
            is_paused: false,
            is_unavailable: false,
            warnings: Throttle::new(WARNING_INTERVAL),
        }
    }

    /// Sets the position of each partition to its committed offset, or to the start offset if none is committed.
    fn look_up_positions(&mut self) -> Result<(), KafkaError> {
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
            let mut offsets: BTreeMap<i32, i64> = start
                .into_iter()
                .map(|found| (found.partition, found.offset))
                .collect();
            if let GroupId::Named(group) = &self.group {
                let requests: Vec<FetchGroupOffset<'_>> = partitions
                    .iter()
                    .map(|&partition| FetchGroupOffset::new(topic, partition))
                    .collect();
                let committed = self
                    .client
                    .fetch_group_offsets(group, &requests)?
                    .remove(topic)
                    .unwrap_or_default();
                let committed = committed.into_iter().filter(|found| found.offset >= 0);
                offsets.extend(committed.map(|found| (found.partition, found.offset)));
            }
            let topic = u16::try_from(index).unwrap_or_default();
            for partition in partitions {
                if let Some(&next) = offsets.get(&partition) {
                    let position = FetchPosition {
                        next,
                        max_bytes: INITIAL_FETCH_BYTES,
                    };
                    self.positions
                        .insert(TopicPartition { topic, partition }, position);
                }
            }
        }
        Ok(())
    }

    /// Fetches all partitions, reconnecting first if the last request failed.
    fn fetch(&mut self, timeout: Duration) -> Result<(), KafkaError> {
        if self.is_unavailable {
            self.client = new_client(&self.settings);
            self.client.load_metadata(&self.topics.all())?;
            self.is_unavailable = false;
            self.events.push_back(ConsumerEvent::Available);
        }
        self.client.set_fetch_max_wait_time(timeout)?;
        self.client.set_fetch_min_bytes(1);
        let requests = self.positions.iter().map(|(partition, position)| {
            let topic = self.topics.input(partition.topic);
            FetchPartition::new(topic, partition.partition, position.next)
                .with_max_bytes(position.max_bytes)
        });
        let requests: Vec<FetchPartition<'_>> = requests.collect();
        self.fetched = FetchedRecords::new(self.client.fetch_messages(&requests)?);
        Ok(())
    }

    /// Marks the client as failed, so that the next fetch starts with a new one, and reports it once.
    fn fail(&mut self, reason: String) {
        if !self.is_unavailable {
            self.is_unavailable = true;
            self.events.push_back(ConsumerEvent::Unavailable(reason));
        }
    }

    /// Handles what a fetch returned besides records: errors of single partitions, and records that did not fit.
    fn check_fetched(&mut self) -> Result<(), Error> {
        let mut failure = None;
        let responses = self.fetched.responses().iter();
        for topic in responses.flat_map(Response::topics) {
            for partition in topic.partitions() {
                let key = self
                    .topics
                    .input_partition(topic.topic(), partition.partition());
                let Some((key, position)) =
                    key.and_then(|key| Some((key, self.positions.get_mut(&key)?)))
                else {
                    continue;
                };
                let error = match partition.data() {
                    Ok(data) => {
                        let did_not_fit = data.messages().is_empty()
                            && data.highwatermark_offset() > position.next;
                        position.max_bytes = if did_not_fit {
                            position.max_bytes.saturating_mul(2).min(MAX_FETCH_BYTES)
                        } else {
                            INITIAL_FETCH_BYTES
                        };
                        continue;
                    }
                    Err(error) => error,
                };
                let next_step = match *error {
                    KafkaError::UnsupportedCompression => return Err(fetch_error(&error)),
                    KafkaError::Kafka(KafkaCode::OffsetOutOfRange) => "resetting the offset",
                    _ => "reconnecting",
                };
                if let Some(suppressed) = self.warnings.admit(Instant::now()) {
                    log::warn!(
                        "fetch {}-{} at offset {} failed: {}, {next_step}{}",
                        topic.topic(),
                        key.partition,
                        position.next,
                        describe(&error),
                        more_suppressed(suppressed)
                    );
                }
                if matches!(*error, KafkaError::Kafka(KafkaCode::OffsetOutOfRange)) {
                    position.next = -1;
                } else {
                    failure = Some(describe(&error));
                }
            }
        }
        if let Some(reason) = failure {
            self.fail(reason);
        }
        if self.positions.values().any(|position| position.next < 0) {
            self.reset_positions();
        }
        Ok(())
    }

    /// Looks up new positions for the partitions whose offset was out of range, usually because retention deleted the records.
    fn reset_positions(&mut self) {
        let old = std::mem::take(&mut self.positions);
        if let Err(error) = self.look_up_positions() {
            self.fail(describe(&error));
        }
        for (partition, position) in old {
            if position.next >= 0 || !self.positions.contains_key(&partition) {
                self.positions.insert(partition, position);
            }
        }
    }
}

fn fetch_error(error: &KafkaError) -> Error {
    Error::Kafka {
        operation: "fetch",
        reason: describe(error),
    }
}

impl crate::client::Consumer for Consumer {
    fn prepare(&mut self) -> Result<(), NotReady> {
        let settings = &self.settings;
        topics::check_broker(&settings.brokers, &settings.connection.client_id)?;
        let auto_create = settings.topics.auto_create;
        let prepared =
            topics::check_topics(&mut self.client, &self.topics, auto_create).and_then(|()| {
                self.look_up_positions().map_err(|error| {
                    NotReady::Waiting(format!("look up committed offsets: {}", describe(&error)))
                })
            });
        if prepared.is_err() {
            self.client = new_client(&self.settings);
        } else {
            self.events.push_back(ConsumerEvent::Assigned(
                self.positions.keys().copied().collect(),
            ));
        }
        prepared
    }

    fn poll(
        &mut self,
        timeout: Duration,
        mut handle: impl FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if self.is_paused {
            thread::sleep(timeout);
            return Ok(());
        }
        if self.fetched.is_empty() {
            if let Err(error) = self.fetch(timeout) {
                if matches!(error, KafkaError::UnsupportedCompression) {
                    return Err(fetch_error(&error));
                }
                self.fail(describe(&error));
                // A fetch would have waited as long. Without the wait, requests to an unreachable broker would be repeated in a tight loop.
                thread::sleep(timeout);
                return Ok(());
            }
            self.check_fetched()?;
        }
        let Self {
            fetched,
            topics,
            positions,
            ..
        } = self;
        fetched.deliver(topics, |record: Record<'_>| {
            if let Some(position) = positions.get_mut(&record.partition) {
                position.next = record.offset + 1;
            }
            handle(Polled::Record(record))
        });
        Ok(())
    }

    fn next_event(&mut self) -> Option<ConsumerEvent> {
        self.events.pop_front()
    }

    fn pause(&mut self) -> Result<(), Error> {
        self.is_paused = true;
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Error> {
        self.is_paused = false;
        Ok(())
    }

    fn commit(&mut self, offsets: &[NextOffset]) -> Result<(), Error> {
        let GroupId::Named(group) = &self.group else {
            return Ok(());
        };
        if self.is_unavailable {
            let reason = describe(&KafkaError::NoHostReachable);
            self.events.push_back(ConsumerEvent::CommitFailed(reason));
            return Ok(());
        }
        let commits = offsets.iter().map(|&(partition, next)| {
            let topic = self.topics.input(partition.topic);
            CommitOffset::new(topic, partition.partition, next)
        });
        let commits: Vec<CommitOffset<'_>> = commits.collect();
        match self.client.commit_offsets(group, &commits) {
            Ok(()) => self
                .events
                .push_back(ConsumerEvent::Committed(offsets.to_vec())),
            Err(error) => {
                self.events
                    .push_back(ConsumerEvent::CommitFailed(describe(&error)));
                self.fail(describe(&error));
            }
        }
        Ok(())
    }

    fn release(&mut self, _partitions: &[TopicPartition]) -> Result<(), Error> {
        Ok(())
    }

    fn close(self) {}
}
