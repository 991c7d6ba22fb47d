//! librdkafka's producer. Owned by one producer thread; its callbacks run on that thread too, within `poll`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;

use super::{admin, failure, refused, settings};
use crate::client::Error;
use crate::client::RECORD_BY_RECORD;
use crate::client::Topics;
use crate::client::batch::{RecordLocation, RefusalReason};
use crate::client::records::Headers;
use crate::client::settings::{Acks, ClientSettings, ProducerSettings, TopicSettings};
use crate::client::{Batch, NotReady, Timestamp};

/// See the module.
pub(crate) struct Producer {
    producer: BaseProducer<Callbacks>,
    client: ClientConfig,
    topic_settings: TopicSettings,
    topics: Topics,
    /// Batches in flight; their place is part of what librdkafka hands back with each record.
    slots: Vec<Option<Batch>>,
    free: Vec<usize>,
    /// The batch, and the record in it, at which librdkafka's queue was full.
    unsent: Option<(usize, RecordLocation)>,
    delivered: VecDeque<Batch>,
}

impl Producer {
    /// See [`Client::producer`](crate::client::Client::producer).
    pub(super) fn new(
        cluster: &ClientSettings,
        given: &ProducerSettings,
        topics: &Topics,
        name: &'static str,
    ) -> Result<Self, Error> {
        let client = settings(cluster);
        let acks = match given.acks {
            Acks::All => "all",
            Acks::Leader => "1",
        };
        let mut settings = client.clone();
        settings
            // Batches arrive as batches already.
            .set("linger.ms", "1")
            .set("queue.buffering.max.messages", "100000")
            // The largest that it can be: whether a record is too large is for the topic to say, not for the client.
            .set("message.max.bytes", "1000000000")
            // With idempotence it would be so anyway; without, librdkafka's default is a million.
            .set(
                "max.in.flight.requests.per.connection",
                given.max_in_flight.to_string(),
            )
            .extend(given.librdkafka.iter().cloned());
        settings
            .set("enable.idempotence", given.idempotent.to_string())
            .set("acks", acks)
            // A record is never given up because of time: it is acknowledged, refused for good, or still on its way at the stop.
            .set("message.timeout.ms", "0")
            // As Java's producer: by the key where there is one, so that both sides of a mixed system agree.
            .set("partitioner", "murmur2_random");
        let callbacks = Callbacks {
            name,
            outstanding: (0..RECORD_BY_RECORD.batches())
                .map(|_| AtomicUsize::new(0))
                .collect(),
            ..Callbacks::default()
        };
        let producer = settings
            .create_with_context(callbacks)
            .map_err(|error| refused("make a producer", &error))?;
        Ok(Self {
            producer,
            client,
            topic_settings: cluster.topics.clone(),
            topics: topics.clone(),
            slots: (0..RECORD_BY_RECORD.batches()).map(|_| None).collect(),
            free: (0..RECORD_BY_RECORD.batches()).collect(),
            unsent: None,
            delivered: VecDeque::new(),
        })
    }

    /// Gives librdkafka the records of a batch, from `from` on or all of them, until its queue is full.
    fn push(&mut self, slot: usize, from: Option<RecordLocation>) {
        let Some(batch) = self.slots.get(slot).and_then(Option::as_ref) else {
            return;
        };
        self.unsent = None;
        let records = batch.iter().enumerate();
        for (number, (place, outgoing)) in
            records.skip_while(|(_, (place, _))| from.is_some_and(|from| *place < from))
        {
            let opaque = slot * RECORD_BY_RECORD.poll_batch_records + number;
            let record = BaseRecord {
                topic: self.topics.output(outgoing.output),
                partition: None,
                payload: Some(outgoing.value),
                key: outgoing.key,
                timestamp: outgoing.origin.timestamp.map(Timestamp::millis),
                headers: owned(outgoing.headers),
                delivery_opaque: opaque,
            };
            let Err((error, _)) = self.producer.send(record) else {
                continue;
            };
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) {
                self.unsent = Some((slot, place));
                break;
            }
            self.producer.context().settle(opaque, Some(error));
        }
    }

    /// Takes over what the callbacks collected.
    fn collect(&mut self) -> Result<(), Error> {
        let context = self.producer.context().clone();
        for failed in context.failed().drain(..) {
            let Some(Some(batch)) = self.slots.get_mut(failed.slot) else {
                continue;
            };
            let reason =
                about_the_record(&failed.error).ok_or_else(|| failure("produce", &failed.error))?;
            let place = batch.iter().nth(failed.number).map(|(place, _)| place);
            if let Some(place) = place {
                batch.refuse(place, reason);
            }
        }
        for slot in context.done().drain(..) {
            if let Some(batch) = self.slots.get_mut(slot).and_then(Option::take) {
                self.delivered.push_back(batch);
                self.free.push(slot);
            }
        }
        if context.fatal.load(Relaxed) {
            let (_, reason) = self
                .producer
                .client()
                .fatal_error()
                .unwrap_or((RDKafkaErrorCode::Fatal, String::new()));
            return Err(Error::Kafka {
                operation: "produce",
                reason,
            });
        }
        Ok(())
    }
}

