//! Offsets of the group and of the brokers: looks up the positions of new partitions (OffsetFetch, ListOffsets) and commits offsets
//! (OffsetCommit). Runs on the thread `consumer`.

use std::collections::BTreeMap;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    BrokerId, ListOffsetsRequest, ListOffsetsResponse, OffsetCommitResponse, OffsetFetchRequest,
    OffsetFetchResponse, TopicName,
};

use super::membership::Membership;
use super::{Consumer, Tag};
use crate::client::native::error_name::kafka_name;
use crate::client::native::fetch::PositionState;
use crate::client::native::network::Node;
use crate::client::native::request::{group_by_topic, isolation_level, topic_name};
use crate::client::settings::{Isolation, StartOffset};
use crate::client::{ConsumerEvent, Error};
use crate::topic_partition::{NextOffset, TopicPartition};

/// Newest supported version of OffsetFetch without `RequireStable` (KIP-447). With it, the coordinator makes the consumer wait for offsets
/// that an open transaction is committing.
const OFFSET_FETCH_UNSTABLE: i16 = 5;

impl Consumer {
    /// Requests the offsets of partitions whose position is not known yet.
    pub(super) fn look_up_offsets(&mut self) {
        self.look_up_committed();
        self.look_up_start_offsets();
    }

    /// Requests committed offsets from the group coordinator, if it is connected.
    fn look_up_committed(&mut self) {
        let Some(coordinator) = &mut self.coordinator else {
            return;
        };
        let network = &mut self.network;
        let Some(node) = coordinator.connect(network, &self.metadata, Tag::Coordinator) else {
            return;
        };
        let positions = &mut self.fetcher.positions;
        let partitions = positions.take_due_lookups(PositionState::AwaitCommitted);
        if partitions.is_empty() {
            return;
        }
        match network.version::<OffsetFetchRequest>(node) {
            Ok(version) => {
                let version = match self.isolation {
                    Isolation::ReadCommitted => version,
                    Isolation::ReadUncommitted => version.min(OFFSET_FETCH_UNSTABLE),
                };
                let request = coordinator.offset_fetch_request(version, &self.topics, &partitions);
                network.send(node, &request, Tag::OffsetFetch);
            }
            Err(reason) => {
                log::warn!("cannot fetch committed offsets: {reason}, retrying");
                for partition in partitions {
                    positions.retry_later(partition, network);
                }
            }
        }
    }

    /// Requests the start offsets of partitions without a valid committed offset from their leaders.
    fn look_up_start_offsets(&mut self) {
        let network = &mut self.network;
        let positions = &mut self.fetcher.positions;
        let mut by_leader: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
        for partition in positions.take_due_lookups(PositionState::AwaitReset) {
            let topic = self.topics.input(partition.topic);
            let Some((leader, address)) = self.metadata.leader(topic, partition.partition) else {
                self.metadata.request_update();
                positions.retry_later(partition, network);
                continue;
            };
            let node = Node::Broker(leader);
            if network.connect(node, address) {
                by_leader.entry(leader).or_default().push(partition);
                continue;
            }
            if network.connect_failures(node) > 1 {
                self.metadata.request_update();
            }
            positions.cancel_lookup(partition);
        }
        for (leader, partitions) in by_leader {
            let request = self.list_offsets_request(&partitions);
            self.network
                .send(Node::Broker(leader), &request, Tag::ListOffsets(leader));
        }
    }

    fn list_offsets_request(&self, partitions: &[TopicPartition]) -> ListOffsetsRequest {
        let timestamp = match self.start_offset {
            StartOffset::Earliest => -2,
            StartOffset::Latest => -1,
        };
        let partitions = partitions.iter().map(|partition| {
            let requested = ListOffsetsPartition::default()
                .with_partition_index(partition.partition)
                .with_current_leader_epoch(-1)
                .with_timestamp(timestamp);
            (partition.topic, requested)
        });
        let topics = group_by_topic(partitions, |topic, partitions| {
            ListOffsetsTopic::default()
                .with_name(topic_name(self.topics.input(topic)))
                .with_partitions(partitions)
        });
        ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(isolation_level(self.isolation))
            .with_topics(topics)
    }

    pub(super) fn handle_offset_fetch(
        &mut self,
        response: &OffsetFetchResponse,
    ) -> Result<(), Error> {
        if let Some(error) = ResponseError::try_from_code(response.error_code) {
            self.handle_offsets_error(error, kafka_name(error).to_string())?;
            self.retry_lookups(PositionState::AwaitCommitted, None);
            return Ok(());
        }
        for topic in &response.topics {
            for found in &topic.partitions {
                let (index, error) = (found.partition_index, found.error_code);
                let state = PositionState::AwaitCommitted;
                let partition = self.answered_partition(&topic.name, index, error, state)?;
                let Some(partition) = partition else {
                    continue;
                };
                let offset = found.committed_offset;
                let positions = &mut self.fetcher.positions;
                positions.seek(partition, (offset >= 0).then_some(offset));
            }
        }
        self.retry_lookups(PositionState::AwaitCommitted, None);
        Ok(())
    }

    /// Handles a response to ListOffsets from the broker with node id `leader`.
    pub(super) fn handle_list_offsets(
        &mut self,
        leader: i32,
        response: &ListOffsetsResponse,
    ) -> Result<(), Error> {
        for topic in &response.topics {
            for found in &topic.partitions {
                let (index, error) = (found.partition_index, found.error_code);
                let state = PositionState::AwaitReset;
                let partition = self.answered_partition(&topic.name, index, error, state)?;
                let Some(partition) = partition else {
                    continue;
                };
                let positions = &mut self.fetcher.positions;
                let lost = positions.seek(partition, Some(found.offset.max(0)));
                if lost > 0 {
                    let event = ConsumerEvent::RecordsLost(partition, lost);
                    self.events.push_back(event);
                }
            }
        }
        self.retry_lookups(PositionState::AwaitReset, Some(leader));
        Ok(())
    }

