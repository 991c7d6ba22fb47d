//! Commits transactions together with the offsets of the group (KIP-98, KIP-447): AddOffsetsToTxn, TxnOffsetCommit and EndTxn, each sent
//! until it succeeds. Runs on the consumer thread. The producers add their partitions to the transaction themselves (`produce`).

use std::sync::Arc;
use std::time::Instant;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest,
    TransactionalId, TxnOffsetCommitRequest,
};

use super::admin::{self, RESPONSE_TIMEOUT};
use super::backoff::Backoff;
use super::coordinator::{Coordinator, MemberIdentity};
use super::metadata::Metadata;
use super::network::{Network, Node};
use super::protocol::SupportedRequest;
use super::request::{group_by_topic, text, topic_name};
use super::transaction_error::{
    CONCURRENT_BACKOFF, TransactionErrorClass, error_message, transaction_error,
    transaction_failure,
};
use crate::client::NotReady;
use crate::client::error::Error;
use crate::client::topics::Topics;
use crate::client::transaction::Transaction;
use crate::throttle::{Throttle, WARNING_INTERVAL, more_suppressed};
use crate::topic_partition::NextOffset;

/// The requests of a commit, in the order in which they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransactionRequest {
    /// To the transaction coordinator: adds the group's offsets partition to the transaction.
    AddOffsetsToTxn,
    /// To the group coordinator: stores the offsets, which become visible when the transaction is committed.
    TxnOffsetCommit,
    /// To the transaction coordinator: commits the transaction.
    EndTxn,
}

impl TransactionRequest {
    fn name(self) -> &'static str {
        match self {
            Self::AddOffsetsToTxn => AddOffsetsToTxnRequest::NAME,
            Self::TxnOffsetCommit => TxnOffsetCommitRequest::NAME,
            Self::EndTxn => EndTxnRequest::NAME,
        }
    }
}

/// Tags for the requests that [`TransactionCommitter::poll`] sends.
pub(super) struct CommitTags<T, F: Fn(TransactionRequest) -> T> {
    /// Tag of FindCoordinator for the transactional id.
    pub(super) find_coordinator: T,
    /// Tag of a request of the commit.
    pub(super) request: F,
}

/// Commits the transactions of one transactional id.
pub(super) struct TransactionCommitter {
    transaction: Arc<Transaction>,
    /// The transaction coordinator.
    pub(super) coordinator: Coordinator,
    /// A commit will follow, so that AddOffsetsToTxn can be sent already.
    is_prepared: bool,
    /// Offsets of the commit in progress, with the member identity to commit them under.
    offsets: Option<(MemberIdentity, Vec<NextOffset>)>,
    /// The request that is in flight or sent next.
    next: TransactionRequest,
    is_in_flight: bool,
    backoff: Backoff,
    warnings: Throttle,
}

impl TransactionCommitter {
    pub(super) fn new(transaction: &Arc<Transaction>) -> Self {
        Self {
            transaction: transaction.clone(),
            coordinator: Coordinator::for_transaction(&transaction.id),
            is_prepared: false,
            offsets: None,
            next: TransactionRequest::AddOffsetsToTxn,
            is_in_flight: false,
            backoff: Backoff::default(),
            warnings: Throttle::new(WARNING_INTERVAL),
        }
    }

    fn transactional_id(&self) -> TransactionalId {
        TransactionalId(text(&self.transaction.id))
    }

