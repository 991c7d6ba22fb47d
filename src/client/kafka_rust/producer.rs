//! The producer of the client `kafka`: sends one batch at a time and waits for each response. Runs on one producer thread.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use ::kafka::client::{KafkaClient, ProduceConfirm, ProduceMessage, RequiredAcks};
use ::kafka::error::{Error as KafkaError, KafkaCode};

use super::{describe, new_client, topics};
use crate::client::Error;
use crate::client::Topics;
use crate::client::batch::{OutgoingRecord, RecordLocation, RefusalReason};
use crate::client::settings::ClientSettings;
use crate::client::{Batch, NotReady, murmur2};
use crate::throttle::{Throttle, WARNING_INTERVAL, more_suppressed};

/// How long the broker waits until all in-sync replicas have a batch; Kafka's default of `request.timeout.ms`.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// Wait after a failed attempt.
const BACKOFF: Duration = Duration::from_millis(100);

/// Outcome for each topic and partition of a produce request.
type Outcomes = BTreeMap<(String, i32), Result<(), KafkaCode>>;

/// The producer of the client `kafka`.
pub(crate) struct Producer {
    settings: ClientSettings,
    topics: Topics,
    /// `None` if the next attempt has to create a client.
    client: Option<KafkaClient>,
    /// Partition count of each output topic.
    partition_counts: Vec<i32>,
    /// Number of batches. Records without a key go to one partition per batch, and to the next one with the next batch.
    batch_number: i32,
    in_flight: Option<InFlightBatch>,
    delivered: Option<Batch>,
    warnings: Throttle,
}

/// The batch that is being sent.
struct InFlightBatch {
    batch: Batch,
    /// Unacknowledged records with their partitions.
    unacknowledged: Vec<(RecordLocation, i32)>,
    /// True after a request was refused as too large: records are then sent one by one to find the one that is too large.
    one_by_one: bool,
}

impl Producer {
    /// Implements [`Client::producer`](crate::client::Client::producer).
    pub(super) fn new(settings: &ClientSettings, topics: &Topics) -> Self {
        Self {
            settings: settings.clone(),
            topics: topics.clone(),
            client: None,
            partition_counts: Vec::new(),
            batch_number: 0,
            in_flight: None,
            delivered: None,
            warnings: Throttle::new(WARNING_INTERVAL),
        }
    }

    /// Creates the client and loads the metadata of the output topics, unless it is already connected.
    fn connect(&mut self) -> Result<(), KafkaError> {
        if self.client.is_some() {
            return Ok(());
        }
        let mut client = new_client(&self.settings);
        client.load_metadata(&self.topics.outputs)?;
        let count = |topic: &String| {
            let partitions = client.topics();
            let count = partitions
                .partitions(topic)
                .map_or(0, |partitions| partitions.len());
            i32::try_from(count).unwrap_or(i32::MAX)
        };
        self.partition_counts = self.topics.outputs.iter().map(count).collect();
        self.client = Some(client);
        Ok(())
    }

    /// Sends the unacknowledged records of the batch once and waits for the response.
    fn attempt(&mut self) -> Result<(), KafkaError> {
        self.connect()?;
        let Self {
            client: Some(client),
            in_flight: Some(in_flight),
            topics,
            partition_counts,
            batch_number,
            ..
        } = self
        else {
            return Ok(());
        };
        if in_flight.unacknowledged.is_empty() {
            *batch_number = batch_number.wrapping_add(1);
            let assign = |(location, record): (RecordLocation, OutgoingRecord<'_>)| {
                let count = partition_counts.get(usize::from(record.output));
                let count = count.copied().unwrap_or_default().max(1);
                let partition = match record.key {
                    Some(key) => murmur2::partition(key, count),
                    None => batch_number.rem_euclid(count),
                };
                (location, partition)
            };
            in_flight.unacknowledged = in_flight.batch.iter().map(assign).collect();
        }
        let count = if in_flight.one_by_one {
            1
        } else {
            in_flight.unacknowledged.len()
        };
        let records = in_flight.unacknowledged.iter().take(count);
        let messages = records.filter_map(|&(location, partition)| {
            let record = in_flight.batch.get(location)?;
            Some(ProduceMessage::new(
                topics.output(record.output),
                partition,
                record.key,
                Some(record.value),
            ))
        });
        let messages: Vec<ProduceMessage<'_, '_>> = messages.collect();
        let confirms = client.produce_messages(RequiredAcks::All, ACK_TIMEOUT, &messages)?;
        drop(messages);
        in_flight.confirm(&outcomes(confirms), topics, count)
    }
}

