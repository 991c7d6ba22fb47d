//! The consumer of the client `native`: connections, metadata, group membership, committed offsets and fetches of one client. Owned by the
//! thread `consumer`, which runs everything here and blocks only on the network.
//!
//! | file | content |
//! |---|---|
//! | `responses` | decodes responses and passes them on |
//! | `offsets` | looks up positions and commits offsets |
//! | `membership` | the assignment, by the group or by partition numbers |

mod membership;
mod offsets;
mod responses;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admin;
use super::classic_group::GroupRequest;
use super::coordinator::{Coordinator, MemberIdentity};
use super::fetch::Fetcher;
use super::metadata::Metadata;
use super::network::{Network, NetworkEvent};
use super::transaction_committer::{CommitTags, TransactionCommitter, TransactionRequest};
use crate::client::settings::{
    ClientSettings, GroupId, Isolation, StartOffset, Subscription, TopicSettings,
};
use crate::client::{ConsumerEvent, Error, NotReady, Polled, Topics, Transaction};
use crate::topic_partition::{NextOffset, TopicPartition};
use membership::Membership;

/// Longest wait for the responses to the last requests: aborting the open transaction and leaving the group.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Tag of a request: which part of the consumer handles the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    /// A request whose response is waited for by its sender.
    Call,
    Metadata,
    /// FindCoordinator for the group.
    Coordinator,
    ClassicGroup(GroupRequest),
    /// ConsumerGroupHeartbeat.
    Kip848Group,
    OffsetFetch,
    /// ListOffsets to the broker with this node id.
    ListOffsets(i32),
    OffsetCommit,
    /// FindCoordinator for the transactional id.
    TransactionCoordinator,
    Transaction(TransactionRequest),
    /// Fetch to the broker with this node id.
    Fetch(i32),
}

/// See the [module](self).
pub(crate) struct Consumer {
    network: Network<Tag>,
    metadata: Metadata,
    topics: Topics,
    topic_settings: TopicSettings,
    start_offset: StartOffset,
    isolation: Isolation,
    /// The group's coordinator; `None` for an anonymous group.
    coordinator: Option<Coordinator>,
    membership: Membership,
    fetcher: Fetcher,
    events: VecDeque<ConsumerEvent>,
    /// [`ConsumerEvent::Unavailable`] was reported, and [`ConsumerEvent::Available`] was not since.
    is_unavailable: bool,
    /// The commit in flight, and the member that sent it.
    commit: Option<(MemberIdentity, Vec<NextOffset>)>,
    /// The commit to send when the one in flight has its response.
    queued_commit: Option<Vec<NextOffset>>,
    /// Commits offsets in a transaction, in place of the two fields above.
    committer: Option<TransactionCommitter>,
}

impl Consumer {
    /// See [`Client::consumer`](crate::client::Client::consumer).
    pub(super) fn new(
        settings: &ClientSettings,
        input: &Subscription,
        topics: &Topics,
        transaction: Option<&Arc<Transaction>>,
    ) -> Self {
        let coordinator = match &input.group {
            GroupId::Anonymous => None,
            GroupId::Named(group) => Some(Coordinator::for_group(group)),
        };
        let fetch_bytes = super::MemoryBudget::new(settings.memory).fetch_bytes;
        Self {
            network: Network::new(&settings.connection, None),
            metadata: Metadata::new(&settings.brokers, topics.all().into_iter()),
            topics: topics.clone(),
            topic_settings: settings.topics.clone(),
            start_offset: input.start_offset,
            isolation: input.consumer.isolation,
            coordinator,
            membership: Membership::new(input, topics),
            fetcher: Fetcher::new(&input.consumer, topics, fetch_bytes),
            events: VecDeque::new(),
            is_unavailable: false,
            commit: None,
            queued_commit: None,
            committer: transaction.map(TransactionCommitter::new),
        }
    }

    /// Handles the responses that have arrived and sends the requests that are due. Does not block.
    fn poll_network(&mut self) -> Result<(), Error> {
        self.network.poll(Instant::now());
        while let Some(event) = self.network.next_event() {
            match event {
                NetworkEvent::Response(node, response) => self.handle_response(node, response)?,
                NetworkEvent::Disconnected(tags) => {
                    for tag in tags {
                        self.disconnected(tag);
                    }
                }
            }
        }
        self.report_availability();
        self.metadata.poll(&mut self.network, Tag::Metadata);
        self.poll_membership()?;
        self.poll_transaction()?;
        self.look_up_offsets();
        self.fetcher
            .send_fetches(&mut self.network, &mut self.metadata, Tag::Fetch);
        Ok(())
    }

