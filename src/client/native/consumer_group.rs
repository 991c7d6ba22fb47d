//! Membership in a group by the protocol of KIP-848 (`group.protocol=consumer`): the coordinator assigns, and tells it along with its answers to
//! heartbeats; only partitions that move stop.
//!
//! Nothing here waits. What is to be given up is told first; what is new is taken, and the coordinator is told, when
//! [`ConsumerGroup::release`] says that it is done.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use uuid::Uuid;

use super::backoff::backoff;
use super::coordinator::{Coordinator, MemberIdentity, join_error};
use super::metadata::Metadata;
use super::network::{Network, Node};
use super::request::{group_by_topic, text, topic_name};
use crate::client::ConsumerEvent;
use crate::client::Error;
use crate::client::Topics;
use crate::client::settings::ConsumerSettings;
use crate::topic_partition::TopicPartition;

/// The epochs that are none: to join, to leave, and to leave for a while as a static member.
const JOIN: i32 = 0;
const LEAVE: i32 = -1;
const LEAVE_STATIC: i32 = -2;

/// See the module.
#[derive(Debug)]
pub(super) struct ConsumerGroup {
    settings: ConsumerSettings,
    topics: Topics,
    /// The coordinator's name for this member; empty before the first answer.
    member_id: String,
    epoch: i32,
    owned: Vec<TopicPartition>,
    /// What the coordinator wants to be owned, by ids of topics, where it is not so yet.
    target: Option<Vec<(Uuid, i32)>>,
    /// Partitions are being given up.
    releasing: bool,
    /// The coordinator is to be told what is owned.
    owned_changed: bool,
    asked: bool,
    heartbeat_at: Instant,
    interval: Duration,
    failures: u32,
}

impl ConsumerGroup {
    /// Not joined yet.
    pub(super) fn new(settings: &ConsumerSettings, topics: &Topics) -> Self {
        Self {
            settings: settings.clone(),
            topics: topics.clone(),
            member_id: String::new(),
            epoch: JOIN,
            owned: Vec::new(),
            target: None,
            releasing: false,
            owned_changed: false,
            asked: false,
            heartbeat_at: Instant::now(),
            interval: settings.heartbeat_interval,
            failures: 0,
        }
    }

    /// As whom offsets are committed.
    pub(super) fn identity(&self) -> MemberIdentity {
        MemberIdentity {
            member_id: self.member_id.clone(),
            generation: self.epoch,
            instance_id: self.settings.group_instance_id.clone(),
        }
    }

