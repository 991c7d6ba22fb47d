//! Group membership by the classic protocol (`group.protocol=classic`).
//!
//! The members choose a leader, which assigns the partitions. The requests are JoinGroup, SyncGroup, Heartbeat and LeaveGroup;
//! incremental rebalancing is KIP-429, static membership KIP-345. Nothing here blocks. A rebalance emits events for the partitions to
//! revoke, and the group is joined again after [`ClassicGroup::release`] reports that they are released.
//!
//! The file is longer than others because it is one state machine.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatResponse, JoinGroupResponse, LeaveGroupRequest, SyncGroupResponse,
};

use super::assignor::Member;
use super::assignor::consumer_protocol::decode_subscription;
use super::backoff::Backoff;
use super::classic_requests::{
    assign, assigned_partitions, heartbeat_request, join_group_request, leave_group_request,
    sync_group_request,
};
use super::coordinator::{Coordinator, MemberIdentity};
use super::error_name::kafka_name;
use super::group_error::{fatal_error, join_error};
use super::metadata::{Metadata, PartitionCounts};
use super::network::{Network, Node};
use crate::client::ConsumerEvent;
use crate::client::error::Error;
use crate::client::settings::{AssignorName, ConsumerSettings};
use crate::client::topics::Topics;
use crate::throttle::{Throttle, WARNING_INTERVAL, more_suppressed};
use crate::topic_partition::TopicPartition;

/// The coordinator answers JoinGroup when all members have joined or the rebalance timeout is over. This is added for the response to
/// arrive.
const JOIN_MARGIN: Duration = Duration::from_secs(5);

/// A member of a group.
#[derive(Debug)]
pub(super) struct ClassicGroup {
    settings: ConsumerSettings,
    topics: Topics,
    state: MemberState,
    identity: MemberIdentity,
    /// Assigned partitions, including those that are being revoked.
    owned: Vec<TopicPartition>,
    backoff: Backoff,
    heartbeat_at: Instant,
    heartbeat_in_flight: bool,
    /// Partition counts of the input topics when this member received its assignment; `None` before that.
    assigned_counts: Option<PartitionCounts>,
    warnings: Throttle,
}

#[derive(Debug)]
enum MemberState {
    /// JoinGroup is to be sent.
    Unjoined,
    /// JoinGroup is in flight.
    Joining,
    /// This member is the group leader and waits for the metadata of all topics that the members subscribe to.
    Assigning {
        assignor: AssignorName,
        members: Vec<Member>,
        /// The first version of the metadata that has all the topics.
        metadata_version: u64,
    },
    /// SyncGroup is in flight.
    Syncing,
    /// The member has its assignment and sends heartbeats.
    Stable,
    /// Partitions are being revoked. The group is joined again when they are released.
    Revoking,
}

/// A request of the protocol, for the tag of its response. SyncGroup and Heartbeat carry the generation in which they were sent: responses
/// of an earlier generation are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupRequest {
    JoinGroup,
    SyncGroup(i32),
    Heartbeat(i32),
}

impl ClassicGroup {
    /// Creates a member that has not joined yet.
    pub(super) fn new(settings: &ConsumerSettings, topics: &Topics) -> Self {
        Self {
            settings: settings.clone(),
            topics: topics.clone(),
            state: MemberState::Unjoined,
            identity: MemberIdentity {
                member_id: String::new(),
                generation: -1,
                instance_id: settings.group_instance_id.clone(),
            },
            owned: Vec::new(),
            backoff: Backoff::default(),
            heartbeat_at: Instant::now(),
            heartbeat_in_flight: false,
            assigned_counts: None,
            warnings: Throttle::new(WARNING_INTERVAL),
        }
    }

    /// The identity with which offsets are committed.
    pub(super) fn identity(&self) -> &MemberIdentity {
        &self.identity
    }

    /// The assigned partitions, including those that are being revoked.
    pub(super) fn owned(&self) -> &[TopicPartition] {
        &self.owned
    }

    /// Returns whether members keep their partitions during a rebalance, which requires that all configured assignors support it (KIP-429).
    fn is_cooperative(&self) -> bool {
        let is_cooperative = |name: &AssignorName| *name == AssignorName::CooperativeSticky;
        self.settings.assignors.iter().all(is_cooperative)
    }

    fn is_heartbeat_due(&self, now: Instant) -> bool {
        !self.heartbeat_in_flight && now >= self.heartbeat_at
    }

    /// Returns when [`ClassicGroup::poll`] has something to send.
    pub(super) fn next_poll(&self) -> Option<Instant> {
        match self.state {
            MemberState::Unjoined => self.backoff.until(),
            MemberState::Stable | MemberState::Revoking if !self.heartbeat_in_flight => {
                Some(self.heartbeat_at)
            }
            _ => None,
        }
    }

