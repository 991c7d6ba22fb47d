//! Fetch responses: completed fetches, and errors of single partitions. Runs on the thread `consumer`.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::FetchResponse;
use kafka_protocol::messages::fetch_response::PartitionData;

use super::Fetcher;
use super::partition_records::{PartitionRecords, end_offset};
use super::positions::PositionState;
use crate::client::Error;
use crate::client::native::error_name::kafka_name;
use crate::client::native::metadata::{EXPECTED_LEADER_FAILURES, Metadata};
use crate::client::native::network::{Network, Node};
use crate::client::settings::Isolation;
use crate::throttle::more_suppressed;
use crate::topic_partition::{NextOffset, TopicPartition};

/// A fetch response with records that are not all delivered yet.
pub(super) struct CompletedFetch {
    /// Node id of the broker that responded.
    pub(super) broker: i32,
    /// The buffer of the response, which the records borrow from. It goes back to the connection for reuse.
    pub(super) buffer: Bytes,
    pub(super) partitions: VecDeque<PartitionRecords>,
}

impl Fetcher {
    /// Forgets the fetch that is in flight to `broker`: it will get no response.
    pub(in crate::client::native) fn disconnected(&mut self, broker: i32) {
        self.in_flight.remove(&broker);
    }

    /// Handles a fetch response of `broker`, which was decoded from `buffer`.
    pub(in crate::client::native) fn handle_response<T>(
        &mut self,
        network: &mut Network<T>,
        metadata: &mut Metadata,
        broker: i32,
        response: FetchResponse,
        buffer: Bytes,
    ) -> Result<(), Error> {
        let requested = self.in_flight.remove(&broker).unwrap_or_default();
        if let Some(error) = ResponseError::try_from_code(response.error_code) {
            for &(partition, _) in &requested {
                self.handle_error(network, metadata, partition, error)?;
            }
            return Ok(());
        }
        let mut partitions = VecDeque::new();
        for topic in response.responses {
            for data in topic.partitions {
                let name = topic.topic.as_str();
                let Some(partition) = self.topics.input_partition(name, data.partition_index)
                else {
                    continue;
                };
                if !self.is_current(partition, &requested) {
                    continue;
                }
                match ResponseError::try_from_code(data.error_code) {
                    Some(error) => self.handle_error(network, metadata, partition, error)?,
                    None => partitions.extend(self.take_records(partition, data)),
                }
            }
        }
        if let Some(last) = partitions.back() {
            // The next request starts after the last partition that had records, so that none is always served last.
            self.first_partition = self.positions.after(last.partition);
        }
        if partitions.is_empty() {
            network.recycle(Node::Broker(broker), buffer);
        } else {
            self.completed.push_back(CompletedFetch {
                broker,
                buffer,
                partitions,
            });
        }
        Ok(())
    }

    /// Returns whether the position of a partition is still the one that was requested.
    fn is_current(&self, partition: TopicPartition, requested: &[NextOffset]) -> bool {
        let requested = requested.iter().find(|(other, _)| *other == partition);
        let position = self.positions.get(partition);
        position.is_some_and(|position| {
            position.state == PositionState::Fetching
                && requested.is_some_and(|&(_, offset)| offset == position.next)
        })
    }

    /// Advances the position over the records in a response and returns them, if there are any.
    fn take_records(
        &mut self,
        partition: TopicPartition,
        data: PartitionData,
    ) -> Option<PartitionRecords> {
        let position = self.positions.get_mut(partition)?;
        position.failures = 0;
        position.end = match self.settings.isolation {
            Isolation::ReadCommitted => data.last_stable_offset,
            Isolation::ReadUncommitted => data.high_watermark,
        };
        let records = data.records.filter(|records| !records.is_empty())?;
        let next = end_offset(&records).unwrap_or(position.next);
        let aborted = data.aborted_transactions.unwrap_or_default();
        let mut records = PartitionRecords::new(partition, records, position.next, aborted);
        records.went_back = std::mem::take(&mut position.went_back);
        position.next = position.next.max(next);
        Some(records)
    }

    /// Handles an error of a partition in a response to Fetch, ListOffsets or OffsetFetch: the request is retried, unless the client
    /// is not authorized.
    pub(in crate::client::native) fn handle_error<T>(
        &mut self,
        network: &Network<T>,
        metadata: &mut Metadata,
        partition: TopicPartition,
        error: ResponseError,
    ) -> Result<(), Error> {
        match error {
            ResponseError::TopicAuthorizationFailed => {
                let topic = self.topics.input(partition.topic);
                return Err(Error::Kafka {
                    operation: "fetch",
                    reason: format!("{topic}: {}", kafka_name(error)),
                });
            }
            ResponseError::OffsetOutOfRange => {
                self.positions.reset(partition);
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
                metadata.request_update();
                let position = self.positions.get(partition);
                if position.is_some_and(|position| position.failures < EXPECTED_LEADER_FAILURES) {
                    log::debug!(
                        "fetch {} failed: {}, refreshing metadata",
                        self.topics.partition_name(partition),
                        kafka_name(error)
                    );
                    self.positions.retry_later(partition, network);
                    return Ok(());
                }
            }
            _ => (),
        }
        self.retry_with_warning(network, partition, &kafka_name(error).to_string());
        Ok(())
    }

    /// Retries the partition after a back-off and logs the reason.
    pub(super) fn retry_with_warning<T>(
        &mut self,
        network: &Network<T>,
        partition: TopicPartition,
        reason: &str,
    ) {
        self.positions.retry_later(partition, network);
        if let Some(suppressed) = self.warnings.admit(Instant::now()) {
            log::warn!(
                "fetch {} failed: {reason}, retrying{}",
                self.topics.partition_name(partition),
                more_suppressed(suppressed)
            );
        }
    }
}
