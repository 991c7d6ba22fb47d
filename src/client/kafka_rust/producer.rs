//! Sends one batch after the other and waits for each answer. Owned by one producer thread.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use ::kafka::client::{KafkaClient, ProduceConfirm, ProduceMessage, RequiredAcks};
use ::kafka::error::{Error as KafkaError, KafkaCode};

use super::{connect, provision, words};
use crate::client::Error;
use crate::client::Topics;
use crate::client::batch::{RecordLocation, RefusalReason};
use crate::client::settings::ClientSettings;
use crate::client::{Batch, NotReady, murmur2};
use crate::throttle::{Throttle, WARNING_INTERVAL};

/// How long the broker may take to have a batch acknowledged by all in-sync replicas (Kafka's `request.timeout.ms`).
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);

/// Wait after an attempt that failed.
const BACK_OFF: Duration = Duration::from_millis(100);

/// See the module.
pub(crate) struct Producer {
    settings: ClientSettings,
    topics: Topics,
    /// None where the next attempt begins with a new one.
    client: Option<KafkaClient>,
    /// Partitions of each output topic.
    partitions: Vec<i32>,
    /// Counts batches: records without a key go to one partition a batch, each batch to the next.
    turn: i32,
    sending: Option<Sending>,
    delivered: Option<Batch>,
    warnings: Throttle,
}

/// The batch under way.
struct Sending {
    batch: Batch,
    /// Its records that are not acknowledged yet, each with its partition.
    left: Vec<(RecordLocation, i32)>,
    /// A part was refused as too large: from now on record by record, to find the one that is.
    singly: bool,
}

impl Producer {
    /// See [`Client::producer`](crate::client::Client::producer).
    pub(super) fn new(settings: &ClientSettings, topics: &Topics) -> Self {
        Self {
            settings: settings.clone(),
            topics: topics.clone(),
            client: None,
            partitions: Vec::new(),
            turn: 0,
            sending: None,
            delivered: None,
            warnings: Throttle::new(WARNING_INTERVAL),
        }
    }

    /// The client, made and told the topics where it was not.
    fn client(&mut self) -> Result<&mut KafkaClient, KafkaError> {
        if self.client.is_none() {
            let mut client = connect(&self.settings);
            client.load_metadata(&self.topics.outputs)?;
            let count = |topic: &String| {
                client
                    .topics()
                    .partitions(topic)
                    .map_or(0, |partitions| partitions.len())
            };
            self.partitions = self
                .topics
                .outputs
                .iter()
                .map(|topic| i32::try_from(count(topic)).unwrap_or(i32::MAX))
                .collect();
            self.client = Some(client);
        }
        self.client.as_mut().ok_or(KafkaError::NoHostReachable)
    }

    /// One attempt at what is left of the batch.
    fn attempt(&mut self) -> Result<(), KafkaError> {
        self.client()?;
        let Self {
            client: Some(client),
            sending: Some(sending),
            topics,
            partitions,
            turn,
            ..
        } = self
        else {
            return Ok(());
        };
        if sending.left.is_empty() {
            *turn = turn.wrapping_add(1);
            let target =
                |(place, record): (RecordLocation, crate::client::batch::OutgoingRecord<'_>)| {
                    let count = partitions
                        .get(usize::from(record.output))
                        .copied()
                        .unwrap_or_default()
                        .max(1);
                    (
                        place,
                        record
                            .key
                            .map_or(turn.rem_euclid(count), |key| murmur2::partition(key, count)),
                    )
                };
            sending.left = sending.batch.iter().map(target).collect();
        }
        let count = if sending.singly {
            1
        } else {
            sending.left.len()
        };
        let messages = sending
            .left
            .iter()
            .take(count)
            .filter_map(|&(place, partition)| {
                let record = sending.batch.get(place)?;
                Some(ProduceMessage::new(
                    topics.output(record.output),
                    partition,
                    record.key,
                    Some(record.value),
                ))
            });
        let messages: Vec<ProduceMessage<'_, '_>> = messages.collect();
        let confirms =
            client.produce_messages(RequiredAcks::All, ACKNOWLEDGED_WITHIN, &messages)?;
        drop(messages);
        sending.confirm(&outcomes(confirms), topics, count)
    }
}

/// What became of the part for each topic and partition.
fn outcomes(confirms: Vec<ProduceConfirm>) -> BTreeMap<(String, i32), Result<(), KafkaCode>> {
    let mut outcomes = BTreeMap::new();
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

impl Sending {
    /// Strikes out what was acknowledged among the first `count` records; tells the first failure that is to be tried again.
    fn confirm(
        &mut self,
        outcomes: &BTreeMap<(String, i32), Result<(), KafkaCode>>,
        topics: &Topics,
        count: usize,
    ) -> Result<(), KafkaError> {
        let Self {
            batch,
            left,
            singly,
        } = self;
        let mut failure = Ok(());
        let mut position = 0;
        let was_single = *singly;
        left.retain(|&(place, partition)| {
            position += 1;
            let Some(record) = batch.get(place).filter(|_| position <= count) else {
                return true;
            };
            match outcomes.get(&(topics.output(record.output).to_owned(), partition)) {
                Some(Ok(())) => false,
                Some(Err(KafkaCode::MessageSizeTooLarge | KafkaCode::RecordListTooLarge))
                    if was_single =>
                {
                    batch.refuse(place, RefusalReason::TooLarge);
                    false
                }
                Some(Err(KafkaCode::MessageSizeTooLarge | KafkaCode::RecordListTooLarge)) => {
                    *singly = true;
                    true
                }
                Some(&Err(code)) => {
                    failure = Err(KafkaError::Kafka(code));
                    true
                }
                None => {
                    failure = Err(KafkaError::Kafka(KafkaCode::Unknown));
                    true
                }
            }
        });
        failure
    }
}

/// Whether no further attempt will heal it.
fn is_final(error: &KafkaError) -> bool {
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
        provision::check_broker(&self.settings.brokers)?;
        provision::check_topics(
            &mut connect(&self.settings),
            &self.topics,
            self.settings.topics.auto_create,
        )
    }

    fn send(&mut self, batch: Batch) -> Result<(), Error> {
        self.sending = Some(Sending {
            batch,
            left: Vec::new(),
            singly: false,
        });
        Ok(())
    }

    fn accepts(&self) -> bool {
        self.sending.is_none() && self.delivered.is_none()
    }

    fn poll(&mut self, timeout: Duration) -> Result<(), Error> {
        if self.sending.is_none() {
            thread::sleep(timeout);
            return Ok(());
        }
        match self.attempt() {
            Ok(()) => {
                if let Some(sending) = self.sending.take_if(|sending| sending.left.is_empty()) {
                    self.delivered = Some(sending.batch);
                }
            }
            Err(error) if is_final(&error) => {
                return Err(Error::Kafka {
                    operation: "produce",
                    reason: words(&error),
                });
            }
            Err(error) => {
                if let Some(suppressed) = self.warnings.admit(std::time::Instant::now()) {
                    log::warn!(
                        "produce: {}; trying again ({suppressed} more like this since the last line)",
                        words(&error)
                    );
                }
                self.client = None;
                thread::sleep(BACK_OFF);
            }
        }
        Ok(())
    }

    fn delivered(&mut self) -> Option<Batch> {
        self.delivered.take()
    }

    fn in_flight(&self) -> usize {
        usize::from(self.sending.is_some()) + usize::from(self.delivered.is_some())
    }
}
