//! Who coordinates the group, or a transactional id, and what a group's is asked beside membership: which offsets are committed, and to
//! commit them.

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

use super::metadata::Metadata;
use super::network::{Network, Node, Reach, backoff};
use super::request::{group_by_topic, text, topic_name};
use crate::client::Topics;
use crate::topic_partition::{NextOffset, TopicPartition};

/// See the module.
#[derive(Debug)]
pub(super) struct Coordinator {
    /// The group, or the transactional id.
    group: String,
    /// `FindCoordinator`'s word for which of them it is: 0 or 1.
    key_type: i8,
    broker: Option<i32>,
    asked: bool,
    not_before: Option<Instant>,
    failures: u32,
}

/// As whom something is committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MemberIdentity {
    /// The member's id; empty where there is no membership.
    pub(super) member_id: String,
    /// Its generation, or its epoch (KIP-848); -1 where there is no membership.
    pub(super) generation: i32,
    /// `group.instance.id`
    pub(super) instance_id: Option<String>,
}

impl Coordinator {
    /// Of this group; not known yet.
    pub(super) fn new(group: &str) -> Self {
        Self::of(group, 0)
    }

    /// Of this transactional id; not known yet.
    pub(super) fn of_transaction(id: &str) -> Self {
        Self::of(id, 1)
    }

    fn of(group: &str, key_type: i8) -> Self {
        Self {
            group: group.to_owned(),
            key_type,
            broker: None,
            asked: false,
            not_before: None,
            failures: 0,
        }
    }

    /// The group.
    pub(super) fn group(&self) -> GroupId {
        GroupId(text(&self.group))
    }

    /// The coordinator, if it can be asked something now; goes on with looking for it and connecting to it.
    pub(super) fn reach<T>(
        &mut self,
        network: &mut Network<T>,
        cluster: &Metadata,
        tag: T,
    ) -> Option<Node> {
        if let Some((peer, address)) = self.peer(cluster) {
            match network.reach(peer, address) {
                Reach::Ready => return Some(peer),
                Reach::Waiting if network.failures(peer) == 0 => return None,
                // It cannot be connected to: another broker may be the coordinator by now.
                Reach::Waiting => self.lost(network),
            }
        }
        let now = Instant::now();
        if self.asked || self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        let peer = cluster.any(network)?;
        self.asked = true;
        network.send(peer, &self.request(), tag);
        None
    }

    /// The question for it.
    pub(super) fn request(&self) -> FindCoordinatorRequest {
        FindCoordinatorRequest::default()
            .with_key(text(&self.group))
            .with_key_type(self.key_type)
    }

    /// Who it is, as far as that is known.
    pub(super) fn peer<'a>(&self, cluster: &'a Metadata) -> Option<(Node, &'a str)> {
        let broker = self.broker?;
        Some((Node::Coordinator(broker), cluster.address(broker)?))
    }

    /// The next moment at which [`Coordinator::reach`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.not_before
            .filter(|_| !self.asked && self.broker.is_none())
    }

    /// The question for it will not be handle_response.
    pub(super) fn disconnected<T>(&mut self, network: &Network<T>) {
        self.asked = false;
        self.wait(network);
    }

    /// It is another broker, or none: it is looked for again.
    pub(super) fn lost<T>(&mut self, network: &Network<T>) {
        if self.broker.take().is_some() {
            self.wait(network);
        }
    }

    fn wait<T>(&mut self, network: &Network<T>) {
        let (first, longest) = network.settings().retry_backoff;
        self.not_before = Some(Instant::now() + backoff(first, longest, self.failures));
        self.failures = self.failures.saturating_add(1);
    }

    /// It is told who it is. An error that no waiting heals is given back.
    pub(super) fn handle_response<T>(
        &mut self,
        network: &Network<T>,
        cluster: &mut Metadata,
        answer: &FindCoordinatorResponse,
    ) -> Result<(), String> {
        self.asked = false;
        match ResponseError::try_from_code(answer.error_code) {
            None => {
                cluster.learn(answer.node_id.0, &answer.host, answer.port);
                self.broker = Some(answer.node_id.0);
                self.not_before = None;
                self.failures = 0;
                Ok(())
            }
            Some(
                error @ (ResponseError::GroupAuthorizationFailed
                | ResponseError::InvalidGroupId
                | ResponseError::TransactionalIdAuthorizationFailed),
            ) => Err(format!("{} {}: {error}", self.kind(), self.group)),
            Some(error) => {
                log::debug!("coordinator of {} {}: {error}", self.kind(), self.group);
                self.wait(network);
                Ok(())
            }
        }
    }

    fn kind(&self) -> &'static str {
        if self.key_type == 0 {
            "group"
        } else {
            "transactional.id"
        }
    }

    /// The question for committed offsets.
    pub(super) fn committed_request(
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
            .with_group_id(self.group())
            .with_topics(Some(requested))
            // What a transaction is about to commit is waited for (KIP-447).
            .with_require_stable(version >= 7)
    }

    /// The commit.
    pub(super) fn commit_request(
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
            .with_group_id(self.group())
            .with_generation_id_or_member_epoch(identity.generation)
            .with_member_id(text(&identity.member_id))
            .with_group_instance_id(identity.instance_id.as_deref().map(text))
            .with_topics(committed)
    }
}
