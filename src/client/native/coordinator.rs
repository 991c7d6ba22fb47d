//! Finds the coordinator of a group or of a transactional id, and builds the requests for a group's committed offsets.

use std::time::Instant;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, GroupId, OffsetCommitRequest,
    OffsetFetchRequest,
};

use super::backoff::Backoff;
use super::error_name::kafka_name;
use super::metadata::Metadata;
use super::network::{Network, Node};
use super::request::{group_by_topic, text, topic_name};
use crate::client::topics::Topics;
use crate::topic_partition::{NextOffset, TopicPartition};

/// Key type of FindCoordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyType {
    Group = 0,
    Transaction = 1,
}

/// A group's or transactional id's coordinator, known or being looked up.
#[derive(Debug)]
pub(super) struct Coordinator {
    /// Group id or transactional id.
    key: String,
    key_type: KeyType,
    /// Node id of the coordinator, `None` if it is not known.
    broker: Option<i32>,
    is_in_flight: bool,
    backoff: Backoff,
}

/// Identity of a group member in requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MemberIdentity {
    /// Member id, empty without a membership.
    pub(super) member_id: String,
    /// Generation id, or member epoch (KIP-848); -1 without a membership.
    pub(super) generation: i32,
    /// `group.instance.id`.
    pub(super) instance_id: Option<String>,
}

impl Coordinator {
    /// Creates the coordinator of a group, which is not known yet.
    pub(super) fn for_group(group: &str) -> Self {
        Self::new(group, KeyType::Group)
    }

    /// Creates the coordinator of a transactional id, which is not known yet.
    pub(super) fn for_transaction(transactional_id: &str) -> Self {
        Self::new(transactional_id, KeyType::Transaction)
    }

    fn new(key: &str, key_type: KeyType) -> Self {
        Self {
            key: key.to_owned(),
            key_type,
            broker: None,
            is_in_flight: false,
            backoff: Backoff::default(),
        }
    }

    /// The id of the group.
    pub(super) fn group_id(&self) -> GroupId {
        GroupId(text(&self.key))
    }

    /// Returns the coordinator's node if requests can be sent to it. If not, sends FindCoordinator or connects, whichever is needed.
    pub(super) fn connect<T>(
        &mut self,
        network: &mut Network<T>,
        metadata: &Metadata,
        tag: T,
    ) -> Option<Node> {
        if let Some((node, address)) = self.node(metadata) {
            if network.connect(node, address) {
                return Some(node);
            }
            if network.connect_failures(node) == 0 {
                return None;
            }
            // The broker cannot be reached, so another one may have become the coordinator.
            self.mark_unknown(network);
        }
        if self.is_in_flight || self.backoff.is_waiting(Instant::now()) {
            return None;
        }
        let node = metadata.connect_any(network)?;
        self.is_in_flight = true;
        network.send(node, &self.find_request(), tag);
        None
    }

    /// Builds the FindCoordinator request.
    pub(super) fn find_request(&self) -> FindCoordinatorRequest {
        FindCoordinatorRequest::default()
            .with_key(text(&self.key))
            .with_key_type(self.key_type as i8)
    }

    /// Returns the coordinator's node and address if they are known.
    pub(super) fn node<'a>(&self, metadata: &'a Metadata) -> Option<(Node, &'a str)> {
        let broker = self.broker?;
        Some((Node::Coordinator(broker), metadata.address(broker)?))
    }

    /// Returns when [`Coordinator::connect`] has something to send.
    pub(super) fn next_poll(&self) -> Option<Instant> {
        self.backoff
            .until()
            .filter(|_| !self.is_in_flight && self.broker.is_none())
    }

    /// Handles a FindCoordinator request that gets no response.
    pub(super) fn disconnected<T>(&mut self, network: &Network<T>) {
        self.is_in_flight = false;
        self.back_off(network);
    }

    /// Looks the coordinator up again, because another broker may have become it.
    pub(super) fn mark_unknown<T>(&mut self, network: &Network<T>) {
        if self.broker.take().is_some() {
            self.back_off(network);
        }
    }

    fn back_off<T>(&mut self, network: &Network<T>) {
        self.backoff
            .fail(Instant::now(), network.settings().retry_backoff);
    }

    /// Handles a FindCoordinator response. Returns a message if a retry cannot help.
    pub(super) fn handle_response<T>(
        &mut self,
        network: &Network<T>,
        metadata: &mut Metadata,
        response: &FindCoordinatorResponse,
    ) -> Result<(), String> {
        self.is_in_flight = false;
        let Some(error) = ResponseError::try_from_code(response.error_code) else {
            metadata.add_broker(response.node_id.0, &response.host, response.port);
            self.broker = Some(response.node_id.0);
            self.backoff.reset();
            return Ok(());
        };
        let key_type = match self.key_type {
            KeyType::Group => "group",
            KeyType::Transaction => "transactional.id",
        };
        let reason = format!("{key_type} {}: {}", self.key, kafka_name(error));
        match error {
            ResponseError::GroupAuthorizationFailed
            | ResponseError::InvalidGroupId
            | ResponseError::TransactionalIdAuthorizationFailed => Err(reason),
            _ => {
                log::debug!("coordinator of {reason}, retrying");
                self.back_off(network);
                Ok(())
            }
        }
    }

    /// Builds the OffsetFetch request for committed offsets.
    pub(super) fn offset_fetch_request(
        &self,
        version: i16,
        topics: &Topics,
        partitions: &[TopicPartition],
    ) -> OffsetFetchRequest {
        let partitions = partitions
            .iter()
            .map(|partition| (partition.topic, partition.partition));
        let requested = group_by_topic(partitions, |topic, indexes| {
            OffsetFetchRequestTopic::default()
                .with_name(topic_name(topics.input(topic)))
                .with_partition_indexes(indexes)
        });
        OffsetFetchRequest::default()
            .with_group_id(self.group_id())
            .with_topics(Some(requested))
            // The broker then waits for the offsets of transactions that are being committed (KIP-447).
            .with_require_stable(version >= 7)
    }

    /// Builds the OffsetCommit request.
    pub(super) fn offset_commit_request(
        &self,
        identity: &MemberIdentity,
        topics: &Topics,
        offsets: &[NextOffset],
    ) -> OffsetCommitRequest {
        let offsets = offsets.iter().map(|&(partition, next)| {
            let offset = OffsetCommitRequestPartition::default()
                .with_partition_index(partition.partition)
                .with_committed_offset(next)
                .with_committed_leader_epoch(-1)
                .with_committed_metadata(Some(text("")));
            (partition.topic, offset)
        });
        let committed = group_by_topic(offsets, |topic, partitions| {
            OffsetCommitRequestTopic::default()
                .with_name(topic_name(topics.input(topic)))
                .with_partitions(partitions)
        });
        OffsetCommitRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id_or_member_epoch(identity.generation)
            .with_member_id(text(&identity.member_id))
            .with_group_instance_id(identity.instance_id.as_deref().map(text))
            .with_topics(committed)
    }
}
