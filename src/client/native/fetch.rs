//! Where each partition is read, what has been fetched of it, and how that is lent: record batches are walked in the memory that they
//! arrived in. While what was fetched last is routed, the next fetch is under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read;
use std::ops::ControlFlow;
use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::AbortedTransaction;
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse};

use super::backoff::backoff;
use super::compression::{self, Decoder};
use super::metadata::Metadata;
use super::network::{Network, Node};
use super::request::{group_by_topic, topic_name};
use crate::client::Error;
use crate::client::Topics;
use crate::client::records::{BATCH_HEADER_SIZE, BatchHeader, ParsedHeader, RecordView};
use crate::client::settings::{Compression, ConsumerSettings, Isolation};
use crate::client::{Polled, Record, Timestamp};
use crate::throttle::{Throttle, WARNING_INTERVAL};
use crate::topic_partition::{NextOffset, TopicPartition};

/// A record at most: what is longer is none, and room for it is not made.
const MAX_RECORD: usize = 100_000_000;

/// How much is inflated at a time.
const INFLATE: usize = 64 * 1024;

/// How often in a row a batch may arrive broken, which another fetch can heal, before the router stops in front of it.
const BROKEN_TIMES: u32 = 3;

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At the offset that its group has committed, which is to be asked for.
    Committed,
    /// At its first record, at what comes from now on, or where the committed offset, which retention has passed, was: to be looked up.
    Reset,
    /// At this offset.
    At,
}

#[derive(Debug)]
struct RecordLocation {
    start: Start,
    /// The offset of the next fetch, where `start` is [`Start::At`].
    next: i64,
    /// A question about it is under way.
    asked: bool,
    not_before: Option<Instant>,
    failures: u32,
    broken: u32,
    /// Where `start` is [`Start::Reset`] because this offset was out of range.
    out_of_range: Option<i64>,
    /// Of what is told about that.
    resets: Throttle,
    /// The offset was reset to an earlier one, and nothing has been fetched from there yet.
    went_back: bool,
    /// The offset behind the last record that may be read, as its leader last told.
    end: i64,
}

/// See the module.
pub(super) struct Fetcher {
    settings: ConsumerSettings,
    topics: Topics,
    /// Bytes that all answers together may have, being routed and under way.
    memory: usize,
    places: BTreeMap<TopicPartition, RecordLocation>,
    /// What was asked of each broker, with the offsets: an answer counts only for a partition that still stands there.
    under_way: BTreeMap<i32, Vec<NextOffset>>,
    fetched: VecDeque<Fetched>,
    /// The partition that the next request begins with: the broker fills an answer from the front.
    turn: Option<TopicPartition>,
    paused: bool,
    window: Vec<u8>,
    warnings: Throttle,
}

/// An answer with records.
struct Fetched {
    broker: i32,
    body: Bytes,
    parts: VecDeque<RecordSet>,
}

/// Of an answer, what is of one partition.
struct RecordSet {
    partition: TopicPartition,
    records: Bytes,
    /// Where the batch begins that is being walked, or the next one.
    at: usize,
    /// The next offset that is wanted.
    next: i64,
    /// It begins below what was fetched before it: a new poll begins with it.
    went_back: bool,
    aborted: Aborted,
    open: Option<Open>,
}

/// A batch that is being walked.
struct Open {
    header: BatchHeader,
    left: i32,
    source: Source,
}

enum Source {
    /// Where the next record begins, and where the batch ends, in the part's records.
    Plain { at: usize, end: usize },
    /// What comes out of a compressed batch; so much of the window is there and not yet lent.
    Inflated {
        decoder: Box<Decoder>,
        from: usize,
        to: usize,
    },
}

/// Transactions that were aborted, as the broker tells them along with a partition's records (KIP-98).
#[derive(Default)]
struct Aborted {
    /// By the offset at which they begin, the last one first.
    to_come: Vec<AbortedTransaction>,
    /// Producers in whose aborted transaction the walk is.
    producers: BTreeSet<i64>,
}

impl Aborted {
    fn new(mut transactions: Vec<AbortedTransaction>) -> Self {
        transactions.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self {
            to_come: transactions,
            producers: BTreeSet::new(),
        }
    }

    /// Whether the records of this batch were never there.
    fn covers(&mut self, header: &BatchHeader) -> bool {
        if !header.is_transactional() {
            return false;
        }
        self.begin_until(header.next_offset());
        self.producers.contains(&header.producer_id)
    }

    /// What was aborted and begins before this offset has begun.
    fn begin_until(&mut self, offset: i64) {
        while let Some(begun) = self
            .to_come
            .pop_if(|transaction| transaction.first_offset < offset)
        {
            self.producers.insert(begun.producer_id.0);
        }
    }

    /// The transaction of this marker's producer was aborted, and ends. It begins here at the latest: where the fetch begins behind all of
    /// its records, the broker tells it too, and it would cover the producer's next transaction.
    fn end(&mut self, marker: &BatchHeader) {
        self.begin_until(marker.next_offset());
        self.producers.remove(&marker.producer_id);
    }
}

