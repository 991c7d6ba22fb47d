//! The producer of our own client. Owned by one producer thread; everything happens on it, within `send` and `poll`, and nothing waits but
//! `poll`. A batch's parts become bodies of record batches (`body`), which go to the line of their partition (`line`); `sequence` says
//! what of a line may be sent when; `answer` has what comes of it.

mod answer;
mod body;
mod held;
mod line;
mod sequence;
mod sticky;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest};

use super::admin;
use super::cluster;
use super::compression::Codec;
use super::network::{Network, Peer, Reach};
use crate::client::{Batch, NotReady};
use crate::config::{Acks, Cluster, Compression, ProducerSettings, TopicSettings};
use crate::error::Error;
use crate::limits::WARNING_INTERVAL;
use crate::throttle::Throttle;
use crate::topics::{Output, Topics};

use body::Body;
use held::Held;
use line::{Form, Line};
use sequence::{Identity, Window};
use sticky::Sticky;

/// What an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    /// `admin`'s calls, which wait for it.
    Prepare,
    Metadata,
    Identity,
    /// The body of this name, in the window of that line.
    Body {
        line: usize,
        id: u64,
    },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Producer {
    name: &'static str,
    settings: ProducerSettings,
    form: Form,
    topic_settings: TopicSettings,
    topics: Topics,
    network: Network<Tag>,
    cluster: cluster::Cluster,
    /// Producer id and epoch, for lines that have none yet.
    identity: Option<Identity>,
    asks_identity: bool,
    identity_failures: u32,
    identity_not_before: Option<Instant>,
    held: Held,
    /// Parts that no line has yet: slot and number of each, and when it came.
    unplaced: VecDeque<(usize, usize, Instant)>,
    lines: Vec<Line>,
    line_of: BTreeMap<(Output, i32), usize>,
    sticky: Vec<Sticky>,
    /// The line that is asked first.
    turn: usize,
    /// The beginning of a request.
    head: Vec<u8>,
    warnings: Throttle,
}

impl Producer {
    /// See [`Client::producer`](crate::client::Client::producer).
    pub(crate) fn new(
        cluster: &Cluster,
        settings: &ProducerSettings,
        topics: &Topics,
        name: &'static str,
    ) -> Self {
        let outputs = topics.outputs.iter().map(String::as_str);
        let longest_name = outputs.clone().max_by_key(|topic| topic.len());
        let largest =
            line::records_within(settings.max_request_size, longest_name.unwrap_or_default());
        Self {
            name,
            form: Form {
                codec: codec(settings.compression),
                linger: settings.linger,
                merged: settings.batch_size.unwrap_or(largest).min(largest),
                largest,
            },
            settings: settings.clone(),
            topic_settings: cluster.topics.clone(),
            topics: topics.clone(),
            network: Network::new(&cluster.connection),
            cluster: cluster::Cluster::new(&cluster.brokers, outputs.clone()),
            identity: None,
            asks_identity: false,
            identity_failures: 0,
            identity_not_before: None,
            held: Held::default(),
            unplaced: VecDeque::new(),
            lines: Vec::new(),
            line_of: BTreeMap::new(),
            sticky: outputs.map(|_| Sticky::default()).collect(),
            turn: 0,
            head: Vec::new(),
            warnings: Throttle::new(WARNING_INTERVAL),
        }
    }

    /// Goes on as far as it can without waiting. Whether anything came or went.
    fn work(&mut self) -> Result<bool, Error> {
        let now = Instant::now();
        let mut worked = false;
        while let Some(arrival) = self.network.next() {
            self.arrived(arrival, now)?;
            worked = true;
        }
        self.cluster.ask(&mut self.network, Tag::Metadata);
        self.ask_identity(now)?;
        self.place(now)?;
        while self.send_each(now)? {
            worked = true;
        }
        Ok(worked)
    }

    /// Asks for a producer id where one is wanted.
    fn ask_identity(&mut self, now: Instant) -> Result<(), Error> {
        let soon = self.identity_not_before.is_some_and(|at| now < at);
        if !self.settings.idempotent || self.identity.is_some() || self.asks_identity || soon {
            return Ok(());
        }
        let Some(peer) = self.cluster.any(&mut self.network) else {
            return Ok(());
        };
        self.network
            .version::<InitProducerIdRequest>(peer)
            .map_err(failure)?;
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(i32::MAX)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        self.network.send(peer, &request, Tag::Identity);
        self.asks_identity = true;
        Ok(())
    }

    /// Gives parts to the lines of their partitions, as long as these have not much to send.
    fn place(&mut self, now: Instant) -> Result<(), Error> {
        while let Some(&(slot, part, since)) = self.unplaced.front() {
            if self.form.linger.is_zero() && self.waiting() >= self.settings.max_in_flight {
                break;
            }
            if let Some(body) = Body::whole(&self.held, slot, part, since)
                && !self.place_body(body, now)?
            {
                break;
            }
            self.unplaced.pop_front();
        }
        Ok(())
    }

