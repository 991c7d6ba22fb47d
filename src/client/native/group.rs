//! Membership in a group by the classic protocol: the members choose a leader among them, who assigns the partitions. Its steps are
//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup; incremental rebalancing is KIP-429, static membership KIP-345.
//!
//! Nothing here waits. What is to be given up is told first, and the group is joined again when [`Group::release`] says that it is done.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    SyncGroupRequest, SyncGroupResponse,
};

use super::assignor::protocol::{assignment, parse_assignment, parse_subscription, subscription};
use super::assignor::{self, Member};
use super::backoff::backoff;
use super::coordinator::{Coordinator, MemberIdentity, join_error};
use super::metadata::Metadata;
use super::network::{Network, Node};
use super::request::text;
use crate::client::ConsumerEvent;
use crate::client::Error;
use crate::client::Topics;
use crate::client::settings::{AssignorName, ConsumerSettings};
use crate::throttle::{Throttle, WARNING_INTERVAL};
use crate::topic_partition::TopicPartition;

/// A JoinGroup is handle_response when all members have come, or the rebalance timeout is over; the answer may take a little longer.
const JOIN_MARGIN: Duration = Duration::from_secs(5);

/// The protocol type of consumers.
const CONSUMER: &str = "consumer";

/// See the module.
#[derive(Debug)]
pub(super) struct Group {
    settings: ConsumerSettings,
    topics: Topics,
    stage: Stage,
    member_id: String,
    generation: i32,
    /// What the last generation assigns by.
    assignor: AssignorName,
    /// Partitions that are ours, those included that are about to be given up.
    owned: Vec<TopicPartition>,
    not_before: Option<Instant>,
    failures: u32,
    heartbeat_at: Instant,
    heartbeat_asked: bool,
    /// As a leader: the partitions of each topic that were assigned.
    assigned_of: Option<BTreeMap<String, i32>>,
    warnings: Throttle,
}

#[derive(Debug)]
enum Stage {
    /// The group is to be joined.
    Out,
    Joining,
    /// As the leader, waits for the partitions of all topics that members read.
    Assigning {
        members: Vec<Member>,
        /// The cluster's answer that tells them.
        answer: u64,
    },
    Syncing,
    Stable,
    /// Partitions are being given up; then the group is joined again.
    Releasing,
}

/// Which question an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// JoinGroup
    Join,
    /// SyncGroup, in this generation
    Sync(i32),
    /// Heartbeat, in this generation
    Heartbeat(i32),
}

impl Group {
    /// Not joined yet.
    pub(super) fn new(settings: &ConsumerSettings, topics: &Topics) -> Self {
        Self {
            settings: settings.clone(),
            topics: topics.clone(),
            stage: Stage::Out,
            member_id: String::new(),
            generation: -1,
            assignor: AssignorName::Range,
            owned: Vec::new(),
            not_before: None,
            failures: 0,
            heartbeat_at: Instant::now(),
            heartbeat_asked: false,
            assigned_of: None,
            warnings: Throttle::new(WARNING_INTERVAL),
        }
    }

    /// As whom offsets are committed.
    pub(super) fn identity(&self) -> MemberIdentity {
        MemberIdentity {
            member_id: self.member_id.clone(),
            generation: self.generation,
            instance_id: self.settings.group_instance_id.clone(),
        }
    }

    /// Partitions that are ours.
    pub(super) fn owned(&self) -> &[TopicPartition] {
        &self.owned
    }

    /// Whether members keep what they have while a rebalance is under way: where every configured assignor can (KIP-429).
    fn is_cooperative(&self) -> bool {
        let cooperative = |name: &AssignorName| *name == AssignorName::CooperativeSticky;
        self.settings.assignors.iter().all(cooperative)
    }