    /// Initializes the transactional id: InitProducerId aborts the open transaction of an earlier producer with this id, fences that
    /// producer, and returns producer id and epoch. Blocks until the responses arrive.
    pub(super) fn init_transactions<T: Copy + PartialEq>(
        &mut self,
        network: &mut Network<T>,
        metadata: &mut Metadata,
        tag: T,
    ) -> Result<(), NotReady> {
        if self.transaction.producer_identity().is_some() {
            return Ok(());
        }
        let any = admin::connect(network, metadata)?;
        network
            .version::<TxnOffsetCommitRequest>(any)
            .map_err(|reason| {
                failed(format!(
                    "exactly once requires Kafka 2.5 (KIP-447): {reason}"
                ))
            })?;
        let deadline = Instant::now() + RESPONSE_TIMEOUT;
        let node = self.connect_coordinator(network, metadata, any, tag, deadline)?;
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(self.transactional_id()))
            .with_transaction_timeout_ms(self.transaction.timeout_ms)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let response = network
            .call(node, &request, tag, deadline)
            .map_err(waiting)?;
        let Some(error) = ResponseError::try_from_code(response.error_code) else {
            let identity = (response.producer_id.0, response.producer_epoch);
            log::info!(
                "initialized transactional.id {}: producer id {}, epoch {}",
                self.transaction.id,
                identity.0,
                identity.1
            );
            self.transaction.set_producer_identity(identity);
            return Ok(());
        };
        let reason = error_message(InitProducerIdRequest::NAME, None, error);
        Err(match error {
            ResponseError::InvalidTransactionTimeout => failed(format!(
                "{reason}: transaction.timeout.ms={} exceeds the broker's transaction.max.timeout.ms",
                self.transaction.timeout_ms
            )),
            _ if TransactionErrorClass::of(error) == TransactionErrorClass::Fatal => failed(reason),
            _ => waiting(reason),
        })
    }

    /// Finds the transaction coordinator through the node `any` and connects to it.
    fn connect_coordinator<T: Copy + PartialEq>(
        &mut self,
        network: &mut Network<T>,
        metadata: &mut Metadata,
        any: Node,
        tag: T,
        deadline: Instant,
    ) -> Result<Node, NotReady> {
        let response = network
            .call::<FindCoordinatorRequest>(any, &self.coordinator.find_request(), tag, deadline)
            .map_err(waiting)?;
        self.coordinator
            .handle_response(network, metadata, &response)
            .map_err(failed)?;
        loop {
            let Some((node, address)) = self.coordinator.node(metadata) else {
                // A response without an error names the coordinator.
                let error = ResponseError::try_from_code(response.error_code)
                    .unwrap_or(ResponseError::CoordinatorNotAvailable);
                let reason = error_message(FindCoordinatorRequest::NAME, None, error);
                return Err(waiting(reason));
            };
            if network.connect(node, address) {
                return Ok(node);
            }
            if Instant::now() >= deadline || network.connect_failures(node) > 0 {
                return Err(waiting(network.last_error().to_owned()));
            }
            network.poll(deadline);
        }
    }

    /// Returns whether a commit is running.
    pub(super) fn is_committing(&self) -> bool {
        self.offsets.is_some()
    }

    /// Returns whether there is a request to send or in flight. A prepared commit only has AddOffsetsToTxn before its offsets are known.
    pub(super) fn has_work(&self) -> bool {
        self.is_committing() || self.is_prepared && self.next == TransactionRequest::AddOffsetsToTxn
    }

    /// Announces a commit of the open transaction.
    pub(super) fn prepare_commit(&mut self) {
        self.is_prepared = true;
    }

    /// Starts to commit the open transaction with these offsets.
    pub(super) fn commit(&mut self, identity: MemberIdentity, offsets: Vec<NextOffset>) {
        self.offsets = Some((identity, offsets));
    }

    /// Returns when [`TransactionCommitter::poll`] has something to send.
    pub(super) fn next_poll(&self) -> Option<Instant> {
        let own = self
            .backoff
            .until()
            .filter(|_| self.has_work() && !self.is_in_flight);
        own.or_else(|| self.coordinator.next_poll())
    }

    /// Sends the next request if there is work. `group_node` is the group coordinator's node if it is ready.
    pub(super) fn poll<T, F: Fn(TransactionRequest) -> T>(
        &mut self,
        network: &mut Network<T>,
        metadata: &Metadata,
        (group, group_node): (&Coordinator, Option<Node>),
        topics: &Topics,
        tags: CommitTags<T, F>,
    ) -> Result<(), Error> {
        if self.is_in_flight || self.backoff.is_waiting(Instant::now()) {
            return Ok(());
        }
        let (producer_id, epoch) = self.transaction.producer_identity().unwrap_or((-1, -1));
        let tag = (tags.request)(self.next);
        match self.next {
            TransactionRequest::AddOffsetsToTxn => {
                let request = AddOffsetsToTxnRequest::default()
                    .with_transactional_id(self.transactional_id())
                    .with_producer_id(producer_id.into())
                    .with_producer_epoch(epoch)
                    .with_group_id(group.group_id());
                let coordinator = &mut self.coordinator;
                let Some(node) = coordinator.connect(network, metadata, tags.find_coordinator)
                else {
                    return Ok(());
                };
                network.send(node, &request, tag);
            }
            TransactionRequest::TxnOffsetCommit => {
                let (Some(node), Some((identity, offsets))) = (group_node, &self.offsets) else {
                    return Ok(());
                };
                let request = TxnOffsetCommitRequest::default()
                    .with_transactional_id(self.transactional_id())
                    .with_group_id(group.group_id())
                    .with_producer_id(producer_id.into())
                    .with_producer_epoch(epoch)
                    .with_generation_id(identity.generation)
                    .with_member_id(text(&identity.member_id))
                    .with_group_instance_id(identity.instance_id.as_deref().map(text))
                    .with_topics(offsets_by_topic(topics, offsets));
                network
                    .version::<TxnOffsetCommitRequest>(node)
                    .map_err(transaction_failure)?;
                network.send(node, &request, tag);
            }
            TransactionRequest::EndTxn => {
                let request = self.end_request((producer_id, epoch), true);
                let coordinator = &mut self.coordinator;
                let Some(node) = coordinator.connect(network, metadata, tags.find_coordinator)
                else {
                    return Ok(());
                };
                network.send(node, &request, tag);
            }
        }
        self.is_in_flight = true;
        Ok(())
    }

    /// Builds the request that commits or aborts the transaction.
    fn end_request(&self, (producer_id, epoch): (i64, i16), commits: bool) -> EndTxnRequest {
        EndTxnRequest::default()
            .with_transactional_id(self.transactional_id())
            .with_producer_id(producer_id.into())
            .with_producer_epoch(epoch)
            .with_committed(commits)
    }

    /// Handles the response to a request, with its first error and the partition that the error is about.
    /// Returns the committed offsets when the commit is complete.
    pub(super) fn handle_response<T>(
        &mut self,
        network: &Network<T>,
        request: TransactionRequest,
        error: Option<ResponseError>,
        partition: Option<&str>,
    ) -> Result<Option<Vec<NextOffset>>, Error> {
        if request != self.next || !self.is_in_flight {
            return Ok(None);
        }
        self.is_in_flight = false;
        let Some(error) = error else {
            self.backoff.reset();
            return Ok(self.succeeded(request));
        };
        match TransactionErrorClass::of(error) {
            TransactionErrorClass::Concurrent => {
                self.backoff.fail(Instant::now(), CONCURRENT_BACKOFF);
                Ok(None)
            }
            TransactionErrorClass::Retriable { coordinator_moved } => {
                let now = Instant::now();
                if let Some(suppressed) = self.warnings.admit(now) {
                    let message = error_message(request.name(), partition, error);
                    log::warn!("{message}, retrying{}", more_suppressed(suppressed));
                }
                // The consumer looks up the group coordinator.
                if coordinator_moved && request != TransactionRequest::TxnOffsetCommit {
                    self.coordinator.mark_unknown(network);
                }
                self.backoff.fail(now, network.settings().retry_backoff);
                Ok(None)
            }
            TransactionErrorClass::Abortable | TransactionErrorClass::Fatal => {
                Err(transaction_error(request.name(), partition, error))
            }
        }
    }

    /// Goes on to the request after `request`, which succeeded. Returns the committed offsets after the last one.
    fn succeeded(&mut self, request: TransactionRequest) -> Option<Vec<NextOffset>> {
        match request {
            TransactionRequest::AddOffsetsToTxn => {
                self.next = TransactionRequest::TxnOffsetCommit;
                None
            }
            TransactionRequest::TxnOffsetCommit => {
                self.next = TransactionRequest::EndTxn;
                None
            }
            TransactionRequest::EndTxn => {
                self.next = TransactionRequest::AddOffsetsToTxn;
                self.is_prepared = false;
                self.transaction.advance();
                self.offsets.take().map(|(_, offsets)| offsets)
            }
        }
    }

    /// Handles a request that gets no response: sends it again, because each of them is idempotent.
    pub(super) fn disconnected<T>(&mut self, network: &Network<T>) {
        self.is_in_flight = false;
        self.backoff
            .fail(Instant::now(), network.settings().retry_backoff);
    }

    /// Returns the request that aborts the open transaction, with the coordinator's node and address; `None` if the coordinator is not
    /// known. Without it, `read_committed` consumers wait until the transaction times out.
    pub(super) fn abort_request<'a>(
        &self,
        metadata: &'a Metadata,
    ) -> Option<(Node, &'a str, EndTxnRequest)> {
        let identity = self.transaction.producer_identity()?;
        let (node, address) = self.coordinator.node(metadata)?;
        Some((node, address, self.end_request(identity, false)))
    }
}

fn waiting(reason: String) -> NotReady {
    NotReady::Waiting(format!("transaction: {reason}"))
}

fn failed(reason: String) -> NotReady {
    NotReady::Failed(transaction_failure(reason))
}

fn offsets_by_topic(topics: &Topics, offsets: &[NextOffset]) -> Vec<TxnOffsetCommitRequestTopic> {
    let offsets = offsets.iter().map(|&(partition, next)| {
        let offset = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(partition.partition)
            .with_committed_offset(next)
            .with_committed_leader_epoch(-1)
            .with_committed_metadata(Some(text("")));
        (partition.topic, offset)
    });
    group_by_topic(offsets, |topic, partitions| {
        TxnOffsetCommitRequestTopic::default()
            .with_name(topic_name(topics.input(topic)))
            .with_partitions(partitions)
    })
}