    /// Whether it could be done: what is needed to know of the topic is known.
    fn place_body(&mut self, whole: Body, now: Instant) -> Result<bool, Error> {
        let Some((output, is_keyed)) = whole.source(&self.held) else {
            return Ok(true);
        };
        let name = self.topics.output(output);
        let topic = self.cluster.topic(name).filter(|topic| topic.is_known());
        let Some(topic) = topic else {
            return self.topic_missing(output, now).map(|()| false);
        };
        let partitions = i32::try_from(topic.leaders.len()).unwrap_or(i32::MAX);
        if partitions == 1 {
            let only = topic.leaders.keys().next().copied().unwrap_or_default();
            self.line_up(output, only, whole);
            return Ok(true);
        }
        let room = self.form.merged;
        let bytes = whole.records(&self.held).len();
        let until = now + self.form.linger;
        let choice = self
            .sticky
            .get_mut(usize::from(output))
            .and_then(|sticky| sticky.choose(&topic.leaders, bytes, now, until, room));
        let Some(keyless) = choice else {
            return self.topic_missing(output, now).map(|()| false);
        };
        if !is_keyed {
            self.line_up(output, keyless, whole);
            return Ok(true);
        }
        for (partition, body) in whole.split(&self.held, partitions, keyless) {
            self.line_up(output, partition, body);
        }
        Ok(true)
    }

    /// Nothing can be sent to this topic now.
    fn topic_missing(&mut self, output: Output, now: Instant) -> Result<(), Error> {
        use ResponseError::{InvalidTopicException, TopicAuthorizationFailed};
        let name = self.topics.output(output);
        let Some(topic) = self.cluster.topic(name) else {
            return Ok(());
        };
        let what = match topic.error {
            Some(error @ (TopicAuthorizationFailed | InvalidTopicException)) => {
                return Err(failure(format!("topic {name}: {error}")));
            }
            Some(error) => format!("topic {name}: {error}"),
            // The brokers have yet to tell.
            None if topic.leaders.is_empty() => return Ok(()),
            None => format!("topic {name} has no leader"),
        };
        self.cluster.outdated();
        self.warn(now, &what);
        Ok(())
    }

    /// Gives a body to the line of its partition. Topics of the same name have the same lines: the broker counts by partition.
    fn line_up(&mut self, output: Output, partition: i32, body: Body) {
        let name = self.topics.output(output);
        let first = self.topics.outputs.iter().position(|other| other == name);
        let output = first
            .and_then(|first| Output::try_from(first).ok())
            .unwrap_or(output);
        let (limit, idempotent) = (self.settings.max_in_flight, self.settings.idempotent);
        let lines = &mut self.lines;
        let number = *self.line_of.entry((output, partition)).or_insert_with(|| {
            let window = Window::new(limit, idempotent);
            lines.push(Line::new(output, partition, window));
            lines.len() - 1
        });
        if let Some(line) = lines.get_mut(number) {
            line.push(body);
        }
    }

    /// Bodies that are placed and do not come next yet.
    fn waiting(&self) -> usize {
        self.lines.iter().map(Line::waiting).sum()
    }

    /// Sends a body of each line, in turn, where one may be sent. Whether any was.
    fn send_each(&mut self, now: Instant) -> Result<bool, Error> {
        let count = self.lines.len();
        let mut any = false;
        for number in 0..count {
            let number = (self.turn + number) % count;
            any |= self.send_next(number, now)?;
        }
        self.turn = self.turn.wrapping_add(1);
        Ok(any)
    }

