//! The assignment of partitions: by a group protocol, or by partition numbers. Runs on the thread `consumer`.

use std::time::Instant;

use super::{CLOSE_TIMEOUT, Consumer, Tag};
use crate::client::native::classic_group::ClassicGroup;
use crate::client::native::coordinator::MemberIdentity;
use crate::client::native::fetch::PositionState;
use crate::client::native::kip848_group::Kip848Group;
use crate::client::settings::{GroupId, GroupProtocol, PartitionShare, Subscription};
use crate::client::{ConsumerEvent, Error, Topics};
use crate::topic_partition::TopicPartition;

/// The way in which partitions are assigned to this consumer.
pub(super) enum Membership {
    /// By the group leader: `group.protocol=classic`.
    Classic(Box<ClassicGroup>),
    /// By the group coordinator: `group.protocol=consumer` (KIP-848).
    Kip848(Box<Kip848Group>),
    /// By partition numbers, without joining a group. Offsets are still committed if the group has a name.
    Manual(PartitionShare),
}

impl Membership {
    pub(super) fn new(input: &Subscription, topics: &Topics) -> Self {
        let consumer = &input.consumer;
        match (
            &input.group,
            consumer.manual_assignment,
            consumer.group_protocol,
        ) {
            (_, Some(share), _) => Self::Manual(share),
            (GroupId::Anonymous, None, _) => Self::Manual(PartitionShare { index: 0, count: 1 }),
            (GroupId::Named(_), None, GroupProtocol::Classic) => {
                Self::Classic(Box::new(ClassicGroup::new(consumer, topics)))
            }
            (GroupId::Named(_), None, GroupProtocol::Consumer) => {
                Self::Kip848(Box::new(Kip848Group::new(consumer, topics)))
            }
        }
    }

    /// Returns the member id and generation to commit offsets with.
    pub(super) fn identity(&self) -> MemberIdentity {
        match self {
            Self::Classic(group) => group.identity().clone(),
            Self::Kip848(group) => group.identity(),
            Self::Manual(_) => MemberIdentity {
                generation: -1,
                ..MemberIdentity::default()
            },
        }
    }

    /// Returns when a request to the coordinator is due.
    pub(super) fn next_poll(&self) -> Option<Instant> {
        match self {
            Self::Classic(group) => group.next_poll(),
            Self::Kip848(group) => group.next_poll(),
            Self::Manual(_) => None,
        }
    }

    /// Gives up revoked partitions; the group may assign them to other members then.
    pub(super) fn release(&mut self, partitions: &[TopicPartition]) {
        match self {
            Self::Classic(group) => group.release(partitions),
            Self::Kip848(group) => group.release(partitions),
            Self::Manual(_) => (),
        }
    }
}

impl Consumer {
    /// Sends the requests to the group coordinator that are due.
    pub(super) fn poll_membership(&mut self) -> Result<(), Error> {
        let Some(coordinator) = &mut self.coordinator else {
            return Ok(());
        };
        let (network, metadata) = (&mut self.network, &mut self.metadata);
        let Some(node) = coordinator.connect(network, metadata, Tag::Coordinator) else {
            return Ok(());
        };
        match &mut self.membership {
            Membership::Classic(group) => {
                group.poll(network, metadata, coordinator, node, Tag::ClassicGroup);
            }
            Membership::Kip848(group) => {
                let (events, tag) = (&mut self.events, Tag::Kip848Group);
                let added = group.poll(network, metadata, coordinator, node, events, tag)?;
                let positions = &mut self.fetcher.positions;
                positions.add(&added, PositionState::AwaitCommitted);
            }
            Membership::Manual(_) => (),
        }
        self.send_queued_commit(node);
        Ok(())
    }

    /// Assigns the partitions of this instance's share that are not assigned yet: at the start, and when partitions are added to a topic.
    pub(super) fn assign_manually(&mut self, share: PartitionShare) {
        let assigned: Vec<TopicPartition> = self.fetcher.positions.partitions().collect();
        let mut added = Vec::new();
        for (index, name) in self.topics.inputs.iter().enumerate() {
            let Some(topic) = self.metadata.topic(name) else {
                continue;
            };
            for &number in topic.leaders.keys() {
                let partition = TopicPartition {
                    topic: u16::try_from(index).unwrap_or_default(),
                    partition: number,
                };
                let is_ours = number.unsigned_abs() % share.count == share.index;
                if is_ours && !assigned.contains(&partition) {
                    added.push(partition);
                }
            }
        }
        let state = if self.coordinator.is_some() {
            PositionState::AwaitCommitted
        } else {
            PositionState::AwaitReset
        };
        self.fetcher.positions.add(&added, state);
        if !added.is_empty() || assigned.is_empty() {
            self.events.push_back(ConsumerEvent::Assigned(added));
        }
    }

    /// Leaves the group, so that its partitions are reassigned at once instead of after the session timeout.
    pub(super) fn leave_group(&mut self) {
        let Some(coordinator) = &mut self.coordinator else {
            return;
        };
        let network = &mut self.network;
        let Some(node) = coordinator.connect(network, &self.metadata, Tag::Coordinator) else {
            return;
        };
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        let left = match &self.membership {
            Membership::Classic(group) => group
                .leave_request(coordinator)
                .map(|request| network.call(node, &request, Tag::Call, deadline).map(drop)),
            Membership::Kip848(group) => group
                .leave_request(coordinator)
                .map(|request| network.call(node, &request, Tag::Call, deadline).map(drop)),
            Membership::Manual(_) => None,
        };
        if let Some(Err(error)) = left {
            log::debug!(
                "cannot leave the group: {error}, the coordinator removes the member at the session timeout"
            );
        }
    }
}