    /// Returns the partition whose requested lookup a response answers, or `None` if it was not requested, or if the lookup failed and is
    /// retried. An error that ends the client is returned.
    fn answered_partition(
        &mut self,
        topic: &TopicName,
        index: i32,
        error_code: i16,
        state: PositionState,
    ) -> Result<Option<TopicPartition>, Error> {
        let Some(partition) = self.topics.input_partition(topic.as_str(), index) else {
            return Ok(None);
        };
        if !self.fetcher.positions.is_requested(partition, state) {
            return Ok(None);
        }
        let Some(error) = ResponseError::try_from_code(error_code) else {
            return Ok(Some(partition));
        };
        self.fetcher
            .handle_error(&self.network, &mut self.metadata, partition, error)?;
        Ok(None)
    }

    /// Retries, after a back-off, the lookups in this state that were requested but not answered: all of them, or those sent to the broker
    /// with node id `leader`.
    pub(super) fn retry_lookups(&mut self, state: PositionState, leader: Option<i32>) {
        let positions = &mut self.fetcher.positions;
        let partitions: Vec<TopicPartition> = positions.partitions().collect();
        for partition in partitions {
            let topic = self.topics.input(partition.topic);
            // A partition without a known leader may have been requested from any broker.
            let is_led = leader.is_none_or(|leader| {
                self.metadata
                    .leader(topic, partition.partition)
                    .is_none_or(|(other, _)| other == leader)
            });
            if is_led && positions.is_requested(partition, state) {
                positions.retry_later(partition, &self.network);
            }
        }
    }

    /// Handles an error of the group coordinator to an OffsetFetch or OffsetCommit. `reason` is the error with its partition.
    fn handle_offsets_error(&mut self, error: ResponseError, reason: String) -> Result<(), Error> {
        let Some(coordinator) = &mut self.coordinator else {
            return Ok(());
        };
        match error {
            ResponseError::NotCoordinator
            | ResponseError::CoordinatorNotAvailable
            | ResponseError::CoordinatorLoadInProgress => {
                coordinator.mark_unknown(&self.network);
                Ok(())
            }
            ResponseError::UnknownMemberId
            | ResponseError::IllegalGeneration
            | ResponseError::FencedInstanceId => match &mut self.membership {
                Membership::Classic(group) => {
                    group.handle_error(&self.network, coordinator, error, &mut self.events)
                }
                // A member of a KIP-848 group learns it from its next heartbeat too.
                Membership::Kip848(_) | Membership::Manual(_) => Ok(()),
            },
            ResponseError::GroupAuthorizationFailed | ResponseError::TopicAuthorizationFailed => {
                Err(Error::Kafka {
                    operation: "offsets of the group",
                    reason,
                })
            }
            _ => Ok(()),
        }
    }

    /// Commits offsets: now, or after the commit that is in flight. A later commit replaces one that is waiting, since it covers its
    /// offsets.
    pub(super) fn commit_offsets(&mut self, offsets: &[NextOffset]) {
        let Some(coordinator) = &mut self.coordinator else {
            return;
        };
        let node = coordinator.connect(&mut self.network, &self.metadata, Tag::Coordinator);
        self.queued_commit = Some(offsets.to_vec());
        if let Some(node) = node {
            self.send_queued_commit(node);
        }
    }

    /// Sends the commit that is waiting to the group coordinator, unless one is in flight.
    pub(super) fn send_queued_commit(&mut self, node: Node) {
        if self.commit.is_some() {
            return;
        }
        let (Some(coordinator), Some(offsets)) = (&self.coordinator, self.queued_commit.take())
        else {
            return;
        };
        let identity = self.membership.identity();
        let request = coordinator.offset_commit_request(&identity, &self.topics, &offsets);
        self.commit = Some((identity, offsets));
        self.network.send(node, &request, Tag::OffsetCommit);
    }

    /// Reports that the commit in flight failed; the consumer thread commits again.
    pub(super) fn fail_commit(&mut self, reason: String) {
        self.commit = None;
        self.events.push_back(ConsumerEvent::CommitFailed(reason));
    }

    pub(super) fn handle_offset_commit(
        &mut self,
        response: &OffsetCommitResponse,
    ) -> Result<(), Error> {
        let mut failure = None;
        let mut failed = Vec::new();
        for topic in &response.topics {
            for result in &topic.partitions {
                let Some(error) = ResponseError::try_from_code(result.error_code) else {
                    continue;
                };
                let (topic, partition) = (topic.name.as_str(), result.partition_index);
                let reason = format!("{topic}-{partition}: {}", kafka_name(error));
                failure = Some((error, reason));
                failed.extend(self.topics.input_partition(topic, partition));
            }
        }
        let (identity, mut offsets) = self.commit.take().unwrap_or_default();
        offsets.retain(|(partition, _)| !failed.contains(partition));
        if !offsets.is_empty() {
            self.events.push_back(ConsumerEvent::Committed(offsets));
        }
        let Some((error, reason)) = failure else {
            return Ok(());
        };
        let event = ConsumerEvent::CommitFailed(reason.clone());
        self.events.push_back(event);
        // A commit that the coordinator held back during a rebalance fails with the generation that is over. The consumer thread commits
        // again in the new generation, so this member does not have to rejoin.
        let is_outdated = matches!(
            error,
            ResponseError::IllegalGeneration | ResponseError::UnknownMemberId
        ) && identity != self.membership.identity();
        if is_outdated {
            return Ok(());
        }
        self.handle_offsets_error(error, reason)
    }
}