    /// Sends the next request to the coordinator at `node`, which must be ready.
    pub(super) fn poll<T>(
        &mut self,
        network: &mut Network<T>,
        metadata: &Metadata,
        coordinator: &Coordinator,
        node: Node,
        tag: impl Fn(GroupRequest) -> T,
    ) {
        let now = Instant::now();
        match &self.state {
            MemberState::Unjoined if !self.backoff.is_waiting(now) => {
                self.send_join_group(network, coordinator, node, tag);
            }
            MemberState::Assigning {
                assignor,
                members,
                metadata_version,
            } if metadata.has_version(*metadata_version) => {
                let assignments = assign(*assignor, members, metadata);
                self.send_sync_group(network, coordinator, node, assignments, tag);
            }
            MemberState::Stable | MemberState::Revoking if self.is_heartbeat_due(now) => {
                self.heartbeat_in_flight = true;
                self.heartbeat_at = now + self.settings.heartbeat_interval;
                let request = heartbeat_request(coordinator.group_id(), &self.identity);
                let tag = tag(GroupRequest::Heartbeat(self.identity.generation));
                network.send(node, &request, tag);
            }
            _ => (),
        }
    }

    fn send_join_group<T>(
        &mut self,
        network: &mut Network<T>,
        coordinator: &Coordinator,
        node: Node,
        tag: impl Fn(GroupRequest) -> T,
    ) {
        let owned = if self.is_cooperative() {
            self.owned.as_slice()
        } else {
            &[]
        };
        let request = join_group_request(
            coordinator.group_id(),
            &self.identity,
            &self.settings,
            &self.topics,
            owned,
        );
        self.state = MemberState::Joining;
        let timeout = self.settings.rebalance_timeout + JOIN_MARGIN;
        network.send_with_timeout(node, &request, timeout, tag(GroupRequest::JoinGroup));
    }

    fn send_sync_group<T>(
        &mut self,
        network: &mut Network<T>,
        coordinator: &Coordinator,
        node: Node,
        assignments: Vec<SyncGroupRequestAssignment>,
        tag: impl Fn(GroupRequest) -> T,
    ) {
        let request = sync_group_request(coordinator.group_id(), &self.identity, assignments);
        self.state = MemberState::Syncing;
        // The coordinator answers when the leader has sent the assignment, which may take up to the rebalance timeout.
        let timeout = self.settings.rebalance_timeout + JOIN_MARGIN;
        let tag = tag(GroupRequest::SyncGroup(self.identity.generation));
        network.send_with_timeout(node, &request, timeout, tag);
    }

    /// Handles a request that gets no response.
    pub(super) fn disconnected<T>(&mut self, network: &Network<T>, request: GroupRequest) {
        match (request, &self.state) {
            (GroupRequest::JoinGroup, MemberState::Joining) => self.back_off(network),
            (GroupRequest::SyncGroup(generation), MemberState::Syncing)
                if generation == self.identity.generation =>
            {
                self.back_off(network);
            }
            (GroupRequest::Heartbeat(_), _) => self.heartbeat_in_flight = false,
            _ => (),
        }
    }

    /// Joins the group again after a back-off.
    fn back_off<T>(&mut self, network: &Network<T>) {
        self.backoff
            .fail(Instant::now(), network.settings().retry_backoff);
        self.state = MemberState::Unjoined;
    }

    /// Joins the group again at once.
    fn join_now(&mut self) {
        self.backoff.end_wait();
        self.state = MemberState::Unjoined;
    }

    /// Handles a JoinGroup response from the coordinator at `node`, and sends SyncGroup unless this member is the group leader.
    pub(super) fn handle_join_group_response<T>(
        &mut self,
        network: &mut Network<T>,
        metadata: &mut Metadata,
        coordinator: &mut Coordinator,
        (node, tag): (Node, impl Fn(GroupRequest) -> T),
        response: JoinGroupResponse,
        events: &mut VecDeque<ConsumerEvent>,
    ) -> Result<(), Error> {
        if !matches!(self.state, MemberState::Joining) {
            return Ok(());
        }
        if let Some(error) = ResponseError::try_from_code(response.error_code) {
            if error == ResponseError::MemberIdRequired {
                // KIP-394: the first response assigns the member id, and the second request joins with it.
                self.identity.member_id = response.member_id.to_string();
                self.join_now();
                return Ok(());
            }
            return self.handle_error(network, coordinator, error, events);
        }
        self.backoff.reset();
        self.identity.member_id = response.member_id.to_string();
        self.identity.generation = response.generation_id;
        let name = response.protocol_name.as_deref().unwrap_or_default();
        let is_leader = response.leader == response.member_id;
        log::info!(
            "joined group {} as {}, generation {}, member {}, assignor {name}",
            coordinator.group_id().as_str(),
            if is_leader { "leader" } else { "member" },
            self.identity.generation,
            self.identity.member_id,
        );
        if !is_leader {
            self.assigned_counts = None;
            self.send_sync_group(network, coordinator, node, Vec::new(), tag);
            return Ok(());
        }
        let assignor = AssignorName::ALL
            .into_iter()
            .find(|assignor| assignor.name() == name)
            .ok_or_else(|| join_error(format!("unknown assignor \"{name}\"")))?;
        let mut members = Vec::new();
        for member in response.members {
            let instance_id = member.group_instance_id.as_deref();
            match decode_subscription(&member.member_id, instance_id, &member.metadata) {
                Ok(member) => members.push(member),
                Err(error) => log::warn!("{error}; this member gets no partitions"),
            }
        }
        metadata.add_topics(members.iter().flat_map(|member| &member.topics));
        self.state = MemberState::Assigning {
            assignor,
            members,
            metadata_version: metadata.requested_version(),
        };
        Ok(())
    }

