//! The producer of the client `librdkafka`. Runs on one producer thread, and so do its callbacks, during `poll`.

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

use super::{admin, client_error, common_config, creation_error};
use crate::client::Error;
use crate::client::RECORD_BY_RECORD;
use crate::client::Topics;
use crate::client::batch::{RecordLocation, RefusalReason};
use crate::client::records::Headers;
use crate::client::settings::{Acks, ClientSettings, ProducerSettings, TopicSettings};
use crate::client::{Batch, NotReady, Timestamp};

/// The producer of the client `librdkafka`.
pub(crate) struct Producer {
    producer: BaseProducer<DeliveryCallbacks>,
    /// Configuration of the admin client.
    admin_config: ClientConfig,
    topic_settings: TopicSettings,
    topics: Topics,
    /// Batches in flight. The index of a batch is part of the opaque value that librdkafka returns with each record.
    slots: Vec<Option<Batch>>,
    /// Indexes of unused slots.
    free: Vec<usize>,
    /// Slot and record at which librdkafka's queue was full.
    unsent: Option<(usize, RecordLocation)>,
    delivered: VecDeque<Batch>,
}

impl Producer {
    /// Implements [`Client::producer`](crate::client::Client::producer).
    pub(super) fn new(
        settings: &ClientSettings,
        producer: &ProducerSettings,
        topics: &Topics,
        name: &'static str,
    ) -> Result<Self, Error> {
        let admin_config = common_config(settings);
        let acks = match producer.acks {
            Acks::All => "all",
            Acks::Leader => "1",
        };
        let mut config = admin_config.clone();
        config
            // Records already arrive in batches.
            .set("linger.ms", "1")
            .set("queue.buffering.max.messages", "100000")
            // The maximum: the topic's limit decides whether a record is too large, not the client's.
            .set("message.max.bytes", "1000000000")
            // Idempotence limits it to 5 anyway; without it librdkafka's default is 1,000,000.
            .set(
                "max.in.flight.requests.per.connection",
                producer.max_in_flight.to_string(),
            )
            .extend(producer.librdkafka.iter().cloned());
        config
            .set("enable.idempotence", producer.idempotent.to_string())
            .set("acks", acks)
            // Retries are not limited in time: a record ends acknowledged or refused, or is still in flight when the process stops.
            .set("message.timeout.ms", "0")
            // The partitioner of Kafka's Java producer, so that a key maps to the same partition whichever client writes it.
            .set("partitioner", "murmur2_random");
        let callbacks = DeliveryCallbacks {
            name,
            outstanding: (0..RECORD_BY_RECORD.batches())
                .map(|_| AtomicUsize::new(0))
                .collect(),
            ..DeliveryCallbacks::default()
        };
        let producer = config
            .create_with_context(callbacks)
            .map_err(|error| creation_error("create a producer", &error))?;
        Ok(Self {
            producer,
            admin_config,
            topic_settings: settings.topics.clone(),
            topics: topics.clone(),
            slots: (0..RECORD_BY_RECORD.batches()).map(|_| None).collect(),
            free: (0..RECORD_BY_RECORD.batches()).collect(),
            unsent: None,
            delivered: VecDeque::new(),
        })
    }