    /// When [`ConsumerGroup::poll`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.asked).then_some(self.heartbeat_at)
    }

    /// Sends what is due to the coordinator, which can be reached, and comes nearer to what that wants. Gives the partitions that are new.
    pub(super) fn poll<T>(
        &mut self,
        network: &mut Network<T>,
        cluster: &mut Metadata,
        coordinator: &Coordinator,
        peer: Node,
        events: &mut VecDeque<ConsumerEvent>,
        tag: T,
    ) -> Result<Vec<TopicPartition>, Error> {
        let added = self.reconcile(cluster, events);
        if self.asked || self.releasing || Instant::now() < self.heartbeat_at {
            return Ok(added);
        }
        network
            .version::<ConsumerGroupHeartbeatRequest>(peer)
            .map_err(|reason| {
                join_error(format!(
                    "group.protocol=consumer: {reason}; it came with Kafka 4.0 (KIP-848), and group.protocol=classic needs nothing of it"
                ))
            })?;
        let joins = self.epoch == JOIN;
        let mut request = self.request(coordinator, self.epoch);
        if joins {
            let names = self.topics.inputs.iter().map(|name| topic_name(name));
            let timeout = self.settings.rebalance_timeout.as_millis();
            request = request
                .with_subscribed_topic_names(Some(names.collect()))
                .with_rebalance_timeout_ms(i32::try_from(timeout).unwrap_or(i32::MAX));
        }
        if joins || self.owned_changed {
            request = request.with_topic_partitions(Some(self.owned_by_id(cluster)));
            self.owned_changed = false;
        }
        self.asked = true;
        self.heartbeat_at = Instant::now() + self.interval;
        network.send(peer, &request, tag);
        Ok(added)
    }

    fn request(&self, coordinator: &Coordinator, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(coordinator.group_id())
            .with_member_id(text(&self.member_id))
            .with_member_epoch(epoch)
            .with_instance_id(self.settings.group_instance_id.as_deref().map(text))
            .with_rebalance_timeout_ms(-1)
            .with_topic_partitions(None)
            .with_subscribed_topic_names(None)
    }

    fn owned_by_id(&self, cluster: &Metadata) -> Vec<TopicPartitions> {
        let mut owned = self.owned.clone();
        owned.sort_unstable();
        let owned = owned.into_iter().filter_map(|partition| {
            let topic = cluster.topic(self.topics.input(partition.topic))?;
            Some((topic.id, partition.partition))
        });
        group_by_topic(owned, |id, partitions| {
            TopicPartitions::default()
                .with_topic_id(id)
                .with_partitions(partitions)
        })
    }

    /// Gives up what is not wanted, then takes what is new.
    fn reconcile(
        &mut self,
        cluster: &mut Metadata,
        events: &mut VecDeque<ConsumerEvent>,
    ) -> Vec<TopicPartition> {
        if self.releasing {
            return Vec::new();
        }
        let Some(target) = &self.target else {
            return Vec::new();
        };
        let mut wanted = Vec::new();
        for &(id, partition) in target {
            let name = cluster.topic_with_id(id);
            let index =
                name.and_then(|name| self.topics.inputs.iter().position(|input| input == name));
            let Some(topic) = index.and_then(|index| u16::try_from(index).ok()) else {
                // It was made a moment ago, or made anew.
                cluster.request_update();
                return Vec::new();
            };
            wanted.push(TopicPartition { topic, partition });
        }
        let gone: Vec<TopicPartition> = self
            .owned
            .iter()
            .copied()
            .filter(|partition| !wanted.contains(partition))
            .collect();
        if !gone.is_empty() {
            self.releasing = true;
            events.push_back(ConsumerEvent::Revoked(gone));
            return Vec::new();
        }
        self.target = None;
        let added: Vec<TopicPartition> = wanted
            .into_iter()
            .filter(|partition| !self.owned.contains(partition))
            .collect();
        self.owned.extend_from_slice(&added);
        self.owned_changed = true;
        self.heartbeat_at = Instant::now();
        events.push_back(ConsumerEvent::Assigned(added.clone()));
        added
    }

    /// A heartbeat will not be handle_response.
    pub(super) fn disconnected<T>(&mut self, network: &Network<T>) {
        self.asked = false;
        // Whether the coordinator has taken it is not known: it is told again.
        self.owned_changed = true;
        self.retry(network);
    }

    fn retry<T>(&mut self, network: &Network<T>) {
        self.heartbeat_at =
            Instant::now() + backoff(network.settings().retry_backoff, self.failures);
        self.failures = self.failures.saturating_add(1);
    }

    /// A heartbeat is handle_response.
    pub(super) fn handle_response<T>(
        &mut self,
        network: &Network<T>,
        coordinator: &mut Coordinator,
        answer: &ConsumerGroupHeartbeatResponse,
        events: &mut VecDeque<ConsumerEvent>,
    ) -> Result<(), Error> {
        self.asked = false;
        let Some(error) = ResponseError::try_from_code(answer.error_code) else {
            self.failures = 0;
            if let Some(id) = &answer.member_id {
                self.member_id = id.to_string();
            }
            if self.epoch == JOIN {
                log::info!("member {} of epoch {}", self.member_id, answer.member_epoch);
            }
            self.epoch = answer.member_epoch;
            self.interval =
                Duration::from_millis(u64::try_from(answer.heartbeat_interval_ms).unwrap_or(3000));
            self.heartbeat_at = self.heartbeat_at.min(Instant::now() + self.interval);
            if let Some(assignment) = &answer.assignment {
                let topics = assignment.topic_partitions.iter();
                let target = topics.flat_map(|topic| {
                    topic
                        .partitions
                        .iter()
                        .map(|&partition| (topic.topic_id, partition))
                });
                self.target = Some(target.collect());
            }
            return Ok(());
        };
        log::debug!("group, epoch {}: {error}", self.epoch);
        match error {
            ResponseError::UnknownMemberId | ResponseError::FencedMemberEpoch => {
                self.epoch = JOIN;
                self.target = None;
                self.heartbeat_at = Instant::now();
                if !self.owned.is_empty() && !self.releasing {
                    self.releasing = true;
                    events.push_back(ConsumerEvent::Lost(self.owned.clone()));
                }
                Ok(())
            }
            ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable => {
                coordinator.mark_unknown(network);
                self.owned_changed = true;
                self.retry(network);
                Ok(())
            }
            ResponseError::CoordinatorLoadInProgress | ResponseError::UnreleasedInstanceId => {
                self.owned_changed = true;
                self.retry(network);
                Ok(())
            }
            error => Err(join_error(format!(
                "{error} {}",
                answer.error_message.as_deref().unwrap_or_default()
            ))),
        }
    }

    /// These partitions are given up; nothing of them is under way any more.
    pub(super) fn release(&mut self, partitions: &[TopicPartition]) {
        self.owned
            .retain(|partition| !partitions.contains(partition));
        self.releasing = false;
        self.owned_changed = true;
        self.heartbeat_at = Instant::now();
    }

    /// The farewell; none where there is nothing to leave.
    pub(super) fn leave(&self, coordinator: &Coordinator) -> Option<ConsumerGroupHeartbeatRequest> {
        let epoch = match self.settings.group_instance_id {
            None => LEAVE,
            Some(_) => LEAVE_STATIC,
        };
        (self.epoch > JOIN).then(|| self.request(coordinator, epoch))
    }
}