    /// Handles a SyncGroup response: takes the assigned partitions and revokes those that are not assigned any more.
    pub(super) fn handle_sync_group_response<T>(
        &mut self,
        network: &Network<T>,
        metadata: &Metadata,
        coordinator: &mut Coordinator,
        generation: i32,
        response: &SyncGroupResponse,
        events: &mut VecDeque<ConsumerEvent>,
    ) -> Result<(), Error> {
        if !matches!(self.state, MemberState::Syncing) || generation != self.identity.generation {
            return Ok(());
        }
        if let Some(error) = ResponseError::try_from_code(response.error_code) {
            return self.handle_error(network, coordinator, error, events);
        }
        let assigned = assigned_partitions(&response.assignment, &self.topics)
            .map_err(|error| join_error(error.to_string()))?;
        self.state = MemberState::Stable;
        self.heartbeat_at = Instant::now() + self.settings.heartbeat_interval;
        self.assigned_counts = Some(PartitionCounts::new(self.topics.inputs.iter(), metadata));
        let (kept, revoked): (Vec<_>, Vec<_>) = self
            .owned
            .iter()
            .copied()
            .partition(|partition| assigned.contains(partition));
        let added: Vec<TopicPartition> = assigned
            .into_iter()
            .filter(|partition| !kept.contains(partition))
            .collect();
        self.owned.extend_from_slice(&added);
        events.push_back(ConsumerEvent::Assigned(added));
        if !revoked.is_empty() {
            self.state = MemberState::Revoking;
            events.push_back(ConsumerEvent::Revoked(revoked));
        }
        Ok(())
    }

    /// Handles a Heartbeat response, by which the coordinator announces rebalances.
    pub(super) fn handle_heartbeat_response<T>(
        &mut self,
        network: &Network<T>,
        coordinator: &mut Coordinator,
        generation: i32,
        response: &HeartbeatResponse,
        events: &mut VecDeque<ConsumerEvent>,
    ) -> Result<(), Error> {
        self.heartbeat_in_flight = false;
        if generation != self.identity.generation
            || !matches!(self.state, MemberState::Stable | MemberState::Revoking)
        {
            return Ok(());
        }
        match ResponseError::try_from_code(response.error_code) {
            None => Ok(()),
            Some(ResponseError::RebalanceInProgress) => {
                self.rejoin(events);
                Ok(())
            }
            Some(
                ResponseError::NotCoordinator
                | ResponseError::CoordinatorNotAvailable
                | ResponseError::CoordinatorLoadInProgress,
            ) => {
                coordinator.mark_unknown(network);
                Ok(())
            }
            Some(error) => self.handle_error(network, coordinator, error, events),
        }
    }

    /// Joins the group again. With an eager assignor all partitions are revoked first.
    fn rejoin(&mut self, events: &mut VecDeque<ConsumerEvent>) {
        if !matches!(self.state, MemberState::Stable) {
            return;
        }
        if self.is_cooperative() || self.owned.is_empty() {
            self.join_now();
        } else {
            self.state = MemberState::Revoking;
            events.push_back(ConsumerEvent::Revoked(self.owned.clone()));
        }
    }

    /// Compares new metadata with the assignment: if the number of partitions of a topic has changed, the member rejoins, so that all
    /// partitions are assigned.
    pub(super) fn check_partition_counts(
        &mut self,
        metadata: &Metadata,
        events: &mut VecDeque<ConsumerEvent>,
    ) {
        let Some(assigned_counts) = &self.assigned_counts else {
            return;
        };
        if let Some((topic, assigned, count)) = assigned_counts.changed(metadata)
            && matches!(self.state, MemberState::Stable)
        {
            log::info!(
                "partition count of topic {topic} changed from {assigned} to {count}, rejoining the group"
            );
            self.rejoin(events);
        }
    }