    fn report_availability(&mut self) {
        if !self.is_unavailable && self.metadata.is_unavailable(&self.network) {
            self.is_unavailable = true;
            let reason = self.network.last_error().to_owned();
            self.events.push_back(ConsumerEvent::Unavailable(reason));
        } else if self.is_unavailable && self.network.any_ready() {
            self.is_unavailable = false;
            self.events.push_back(ConsumerEvent::Available);
        }
    }

    fn poll_transaction(&mut self) -> Result<(), Error> {
        let (Some(committer), Some(coordinator)) = (&mut self.committer, &mut self.coordinator)
        else {
            return Ok(());
        };
        if !committer.has_work() {
            return Ok(());
        }
        let node = coordinator.connect(&mut self.network, &self.metadata, Tag::Coordinator);
        let tags = CommitTags {
            find_coordinator: Tag::TransactionCoordinator,
            request: Tag::Transaction,
        };
        committer.poll(
            &mut self.network,
            &self.metadata,
            (coordinator, node),
            &self.topics,
            tags,
        )
    }

    /// Returns when a request is due even if nothing arrives before.
    fn next_poll(&self) -> Option<Instant> {
        let committer = self.committer.as_ref();
        [
            self.membership.next_poll(),
            self.coordinator.as_ref().and_then(Coordinator::next_poll),
            self.metadata.next_poll(&self.network),
            self.fetcher.positions.next_poll(),
            committer.and_then(TransactionCommitter::next_poll),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Aborts the open transaction; otherwise readers would wait for it until its timeout.
    fn abort_transaction(&mut self) {
        let committer = self.committer.as_ref();
        let Some((node, address, request)) =
            committer.and_then(|committer| committer.abort_request(&self.metadata))
        else {
            return;
        };
        if self.network.connect(node, address) {
            let deadline = Instant::now() + CLOSE_TIMEOUT;
            if let Err(error) = self.network.call(node, &request, Tag::Call, deadline) {
                log::debug!(
                    "cannot abort the open transaction: {error}, the coordinator aborts it at its timeout"
                );
            }
        }
    }
}

impl crate::client::Consumer for Consumer {
    fn prepare(&mut self) -> Result<(), NotReady> {
        let names = self.topics.all();
        admin::provision(
            &mut self.network,
            &mut self.metadata,
            Tag::Call,
            &names,
            &self.topic_settings,
        )?;
        if let Some(committer) = &mut self.committer {
            committer.init_transactions(&mut self.network, &mut self.metadata, Tag::Call)?;
        }
        // Events of earlier attempts are outdated: they were reported as the reasons of `NotReady`.
        self.events.clear();
        self.is_unavailable = false;
        if let Membership::Manual(share) = self.membership {
            self.assign_manually(share);
        }
        Ok(())
    }

    fn poll(
        &mut self,
        timeout: Duration,
        mut handle: impl FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        loop {
            self.poll_network()?;
            if !self.events.is_empty() {
                return Ok(());
            }
            if self.fetcher.has_records() {
                return self.fetcher.deliver(&mut self.network, &mut handle);
            }
            if Instant::now() >= deadline {
                return Ok(());
            }
            let next_poll = self.next_poll();
            self.network
                .wait(next_poll.map_or(deadline, |at| at.min(deadline)));
        }
    }

    fn poll_group(&mut self) -> Result<(), Error> {
        self.poll_network()
    }

    fn lags(&self) -> Vec<(TopicPartition, u64)> {
        self.fetcher.lags()
    }

    fn next_event(&mut self) -> Option<ConsumerEvent> {
        self.events.pop_front()
    }

    fn pause(&mut self) -> Result<(), Error> {
        self.fetcher.is_paused = true;
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Error> {
        self.fetcher.is_paused = false;
        Ok(())
    }

    fn prepare_commit(&mut self) -> Result<(), Error> {
        if let Some(committer) = &mut self.committer {
            committer.prepare_commit();
        }
        self.poll_network()
    }

    fn commit(&mut self, offsets: &[NextOffset]) -> Result<(), Error> {
        let identity = self.membership.identity();
        if let Some(committer) = &mut self.committer {
            if !committer.is_committing() {
                committer.commit(identity, offsets.to_vec());
            }
            return Ok(());
        }
        self.commit_offsets(offsets);
        Ok(())
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.fetcher.remove(partitions);
        if let Some(offsets) = &mut self.queued_commit {
            offsets.retain(|(partition, _)| !partitions.contains(partition));
        }
        self.membership.release(partitions);
        Ok(())
    }

    fn close(mut self) {
        self.abort_transaction();
        self.leave_group();
    }
}