    /// Passes the records of a batch to librdkafka, starting at `from` or at the first one, until librdkafka's queue is full.
    fn enqueue(&mut self, slot: usize, from: Option<RecordLocation>) {
        let Some(batch) = self.slots.get(slot).and_then(Option::as_ref) else {
            return;
        };
        self.unsent = None;
        let records = batch.iter().enumerate();
        for (index, (location, outgoing)) in
            records.skip_while(|(_, (location, _))| from.is_some_and(|from| *location < from))
        {
            let opaque = slot * RECORD_BY_RECORD.poll_batch_records + index;
            let record = BaseRecord {
                topic: self.topics.output(outgoing.output),
                partition: None,
                payload: Some(outgoing.value),
                key: outgoing.key,
                timestamp: outgoing.timestamp.map(Timestamp::millis),
                headers: owned_headers(outgoing.headers),
                delivery_opaque: opaque,
            };
            let Err((error, _)) = self.producer.send(record) else {
                continue;
            };
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) {
                self.unsent = Some((slot, location));
                break;
            }
            self.producer.context().complete(opaque, Some(error));
        }
    }

    /// Handles the delivery reports that the callbacks collected.
    fn handle_deliveries(&mut self) -> Result<(), Error> {
        let context = self.producer.context().clone();
        for failed in context.failed().drain(..) {
            let Some(Some(batch)) = self.slots.get_mut(failed.slot) else {
                continue;
            };
            let reason = refusal_reason(&failed.error)
                .ok_or_else(|| client_error("produce", &failed.error))?;
            let location = batch.iter().nth(failed.index).map(|(location, _)| location);
            if let Some(location) = location {
                batch.refuse(location, reason);
            }
        }
        for slot in context.completed().drain(..) {
            if let Some(batch) = self.slots.get_mut(slot).and_then(Option::take) {
                self.delivered.push_back(batch);
                self.free.push(slot);
            }
        }
        if context.is_fatal.load(Relaxed) {
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

/// Converts headers to librdkafka's form; `None` if there are none.
fn owned_headers(headers: Headers<'_>) -> Option<OwnedHeaders> {
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

/// Returns why the broker or librdkafka refused this particular record. Returns `None` if the error concerns the topic or the connection, and
/// with it the following records too.
fn refusal_reason(error: &KafkaError) -> Option<RefusalReason> {
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
        admin::ensure_topics(
            self.producer.client(),
            &self.admin_config,
            &self.topics.all(),
            &self.topic_settings,
        )
    }

    fn send(&mut self, batch: Batch) -> Result<(), Error> {
        let Some(slot) = self.free.pop() else {
            return Err(Error::Kafka {
                operation: "produce",
                reason: "no free slot for a batch (bug)".to_owned(),
            });
        };
        if let Some(outstanding) = self.producer.context().outstanding.get(slot) {
            outstanding.store(batch.len(), Relaxed);
        }
        if let Some(entry) = self.slots.get_mut(slot) {
            *entry = Some(batch);
        }
        self.enqueue(slot, None);
        Ok(())
    }

    fn accepts(&self) -> bool {
        self.unsent.is_none() && !self.free.is_empty()
    }

    fn poll(&mut self, timeout: Duration) -> Result<(), Error> {
        self.producer.poll(timeout);
        self.handle_deliveries()?;
        if let Some((slot, location)) = self.unsent {
            self.enqueue(slot, Some(location));
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

/// Counts the delivery reports of each batch. The locks are never contended: `rdkafka` requires `Sync`, but all callbacks run on the producer
/// thread.
#[derive(Default)]
struct DeliveryCallbacks {
    /// Name of the producer thread, for log lines.
    name: &'static str,
    /// Number of records without a delivery report, by slot.
    outstanding: Vec<AtomicUsize>,
    /// Slots of batches all of whose records have a delivery report.
    completed: Mutex<Vec<usize>>,
    failed: Mutex<Vec<FailedRecord>>,
    /// True after a fatal error of the idempotent producer.
    is_fatal: AtomicBool,
}

/// A record whose delivery failed.
struct FailedRecord {
    slot: usize,
    /// Index of the record in its batch.
    index: usize,
    error: KafkaError,
}

impl DeliveryCallbacks {
    fn completed(&self) -> MutexGuard<'_, Vec<usize>> {
        self.completed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> MutexGuard<'_, Vec<FailedRecord>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles the delivery report of a record; `error` is `None` if it was acknowledged.
    fn complete(&self, opaque: usize, error: Option<KafkaError>) {
        let (slot, index) = (
            opaque / RECORD_BY_RECORD.poll_batch_records,
            opaque % RECORD_BY_RECORD.poll_batch_records,
        );
        if let Some(error) = error {
            self.failed().push(FailedRecord { slot, index, error });
        }
        if self
            .outstanding
            .get(slot)
            .is_some_and(|outstanding| outstanding.fetch_sub(1, Relaxed) == 1)
        {
            self.completed().push(slot);
        }
    }
}

impl ClientContext for DeliveryCallbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log::debug!("{}: {error}: {reason}", self.name);
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.is_fatal.store(true, Relaxed);
        }
    }
}

impl ProducerContext for DeliveryCallbacks {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        self.complete(
            opaque,
            result.as_ref().err().map(|(error, _)| error.clone()),
        );
    }
}