/// Headers in librdkafka's form.
fn owned(headers: Headers<'_>) -> Option<OwnedHeaders> {
    let count = headers.len();
    (count > 0).then(|| {
        let owned = OwnedHeaders::new_with_capacity(count);
        headers.iter().fold(owned, |owned, (name, value)| {
            owned.insert(Header {
                key: &String::from_utf8_lossy(name),
                value,
            })
        })
    })
}

/// Why the broker, or librdkafka in its place, refused this record for what it is: then it is a dead letter. Everything else is about the
/// topic or the connection and concerns the records behind it as well.
fn about_the_record(error: &KafkaError) -> Option<RefusalReason> {
    match error.rdkafka_error_code()? {
        RDKafkaErrorCode::MessageSizeTooLarge => Some(RefusalReason::TooLarge),
        code @ (RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::InvalidTimestamp) => {
            Some(RefusalReason::Invalid(code.to_string()))
        }
        _ => None,
    }
}

impl crate::client::Producer for Producer {
    fn prepare(&mut self) -> Result<(), NotReady> {
        admin::provision(
            self.producer.client(),
            &self.client,
            &self.topics.all(),
            &self.topic_settings,
        )
    }

    fn send(&mut self, batch: Batch) -> Result<(), Error> {
        let Some(slot) = self.free.pop() else {
            return Err(Error::Kafka {
                operation: "produce",
                reason: "more batches than can exist: a bug".to_owned(),
            });
        };
        if let Some(outstanding) = self.producer.context().outstanding.get(slot) {
            outstanding.store(batch.len(), Relaxed);
        }
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(batch);
        }
        self.push(slot, None);
        Ok(())
    }

    fn accepts(&self) -> bool {
        self.unsent.is_none() && !self.free.is_empty()
    }

    fn poll(&mut self, timeout: Duration) -> Result<(), Error> {
        self.producer.poll(timeout);
        self.collect()?;
        if let Some((slot, place)) = self.unsent {
            self.push(slot, Some(place));
        }
        Ok(())
    }

    fn delivered(&mut self) -> Option<Batch> {
        self.delivered.pop_front()
    }

    fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

/// Counts the acknowledgements of each batch.
#[derive(Default)]
struct Callbacks {
    name: &'static str,
    /// Records not yet acknowledged, by slot.
    outstanding: Vec<AtomicUsize>,
    done: Mutex<Vec<usize>>,
    failed: Mutex<Vec<Failed>>,
    fatal: AtomicBool,
}

struct Failed {
    slot: usize,
    number: usize,
    error: KafkaError,
}

impl Callbacks {
    fn done(&self) -> MutexGuard<'_, Vec<usize>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> MutexGuard<'_, Vec<Failed>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record is through, for good or bad.
    fn settle(&self, opaque: usize, failed: Option<KafkaError>) {
        let (slot, number) = (
            opaque / RECORD_BY_RECORD.poll_batch_records,
            opaque % RECORD_BY_RECORD.poll_batch_records,
        );
        if let Some(error) = failed {
            self.failed().push(Failed {
                slot,
                number,
                error,
            });
        }
        if self
            .outstanding
            .get(slot)
            .is_some_and(|outstanding| outstanding.fetch_sub(1, Relaxed) == 1)
        {
            self.done().push(slot);
        }
    }
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log::debug!("{}: {error}: {reason}", self.name);
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.fatal.store(true, Relaxed);
        }
    }
}

impl ProducerContext for Callbacks {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        self.settle(
            opaque,
            result.as_ref().err().map(|(error, _)| error.clone()),
        );
    }
}