    /// When [`Group::poll`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Out => self.not_before,
            Stage::Stable | Stage::Releasing if !self.heartbeat_asked => Some(self.heartbeat_at),
            _ => None,
        }
    }

    /// Sends what is due to the coordinator, which can be reached.
    pub(super) fn poll<T>(
        &mut self,
        network: &mut Network<T>,
        cluster: &mut Metadata,
        coordinator: &Coordinator,
        peer: Node,
        tag: impl Fn(Step) -> T,
    ) {
        let now = Instant::now();
        match &self.stage {
            Stage::Out if self.not_before.is_none_or(|at| at <= now) => {
                self.join(network, coordinator, peer, tag);
            }
            Stage::Assigning { members, answer } if cluster.has_version(*answer) => {
                let assignments = self.assign(cluster, members);
                self.sync(network, coordinator, peer, assignments, tag);
            }
            Stage::Stable | Stage::Releasing
                if now >= self.heartbeat_at && !self.heartbeat_asked =>
            {
                self.heartbeat_asked = true;
                self.heartbeat_at = now + self.settings.heartbeat_interval;
                let request = HeartbeatRequest::default()
                    .with_group_id(coordinator.group_id())
                    .with_generation_id(self.generation)
                    .with_member_id(text(&self.member_id))
                    .with_group_instance_id(self.settings.group_instance_id.as_deref().map(text));
                network.send(peer, &request, tag(Step::Heartbeat(self.generation)));
            }
            _ => (),
        }
    }

    fn join<T>(
        &mut self,
        network: &mut Network<T>,
        coordinator: &Coordinator,
        peer: Node,
        tag: impl Fn(Step) -> T,
    ) {
        let cooperative = self.is_cooperative();
        let owned: Vec<(String, i32)> = if cooperative {
            self.named(&self.owned)
        } else {
            Vec::new()
        };
        let protocols = self.settings.assignors.iter().map(|&name| {
            let metadata = subscription(name, &self.topics.inputs, &owned, self.generation);
            JoinGroupRequestProtocol::default()
                .with_name(text(name.name()))
                .with_metadata(metadata)
        });
        let millis = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        let request = JoinGroupRequest::default()
            .with_group_id(coordinator.group_id())
            .with_session_timeout_ms(millis(self.settings.session_timeout))
            .with_rebalance_timeout_ms(millis(self.settings.rebalance_timeout))
            .with_member_id(text(&self.member_id))
            .with_group_instance_id(self.settings.group_instance_id.as_deref().map(text))
            .with_protocol_type(text(CONSUMER))
            .with_protocols(protocols.collect());
        self.stage = Stage::Joining;
        let within = self.settings.rebalance_timeout + JOIN_MARGIN;
        network.send_with_timeout(peer, &request, within, tag(Step::Join));
    }

    fn named(&self, partitions: &[TopicPartition]) -> Vec<(String, i32)> {
        partitions
            .iter()
            .map(|place| (self.topics.input(place.topic).to_owned(), place.partition))
            .collect()
    }

    fn assign(&self, cluster: &Metadata, members: &[Member]) -> Vec<SyncGroupRequestAssignment> {
        let mut partitions = BTreeMap::new();
        for topic in members.iter().flat_map(|member| &member.topics) {
            if let Some(known) = cluster.topic(topic) {
                partitions.insert(topic.clone(), known.leaders.len() as i32);
            }
        }
        let assigned = assignor::assign(self.assignor, members, &partitions);
        assigned
            .into_iter()
            .map(|(member, partitions)| {
                SyncGroupRequestAssignment::default()
                    .with_member_id(text(&member))
                    .with_assignment(assignment(&partitions))
            })
            .collect()
    }

    fn sync<T>(
        &mut self,
        network: &mut Network<T>,
        coordinator: &Coordinator,
        peer: Node,
        assignments: Vec<SyncGroupRequestAssignment>,
        tag: impl Fn(Step) -> T,
    ) {
        let request = SyncGroupRequest::default()
            .with_group_id(coordinator.group_id())
            .with_generation_id(self.generation)
            .with_member_id(text(&self.member_id))
            .with_group_instance_id(self.settings.group_instance_id.as_deref().map(text))
            .with_assignments(assignments);
        self.stage = Stage::Syncing;
        // The other members' answers depend on the leader, who may take as long as a rebalance.
        let within = self.settings.rebalance_timeout + JOIN_MARGIN;
        network.send_with_timeout(peer, &request, within, tag(Step::Sync(self.generation)));
    }

    /// A question will not be handle_response.
    pub(super) fn disconnected<T>(&mut self, network: &Network<T>, step: Step) {
        match (step, &self.stage) {
            (Step::Join, Stage::Joining) => self.retry(network),
            (Step::Sync(generation), Stage::Syncing) if generation == self.generation => {
                self.retry(network);
            }
            (Step::Heartbeat(_), _) => self.heartbeat_asked = false,
            _ => (),
        }
    }

    fn retry<T>(&mut self, network: &Network<T>) {
        self.not_before =
            Some(Instant::now() + backoff(network.settings().retry_backoff, self.failures));
        self.failures = self.failures.saturating_add(1);
        self.stage = Stage::Out;
    }

    /// The group is being joined.
    pub(super) fn joined<T>(
        &mut self,
        network: &mut Network<T>,
        cluster: &mut Metadata,
        coordinator: &mut Coordinator,
        (peer, tag): (Node, impl Fn(Step) -> T),
        answer: JoinGroupResponse,
        events: &mut VecDeque<ConsumerEvent>,
    ) -> Result<(), Error> {
        if !matches!(self.stage, Stage::Joining) {
            return Ok(());
        }
        if let Some(error) = ResponseError::try_from_code(answer.error_code) {
            if error == ResponseError::MemberIdRequired {
                // KIP-394: the first answer names the member, the second request joins.
                self.member_id = answer.member_id.to_string();
                self.stage = Stage::Out;
                self.not_before = None;
                return Ok(());
            }
            return self.failed(network, coordinator, error, events);
        }
        self.failures = 0;
        self.not_before = None;
        self.member_id = answer.member_id.to_string();
        self.generation = answer.generation_id;
        let name = answer.protocol_name.as_deref().unwrap_or_default();
        let chosen = AssignorName::ALL
            .into_iter()
            .find(|assignor| assignor.name() == name);
        let leads = answer.leader == answer.member_id;
        log::info!(
            "member {} of generation {}{}, partitions are assigned by {name}",
            self.member_id,
            self.generation,
            if leads { ", its leader" } else { "" }
        );
        if !leads {
            self.assigned_of = None;
            self.sync(network, coordinator, peer, Vec::new(), tag);
            return Ok(());
        }
        self.assignor = chosen.ok_or_else(|| join_error(format!("no assignor {name}")))?;
        let mut members = Vec::new();
        for member in answer.members {
            let instance_id = member.group_instance_id.as_deref();
            match parse_subscription(&member.member_id, instance_id, &member.metadata) {
                Ok(member) => members.push(member),
                // It gets nothing; the others need not wait for it.
                Err(error) => log::warn!("{error}"),
            }
        }
        cluster.add_topics(members.iter().flat_map(|member| &member.topics));
        let answer = cluster.requested_version();
        self.stage = Stage::Assigning { members, answer };
        Ok(())
    }

    /// The assignment is there.
    pub(super) fn synced<T>(
        &mut self,
        network: &Network<T>,
        cluster: &Metadata,
        coordinator: &mut Coordinator,
        generation: i32,
        answer: &SyncGroupResponse,
        events: &mut VecDeque<ConsumerEvent>,
    ) -> Result<(), Error> {
        if !matches!(self.stage, Stage::Syncing) || generation != self.generation {
            return Ok(());
        }
        if let Some(error) = ResponseError::try_from_code(answer.error_code) {
            return self.failed(network, coordinator, error, events);
        }
        let assigned = self.parse(&answer.assignment)?;
        self.stage = Stage::Stable;
        self.heartbeat_at = Instant::now() + self.settings.heartbeat_interval;
        let counts = self.topics.inputs.iter().filter_map(|topic| {
            let known = cluster.topic(topic)?;
            Some((topic.clone(), known.leaders.len() as i32))
        });
        self.assigned_of = Some(counts.collect());
        let (kept, gone): (Vec<_>, Vec<_>) = self
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
        if !gone.is_empty() {
            self.stage = Stage::Releasing;
            events.push_back(ConsumerEvent::Revoked(gone));
        }
        Ok(())
    }

    fn parse(&self, assignment: &Bytes) -> Result<Vec<TopicPartition>, Error> {
        if assignment.is_empty() {
            return Ok(Vec::new());
        }
        let parsed = parse_assignment(assignment)
            .map_err(|error| join_error(format!("the assignment: {error}")))?;
        let mut places = Vec::new();
        for (topic, partition) in parsed {
            let index = self.topics.inputs.iter().position(|input| *input == topic);
            let Some(topic) = index.and_then(|index| u16::try_from(index).ok()) else {
                log::warn!("assigned a partition of {topic}, which is not read");
                continue;
            };
            places.push(TopicPartition { topic, partition });
        }
        Ok(places)
    }

    /// A heartbeat is handle_response.
    pub(super) fn beaten<T>(
        &mut self,
        network: &Network<T>,
        coordinator: &mut Coordinator,
        generation: i32,
        answer: &HeartbeatResponse,
        events: &mut VecDeque<ConsumerEvent>,
    ) -> Result<(), Error> {
        self.heartbeat_asked = false;
        if generation != self.generation || !matches!(self.stage, Stage::Stable | Stage::Releasing)
        {
            return Ok(());
        }
        match ResponseError::try_from_code(answer.error_code) {
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
            Some(error) => self.failed(network, coordinator, error, events),
        }
    }

    /// The group changes, or is to change: it is joined again, in the eager way after everything is given up.
    fn rejoin(&mut self, events: &mut VecDeque<ConsumerEvent>) {
        if !matches!(self.stage, Stage::Stable) {
            return;
        }
        if self.is_cooperative() || self.owned.is_empty() {
            self.stage = Stage::Out;
            self.not_before = None;
        } else {
            self.stage = Stage::Releasing;
            events.push_back(ConsumerEvent::Revoked(self.owned.clone()));
        }
    }

    /// The cluster was asked for its topics: a leader has partitions that came assigned.
    pub(super) fn watch(&mut self, cluster: &Metadata, events: &mut VecDeque<ConsumerEvent>) {
        let Some(assigned_of) = &self.assigned_of else {
            return;
        };
        let changed = assigned_of.iter().find(|(topic, count)| {
            cluster
                .topic(topic)
                .is_some_and(|known| known.error.is_none() && known.leaders.len() as i32 != **count)
        });
        if let Some((topic, _)) = changed
            && matches!(self.stage, Stage::Stable)
        {
            log::info!("topic {topic} has another number of partitions: the group is joined again");
            self.rejoin(events);
        }
    }

    /// The coordinator does not know this member in this generation any more: what it had may be another one's.
    fn lose(&mut self, events: &mut VecDeque<ConsumerEvent>) {
        if self.owned.is_empty() {
            self.stage = Stage::Out;
        } else {
            self.stage = Stage::Releasing;
            events.push_back(ConsumerEvent::Lost(self.owned.clone()));
        }
    }

    /// An error to a step of the protocol, or to a commit.
    pub(super) fn failed<T>(
        &mut self,
        network: &Network<T>,
        coordinator: &mut Coordinator,
        error: ResponseError,
        events: &mut VecDeque<ConsumerEvent>,
    ) -> Result<(), Error> {
        log::debug!("group, generation {}: {error}", self.generation);
        match error {
            ResponseError::UnknownMemberId | ResponseError::IllegalGeneration => {
                if error == ResponseError::UnknownMemberId {
                    self.member_id.clear();
                }
                self.generation = -1;
                if !matches!(self.stage, Stage::Releasing) {
                    self.lose(events);
                }
                Ok(())
            }
            ResponseError::FencedInstanceId => Err(join_error(format!(
                "another member has group.instance.id={}",
                self.settings
                    .group_instance_id
                    .as_deref()
                    .unwrap_or_default()
            ))),
            ResponseError::InconsistentGroupProtocol => {
                let names: Vec<&str> = self
                    .settings
                    .assignors
                    .iter()
                    .map(|name| name.name())
                    .collect();
                Err(join_error(format!(
                    "the group's other members have no partition.assignment.strategy of these: {}",
                    names.join(", ")
                )))
            }
            ResponseError::GroupAuthorizationFailed
            | ResponseError::GroupMaxSizeReached
            | ResponseError::InvalidGroupId
            | ResponseError::InvalidSessionTimeout => Err(join_error(error.to_string())),
            ResponseError::RebalanceInProgress => {
                self.stage = Stage::Out;
                self.not_before = None;
                Ok(())
            }
            ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable => {
                coordinator.mark_unknown(network);
                self.retry(network);
                Ok(())
            }
            _ => {
                if error != ResponseError::CoordinatorLoadInProgress
                    && let Some(suppressed) = self.warnings.admit(Instant::now())
                {
                    log::warn!(
                        "group: {error}; trying again ({suppressed} more like this since the last line)"
                    );
                }
                self.retry(network);
                Ok(())
            }
        }
    }

    /// These partitions are given up; nothing of them is under way any more.
    pub(super) fn release(&mut self, partitions: &[TopicPartition]) {
        self.owned
            .retain(|partition| !partitions.contains(partition));
        if matches!(self.stage, Stage::Releasing) {
            self.stage = Stage::Out;
            self.not_before = None;
        }
    }

    /// The farewell; none where there is nothing to leave. A static member stays: it is to come back within the session timeout.
    pub(super) fn leave(&self, coordinator: &Coordinator) -> Option<LeaveGroupRequest> {
        let member = !self.member_id.is_empty() && self.settings.group_instance_id.is_none();
        member.then(|| {
            LeaveGroupRequest::default()
                .with_group_id(coordinator.group_id())
                .with_member_id(text(&self.member_id))
        })
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

    fn member() -> Group {
        let topics = Topics {
            inputs: vec!["in".to_owned()],
            outputs: Vec::new(),
        };
        let mut group = Group::new(&ConsumerSettings::default(), &topics);
        group.stage = Stage::Stable;
        group.member_id = "member".to_owned();
        group.generation = 7;
        group.owned = vec![PARTITION];
        group
    }

    /// What an error does to a member that has a partition: whether that ends the consumer, else whether it is lost, and who joins again.
    #[track_caller]
    fn check(error: ResponseError, expected: Option<(bool, &str, i32)>) {
        let mut group = member();
        let network: Network<()> = Network::new(&ConnectionSettings::default(), None);
        let mut coordinator = Coordinator::for_group("g");
        let mut events = VecDeque::new();
        let failed = group.failed(&network, &mut coordinator, error, &mut events);
        let lost = matches!(events.front(), Some(ConsumerEvent::Lost(partitions)) if partitions == &[PARTITION]);
        let member = (lost, group.member_id.as_str(), group.generation);
        let found = failed.is_ok().then_some(member);
        assert_eq!(found, expected, "{error}");
    }

    #[test]
    fn errors() {
        use ResponseError as E;
        check(E::UnknownMemberId, Some((true, "", -1)));
        check(E::IllegalGeneration, Some((true, "member", -1)));
        for heals in [
            E::RebalanceInProgress,
            E::NotCoordinator,
            E::CoordinatorNotAvailable,
            E::CoordinatorLoadInProgress,
            E::UnknownServerError,
        ] {
            check(heals, Some((false, "member", 7)));
        }
        for ends in [
            E::FencedInstanceId,
            E::InconsistentGroupProtocol,
            E::GroupAuthorizationFailed,
            E::GroupMaxSizeReached,
            E::InvalidGroupId,
            E::InvalidSessionTimeout,
        ] {
            check(ends, None);
        }
    }
}