    /// Handles an error in a response of the protocol, or in the response to an offset commit. Returns an error if a retry cannot help.
    pub(super) fn handle_error<T>(
        &mut self,
        network: &Network<T>,
        coordinator: &mut Coordinator,
        error: ResponseError,
        events: &mut VecDeque<ConsumerEvent>,
    ) -> Result<(), Error> {
        log::debug!(
            "group {}, generation {}: {}",
            coordinator.group_id().as_str(),
            self.identity.generation,
            kafka_name(error)
        );
        if let Some(error) = fatal_error(error, &self.identity, &self.settings.assignors) {
            return Err(error);
        }
        match error {
            ResponseError::UnknownMemberId | ResponseError::IllegalGeneration => {
                if error == ResponseError::UnknownMemberId {
                    self.identity.member_id.clear();
                }
                self.identity.generation = -1;
                if !matches!(self.state, MemberState::Revoking) {
                    self.lose_partitions(events);
                }
            }
            ResponseError::RebalanceInProgress => self.join_now(),
            ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable => {
                coordinator.mark_unknown(network);
                self.back_off(network);
            }
            ResponseError::CoordinatorLoadInProgress => self.back_off(network),
            _ => {
                if let Some(suppressed) = self.warnings.admit(Instant::now()) {
                    log::warn!(
                        "group {}: {}, joining again{}",
                        coordinator.group_id().as_str(),
                        kafka_name(error),
                        more_suppressed(suppressed)
                    );
                }
                self.back_off(network);
            }
        }
        Ok(())
    }

    /// Drops all partitions, because the coordinator does not know this member any more and may have assigned them to another one.
    fn lose_partitions(&mut self, events: &mut VecDeque<ConsumerEvent>) {
        if self.owned.is_empty() {
            self.state = MemberState::Unjoined;
        } else {
            self.state = MemberState::Revoking;
            events.push_back(ConsumerEvent::Lost(self.owned.clone()));
        }
    }

    /// Completes the revocation of these partitions, of which no record is in flight any more.
    pub(super) fn release(&mut self, partitions: &[TopicPartition]) {
        self.owned
            .retain(|partition| !partitions.contains(partition));
        if matches!(self.state, MemberState::Revoking) {
            self.join_now();
        }
    }

    /// Returns the request to leave the group, if the member has joined. A static member does not leave: it keeps its partitions if it
    /// returns within the session timeout.
    pub(super) fn leave_request(&self, coordinator: &Coordinator) -> Option<LeaveGroupRequest> {
        let leaves = !self.identity.member_id.is_empty() && self.identity.instance_id.is_none();
        leaves.then(|| leave_group_request(coordinator.group_id(), &self.identity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::settings::ConnectionSettings;

    const PARTITION: TopicPartition = TopicPartition {
        topic: 0,
        partition: 0,
    };

    fn stable_member() -> ClassicGroup {
        let topics = Topics {
            inputs: vec!["in".to_owned()],
            outputs: Vec::new(),
        };
        let mut group = ClassicGroup::new(&ConsumerSettings::default(), &topics);
        group.state = MemberState::Stable;
        group.identity.member_id = "member".to_owned();
        group.identity.generation = 7;
        group.owned = vec![PARTITION];
        group
    }

    /// Checks the effect of an error on a stable member with one partition. `expected` is `None` if the error is fatal, otherwise whether
    /// the partition is lost, and the member id and generation with which the member joins again.
    #[track_caller]
    fn check(error: ResponseError, expected: Option<(bool, &str, i32)>) {
        let mut group = stable_member();
        let network: Network<()> = Network::new(&ConnectionSettings::default(), None);
        let mut coordinator = Coordinator::for_group("g");
        let mut events = VecDeque::new();
        let result = group.handle_error(&network, &mut coordinator, error, &mut events);
        let is_lost = matches!(events.front(), Some(ConsumerEvent::Lost(partitions)) if partitions == &[PARTITION]);
        let identity = &group.identity;
        let member = (is_lost, identity.member_id.as_str(), identity.generation);
        let found = result.is_ok().then_some(member);
        assert_eq!(found, expected, "{error}");
    }

    #[test]
    fn errors() {
        use ResponseError as E;
        check(E::UnknownMemberId, Some((true, "", -1)));
        check(E::IllegalGeneration, Some((true, "member", -1)));
        for retriable in [
            E::RebalanceInProgress,
            E::NotCoordinator,
            E::CoordinatorNotAvailable,
            E::CoordinatorLoadInProgress,
            E::UnknownServerError,
        ] {
            check(retriable, Some((false, "member", 7)));
        }
        for fatal in [
            E::FencedInstanceId,
            E::InconsistentGroupProtocol,
            E::GroupAuthorizationFailed,
            E::GroupMaxSizeReached,
            E::InvalidGroupId,
            E::InvalidSessionTimeout,
        ] {
            check(fatal, None);
        }
    }
}
