//! Group membership by the protocol of KIP-848 (`group.protocol=consumer`).
//!
//! The coordinator assigns the partitions and sends the assignment in its responses to heartbeats; only partitions that move are
//! revoked. Nothing here blocks. Partitions to revoke are emitted as events; new partitions are taken, and the coordinator is notified,
//! after [`Kip848Group::release`] reports that the revoked ones are released.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use uuid::Uuid;

use super::backoff::backoff;
use super::coordinator::{Coordinator, MemberIdentity};
use super::error_name::{kafka_name, with_message};
use super::group_error::join_error;
use super::metadata::Metadata;
use super::network::{Network, Node};
use super::request::{group_by_topic, text, topic_name};
use crate::client::ConsumerEvent;
use crate::client::error::Error;
use crate::client::settings::ConsumerSettings;
use crate::client::topics::Topics;
use crate::topic_partition::TopicPartition;

/// Member epoch with which a member joins.
const JOIN_EPOCH: i32 = 0;
/// Member epoch with which a member leaves.
const LEAVE_EPOCH: i32 = -1;
/// Member epoch with which a static member leaves temporarily.
const LEAVE_STATIC_EPOCH: i32 = -2;

/// Heartbeat interval if the coordinator sends an invalid one.
const DEFAULT_HEARTBEAT_INTERVAL_MS: u64 = 3000;

/// A member of a group.
#[derive(Debug)]
pub(super) struct Kip848Group {
    settings: ConsumerSettings,
    topics: Topics,
    /// Member id, which the coordinator assigns; empty before the first response.
    member_id: String,
    epoch: i32,
    /// Assigned partitions, including those that are being revoked.
    owned: Vec<TopicPartition>,
    /// The assignment that the coordinator wants, by topic id; `None` if it has been reached.
    target: Option<Vec<(Uuid, i32)>>,
    /// Partitions are being revoked.
    is_revoking: bool,
    /// The next heartbeat contains the owned partitions.
    sends_owned: bool,
    is_in_flight: bool,
    heartbeat_at: Instant,
    heartbeat_interval: Duration,
    failures: u32,
}

impl Kip848Group {
    /// Creates a member that has not joined yet.
    pub(super) fn new(settings: &ConsumerSettings, topics: &Topics) -> Self {
        Self {
            settings: settings.clone(),
            topics: topics.clone(),
            member_id: String::new(),
            epoch: JOIN_EPOCH,
            owned: Vec::new(),
            target: None,
            is_revoking: false,
            sends_owned: false,
            is_in_flight: false,
            heartbeat_at: Instant::now(),
            heartbeat_interval: settings.heartbeat_interval,
            failures: 0,
        }
    }

    /// Returns the identity with which offsets are committed.
    pub(super) fn identity(&self) -> MemberIdentity {
        MemberIdentity {
            member_id: self.member_id.clone(),
            generation: self.epoch,
            instance_id: self.settings.group_instance_id.clone(),
        }
    }

    /// Returns when [`Kip848Group::poll`] has something to send.
    pub(super) fn next_poll(&self) -> Option<Instant> {
        (!self.is_in_flight).then_some(self.heartbeat_at)
    }

    /// Moves towards the target assignment and sends the next heartbeat to the coordinator at `node`, which must be ready. Returns the
    /// partitions that have been added.
    pub(super) fn poll<T>(
        &mut self,
        network: &mut Network<T>,
        metadata: &mut Metadata,
        coordinator: &Coordinator,
        node: Node,
        events: &mut VecDeque<ConsumerEvent>,
        tag: T,
    ) -> Result<Vec<TopicPartition>, Error> {
        let added = self.reconcile(metadata, events);
        if self.is_in_flight || self.is_revoking || Instant::now() < self.heartbeat_at {
            return Ok(added);
        }
        network
            .version::<ConsumerGroupHeartbeatRequest>(node)
            .map_err(|reason| {
                join_error(format!(
                    "group.protocol=consumer requires Kafka 4.0 (KIP-848), use group.protocol=classic: {reason}"
                ))
            })?;
        let is_joining = self.epoch == JOIN_EPOCH;
        let mut request = self.request(coordinator, self.epoch);
        if is_joining {
            let names = self.topics.inputs.iter().map(|name| topic_name(name));
            let timeout = self.settings.rebalance_timeout.as_millis();
            request = request
                .with_subscribed_topic_names(Some(names.collect()))
                .with_rebalance_timeout_ms(i32::try_from(timeout).unwrap_or(i32::MAX));
        }
        if is_joining || self.sends_owned {
            request = request.with_topic_partitions(Some(self.owned_by_topic_id(metadata)));
            self.sends_owned = false;
        }
        self.is_in_flight = true;
        self.heartbeat_at = Instant::now() + self.heartbeat_interval;
        network.send(node, &request, tag);
        Ok(added)
    }

    /// Builds a heartbeat. `None` in a field means that it has not changed since the last heartbeat.
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

    fn owned_by_topic_id(&self, metadata: &Metadata) -> Vec<TopicPartitions> {
        let mut owned = self.owned.clone();
        owned.sort_unstable();
        let owned = owned.into_iter().filter_map(|partition| {
            let topic = metadata.topic(self.topics.input(partition.topic))?;
            Some((topic.id, partition.partition))
        });
        group_by_topic(owned, |id, partitions| {
            TopicPartitions::default()
                .with_topic_id(id)
                .with_partitions(partitions)
        })
    }

