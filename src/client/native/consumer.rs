//! The consumer: puts together the network, what is known of the cluster, the group, and what is fetched. Owned by the thread `consumer`,
//! on which everything here runs; it waits in one place, for the network.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, BrokerId, ConsumerGroupHeartbeatRequest, EndTxnRequest, FetchRequest,
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, ListOffsetsRequest,
    MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
    TxnOffsetCommitRequest,
};

use super::admin;
use super::consumer_group::ConsumerGroup;
use super::coordinator::{Coordinator, MemberIdentity, join_error};
use super::fetch::{Fetcher, Start};
use super::group::{self, Group};
use super::metadata::Metadata;
use super::network::{Network, NetworkEvent, Node};
use super::request::{group_by_topic, topic_name};
use super::response::Response;
use super::transaction::{self, Committer};
use crate::client::Error;
use crate::client::Topics;
use crate::client::settings::{ClientSettings, GroupId};
use crate::client::settings::{
    GroupProtocol, Isolation, PartitionShare, StartOffset, Subscription, TopicSettings,
};
use crate::client::{ConsumerEvent, NotReady, Polled, Transaction};
use crate::topic_partition::{NextOffset, TopicPartition};

/// How long the group's coordinator may take to answer a farewell.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// Which question an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    /// One whose answer is waited for.
    Call,
    Metadata,
    Coordinator,
    Group(group::Step),
    ConsumerGroup,
    Committed,
    ListOffsets(i32),
    Commit,
    TransactionCoordinator,
    Transaction(transaction::Step),
    Fetch(i32),
}

/// How partitions come to be ours.
enum Membership {
    /// As a member of the group.
    Classic(Box<Group>),
    /// As a member of the group, by the newer protocol.
    Consumer(Box<ConsumerGroup>),
    /// By their numbers; with a group's name, offsets are committed under it all the same.
    Manual(PartitionShare),
}

/// See the module.
pub(crate) struct Consumer {
    network: Network<Tag>,
    cluster: Metadata,
    topics: Topics,
    topic_settings: TopicSettings,
    start_offset: StartOffset,
    isolation: Isolation,
    /// None where there is no group.
    coordinator: Option<Coordinator>,
    membership: Membership,
    fetcher: Fetcher,
    events: VecDeque<ConsumerEvent>,
    unavailable: bool,
    /// The commit under way, and who we were when it was sent; and the one that is to follow it.
    commit: Option<(MemberIdentity, Vec<NextOffset>)>,
    /// In place of both, where there are transactions.
    committer: Option<Committer>,
    next_commit: Option<Vec<NextOffset>>,
}

impl Consumer {
    /// See [`Client::consumer`](crate::client::Client::consumer).
    pub(super) fn new(
        cluster: &ClientSettings,
        input: &Subscription,
        topics: &Topics,
        transaction: Option<&Arc<Transaction>>,
    ) -> Self {
        let all = PartitionShare { index: 0, count: 1 };
        let (coordinator, membership) = match (&input.group, input.consumer.manual_assignment) {
            (GroupId::Anonymous, share) => (None, Membership::Manual(share.unwrap_or(all))),
            (GroupId::Named(name), Some(share)) => (
                Some(Coordinator::for_group(name)),
                Membership::Manual(share),
            ),
            (GroupId::Named(name), None) => {
                let consumer = &input.consumer;
                let membership = match consumer.group_protocol {
                    GroupProtocol::Classic => {
                        Membership::Classic(Box::new(Group::new(consumer, topics)))
                    }
                    GroupProtocol::Consumer => {
                        Membership::Consumer(Box::new(ConsumerGroup::new(consumer, topics)))
                    }
                };
                (Some(Coordinator::for_group(name)), membership)
            }
        };
        Self {
            network: Network::new(&cluster.connection, None),
            cluster: Metadata::new(&cluster.brokers, topics.all().into_iter()),
            topics: topics.clone(),
            topic_settings: cluster.topics.clone(),
            start_offset: input.start_offset,
            isolation: input.consumer.isolation,
            coordinator,
            membership,
            fetcher: Fetcher::new(
                &input.consumer,
                topics,
                super::budget(cluster.memory).fetch_bytes,
            ),
            events: VecDeque::new(),
            unavailable: false,
            commit: None,
            committer: transaction.map(Committer::new),
            next_commit: None,
        }
    }

