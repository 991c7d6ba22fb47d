//! The producer of our own client. Owned by one producer thread; everything happens on it, within `send` and `poll`, and nothing waits but
//! `poll`. A batch stays as it is until it is delivered (`held`). Its parts become bodies of record batches (`body`), which go to the line of
//! their partition (`place`, `line`); `sequence` says what of a line may be sent when, `send` sends it, `answer` has what comes of it.

mod answer;
mod body;
mod encoder;
mod held;
mod identity;
mod line;
mod place;
mod send;
mod sequence;
mod sticky;
#[cfg(test)]
mod tests;
mod transaction;
mod verdict;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admin;
use super::compression::Codec;
use super::metadata;
use super::network::{Network, Node};
use crate::client::Error;
use crate::client::settings::{ClientSettings, Compression, ProducerSettings, TopicSettings};
use crate::client::{Batch, NotReady, Transaction};
use crate::client::{OutputTopic, Topics};
use crate::throttle::{Throttle, WARNING_INTERVAL};

use held::Held;
use identity::Identification;
use line::{Form, Line};
use sticky::Sticky;
use transaction::Part;

/// What an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    /// `admin`'s calls, which wait for it.
    Prepare,
    Metadata,
    ProducerIdentity,
    /// The transaction's.
    Coordinator,
    /// To be added to the transaction.
    Partitions,
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
    cluster: metadata::Metadata,
    /// For lines that have no producer id yet.
    identification: Identification,
    /// None where it writes without one.
    transaction: Option<Part>,
    held: Held,
    /// Parts that no line has yet: slot and number of each, and when it came.
    unplaced: VecDeque<(usize, usize, Instant)>,
    /// Partitions that something was sent to, or is to be.
    lines: Vec<Line>,
    line_of: BTreeMap<(OutputTopic, i32), usize>,
    sticky: Vec<Sticky>,
    /// The line that is asked first.
    turn: usize,
    /// Brokers that want nothing more before (KIP-219).
    throttled: BTreeMap<Node, Instant>,
    /// The beginning of a request; the buffer is used again.
    head: Vec<u8>,
    warnings: Throttle,
}

impl Producer {
    /// See [`Client::producer`](crate::client::Client::producer).
    pub(crate) fn new(
        cluster: &ClientSettings,
        settings: &ProducerSettings,
        topics: &Topics,
        name: &'static str,
        transaction: Option<&Arc<Transaction>>,
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
            network: Network::new(&cluster.connection, Some(name)),
            cluster: metadata::Metadata::new(&cluster.brokers, outputs.clone()),
            identification: Identification::default(),
            transaction: transaction.map(Part::new),
            held: Held::default(),
            unplaced: VecDeque::new(),
            lines: Vec::new(),
            line_of: BTreeMap::new(),
            sticky: outputs.map(|_| Sticky::default()).collect(),
            turn: 0,
            throttled: BTreeMap::new(),
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
        loop {
            self.place(now)?;
            self.add_partitions(now);
            if !self.send_each(now)? {
                return Ok(worked);
            }
            worked = true;
        }
    }

    /// Bodies that are placed and do not come next yet.
    fn waiting(&self) -> usize {
        self.lines.iter().map(Line::waiting).sum()
    }

    /// A line does not get on: it rests. That is told once, until something of it is acknowledged.
    fn trouble(&mut self, number: usize, now: Instant, what: &str) {
        let back_off = self.network.settings().retry_backoff;
        if let Some(line) = self.lines.get_mut(number) {
            line.rest(now, back_off);
            if !std::mem::replace(&mut line.is_troubled, true) {
                self.warn(now, what);
            } else {
                log::debug!("produce: {what}");
            }
        }
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
        let others = [
            self.cluster.due(&self.network),
            self.identification.not_before,
            self.transaction.as_ref().and_then(|part| part.not_before),
        ];
        let dues = lines
            .chain(others.into_iter().flatten())
            .chain(self.throttled.values().copied());
        dues.filter(|due| *due > now).min()
    }
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
        // What was given since the last call, or has become due.
        let worked = self.work()?;
        let now = Instant::now();
        let until = if worked || self.held.has_delivered() {
            now
        } else {
            let until = now + timeout;
            self.due(now).map_or(until, |due| due.min(until))
        };
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