/// Collects the outcome for each topic and partition.
fn outcomes(confirms: Vec<ProduceConfirm>) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for confirm in confirms {
        for partition in confirm.partition_confirms {
            outcomes.insert(
                (confirm.topic.clone(), partition.partition),
                partition.offset.map(drop),
            );
        }
    }
    outcomes
}

impl InFlightBatch {
    /// Removes the records that were acknowledged or refused among the first `count`. Returns the last error that can be retried.
    fn confirm(
        &mut self,
        outcomes: &Outcomes,
        topics: &Topics,
        count: usize,
    ) -> Result<(), KafkaError> {
        let Self {
            batch,
            unacknowledged,
            one_by_one,
        } = self;
        let mut result = Ok(());
        let mut position = 0;
        let was_one_by_one = *one_by_one;
        unacknowledged.retain(|&(location, partition)| {
            position += 1;
            let Some(record) = batch.get(location).filter(|_| position <= count) else {
                return true;
            };
            match outcomes.get(&(topics.output(record.output).to_owned(), partition)) {
                Some(Ok(())) => false,
                Some(Err(KafkaCode::MessageSizeTooLarge | KafkaCode::RecordListTooLarge))
                    if was_one_by_one =>
                {
                    batch.refuse(location, RefusalReason::TooLarge);
                    false
                }
                Some(Err(KafkaCode::MessageSizeTooLarge | KafkaCode::RecordListTooLarge)) => {
                    *one_by_one = true;
                    true
                }
                Some(&Err(code)) => {
                    result = Err(KafkaError::Kafka(code));
                    true
                }
                None => {
                    result = Err(KafkaError::Kafka(KafkaCode::Unknown));
                    true
                }
            }
        });
        result
    }
}

/// Returns true if a retry cannot succeed.
fn is_fatal(error: &KafkaError) -> bool {
    matches!(
        error,
        KafkaError::Kafka(
            KafkaCode::TopicAuthorizationFailed
                | KafkaCode::ClusterAuthorizationFailed
                | KafkaCode::InvalidTopic
                | KafkaCode::UnsupportedVersion
        )
    )
}

impl crate::client::Producer for Producer {
    fn prepare(&mut self) -> Result<(), NotReady> {
        let settings = &self.settings;
        topics::check_broker(&settings.brokers, &settings.connection.client_id)?;
        topics::check_topics(
            &mut new_client(settings),
            &self.topics,
            settings.topics.auto_create,
        )
    }

    fn send(&mut self, batch: Batch) -> Result<(), Error> {
        self.in_flight = Some(InFlightBatch {
            batch,
            unacknowledged: Vec::new(),
            one_by_one: false,
        });
        Ok(())
    }

    fn accepts(&self) -> bool {
        self.in_flight.is_none() && self.delivered.is_none()
    }

    fn poll(&mut self, timeout: Duration) -> Result<(), Error> {
        if self.in_flight.is_none() {
            thread::sleep(timeout);
            return Ok(());
        }
        match self.attempt() {
            Ok(()) => {
                let acknowledged = self
                    .in_flight
                    .take_if(|in_flight| in_flight.unacknowledged.is_empty());
                if let Some(in_flight) = acknowledged {
                    self.delivered = Some(in_flight.batch);
                }
            }
            Err(error) if is_fatal(&error) => {
                return Err(Error::Kafka {
                    operation: "produce",
                    reason: describe(&error),
                });
            }
            Err(error) => {
                if let Some(suppressed) = self.warnings.admit(Instant::now()) {
                    log::warn!(
                        "produce failed: {}, retrying with a new connection{}",
                        describe(&error),
                        more_suppressed(suppressed)
                    );
                }
                self.client = None;
                thread::sleep(BACKOFF);
            }
        }
        Ok(())
    }

    fn delivered(&mut self) -> Option<Batch> {
        self.delivered.take()
    }

    fn in_flight(&self) -> usize {
        usize::from(self.in_flight.is_some()) + usize::from(self.delivered.is_some())
    }
}