    /// Everything that can be done without waiting: takes in what has come, and sends what is due.
    fn progress(&mut self) -> Result<(), Error> {
        self.network.poll(Instant::now());
        while let Some(arrival) = self.network.next_event() {
            match arrival {
                NetworkEvent::Response(peer, response) => self.handle_response(peer, response)?,
                NetworkEvent::Disconnected(tags) => {
                    for tag in tags {
                        self.disconnected(tag);
                    }
                }
            }
        }
        self.tell_availability();
        self.cluster.poll(&mut self.network, Tag::Metadata);
        self.tend_group()?;
        self.tend_transaction()?;
        self.ask_places();
        self.fetcher
            .fetch(&mut self.network, &mut self.cluster, Tag::Fetch);
        Ok(())
    }

    fn tell_availability(&mut self) {
        if !self.unavailable && self.cluster.is_unavailable(&self.network) {
            self.unavailable = true;
            let reason = self.network.last_error().to_owned();
            self.events.push_back(ConsumerEvent::Unavailable(reason));
        } else if self.unavailable && self.network.any_ready() {
            self.unavailable = false;
            self.events.push_back(ConsumerEvent::Available);
        }
    }

    fn tend_group(&mut self) -> Result<(), Error> {
        let Some(coordinator) = &mut self.coordinator else {
            return Ok(());
        };
        let Some(peer) = coordinator.connect(&mut self.network, &self.cluster, Tag::Coordinator)
        else {
            return Ok(());
        };
        let (network, cluster) = (&mut self.network, &mut self.cluster);
        match &mut self.membership {
            Membership::Classic(group) => {
                group.poll(network, cluster, coordinator, peer, Tag::Group);
            }
            Membership::Consumer(group) => {
                let (events, tag) = (&mut self.events, Tag::ConsumerGroup);
                let added = group.poll(network, cluster, coordinator, peer, events, tag)?;
                self.fetcher.add(&added, Start::Committed);
            }
            Membership::Manual(_) => (),
        }
        if self.commit.is_none()
            && let Some(offsets) = self.next_commit.take()
        {
            self.send_commit(peer, offsets);
        }
        Ok(())
    }

    fn tend_transaction(&mut self) -> Result<(), Error> {
        let (Some(committer), Some(group)) = (&mut self.committer, &mut self.coordinator) else {
            return Ok(());
        };
        if !committer.has_work() {
            return Ok(());
        }
        let peer = group.connect(&mut self.network, &self.cluster, Tag::Coordinator);
        let tags = (Tag::TransactionCoordinator, Tag::Transaction);
        committer.poll(
            &mut self.network,
            &self.cluster,
            (group, peer),
            &self.topics,
            tags,
        )
    }

    /// A step of the transaction's end is handle_response, with this error.
    fn transaction_answered(
        &mut self,
        step: transaction::Step,
        code: i16,
        partition: Option<&str>,
    ) -> Result<(), Error> {
        let Some(committer) = &mut self.committer else {
            return Ok(());
        };
        if step == transaction::Step::Offsets
            && transaction::outcome(code) == (transaction::Outcome::Again { moved: true })
            && let Some(group) = &mut self.coordinator
        {
            group.mark_unknown(&self.network);
        }
        if let Some(offsets) = committer.handle_response(&self.network, step, code, partition)? {
            self.events.push_back(ConsumerEvent::Committed(offsets));
        }
        Ok(())
    }