    /// Sends what comes next of a line, if it may be sent now.
    fn send_next(&mut self, number: usize, now: Instant) -> Result<bool, Error> {
        let Some(line) = self.lines.get_mut(number).filter(|line| !line.is_idle()) else {
            return Ok(false);
        };
        let topic = self.topics.output(line.output);
        let partition = line.partition;
        line.fill(&self.form, &self.held, now)
            .map_err(|error| failure(format!("topic {topic}: {}", crate::error::report(&error))))?;
        if line.until.is_some_and(|until| now < until) {
            return Ok(false);
        }
        if line.window.wants_identity() {
            match self.identity {
                Some(identity) if line.window.identify(identity) => (),
                _ => {
                    self.identity = None;
                    return Ok(false);
                }
            }
        }
        let turn = line.window.turn();
        if line.window.take_restarted() {
            log::warn!(
                "produce: {topic}-{partition}: the broker does not know what it acknowledged of {}; \
                 going on with new sequence numbers, records that were on their way may be doubled",
                self.name
            );
        }
        let Some(turn) = turn else {
            return Ok(false);
        };
        let Some((leader, address)) = self.cluster.leader(topic, partition) else {
            let what = format!("{topic}-{partition} has no leader");
            self.cluster.outdated();
            self.warn(now, &what);
            return Ok(false);
        };
        let peer = Peer::Broker(leader);
        // Two brokers do not keep the order between them.
        if line.peer != Some(peer) && line.window.is_out() {
            return Ok(false);
        }
        if self.network.reach(peer, address) != Reach::Ready {
            if self.network.failures(peer) > 0 {
                let what = format!("{topic}-{partition}: {}", self.network.reason());
                self.cluster.outdated();
                self.warn(now, &what);
            }
            return Ok(false);
        }
        let (requests, unsent) = self.network.load(peer);
        if requests >= self.settings.max_in_flight || unsent > 0 {
            return Ok(false);
        }
        self.network
            .version::<ProduceRequest>(peer)
            .map_err(failure)?;
        let Some(body) = line.window.body(turn.id) else {
            return Ok(false);
        };
        let records = body.records(&self.held);
        let mut stamp = body.stamp();
        stamp.producer = turn.identity;
        stamp.base_sequence = turn.base_sequence;
        let header = stamp.header(records);
        let timeout = self.network.settings().request_timeout;
        begin(
            &mut self.head,
            self.settings.acks,
            timeout,
            (topic, partition),
            header.len() + records.len(),
        );
        let tag = Tag::Body {
            line: number,
            id: turn.id,
        };
        self.network
            .send_pieces::<ProduceRequest>(peer, [&self.head, &header, records], tag);
        line.sent(turn.id, peer);
        Ok(true)
    }

    fn warn(&mut self, now: Instant, what: &str) {
        if let Some(suppressed) = self.warnings.admit(now) {
            log::warn!(
                "produce: {what}; trying again ({suppressed} more like this since the last line)"
            );
        }
    }

    /// When there will be something to do that nothing arrives for.
    fn due(&self, now: Instant) -> Option<Instant> {
        let lines = self
            .lines
            .iter()
            .filter(|line| !line.is_idle())
            .flat_map(|line| [line.until, line.lingers_until(&self.form)])
            .flatten();
        let others = [self.cluster.due(&self.network), self.identity_not_before];
        let dues = lines.chain(others.into_iter().flatten());
        dues.filter(|due| *due > now).min()
    }
}

/// A produce request of the versions 7 and 8 up to the bytes of its batch, which are so many.
fn begin(
    out: &mut Vec<u8>,
    acks: Acks,
    timeout: Duration,
    (topic, partition): (&str, i32),
    size: usize,
) {
    let acks: i16 = match acks {
        Acks::All => -1,
        Acks::Leader => 1,
    };
    let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    out.clear();
    // No transaction.
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    out.extend_from_slice(&acks.to_be_bytes());
    out.extend_from_slice(&timeout.to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    out.extend_from_slice(&(topic.len() as i16).to_be_bytes());
    out.extend_from_slice(topic.as_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    out.extend_from_slice(&partition.to_be_bytes());
    out.extend_from_slice(&(size as i32).to_be_bytes());
}

fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::None => Codec::None,
        Compression::Gzip => Codec::Gzip,
        Compression::Snappy => Codec::Snappy,
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
    }
}

fn failure(reason: String) -> Error {
    Error::Kafka {
        operation: "produce",
        reason,
    }
}

impl crate::client::Producer for Producer {
    fn prepare(&mut self) -> Result<(), NotReady> {
        admin::provision(
            &mut self.network,
            &mut self.cluster,
            Tag::Prepare,
            &self.topics.all(),
            &self.topic_settings,
        )
    }

    fn send(&mut self, batch: Batch) -> Result<(), Error> {
        let parts = batch.parts().len();
        let slot = self.held.take(batch);
        let now = Instant::now();
        self.unplaced
            .extend((0..parts).map(|part| (slot, part, now)));
        Ok(())
    }

    fn accepts(&self) -> bool {
        self.unplaced.is_empty()
            && (!self.form.linger.is_zero() || self.waiting() < self.settings.max_in_flight)
    }

    fn poll(&mut self, timeout: Duration) -> Result<(), Error> {
        let now = Instant::now();
        self.network.wait(now);
        let worked = self.work()?;
        if timeout.is_zero() || worked || self.held.has_delivered() {
            return Ok(());
        }
        let until = now + timeout;
        let until = self.due(now).map_or(until, |due| due.min(until));
        self.network.wait(until);
        self.work().map(drop)
    }

    fn delivered(&mut self) -> Option<Batch> {
        self.held.delivered()
    }

    fn in_flight(&self) -> usize {
        self.held.len()
    }
}