    /// Moves towards the target assignment: first revokes the partitions that are not in it, then adds those that are new. Returns the
    /// added ones.
    fn reconcile(
        &mut self,
        metadata: &mut Metadata,
        events: &mut VecDeque<ConsumerEvent>,
    ) -> Vec<TopicPartition> {
        if self.is_revoking {
            return Vec::new();
        }
        let Some(target) = &self.target else {
            return Vec::new();
        };
        let mut assigned = Vec::new();
        for &(id, partition) in target {
            let found = metadata
                .topic_with_id(id)
                .and_then(|name| self.topics.input_partition(name, partition));
            let Some(found) = found else {
                // The topic was created or recreated after the latest metadata.
                metadata.request_update();
                return Vec::new();
            };
            assigned.push(found);
        }
        let revoked: Vec<TopicPartition> = self
            .owned
            .iter()
            .copied()
            .filter(|partition| !assigned.contains(partition))
            .collect();
        if !revoked.is_empty() {
            self.is_revoking = true;
            events.push_back(ConsumerEvent::Revoked(revoked));
            return Vec::new();
        }
        self.target = None;
        let added: Vec<TopicPartition> = assigned
            .into_iter()
            .filter(|partition| !self.owned.contains(partition))
            .collect();
        self.owned.extend_from_slice(&added);
        self.sends_owned = true;
        self.heartbeat_at = Instant::now();
        events.push_back(ConsumerEvent::Assigned(added.clone()));
        added
    }

    /// Handles a heartbeat that gets no response.
    pub(super) fn disconnected<T>(&mut self, network: &Network<T>) {
        self.is_in_flight = false;
        self.retry(network);
    }

    /// Sends the next heartbeat after a back-off, with the owned partitions, because the coordinator may not have received the last one.
    fn retry<T>(&mut self, network: &Network<T>) {
        self.sends_owned = true;
        self.heartbeat_at =
            Instant::now() + backoff(network.settings().retry_backoff, self.failures);
        self.failures = self.failures.saturating_add(1);
    }

    /// Handles a response to a heartbeat. Returns an error if a retry cannot help.
    pub(super) fn handle_response<T>(
        &mut self,
        network: &Network<T>,
        coordinator: &mut Coordinator,
        response: &ConsumerGroupHeartbeatResponse,
        events: &mut VecDeque<ConsumerEvent>,
    ) -> Result<(), Error> {
        self.is_in_flight = false;
        let Some(error) = ResponseError::try_from_code(response.error_code) else {
            self.accepted(coordinator, response);
            return Ok(());
        };
        let name = kafka_name(error);
        log::debug!(
            "group {}, epoch {}: {name}",
            coordinator.group_id().as_str(),
            self.epoch
        );
        match error {
            ResponseError::UnknownMemberId | ResponseError::FencedMemberEpoch => {
                self.epoch = JOIN_EPOCH;
                self.target = None;
                self.heartbeat_at = Instant::now();
                if !self.owned.is_empty() && !self.is_revoking {
                    self.is_revoking = true;
                    events.push_back(ConsumerEvent::Lost(self.owned.clone()));
                }
                Ok(())
            }
            ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable => {
                coordinator.mark_unknown(network);
                self.retry(network);
                Ok(())
            }
            ResponseError::CoordinatorLoadInProgress | ResponseError::UnreleasedInstanceId => {
                self.retry(network);
                Ok(())
            }
            _ => {
                let message = response.error_message.as_deref();
                Err(join_error(with_message(error, message)))
            }
        }
    }

    /// Handles a successful response: takes member id, epoch, heartbeat interval and target assignment.
    fn accepted(&mut self, coordinator: &Coordinator, response: &ConsumerGroupHeartbeatResponse) {
        self.failures = 0;
        if let Some(id) = &response.member_id {
            self.member_id = id.to_string();
        }
        if self.epoch == JOIN_EPOCH {
            log::info!(
                "joined group {}, epoch {}, member {}",
                coordinator.group_id().as_str(),
                response.member_epoch,
                self.member_id
            );
        }
        self.epoch = response.member_epoch;
        let interval = u64::try_from(response.heartbeat_interval_ms);
        self.heartbeat_interval =
            Duration::from_millis(interval.unwrap_or(DEFAULT_HEARTBEAT_INTERVAL_MS));
        self.heartbeat_at = self
            .heartbeat_at
            .min(Instant::now() + self.heartbeat_interval);
        if let Some(assignment) = &response.assignment {
            let topics = assignment.topic_partitions.iter();
            let target = topics.flat_map(|topic| {
                topic
                    .partitions
                    .iter()
                    .map(|&partition| (topic.topic_id, partition))
            });
            self.target = Some(target.collect());
        }
    }

    /// Completes the revocation of these partitions, of which no record is in flight any more.
    pub(super) fn release(&mut self, partitions: &[TopicPartition]) {
        self.owned
            .retain(|partition| !partitions.contains(partition));
        self.is_revoking = false;
        self.sends_owned = true;
        self.heartbeat_at = Instant::now();
    }

    /// Returns the heartbeat that leaves the group, if the member has joined.
    pub(super) fn leave_request(
        &self,
        coordinator: &Coordinator,
    ) -> Option<ConsumerGroupHeartbeatRequest> {
        let epoch = match self.settings.group_instance_id {
            None => LEAVE_EPOCH,
            Some(_) => LEAVE_STATIC_EPOCH,
        };
        (self.epoch > JOIN_EPOCH).then(|| self.request(coordinator, epoch))
    }
}