impl Fetcher {
    /// Reads nothing yet.
    pub(super) fn new(settings: &ConsumerSettings, topics: &Topics, memory: usize) -> Self {
        Self {
            settings: settings.clone(),
            topics: topics.clone(),
            memory,
            places: BTreeMap::new(),
            under_way: BTreeMap::new(),
            fetched: VecDeque::new(),
            turn: None,
            paused: false,
            window: Vec::new(),
            warnings: Throttle::new(WARNING_INTERVAL),
        }
    }

    /// Reads these partitions too, each from `start`.
    pub(super) fn add(&mut self, partitions: &[TopicPartition], start: Start) {
        for &partition in partitions {
            let place = RecordLocation {
                start,
                next: -1,
                asked: false,
                not_before: None,
                failures: 0,
                broken: 0,
                out_of_range: None,
                resets: Throttle::new(WARNING_INTERVAL),
                went_back: false,
                end: 0,
            };
            self.places.insert(partition, place);
        }
    }

    /// Reads these no longer; what was fetched of them is forgotten.
    pub(super) fn remove(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.places.remove(partition);
        }
        let places = &self.places;
        for fetched in &mut self.fetched {
            fetched
                .parts
                .retain(|part| places.contains_key(&part.partition));
        }
    }

    /// Partitions that are read.
    pub(super) fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.places.keys().copied()
    }

    /// See [`Consumer::lags`](crate::client::Consumer::lags).
    pub(super) fn lags(&self) -> Vec<(TopicPartition, u64)> {
        let fetched = self.fetched.iter().flat_map(|fetched| &fetched.parts);
        let mut at: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        for part in fetched {
            at.entry(part.partition).or_insert(part.next);
        }
        let places = self.places.iter();
        places
            .map(|(&partition, place)| {
                let next = at.get(&partition).copied().unwrap_or(place.next);
                let lag = place.end.saturating_sub(next);
                let least = i64::from(place.start != Start::At || place.failures > 0);
                (partition, lag.max(least).unsigned_abs())
            })
            .collect()
    }

    /// Lends nothing and fetches nothing until it is resumed.
    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Partitions that wait for this question and may be asked about now; they count as asked.
    pub(super) fn take_waiting(&mut self, start: Start) -> Vec<TopicPartition> {
        let now = Instant::now();
        let waits = |place: &RecordLocation| place.start == start && !place.asked;
        let is_due = |place: &RecordLocation| place.not_before.is_none_or(|at| at <= now);
        if !self
            .places
            .values()
            .any(|place| waits(place) && is_due(place))
        {
            return Vec::new();
        }
        // Where one is due the others go along: asked about one by one, each would wait for the fetch that the one before is in by then.
        let waiting = self.places.iter_mut().filter(|(_, place)| waits(place));
        waiting
            .map(|(&partition, place)| {
                place.asked = true;
                place.not_before = None;
                partition
            })
            .collect()
    }

    /// Whether a partition waits for an answer to this question.
    pub(super) fn is_asked(&self, partition: TopicPartition, start: Start) -> bool {
        self.places
            .get(&partition)
            .is_some_and(|place| place.asked && place.start == start)
    }

    /// The question about a partition could not be sent yet.
    pub(super) fn not_asked(&mut self, partition: TopicPartition) {
        if let Some(place) = self.places.get_mut(&partition) {
            place.asked = false;
        }
    }

    /// The question about a partition has no answer yet: it is asked again, later.
    pub(super) fn ask_again<T>(&mut self, partition: TopicPartition, network: &Network<T>) {
        if let Some(place) = self.places.get_mut(&partition) {
            place.asked = false;
            place.wait(network);
        }
    }

    /// The partition is read from `offset` on; none means that the group has committed nothing, and it is looked up where to start.
    /// Returns how many records are passed over so, because they are not there any more.
    pub(super) fn start_at(&mut self, partition: TopicPartition, offset: Option<i64>) -> u64 {
        let Some(place) = self.places.get_mut(&partition) else {
            return 0;
        };
        place.asked = false;
        place.failures = 0;
        let Some(offset) = offset else {
            place.start = Start::Reset;
            return 0;
        };
        place.start = Start::At;
        place.went_back |= offset < place.next;
        place.next = offset;
        log::debug!(
            "{}: read from offset {offset} on",
            self.topics.partitions(&[partition])
        );
        let Some(at) = place.out_of_range.take() else {
            return 0;
        };
        let missed = u64::try_from(offset - at).unwrap_or_default();
        if let Some(suppressed) = place.resets.admit(Instant::now()) {
            log::warn!(
                "{}: offset {at} is out of range, as retention, or a topic that was made anew, leaves it: going on at {offset}, {missed} records missed ({suppressed} more like this since the last line)",
                self.topics.partitions(&[partition])
            );
        }
        missed
    }

    /// The next moment at which a partition that had to wait can go on.
    pub(super) fn due(&self) -> Option<Instant> {
        let waiting = self.places.values().filter_map(|place| place.not_before);
        waiting.min()
    }

    /// Bytes that one answer may have: there are two for each broker that leads something, one being routed and one under way.
    fn answer_bytes(&self, brokers: usize) -> usize {
        let share = self.memory / (2 * brokers.max(1));
        self.settings
            .fetch_max_bytes
            .map_or(share, |most| most.min(share))
    }

    /// Sends the fetches that are due: to each leader one, unless an answer of its is still to come or two of them wait to be routed.
    pub(super) fn fetch<T>(
        &mut self,
        network: &mut Network<T>,
        cluster: &mut Metadata,
        tag: impl Fn(i32) -> T,
    ) {
        if self.paused {
            return;
        }
        let now = Instant::now();
        let mut wanted: BTreeMap<i32, Vec<NextOffset>> = BTreeMap::new();
        // From the turn on, and then those before it.
        let turn = self.turn;
        let ordered = self
            .places
            .iter_mut()
            .filter(|(partition, _)| turn.is_none_or(|turn| **partition >= turn));
        let ordered: Vec<(TopicPartition, &mut RecordLocation)> = ordered
            .map(|(&partition, place)| (partition, place))
            .collect();
        let behind = ordered.len();
        let mut order: Vec<(TopicPartition, i64)> = Vec::with_capacity(behind);
        for (partition, place) in ordered {
            if place.may_fetch(now) {
                order.push((partition, place.next));
            }
        }
        if let Some(turn) = turn {
            for (&partition, place) in self.places.range_mut(..turn) {
                if place.may_fetch(now) {
                    order.push((partition, place.next));
                }
            }
        }
        for (partition, next) in order {
            match cluster.leader(self.topics.input(partition.topic), partition.partition) {
                Some((leader, _)) => wanted.entry(leader).or_default().push((partition, next)),
                None => {
                    cluster.request_update();
                    if let Some(place) = self.places.get_mut(&partition) {
                        place.wait(network);
                    }
                }
            }
        }
        let answer_bytes = self.answer_bytes(wanted.len());
        for (broker, partitions) in wanted {
            let waiting = self
                .fetched
                .iter()
                .filter(|fetched| fetched.broker == broker);
            if self.under_way.contains_key(&broker) || waiting.count() >= 2 {
                continue;
            }
            let Some(address) = cluster.address(broker).map(str::to_owned) else {
                continue;
            };
            let peer = Node::Broker(broker);
            if network.connect(peer, &address) {
                let request = self.request(&partitions, answer_bytes);
                self.under_way.insert(broker, partitions);
                network.send(peer, &request, tag(broker));
            } else if network.connect_failures(peer) > 1 {
                // One alone is a connection that ended, as an idle one does. When it is away for longer, another one will lead.
                cluster.request_update();
                let reason = network.last_error().to_owned();
                for (partition, _) in partitions {
                    self.retry(network, partition, &reason);
                }
            }
        }
    }

    fn request(&self, partitions: &[NextOffset], answer_bytes: usize) -> FetchRequest {
        let most = self
            .settings
            .max_partition_fetch_bytes
            .map_or(answer_bytes, |most| most.min(answer_bytes));
        let partitions = partitions.iter().map(|&(partition, next)| {
            let requested = FetchPartition::default()
                .with_partition(partition.partition)
                .with_fetch_offset(next)
                .with_partition_max_bytes(most as i32);
            (partition.topic, requested)
        });
        let topics = group_by_topic(partitions, |topic, partitions| {
            FetchTopic::default()
                .with_topic(topic_name(self.topics.input(topic)))
                .with_partitions(partitions)
        });
        FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(self.settings.fetch_max_wait.as_millis() as i32)
            .with_min_bytes(self.settings.fetch_min_bytes as i32)
            .with_max_bytes(answer_bytes as i32)
            .with_isolation_level(match self.settings.isolation {
                Isolation::ReadCommitted => 1,
                Isolation::ReadUncommitted => 0,
            })
            // No fetch session (KIP-227): each request says all.
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(topics)
    }

    /// A fetch will not be handle_response.
    pub(super) fn disconnected(&mut self, broker: i32) {
        self.under_way.remove(&broker);
    }

    /// Takes an answer over.
    pub(super) fn handle_response<T>(
        &mut self,
        network: &mut Network<T>,
        cluster: &mut Metadata,
        broker: i32,
        answer: FetchResponse,
        body: Bytes,
    ) -> Result<(), Error> {
        let asked = self.under_way.remove(&broker).unwrap_or_default();
        if let Some(error) = ResponseError::try_from_code(answer.error_code) {
            for &(partition, _) in &asked {
                self.refused(network, cluster, partition, error)?;
            }
            return Ok(());
        }
        let mut parts = VecDeque::new();
        for topic in answer.responses {
            let name = topic.topic.as_str();
            let Some(index) = self.topics.inputs.iter().position(|input| input == name) else {
                continue;
            };
            for found in topic.partitions {
                let partition = TopicPartition {
                    topic: u16::try_from(index).unwrap_or_default(),
                    partition: found.partition_index,
                };
                let from = asked.iter().find(|(other, _)| *other == partition);
                let Some(place) = self.places.get_mut(&partition).filter(|place| {
                    place.start == Start::At && from.is_some_and(|&(_, at)| at == place.next)
                }) else {
                    continue;
                };
                if let Some(error) = ResponseError::try_from_code(found.error_code) {
                    self.refused(network, cluster, partition, error)?;
                    continue;
                }
                place.failures = 0;
                place.end = match self.settings.isolation {
                    Isolation::ReadCommitted => found.last_stable_offset,
                    Isolation::ReadUncommitted => found.high_watermark,
                };
                let Some(records) = found.records.filter(|records| !records.is_empty()) else {
                    continue;
                };
                let next = end_of(&records).unwrap_or(place.next);
                let aborted = found.aborted_transactions.unwrap_or_default();
                let mut part = RecordSet::new(partition, records, place.next, aborted);
                part.went_back = std::mem::take(&mut place.went_back);
                place.next = place.next.max(next);
                self.turn = Some(partition);
                parts.push_back(part);
            }
        }
        // The next request begins behind the last partition that had something.
        self.turn = self.turn.and_then(|turn| {
            let behind = (std::ops::Bound::Excluded(turn), std::ops::Bound::Unbounded);
            self.places.range(behind).next().map(|(&next, _)| next)
        });
        if parts.is_empty() {
            network.recycle(Node::Broker(broker), body);
        } else {
            self.fetched.push_back(Fetched {
                broker,
                body,
                parts,
            });
        }
        Ok(())
    }

    /// The broker refused a partition: to fetch from it, or to look up where it begins. It is tried again, unless that cannot heal.
    pub(super) fn refused<T>(
        &mut self,
        network: &Network<T>,
        cluster: &mut Metadata,
        partition: TopicPartition,
        error: ResponseError,
    ) -> Result<(), Error> {
        match error {
            ResponseError::TopicAuthorizationFailed => {
                return Err(Error::Kafka {
                    operation: "fetch",
                    reason: format!("{}: {error}", self.topics.input(partition.topic)),
                });
            }
            ResponseError::OffsetOutOfRange => {
                if let Some(place) = self.places.get_mut(&partition) {
                    place.start = Start::Reset;
                    place.out_of_range = Some(place.next);
                    place.asked = false;
                }
                return Ok(());
            }
            ResponseError::NotLeaderOrFollower
            | ResponseError::LeaderNotAvailable
            | ResponseError::FencedLeaderEpoch
            | ResponseError::UnknownLeaderEpoch
            | ResponseError::UnknownTopicOrPartition
            | ResponseError::UnknownTopicId
            | ResponseError::ReplicaNotAvailable
            | ResponseError::KafkaStorageError
            | ResponseError::OffsetNotAvailable => {
                cluster.request_update();
                // Everyday, once: where leaders move, and where a topic was just made.
                if self
                    .places
                    .get(&partition)
                    .is_some_and(|place| place.failures == 0)
                {
                    log::debug!(
                        "fetch {}: {error}; asking who leads it",
                        self.topics.partitions(&[partition])
                    );
                    self.ask_again(partition, network);
                    return Ok(());
                }
            }
            _ => (),
        }
        self.retry(network, partition, &error.to_string());
        Ok(())
    }

    fn retry<T>(&mut self, network: &Network<T>, partition: TopicPartition, reason: &str) {
        self.ask_again(partition, network);
        if let Some(suppressed) = self.warnings.admit(Instant::now()) {
            log::warn!(
                "fetch {}: {reason}; trying again ({suppressed} more like this since the last line)",
                self.topics.partitions(&[partition])
            );
        }
    }

    /// Whether something that was fetched waits to be lent.
    pub(super) fn has_records(&self) -> bool {
        !self.paused && !self.fetched.is_empty()
    }

    /// Delivers records until `handle` breaks or none is left; skipped offsets are delivered in their turn, as a position. Returns the buffers
    /// of fully consumed fetches to the network for reuse.
    pub(super) fn deliver<T>(
        &mut self,
        network: &mut Network<T>,
        handle: &mut impl FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if self.paused {
            return Ok(());
        }
        while let Some(fetched) = self.fetched.front_mut() {
            let Some(part) = fetched.parts.front_mut() else {
                if let Some(done) = self.fetched.pop_front() {
                    network.recycle(Node::Broker(done.broker), done.body);
                }
                continue;
            };
            let partition = part.partition;
            if std::mem::take(&mut part.went_back) {
                return Ok(());
            }
            let before = part.next;
            let walked = part.walk(self.settings.check_crcs, &mut self.window, &mut |record| {
                handle(Polled::Record(record))
            });
            let next = part.next;
            // After a record that the handler broke at, the position is the offset after it.
            let mut flow = ControlFlow::Continue(());
            if next > before && walked.last.is_none_or(|last| last + 1 < next) {
                flow = handle(Polled::Position((partition, next)));
            }
            match walked.end {
                End::Full => return Ok(()),
                End::Over => {
                    fetched.parts.pop_front();
                    if let Some(place) = self.places.get_mut(&partition) {
                        place.broken = 0;
                    }
                }
                End::Broken(reason) => {
                    fetched.parts.pop_front();
                    self.broken(network, partition, next, reason)?;
                }
            }
            if flow == ControlFlow::Break(()) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A batch cannot be read. Another fetch may bring it whole.
    fn broken<T>(
        &mut self,
        network: &Network<T>,
        partition: TopicPartition,
        next: i64,
        reason: Broken,
    ) -> Result<(), Error> {
        for fetched in &mut self.fetched {
            fetched.parts.retain(|part| part.partition != partition);
        }
        let Some(place) = self.places.get_mut(&partition) else {
            return Ok(());
        };
        place.broken += 1;
        place.next = next;
        if place.broken < BROKEN_TIMES && !reason.is_final {
            self.retry(
                network,
                partition,
                &format!("at offset {next}: {}", reason.text),
            );
            return Ok(());
        }
        Err(Error::Kafka {
            operation: "fetch",
            reason: format!(
                "{}-{}, at offset {next}: {}",
                self.topics.input(partition.topic),
                partition.partition,
                reason.text
            ),
        })
    }
}

impl RecordLocation {
    fn may_fetch(&mut self, now: Instant) -> bool {
        if self.not_before.is_some_and(|at| at > now) {
            return false;
        }
        self.not_before = None;
        self.start == Start::At
    }

    fn wait<T>(&mut self, network: &Network<T>) {
        self.not_before =
            Some(Instant::now() + backoff(network.settings().retry_backoff, self.failures));
        self.failures = self.failures.saturating_add(1);
    }
}

/// The offset behind the last whole batch.
fn end_of(records: &[u8]) -> Option<i64> {
    let mut end = None;
    let mut at = 0;
    while let Some(ParsedHeader::Batch(header)) = records.get(at..).and_then(BatchHeader::parse) {
        end = Some(header.next_offset());
        at += header.size;
    }
    end
}

/// How far a walk came.
struct Walked {
    /// The offset of the last record that was lent.
    last: Option<i64>,
    end: End,
}

enum End {
    Full,
    Over,
    Broken(Broken),
}

/// What is wrong with a batch.
struct Broken {
    text: String,
    /// It will be so the next time too.
    is_final: bool,
}

fn broken(text: impl Into<String>) -> End {
    End::Broken(Broken {
        text: text.into(),
        is_final: false,
    })
}

impl RecordSet {
    fn new(
        partition: TopicPartition,
        records: Bytes,
        next: i64,
        aborted: Vec<AbortedTransaction>,
    ) -> Self {
        Self {
            partition,
            records,
            at: 0,
            next,
            went_back: false,
            aborted: Aborted::new(aborted),
            open: None,
        }
    }

    fn walk(
        &mut self,
        check_crcs: bool,
        window: &mut Vec<u8>,
        take: &mut impl FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Walked {
        let mut last = None;
        loop {
            let Some(mut open) = self.open.take() else {
                match self.open_next(check_crcs) {
                    Ok(true) => continue,
                    Ok(false) => {
                        return Walked {
                            last,
                            end: End::Over,
                        };
                    }
                    Err(end) => return Walked { last, end },
                }
            };
            let end = match &mut open.source {
                Source::Plain { at, end } => {
                    let bytes = self.records.get(..*end).unwrap_or_default();
                    let view = View {
                        partition: self.partition,
                        header: &open.header,
                    };
                    view.lend(bytes, at, &mut open.left, &mut self.next, &mut last, take)
                }
                Source::Inflated { decoder, from, to } => {
                    let view = View {
                        partition: self.partition,
                        header: &open.header,
                    };
                    let inflated = Inflated {
                        decoder,
                        window,
                        from,
                        to,
                    };
                    inflated.lend(&view, &mut open.left, &mut self.next, &mut last, take)
                }
            };
            match end {
                Ok(ControlFlow::Continue(())) => {
                    self.at += open.header.size;
                    self.next = self.next.max(open.header.next_offset());
                }
                Ok(ControlFlow::Break(())) => {
                    self.open = Some(open);
                    return Walked {
                        last,
                        end: End::Full,
                    };
                }
                Err(reason) => {
                    return Walked {
                        last,
                        end: broken(reason),
                    };
                }
            }
        }
    }

    /// Opens the next batch that has records to lend. False where there is none.
    fn open_next(&mut self, check_crcs: bool) -> Result<bool, End> {
        loop {
            let bytes = self.records.get(self.at..).unwrap_or_default();
            let header = match BatchHeader::parse(bytes) {
                Some(ParsedHeader::Batch(header)) => header,
                Some(ParsedHeader::Partial) => return Ok(false),
                Some(ParsedHeader::Legacy(magic)) => {
                    return Err(End::Broken(Broken {
                        text: format!(
                            "a message of format v{magic}, from before Kafka 0.11, which the client `native` does not read: \
                             parity-router.client=librdkafka does, in the default build"
                        ),
                        is_final: true,
                    }));
                }
                None => return Err(broken("what is there is no record batch")),
            };
            if check_crcs && !header.is_intact(bytes) {
                return Err(broken("the record batch does not have its CRC"));
            }
            let over = header.next_offset() <= self.next;
            if header.is_control() {
                self.end_transaction(&header);
            }
            if over || header.is_control() || self.aborted.covers(&header) || header.count == 0 {
                self.at += header.size;
                self.next = self.next.max(header.next_offset());
                continue;
            }
            let source = match Compression::from_id(header.compression_id()) {
                Some(Compression::None) => Source::Plain {
                    at: self.at + BATCH_HEADER_SIZE,
                    end: self.at + header.size,
                },
                Some(codec) => {
                    let compressed = self
                        .records
                        .slice(self.at + BATCH_HEADER_SIZE..self.at + header.size);
                    let decoder = compression::reader(codec, compressed)
                        .map_err(|error| broken(crate::client::report(&error)))?;
                    Source::Inflated {
                        decoder: Box::new(decoder),
                        from: 0,
                        to: 0,
                    }
                }
                None => {
                    return Err(broken(format!(
                        "unknown compression type {}",
                        header.compression_id()
                    )));
                }
            };
            self.open = Some(Open {
                header,
                left: header.count,
                source,
            });
            return Ok(true);
        }
    }

    /// A marker ends its producer's transaction; of an aborted one, what comes later counts again.
    fn end_transaction(&mut self, header: &BatchHeader) {
        let body = self
            .records
            .get(self.at + BATCH_HEADER_SIZE..self.at + header.size);
        let marker = body
            .and_then(RecordView::read)
            .and_then(|(record, _)| record.key);
        // Version and type, two bytes each; type 0 is ABORT.
        if marker.and_then(|key| key.get(2..4)) == Some(&[0, 0]) {
            self.aborted.end(header);
        }
    }
}

/// Of a batch, what is the same for all its records.
struct View<'a> {
    partition: TopicPartition,
    header: &'a BatchHeader,
}

impl View<'_> {
    /// Lends records from `at` on. [`ControlFlow::Continue(())`] when all were.
    #[inline]
    fn lend(
        &self,
        bytes: &[u8],
        at: &mut usize,
        left: &mut i32,
        next: &mut i64,
        last: &mut Option<i64>,
        take: &mut impl FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, String> {
        let mut here = *at;
        let mut room = ControlFlow::Continue(());
        while *left > 0 && room == ControlFlow::Continue(()) {
            let Some((raw, size)) = bytes.get(here..).and_then(RecordView::read) else {
                return Err("a record of the batch cannot be read".to_owned());
            };
            here += size;
            *left -= 1;
            room = self.record(&raw, next, last, take);
        }
        *at = here;
        Ok(room)
    }

    #[inline(always)]
    fn record(
        &self,
        raw: &RecordView<'_>,
        next: &mut i64,
        last: &mut Option<i64>,
        take: &mut impl FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let offset = self.header.base_offset + i64::from(raw.offset_delta);
        if offset < *next {
            // The fetch began in the middle of the batch.
            return ControlFlow::Continue(());
        }
        let timestamp = if self.header.has_append_time() {
            Timestamp::LogAppendTime(self.header.max_timestamp)
        } else {
            Timestamp::CreateTime(self.header.base_timestamp.wrapping_add(raw.timestamp_delta))
        };
        *next = offset + 1;
        *last = Some(offset);
        take(Record {
            partition: self.partition,
            offset,
            timestamp: (timestamp.millis() != crate::client::records::NO_TIMESTAMP)
                .then_some(timestamp),
            key: raw.key,
            value: raw.value,
            headers: raw.headers,
        })
    }
}

/// A compressed batch while it is walked: a window over what comes out of it, as long as its longest record.
struct Inflated<'a> {
    decoder: &'a mut Decoder,
    window: &'a mut Vec<u8>,
    from: &'a mut usize,
    to: &'a mut usize,
}

