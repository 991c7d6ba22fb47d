//! Requests of the classic group protocol: JoinGroup, SyncGroup, Heartbeat and LeaveGroup.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};

use super::assignor::consumer_protocol::{
    ConsumerProtocolError, decode_assignment, encode_assignment, encode_subscription,
};
use super::assignor::{self, Member};
use super::coordinator::MemberIdentity;
use super::metadata::{Metadata, PartitionCounts};
use super::request::text;
use crate::client::settings::{AssignorName, ConsumerSettings};
use crate::client::topics::Topics;
use crate::topic_partition::TopicPartition;

/// Protocol type of consumers in JoinGroup requests.
const PROTOCOL_TYPE: &str = "consumer";

/// Builds a JoinGroup request, which subscribes to all input topics. `owned` are the partitions that the member keeps during the rebalance.
pub(super) fn join_group_request(
    group: GroupId,
    identity: &MemberIdentity,
    settings: &ConsumerSettings,
    topics: &Topics,
    owned: &[TopicPartition],
) -> JoinGroupRequest {
    let owned: Vec<(String, i32)> = owned
        .iter()
        .map(|owned| (topics.input(owned.topic).to_owned(), owned.partition))
        .collect();
    let protocols = settings.assignors.iter().map(|&name| {
        let metadata = encode_subscription(name, &topics.inputs, &owned, identity.generation);
        JoinGroupRequestProtocol::default()
            .with_name(text(name.name()))
            .with_metadata(metadata)
    });
    JoinGroupRequest::default()
        .with_group_id(group)
        .with_session_timeout_ms(millis(settings.session_timeout))
        .with_rebalance_timeout_ms(millis(settings.rebalance_timeout))
        .with_member_id(text(&identity.member_id))
        .with_group_instance_id(identity.instance_id.as_deref().map(text))
        .with_protocol_type(text(PROTOCOL_TYPE))
        .with_protocols(protocols.collect())
}

/// Builds a SyncGroup request. `assignments` are those of all members if this member is the leader, otherwise empty.
pub(super) fn sync_group_request(
    group: GroupId,
    identity: &MemberIdentity,
    assignments: Vec<SyncGroupRequestAssignment>,
) -> SyncGroupRequest {
    SyncGroupRequest::default()
        .with_group_id(group)
        .with_generation_id(identity.generation)
        .with_member_id(text(&identity.member_id))
        .with_group_instance_id(identity.instance_id.as_deref().map(text))
        .with_assignments(assignments)
}

/// Builds a Heartbeat request.
pub(super) fn heartbeat_request(group: GroupId, identity: &MemberIdentity) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(group)
        .with_generation_id(identity.generation)
        .with_member_id(text(&identity.member_id))
        .with_group_instance_id(identity.instance_id.as_deref().map(text))
}

/// Builds a LeaveGroup request.
pub(super) fn leave_group_request(group: GroupId, identity: &MemberIdentity) -> LeaveGroupRequest {
    LeaveGroupRequest::default()
        .with_group_id(group)
        .with_member_id(text(&identity.member_id))
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// Assigns the partitions of all subscribed topics to the members of the group. The leader of the group does this.
pub(super) fn assign(
    assignor: AssignorName,
    members: &[Member],
    metadata: &Metadata,
) -> Vec<SyncGroupRequestAssignment> {
    let subscribed = members.iter().flat_map(|member| &member.topics);
    let partitions = PartitionCounts::new(subscribed, metadata);
    assignor::assign(assignor, members, partitions.by_topic())
        .into_iter()
        .map(|(member, partitions)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(&member))
                .with_assignment(encode_assignment(&partitions))
        })
        .collect()
}

/// Returns the partitions in the assignment of a SyncGroup response. The assignment is empty if the leader assigns nothing to this member.
pub(super) fn assigned_partitions(
    assignment: &Bytes,
    topics: &Topics,
) -> Result<Vec<TopicPartition>, ConsumerProtocolError> {
    if assignment.is_empty() {
        return Ok(Vec::new());
    }
    let mut assigned = Vec::new();
    for (topic, partition) in decode_assignment(assignment)? {
        match topics.input_partition(&topic, partition) {
            Some(partition) => assigned.push(partition),
            None => log::warn!(
                "the group leader assigned {topic}-{partition}, but this member does not subscribe to the topic; ignoring the partition"
            ),
        }
    }
    Ok(assigned)
}