    fn identity(&self) -> MemberIdentity {
        match &self.membership {
            Membership::Classic(group) => group.identity(),
            Membership::Consumer(group) => group.identity(),
            Membership::Manual(_) => MemberIdentity {
                generation: -1,
                ..MemberIdentity::default()
            },
        }
    }

    /// Asks for the places of partitions that have none yet.
    fn ask_places(&mut self) {
        if let Some(coordinator) = &mut self.coordinator
            && let Some(peer) =
                coordinator.connect(&mut self.network, &self.cluster, Tag::Coordinator)
        {
            let partitions = self.fetcher.take_waiting(Start::Committed);
            if !partitions.is_empty() {
                match self.network.version::<OffsetFetchRequest>(peer) {
                    Ok(version) => {
                        let version = match self.isolation {
                            Isolation::ReadCommitted => version,
                            Isolation::ReadUncommitted => version.min(5),
                        };
                        let request =
                            coordinator.offset_fetch_request(version, &self.topics, &partitions);
                        self.network.send(peer, &request, Tag::Committed);
                    }
                    Err(reason) => {
                        log::warn!("{reason}");
                        for partition in partitions {
                            self.fetcher.ask_again(partition, &self.network);
                        }
                    }
                }
            }
        }
        let partitions = self.fetcher.take_waiting(Start::Reset);
        let mut by_leader: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
        for partition in partitions {
            let topic = self.topics.input(partition.topic);
            let Some((leader, address)) = self.cluster.leader(topic, partition.partition) else {
                self.cluster.request_update();
                self.fetcher.ask_again(partition, &self.network);
                continue;
            };
            if self.network.connect(Node::Broker(leader), address) {
                by_leader.entry(leader).or_default().push(partition);
                continue;
            }
            if self.network.connect_failures(Node::Broker(leader)) > 1 {
                self.cluster.request_update();
            }
            self.fetcher.not_asked(partition);
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
            .with_isolation_level(match self.isolation {
                Isolation::ReadCommitted => 1,
                Isolation::ReadUncommitted => 0,
            })
            .with_topics(topics)
    }

    /// A question will not be handle_response.
    fn disconnected(&mut self, tag: Tag) {
        match tag {
            Tag::Call => (),
            Tag::Metadata => self.cluster.disconnected(),
            Tag::Coordinator => {
                if let Some(coordinator) = &mut self.coordinator {
                    coordinator.disconnected(&self.network);
                }
            }
            Tag::Group(step) => {
                if let Membership::Classic(group) = &mut self.membership {
                    group.disconnected(&self.network, step);
                }
            }
            Tag::ConsumerGroup => {
                if let Membership::Consumer(group) = &mut self.membership {
                    group.disconnected(&self.network);
                }
            }
            Tag::Committed => self.ask_again(Start::Committed, None),
            Tag::ListOffsets(leader) => {
                self.cluster.request_update();
                self.ask_again(Start::Reset, Some(leader));
            }
            Tag::Commit => self.commit_failed(self.network.last_error().to_owned()),
            Tag::TransactionCoordinator => {
                if let Some(committer) = &mut self.committer {
                    committer.coordinator.disconnected(&self.network);
                }
            }
            Tag::Transaction(_) => {
                if let Some(committer) = &mut self.committer {
                    committer.disconnected(&self.network);
                }
            }
            Tag::Fetch(broker) => {
                self.cluster.request_update();
                self.fetcher.disconnected(broker);
            }
        }
    }

    /// Of the partitions that were asked about, of this leader alone where one is named, those without an answer are asked about again.
    fn ask_again(&mut self, start: Start, leader: Option<i32>) {
        let partitions: Vec<TopicPartition> = self.fetcher.partitions().collect();
        for partition in partitions {
            let topic = self.topics.input(partition.topic);
            let of_leader = leader.is_none_or(|leader| {
                self.cluster
                    .leader(topic, partition.partition)
                    .is_none_or(|(other, _)| other == leader)
            });
            if of_leader && self.fetcher.is_asked(partition, start) {
                self.fetcher.ask_again(partition, &self.network);
            }
        }
    }

    fn handle_response(&mut self, peer: Node, response: Response<Tag>) -> Result<(), Error> {
        let tag = response.tag;
        if let Err(error) = self.take_answer(peer, response)? {
            self.network.disconnect(peer, &error.to_string());
            self.disconnected(tag);
        }
        Ok(())
    }

    /// The inner result is about reading the answer, the outer one about what ends the consumer.
    fn take_answer(
        &mut self,
        peer: Node,
        response: Response<Tag>,
    ) -> Result<Result<(), super::protocol::DecodeError>, Error> {
        macro_rules! read {
            ($request:ty) => {
                match response.decode::<$request>() {
                    Ok(answer) => answer,
                    Err(error) => return Ok(Err(error)),
                }
            };
        }
        match response.tag {
            Tag::Call => (),
            Tag::Metadata => {
                let answer = read!(MetadataRequest);
                self.cluster.handle_response(&self.network, &answer);
                match &mut self.membership {
                    Membership::Classic(group) => group.watch(&self.cluster, &mut self.events),
                    Membership::Consumer(_) => (),
                    Membership::Manual(share) => {
                        let share = *share;
                        self.assign(share);
                    }
                }
            }
            Tag::Coordinator => {
                let answer = read!(FindCoordinatorRequest);
                if let Some(coordinator) = &mut self.coordinator {
                    coordinator
                        .handle_response(&self.network, &mut self.cluster, &answer)
                        .map_err(join_error)?;
                }
            }
            Tag::Group(step) => {
                let (Membership::Classic(group), Some(coordinator)) =
                    (&mut self.membership, &mut self.coordinator)
                else {
                    return Ok(Ok(()));
                };
                let (network, cluster, events) =
                    (&mut self.network, &mut self.cluster, &mut self.events);
                match step {
                    group::Step::Join => {
                        let answer = read!(JoinGroupRequest);
                        let to = (peer, Tag::Group);
                        group.joined(network, cluster, coordinator, to, answer, events)?;
                    }
                    group::Step::Sync(generation) => {
                        let answer = read!(SyncGroupRequest);
                        let before = group.owned().to_vec();
                        group.synced(network, cluster, coordinator, generation, &answer, events)?;
                        let owned = group.owned();
                        let added: Vec<TopicPartition> = owned
                            .iter()
                            .copied()
                            .filter(|partition| !before.contains(partition))
                            .collect();
                        self.fetcher.add(&added, Start::Committed);
                    }
                    group::Step::Heartbeat(generation) => {
                        let answer = read!(HeartbeatRequest);
                        group.beaten(network, coordinator, generation, &answer, events)?;
                    }
                }
            }
            Tag::ConsumerGroup => {
                let answer = read!(ConsumerGroupHeartbeatRequest);
                if let (Membership::Consumer(group), Some(coordinator)) =
                    (&mut self.membership, &mut self.coordinator)
                {
                    group.handle_response(&self.network, coordinator, &answer, &mut self.events)?;
                }
            }
            Tag::Committed => {
                let answer = read!(OffsetFetchRequest);
                self.committed(&answer)?;
            }
            Tag::ListOffsets(leader) => {
                let answer = read!(ListOffsetsRequest);
                self.listed(&answer)?;
                self.ask_again(Start::Reset, Some(leader));
            }
            Tag::Commit => {
                let answer = read!(OffsetCommitRequest);
                self.confirmed(&answer)?;
            }
            Tag::TransactionCoordinator => {
                let answer = read!(FindCoordinatorRequest);
                if let Some(committer) = &mut self.committer {
                    committer
                        .coordinator
                        .handle_response(&self.network, &mut self.cluster, &answer)
                        .map_err(join_error)?;
                }
            }
            Tag::Transaction(step) => {
                let (code, partition) = match step {
                    transaction::Step::AddOffsets => {
                        (read!(AddOffsetsToTxnRequest).error_code, None)
                    }
                    transaction::Step::End => (read!(EndTxnRequest).error_code, None),
                    transaction::Step::Offsets => {
                        let answer = read!(TxnOffsetCommitRequest);
                        let mut outcomes = answer.topics.iter().flat_map(|topic| {
                            let outcomes = topic.partitions.iter();
                            outcomes.map(move |outcome| (topic, outcome))
                        });
                        let failed = outcomes.find(|(_, outcome)| outcome.error_code != 0);
                        failed.map_or((0, None), |(topic, outcome)| {
                            let partition = outcome.partition_index;
                            let partition = format!("{}-{partition}", topic.name.as_str());
                            (outcome.error_code, Some(partition))
                        })
                    }
                };
                self.transaction_answered(step, code, partition.as_deref())?;
            }
            Tag::Fetch(broker) => {
                let answer = read!(FetchRequest);
                let body = response.into_body();
                self.fetcher.handle_response(
                    &mut self.network,
                    &mut self.cluster,
                    broker,
                    answer,
                    body,
                )?;
            }
        }
        Ok(Ok(()))
    }

    fn place(&self, topic: &str, partition: i32) -> Option<TopicPartition> {
        let index = self.topics.inputs.iter().position(|input| input == topic)?;
        Some(TopicPartition {
            topic: u16::try_from(index).ok()?,
            partition,
        })
    }

    /// The group's offsets are there.
    fn committed(
        &mut self,
        answer: &kafka_protocol::messages::OffsetFetchResponse,
    ) -> Result<(), Error> {
        if let Some(error) = ResponseError::try_from_code(answer.error_code) {
            self.coordinator_failed(error, error.to_string())?;
            self.ask_again(Start::Committed, None);
            return Ok(());
        }
        for topic in &answer.topics {
            for found in &topic.partitions {
                let Some(partition) = self.place(topic.name.as_str(), found.partition_index) else {
                    continue;
                };
                if !self.fetcher.is_asked(partition, Start::Committed) {
                    continue;
                }
                match ResponseError::try_from_code(found.error_code) {
                    None => {
                        let offset =
                            (found.committed_offset >= 0).then_some(found.committed_offset);
                        self.fetcher.start_at(partition, offset);
                    }
                    Some(error) => {
                        self.fetcher
                            .refused(&self.network, &mut self.cluster, partition, error)?
                    }
                }
            }
        }
        self.ask_again(Start::Committed, None);
        Ok(())
    }

    fn listed(
        &mut self,
        answer: &kafka_protocol::messages::ListOffsetsResponse,
    ) -> Result<(), Error> {
        for topic in &answer.topics {
            for found in &topic.partitions {
                let Some(partition) = self.place(topic.name.as_str(), found.partition_index) else {
                    continue;
                };
                if !self.fetcher.is_asked(partition, Start::Reset) {
                    continue;
                }
                match ResponseError::try_from_code(found.error_code) {
                    None => {
                        let missed = self.fetcher.start_at(partition, Some(found.offset.max(0)));
                        if missed > 0 {
                            self.events
                                .push_back(ConsumerEvent::RecordsLost(partition, missed));
                        }
                    }
                    Some(error) => {
                        self.fetcher
                            .refused(&self.network, &mut self.cluster, partition, error)?
                    }
                }
            }
        }
        Ok(())
    }

    /// The coordinator handle_response with an error, about the group's offsets. `reason` is the error and what it is about.
    fn coordinator_failed(&mut self, error: ResponseError, reason: String) -> Result<(), Error> {
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
                    group.failed(&self.network, coordinator, error, &mut self.events)
                }
                // Its heartbeats tell it too.
                Membership::Consumer(_) | Membership::Manual(_) => Ok(()),
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

    fn send_commit(&mut self, peer: Node, offsets: Vec<NextOffset>) {
        let Some(coordinator) = &self.coordinator else {
            return;
        };
        let identity = self.identity();
        let request = coordinator.offset_commit_request(&identity, &self.topics, &offsets);
        self.commit = Some((identity, offsets));
        self.network.send(peer, &request, Tag::Commit);
    }

    fn commit_failed(&mut self, reason: String) {
        self.commit = None;
        self.events.push_back(ConsumerEvent::CommitFailed(reason));
    }

    /// A commit is handle_response.
    fn confirmed(
        &mut self,
        answer: &kafka_protocol::messages::OffsetCommitResponse,
    ) -> Result<(), Error> {
        let mut failure = None;
        let mut failed = Vec::new();
        for topic in &answer.topics {
            for outcome in &topic.partitions {
                let Some(error) = ResponseError::try_from_code(outcome.error_code) else {
                    continue;
                };
                let (topic, partition) = (topic.name.as_str(), outcome.partition_index);
                failure = Some((error, format!("{topic}-{partition}: {error}")));
                failed.extend(self.place(topic, partition));
            }
        }
        let (identity, mut offsets) = self.commit.take().unwrap_or_default();
        offsets.retain(|(partition, _)| !failed.contains(partition));
        if !offsets.is_empty() {
            self.events.push_back(ConsumerEvent::Committed(offsets));
        }
        if let Some((error, reason)) = failure {
            self.events
                .push_back(ConsumerEvent::CommitFailed(reason.clone()));
            // A commit that waited for the end of a rebalance is refused for the generation that is over. Nothing is lost with that: it
            // is tried again in the one that has come.
            let outdated = matches!(
                error,
                ResponseError::IllegalGeneration | ResponseError::UnknownMemberId
            ) && identity != self.identity();
            if !outdated {
                self.coordinator_failed(error, reason)?;
            }
        }
        Ok(())
    }

    /// What is open when it ends is not to be waited for by others until its time is over.
    fn abort_transaction(&mut self) {
        let committer = self.committer.as_ref();
        let Some((broker, address, request)) =
            committer.and_then(|committer| committer.abort(&self.cluster))
        else {
            return;
        };
        let peer = Node::Coordinator(broker);
        if self.network.connect(peer, &address) {
            let until = Instant::now() + LEAVE_WITHIN;
            if let Err(error) = self.network.call(peer, &request, Tag::Call, until) {
                log::debug!("end of the transaction: {error}");
            }
        }
    }

    /// Without a group: takes the partitions of this share that are not taken yet.
    fn assign(&mut self, share: PartitionShare) {
        let taken: Vec<TopicPartition> = self.fetcher.partitions().collect();
        let mut added = Vec::new();
        for (index, name) in self.topics.inputs.iter().enumerate() {
            let Some(topic) = self.cluster.topic(name) else {
                continue;
            };
            for &partition in topic.leaders.keys() {
                let place = TopicPartition {
                    topic: u16::try_from(index).unwrap_or_default(),
                    partition,
                };
                let ours = partition.unsigned_abs() % share.count == share.index;
                if ours && !taken.contains(&place) {
                    added.push(place);
                }
            }
        }
        let start = if self.coordinator.is_some() {
            Start::Committed
        } else {
            Start::Reset
        };
        self.fetcher.add(&added, start);
        if !added.is_empty() || taken.is_empty() {
            self.events.push_back(ConsumerEvent::Assigned(added));
        }
    }

    /// When something is to be done that no answer brings about.
    fn due(&self) -> Option<Instant> {
        let group = match &self.membership {
            Membership::Classic(group) => group.due(),
            Membership::Consumer(group) => group.due(),
            Membership::Manual(_) => None,
        };
        let coordinator = self.coordinator.as_ref().and_then(Coordinator::next_poll);
        [
            group,
            coordinator,
            self.cluster.next_poll(&self.network),
            self.fetcher.due(),
            self.committer.as_ref().and_then(|committer| {
                committer
                    .due()
                    .or_else(|| committer.coordinator.next_poll())
            }),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl crate::client::Consumer for Consumer {
    fn prepare(&mut self) -> Result<(), NotReady> {
        let names = self.topics.all();
        admin::provision(
            &mut self.network,
            &mut self.cluster,
            Tag::Call,
            &names,
            &self.topic_settings,
        )?;
        if let Some(committer) = &mut self.committer {
            committer.initialise(&mut self.network, &mut self.cluster, Tag::Call)?;
        }
        // What the first attempts met is over.
        self.events.clear();
        self.unavailable = false;
        if let Membership::Manual(share) = self.membership {
            self.assign(share);
        }
        Ok(())
    }

    fn poll(
        &mut self,
        timeout: Duration,
        mut handle: impl FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let until = Instant::now() + timeout;
        loop {
            self.progress()?;
            if !self.events.is_empty() {
                return Ok(());
            }
            if self.fetcher.has_records() {
                return self.fetcher.deliver(&mut self.network, &mut handle);
            }
            if Instant::now() >= until {
                return Ok(());
            }
            self.network
                .wait(self.due().map_or(until, |due| due.min(until)));
        }
    }

    fn poll_group(&mut self) -> Result<(), Error> {
        self.progress()
    }

    fn lags(&self) -> Vec<(TopicPartition, u64)> {
        self.fetcher.lags()
    }

    fn next_event(&mut self) -> Option<ConsumerEvent> {
        self.events.pop_front()
    }

    fn pause(&mut self) -> Result<(), Error> {
        self.fetcher.pause(true);
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Error> {
        self.fetcher.pause(false);
        Ok(())
    }

    fn prepare_commit(&mut self) -> Result<(), Error> {
        if let Some(committer) = &mut self.committer {
            committer.announce();
        }
        self.progress()
    }

    fn commit(&mut self, offsets: &[NextOffset]) -> Result<(), Error> {
        let identity = self.identity();
        if let Some(committer) = &mut self.committer {
            if !committer.is_busy() {
                committer.begin(identity, offsets.to_vec());
            }
            return Ok(());
        }
        let Some(coordinator) = &mut self.coordinator else {
            return Ok(());
        };
        let peer = coordinator.connect(&mut self.network, &self.cluster, Tag::Coordinator);
        match peer {
            Some(peer) if self.commit.is_none() => self.send_commit(peer, offsets.to_vec()),
            // It holds what is in the one before it, and more.
            _ => self.next_commit = Some(offsets.to_vec()),
        }
        Ok(())
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.fetcher.remove(partitions);
        let gone = |&(partition, _): &NextOffset| partitions.contains(&partition);
        if let Some(offsets) = &mut self.next_commit {
            offsets.retain(|offset| !gone(offset));
        }
        match &mut self.membership {
            Membership::Classic(group) => group.release(partitions),
            Membership::Consumer(group) => group.release(partitions),
            Membership::Manual(_) => (),
        }
        Ok(())
    }

    fn close(mut self) {
        self.abort_transaction();
        let Some(coordinator) = &mut self.coordinator else {
            return;
        };
        let peer = coordinator.connect(&mut self.network, &self.cluster, Tag::Coordinator);
        let Some(peer) = peer else {
            return;
        };
        let until = Instant::now() + LEAVE_WITHIN;
        let left = match &self.membership {
            Membership::Classic(group) => group.leave(coordinator).map(|request| {
                self.network
                    .call(peer, &request, Tag::Call, until)
                    .map(drop)
            }),
            Membership::Consumer(group) => group.leave(coordinator).map(|request| {
                self.network
                    .call(peer, &request, Tag::Call, until)
                    .map(drop)
            }),
            Membership::Manual(_) => None,
        };
        if let Some(Err(error)) = left {
            log::debug!("leave the group: {error}");
        }
    }
}