impl Inflated<'_> {
    fn lend(
        self,
        view: &View<'_>,
        left: &mut i32,
        next: &mut i64,
        last: &mut Option<i64>,
        take: &mut impl FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, String> {
        while *left > 0 {
            let there = self.window.get(*self.from..*self.to).unwrap_or_default();
            let wanted = match RecordView::size(there) {
                Some(size) if size <= there.len() => {
                    let Some((raw, _)) = RecordView::read(there) else {
                        return Err("a record of the batch cannot be read".to_owned());
                    };
                    *self.from += size;
                    *left -= 1;
                    if view.record(&raw, next, last, take) == ControlFlow::Break(()) {
                        return Ok(ControlFlow::Break(()));
                    }
                    continue;
                }
                Some(size) if size > MAX_RECORD => {
                    return Err(format!("a record of {size} bytes"));
                }
                size => size.unwrap_or_default(),
            };
            // What is there moves to the front, and more comes behind it.
            self.window.copy_within(*self.from..*self.to, 0);
            *self.to -= *self.from;
            *self.from = 0;
            // Not all the room at once: a length may lie.
            let room = (*self.to + INFLATE).max(wanted.min(2 * *self.to + INFLATE));
            if self.window.len() < room {
                self.window.resize(room, 0);
            }
            let free = self.window.get_mut(*self.to..).unwrap_or_default();
            match self.decoder.read(free) {
                Ok(0) => return Err("the compressed batch ends too early".to_owned()),
                Ok(read) => *self.to += read,
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Walks all batches of what may have been fetched, and counts the records; for bytes that nobody wrote.
#[cfg(any(test, fuzzing))]
pub(super) fn walk_all(records: Bytes) -> Result<usize, String> {
    let mut part = RecordSet::new(
        TopicPartition {
            topic: 0,
            partition: 0,
        },
        records,
        0,
        Vec::new(),
    );
    let mut count = 0;
    let walked = part.walk(false, &mut Vec::new(), &mut |record| {
        count += record.headers.iter().count().min(1) + 1;
        ControlFlow::Continue(())
    });
    match walked.end {
        End::Full | End::Over => Ok(count),
        End::Broken(broken) => Err(broken.text),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )]

    use kafka_protocol::messages::ProducerId;
    use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use proptest::prelude::*;

    use super::*;
    use crate::client::batch::Batch;
    use crate::client::records::HeaderFields;
    use crate::client::records::Headers;
    use crate::client::settings::ConnectionSettings;

    const HERE: TopicPartition = TopicPartition {
        topic: 0,
        partition: 3,
    };

    /// What a batch is to be like.
    #[derive(Debug, Clone, Copy)]
    struct Like {
        base: i64,
        codec: Compression,
        attributes: i16,
        producer: i64,
    }

    fn like(base: i64) -> Like {
        Like {
            base,
            codec: Compression::None,
            attributes: 0,
            producer: -1,
        }
    }

    /// A batch of these values, each with its own number as its time.
    fn batch(like: Like, values: &[&str]) -> Vec<u8> {
        let mut built = Batch::new(1 << 20);
        for (number, value) in values.iter().enumerate() {
            let record = Record {
                partition: HERE,
                offset: 0,
                timestamp: Some(Timestamp::CreateTime(number as i64)),
                key: None,
                value: Some(value.as_bytes()),
                headers: Headers::default(),
            };
            built.push(0, b"", &record);
        }
        let part = built.record_sets().first().unwrap();
        encode(like, part.encoded(), part.header_fields().count)
    }

    fn encode(like: Like, records: &[u8], count: i32) -> Vec<u8> {
        let mut body = Vec::new();
        compression::compress(like.codec, records, &mut body).unwrap();
        let stamp = HeaderFields {
            attributes: like.attributes | i16::from(like.codec.id()),
            base_timestamp: 0,
            max_timestamp: 1000,
            producer: (like.producer, 0),
            base_sequence: -1,
            count,
        };
        let mut header = stamp.encode(&body);
        header[..8].copy_from_slice(&like.base.to_be_bytes());
        [header.as_slice(), &body].concat()
    }

    /// A transaction's marker: 0 is ABORT, 1 COMMIT.
    fn marker(base: i64, producer: i64, kind: u8) -> Vec<u8> {
        let record = [32, 0, 0, 0, 8, 0, 0, 0, kind, 12, 0, 0, 0, 0, 0, 0, 0];
        let like = Like {
            attributes: 0x30,
            producer,
            ..like(base)
        };
        encode(like, &record, 1)
    }

    fn part(records: &[u8], next: i64, aborted: &[(i64, i64)]) -> RecordSet {
        let aborted = aborted.iter().map(|&(producer, first)| {
            AbortedTransaction::default()
                .with_producer_id(ProducerId(producer))
                .with_first_offset(first)
        });
        RecordSet::new(
            HERE,
            Bytes::copy_from_slice(records),
            next,
            aborted.collect(),
        )
    }

    /// Offset, time and value of a record.
    type Walked = (i64, i64, String);

    /// Walks on, so many records at a time, and gives offsets, times and values.
    fn walk(part: &mut RecordSet, most: usize) -> (Vec<Walked>, Result<(), String>) {
        let mut window = Vec::new();
        let mut found = Vec::new();
        loop {
            let before = found.len();
            let walked = part.walk(true, &mut window, &mut |record| {
                let value = String::from_utf8_lossy(record.value.unwrap()).into_owned();
                found.push((record.offset, record.timestamp.unwrap().millis(), value));
                if found.len() - before < most {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            match walked.end {
                End::Full => (),
                End::Over => return (found, Ok(())),
                End::Broken(broken) => return (found, Err(broken.text)),
            }
        }
    }

    #[track_caller]
    fn check(records: &[u8], next: i64, aborted: &[(i64, i64)], offsets: &[i64], end: i64) {
        for most in [1, 2, 1000] {
            let mut part = part(records, next, aborted);
            let (found, walked) = walk(&mut part, most);
            let found: Vec<i64> = found.into_iter().map(|(offset, ..)| offset).collect();
            assert_eq!((found.as_slice(), walked), (offsets, Ok(())));
            assert_eq!(part.next, end);
        }
    }

    #[test]
    fn batches_are_walked_from_where_they_are_wanted() {
        let two = [
            batch(like(10), &["a", "b", "c"]),
            batch(like(20), &["d", "e"]),
        ]
        .concat();
        check(&two, 10, &[], &[10, 11, 12, 20, 21], 22);
        check(&two, 12, &[], &[12, 20, 21], 22);
        check(&two, 22, &[], &[], 22);
        // The second was cut off by the size of the fetch.
        check(&two[..two.len() - 1], 10, &[], &[10, 11, 12], 13);
        check(&[], 7, &[], &[], 7);
    }

    #[test]
    fn every_codec_is_read() {
        for codec in [
            Compression::None,
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ] {
            let long = "x".repeat(100_000);
            let values = ["a", &long, "", &long, "b"];
            let records = batch(Like { codec, ..like(5) }, &values);
            for most in [1, 3, 100] {
                let (found, walked) = walk(&mut part(&records, 5, &[]), most);
                assert_eq!(walked, Ok(()), "{codec:?}");
                let expected: Vec<_> = (0..5)
                    .map(|number| (5 + number, number, values[number as usize].to_owned()))
                    .collect();
                assert!(found == expected, "{codec:?}");
            }
        }
    }

    #[test]
    fn aborted_transactions_were_never_there() {
        let transactional = |base, producer| Like {
            attributes: 0x10,
            producer,
            ..like(base)
        };
        let records = [
            batch(transactional(0, 1), &["a"]),
            batch(transactional(1, 2), &["b"]),
            batch(like(2), &["c"]),
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
        // Wanted from behind the aborted records on: the broker tells of them as long as their marker is still to come.
        check(&records, 1, &[(1, 0)], &[1, 2, 4], 7);
        check(&records, 2, &[(2, 1), (1, 0)], &[2, 4], 7);
        let behind = [
            batch(like(2), &["c"]),
            marker(3, 1, 0),
            batch(transactional(4, 1), &["d"]),
            marker(5, 1, 1),
        ]
        .concat();
        check(&behind, 2, &[(1, 0)], &[2, 4], 6);
        check(&behind, 3, &[(1, 0)], &[4], 6);
    }

    #[test]
    fn the_brokers_time_is_that_of_all_records() {
        let records = batch(
            Like {
                attributes: 8,
                ..like(0)
            },
            &["a", "b"],
        );
        let (found, _) = walk(&mut part(&records, 0, &[]), 10);
        let times: Vec<i64> = found.into_iter().map(|(_, time, _)| time).collect();
        assert_eq!(times, [1000, 1000]);
    }

    #[track_caller]
    fn check_broken(records: &[u8], before: usize, part_of_text: &str) {
        let (found, walked) = walk(&mut part(records, 0, &[]), 1000);
        let text = walked.unwrap_err();
        assert!(
            text.contains(part_of_text) && found.len() == before,
            "{text}, {} records",
            found.len()
        );
    }

    #[test]
    fn what_is_broken_is_told() {
        let good = batch(like(0), &["a"]);
        let mut bad = batch(like(1), &["b", "c"]);
        *bad.last_mut().unwrap() ^= 1;
        check_broken(&[good.clone(), bad].concat(), 1, "CRC");
        let old = [&[0; 16][..], &[1; 50]].concat();
        check_broken(&[good.clone(), old].concat(), 1, "format v1");
        let unknown = Like {
            attributes: 7,
            ..like(1)
        };
        check_broken(&batch(unknown, &["d"]), 0, "unknown compression type 7");
        // More records are announced than are there.
        for codec in [Compression::None, Compression::Gzip] {
            let mut body = Vec::new();
            compression::compress(codec, b"\x0c\0\0\0\x01\x00\0", &mut body).unwrap();
            let like = Like { codec, ..like(0) };
            check_broken(&encode(like, b"\x0c\0\0\0\x01\x00\0", 2), 1, "");
        }
    }

    /// A fetcher that reads [`HERE`] and the connections that its responses came from.
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
            fetcher.add(&[HERE], Start::Reset);
            Self {
                fetcher,
                network: Network::new(&ConnectionSettings::default(), None),
                metadata: Metadata::new(&[], std::iter::empty()),
            }
        }

        /// A fetch from `offset` on has this response.
        fn respond(&mut self, offset: i64, partition: PartitionData) {
            self.fetcher.under_way.insert(1, vec![(HERE, offset)]);
            let topic = FetchableTopicResponse::default()
                .with_topic(topic_name("in"))
                .with_partitions(vec![partition.with_partition_index(HERE.partition)]);
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

        /// The position after each item of one poll.
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
        fetching.fetcher.start_at(HERE, Some(0));
        let transactional = Like {
            attributes: 0x10,
            producer: 1,
            ..like(0)
        };
        let first = [batch(transactional, &["a"]), marker(1, 1, 1)].concat();
        fetching.fetched(0, first);
        fetching.fetched(2, batch(like(2), &["b", "c"]));
        assert_eq!(fetching.poll(), [1, 2, 3, 4]);
    }

    #[test]
    fn a_poll_ends_before_a_partition_goes_back() {
        let mut fetching = Fetching::new();
        fetching.fetcher.start_at(HERE, Some(10));
        fetching.fetched(10, batch(like(10), &["a", "b"]));
        let out_of_range = ResponseError::OffsetOutOfRange.code();
        fetching.respond(12, PartitionData::default().with_error_code(out_of_range));
        fetching.fetcher.start_at(HERE, Some(0));
        fetching.fetched(0, batch(like(0), &["c"]));
        assert_eq!(fetching.poll(), [11, 12]);
        assert_eq!(fetching.poll(), [1]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = walk_all(Bytes::from(bytes));
        }

        #[test]
        fn a_changed_batch_is_walked_or_refused(
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            codec in prop::sample::select(vec![Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]),
        ) {
            let mut bytes = batch(Like { codec, ..like(0) }, &["one", "two", "three"]);
            let place = place.index(bytes.len());
            bytes[place] = byte;
            let _ = walk_all(Bytes::from(bytes));
        }
    }
}
