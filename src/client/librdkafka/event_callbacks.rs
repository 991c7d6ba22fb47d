//! Callbacks of librdkafka's consumer: rebalances and errors become [`ConsumerEvent`]s. They run on the thread `consumer`, during a poll.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use crate::client::ConsumerEvent;
use crate::client::Topics;
use crate::topic_partition::{NextOffset, TopicPartition};

/// Collects events between polls. The locks are never contended: `rdkafka` requires `Sync`, but all callbacks run on the consumer thread.
#[derive(Default)]
pub(super) struct EventCallbacks {
    topics: Topics,
    events: Mutex<VecDeque<ConsumerEvent>>,
    /// Reason of the last failed connection.
    reason: Mutex<String>,
    /// True once the consumer is being closed. Events are no longer read, so partitions are released immediately.
    is_closing: AtomicBool,
}

impl EventCallbacks {
    pub(super) fn new(topics: &Topics) -> Self {
        Self {
            topics: topics.clone(),
            ..Self::default()
        }
    }

    /// Events that the consumer has not returned yet.
    pub(super) fn events(&self) -> MutexGuard<'_, VecDeque<ConsumerEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reason of the last failed connection; empty if there is none.
    pub(super) fn reason(&self) -> MutexGuard<'_, String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases partitions immediately from now on.
    pub(super) fn begin_close(&self) {
        self.is_closing.store(true, Relaxed);
    }

    /// Converts offsets from librdkafka's form; elements without an offset are left out.
    pub(super) fn offsets(&self, list: &TopicPartitionList) -> Vec<NextOffset> {
        let elements = list.elements();
        let offsets = elements
            .iter()
            .filter_map(|element| match element.offset() {
                Offset::Offset(next) => Some((
                    self.topics
                        .input_partition(element.topic(), element.partition())?,
                    next,
                )),
                _ => None,
            });
        offsets.collect()
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<TopicPartition> {
        list.elements()
            .iter()
            .filter_map(|element| {
                self.topics
                    .input_partition(element.topic(), element.partition())
            })
            .collect()
    }
}

impl ClientContext for EventCallbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log::debug!("consumer: {error}: {reason}");
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            // librdkafka appends the duration, which differs each time: the same reason would be logged again.
            let stable = reason.split(" (after ").next().unwrap_or_default();
            stable.clone_into(&mut self.reason());
        }
    }
}

impl ConsumerContext for EventCallbacks {
    /// Applies an assignment immediately. A revocation is only reported: librdkafka keeps the partitions until
    /// [`crate::client::Consumer::release`], so that records in flight can be delivered and committed.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let is_cooperative = matches!(
            consumer.rebalance_protocol(),
            RebalanceProtocol::Cooperative
        );
        let partitions = self.partitions(list);
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let assigned = if is_cooperative {
                consumer.incremental_assign(list)
            } else {
                consumer.assign(list)
            };
            // A partition that was paused when it was revoked would still be paused.
            match assigned.and_then(|()| consumer.resume(list)) {
                Ok(()) => self.events().push_back(ConsumerEvent::Assigned(partitions)),
                Err(error) => log::error!(
                    "cannot apply the assignment of {}: {error}; these partitions are not read until the next rebalance",
                    self.topics.partitions(&partitions)
                ),
            }
        } else if self.is_closing.load(Relaxed) {
            let released = if is_cooperative {
                consumer.incremental_unassign(list)
            } else {
                consumer.unassign()
            };
            if let Err(error) = released {
                log::debug!("release partitions when closing: {error}");
            }
        } else if consumer.assignment_lost() {
            self.events().push_back(ConsumerEvent::Lost(partitions));
        } else {
            self.events().push_back(ConsumerEvent::Revoked(partitions));
        }
    }
}
