//! Ends transactions: puts the offsets into the open one and commits it, step by step and each step until it is done. The consumer has it;
//! what the producers have of a transaction is in `produce/transaction_manager.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest,
    TransactionalId, TxnOffsetCommitRequest,
};

use super::admin::{self, RESPONSE_TIMEOUT};
use super::backoff::backoff;
use super::coordinator::{Coordinator, MemberIdentity};
use super::error_name::kafka_name;
use super::metadata::Metadata;
use super::network::{Network, Node};
use super::request::{group_by_topic, text, topic_name};
use crate::client::Error;
use crate::client::NotReady;
use crate::client::Topics;
use crate::client::settings::BackoffRange;
use crate::client::transaction::Transaction;
use crate::throttle::{Throttle, WARNING_INTERVAL};
use crate::topic_partition::NextOffset;

/// How long what is not ready yet for the open transaction is waited for, at first and at most: most often the one before is quite over in a
/// moment. Java's producer waits for the longest time at once.
pub(super) const CONCURRENT_BACKOFF: BackoffRange = BackoffRange {
    initial: Duration::from_millis(1),
    max: Duration::from_millis(20),
};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The transaction's coordinator: that offsets of the group belong to it.
    AddOffsets,
    /// The group's coordinator: to take the offsets, for when the transaction is committed.
    Offsets,
    /// The transaction's coordinator: to commit it.
    End,
}

/// What an error means for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is done.
    Done,
    /// It is asked again after a moment: the transaction before is not quite over.
    Soon,
    /// It is asked again after the back-off, of another coordinator where this one is none.
    Again {
        /// The coordinator is looked for again.
        moved: bool,
    },
    /// The transaction cannot be committed any more: by the group, this member has nothing to commit, or by the coordinator, another
    /// producer has this id, or too much time has passed.
    Aborted,
    /// Nothing that waiting or beginning anew would heal.
    Final,
}

/// What this error means.
pub(super) fn outcome(code: i16) -> Outcome {
    use ResponseError as E;
    match ResponseError::try_from_code(code) {
        None => Outcome::Done,
        Some(E::ConcurrentTransactions) => Outcome::Soon,
        Some(E::NotCoordinator | E::CoordinatorNotAvailable) => Outcome::Again { moved: true },
        Some(
            E::CoordinatorLoadInProgress
            | E::RequestTimedOut
            | E::UnknownTopicOrPartition
            | E::OperationNotAttempted
            | E::NotLeaderOrFollower
            | E::NetworkException,
        ) => Outcome::Again { moved: false },
        Some(
            E::TransactionalIdAuthorizationFailed
            | E::GroupAuthorizationFailed
            | E::TopicAuthorizationFailed
            | E::ClusterAuthorizationFailed
            | E::FencedInstanceId
            | E::InvalidGroupId
            | E::UnsupportedVersion
            | E::UnsupportedForMessageFormat,
        ) => Outcome::Final,
        Some(_) => Outcome::Aborted,
    }
}

/// What an answer says, in words.
pub(super) fn describe(what: &str, partition: Option<&str>, code: i16) -> String {
    let words = ResponseError::try_from_code(code)
        .map_or_else(String::new, |error| kafka_name(error).to_string());
    match partition {
        Some(partition) => format!("{what}, {partition}: {words}"),
        None => format!("{what}: {words}"),
    }
}

/// Transaction failed, as an error that has its pipeline begun anew, or ends it. `partition` is what the answer blames, where it does.
pub(super) fn failure(what: &str, partition: Option<&str>, code: i16) -> Error {
    let reason = describe(what, partition, code);
    if outcome(code) == Outcome::Final {
        Error::Kafka {
            operation: "transaction",
            reason,
        }
    } else {
        Error::Aborted(reason)
    }
}

/// See the module.
pub(super) struct Committer {
    transaction: Arc<Transaction>,
    pub(super) coordinator: Coordinator,
    /// A commit will follow.
    is_announced: bool,
    /// What is being committed, and as whom; none where no commit is under way.
    offsets: Option<(MemberIdentity, Vec<NextOffset>)>,
    step: Step,
    is_asked: bool,
    not_before: Option<Instant>,
    failures: u32,
    warnings: Throttle,
}

impl Committer {
    pub(super) fn new(transaction: &Arc<Transaction>) -> Self {
        Self {
            transaction: transaction.clone(),
            coordinator: Coordinator::for_transaction(&transaction.id),
            is_announced: false,
            offsets: None,
            step: Step::AddOffsets,
            is_asked: false,
            not_before: None,
            failures: 0,
            warnings: Throttle::new(WARNING_INTERVAL),
        }
    }

    fn id(&self) -> TransactionalId {
        TransactionalId(text(&self.transaction.id))
    }

    fn producer(&self) -> (i64, i16) {
        self.transaction.identity().unwrap_or((-1, -1))
    }

    /// Asks for producer id and epoch, which ends what an earlier producer of this transactional id has left open, and fences it.
    pub(super) fn initialise<T: Copy + PartialEq>(
        &mut self,
        network: &mut Network<T>,
        cluster: &mut Metadata,
        tag: T,
    ) -> Result<(), NotReady> {
        let waiting = |reason: String| NotReady::Waiting(format!("transaction: {reason}"));
        let failed = |reason: String| {
            NotReady::Failed(Error::Kafka {
                operation: "transaction",
                reason,
            })
        };
        if self.transaction.identity().is_some() {
            return Ok(());
        }
        let any = admin::connect(network, cluster)?;
        network
            .version::<TxnOffsetCommitRequest>(any)
            .map_err(|reason| {
                failed(format!(
                    "exactly once: {reason}, which Kafka 2.5 brought (KIP-447)"
                ))
            })?;
        let until = Instant::now() + RESPONSE_TIMEOUT;
        let answer = network
            .call::<FindCoordinatorRequest>(any, &self.coordinator.find_request(), tag, until)
            .map_err(waiting)?;
        self.coordinator
            .handle_response(network, cluster, &answer)
            .map_err(failed)?;
        let peer = loop {
            match self.coordinator.node(cluster) {
                None => {
                    let code = answer.error_code;
                    let error = ResponseError::try_from_code(code);
                    return Err(waiting(format!("coordinator: {error:?}")));
                }
                Some((peer, address)) if network.connect(peer, address) => break peer,
                Some((peer, _))
                    if Instant::now() >= until || network.connect_failures(peer) > 0 =>
                {
                    return Err(waiting(network.last_error().to_owned()));
                }
                Some(_) => network.poll(until),
            }
        };
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(self.id()))
            .with_transaction_timeout_ms(self.transaction.timeout_ms)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let answer = network.call(peer, &request, tag, until).map_err(waiting)?;
        match ResponseError::try_from_code(answer.error_code) {
            None => {
                let identity = (answer.producer_id.0, answer.producer_epoch);
                log::info!(
                    "transactional.id {}: producer {}, epoch {}",
                    self.transaction.id,
                    identity.0,
                    identity.1
                );
                self.transaction.identify(identity);
                Ok(())
            }
            Some(error) if outcome(answer.error_code) == Outcome::Final => {
                Err(failed(error.to_string()))
            }
            Some(error @ ResponseError::InvalidTransactionTimeout) => Err(failed(format!(
                "{error}: transaction.timeout.ms={} is more than the broker's transaction.max.timeout.ms",
                self.transaction.timeout_ms
            ))),
            Some(error) => Err(waiting(error.to_string())),
        }
    }

    /// Whether a commit is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.offsets.is_some()
    }

    /// Whether there is something to ask, now or later. Of a commit that is announced it is what does not need its offsets.
    pub(super) fn has_work(&self) -> bool {
        self.is_busy() || self.is_announced && self.step == Step::AddOffsets
    }

    /// The open transaction will be committed.
    pub(super) fn announce(&mut self) {
        self.is_announced = true;
    }

    /// Begins to commit the open transaction with these offsets.
    pub(super) fn begin(&mut self, identity: MemberIdentity, offsets: Vec<NextOffset>) {
        self.offsets = Some((identity, offsets));
    }

    /// When there is something to do that no answer brings about.
    pub(super) fn due(&self) -> Option<Instant> {
        self.not_before
            .filter(|_| self.has_work() && !self.is_asked)
    }

    /// Asks what is due, where there is work. `coordinators` is the tag for looking for the transaction's coordinator.
    pub(super) fn poll<T>(
        &mut self,
        network: &mut Network<T>,
        cluster: &Metadata,
        (group, group_peer): (&Coordinator, Option<Node>),
        topics: &Topics,
        (coordinators, tag): (T, impl Fn(Step) -> T),
    ) -> Result<(), Error> {
        let now = Instant::now();
        if self.is_asked || self.not_before.is_some_and(|at| now < at) {
            return Ok(());
        }
        let (producer_id, epoch) = self.producer();
        let tag = tag(self.step);
        match self.step {
            Step::AddOffsets => {
                let request = AddOffsetsToTxnRequest::default()
                    .with_transactional_id(self.id())
                    .with_producer_id(producer_id.into())
                    .with_producer_epoch(epoch)
                    .with_group_id(group.group_id());
                let Some(peer) = self.coordinator.connect(network, cluster, coordinators) else {
                    return Ok(());
                };
                network.send(peer, &request, tag);
            }
            Step::Offsets => {
                let (Some(peer), Some((identity, offsets))) = (group_peer, &self.offsets) else {
                    return Ok(());
                };
                let request = TxnOffsetCommitRequest::default()
                    .with_transactional_id(self.id())
                    .with_group_id(group.group_id())
                    .with_producer_id(producer_id.into())
                    .with_producer_epoch(epoch)
                    .with_generation_id(identity.generation)
                    .with_member_id(text(&identity.member_id))
                    .with_group_instance_id(identity.instance_id.as_deref().map(text))
                    .with_topics(offsets_by_topic(topics, offsets));
                network
                    .version::<TxnOffsetCommitRequest>(peer)
                    .map_err(|reason| Error::Kafka {
                        operation: "transaction",
                        reason,
                    })?;
                network.send(peer, &request, tag);
            }
            Step::End => {
                let request = EndTxnRequest::default()
                    .with_transactional_id(self.id())
                    .with_producer_id(producer_id.into())
                    .with_producer_epoch(epoch)
                    .with_committed(true);
                let Some(peer) = self.coordinator.connect(network, cluster, coordinators) else {
                    return Ok(());
                };
                network.send(peer, &request, tag);
            }
        }
        self.is_asked = true;
        Ok(())
    }

    /// A step is handle_response, with the first of the errors in it and the partition that it is about, if it is about one. When that was the last
    /// step: what is committed now.
    pub(super) fn handle_response<T>(
        &mut self,
        network: &Network<T>,
        step: Step,
        code: i16,
        partition: Option<&str>,
    ) -> Result<Option<Vec<NextOffset>>, Error> {
        if step != self.step || !self.is_asked {
            return Ok(None);
        }
        self.is_asked = false;
        match outcome(code) {
            Outcome::Done => {
                self.failures = 0;
                self.not_before = None;
                match step {
                    Step::AddOffsets => self.step = Step::Offsets,
                    Step::Offsets => self.step = Step::End,
                    Step::End => {
                        self.step = Step::AddOffsets;
                        self.is_announced = false;
                        self.transaction.next();
                        return Ok(self.offsets.take().map(|(_, offsets)| offsets));
                    }
                }
                Ok(None)
            }
            Outcome::Soon => {
                self.wait(CONCURRENT_BACKOFF);
                Ok(None)
            }
            Outcome::Again { moved } => {
                if let Some(suppressed) = self.warnings.admit(Instant::now()) {
                    let what = describe(step.name(), partition, code);
                    log::warn!(
                        "{what}; trying again ({suppressed} more like this since the last line)"
                    );
                }
                // The group's coordinator is the consumer's to look for.
                if moved && step != Step::Offsets {
                    self.coordinator.mark_unknown(network);
                }
                self.wait(network.settings().retry_backoff);
                Ok(None)
            }
            Outcome::Aborted | Outcome::Final => Err(failure(step.name(), partition, code)),
        }
    }

    /// A step will not be handle_response: whether it was done is not known, and asking again does not do it twice.
    pub(super) fn disconnected<T>(&mut self, network: &Network<T>) {
        self.is_asked = false;
        self.wait(network.settings().retry_backoff);
    }

    fn wait(&mut self, range: BackoffRange) {
        self.not_before = Some(Instant::now() + backoff(range, self.failures));
        self.failures = self.failures.saturating_add(1);
    }

    /// Gives up what is open, so that nobody has to wait for its timeout; none where nothing can be asked now.
    pub(super) fn abort(&self, cluster: &Metadata) -> Option<(i32, String, EndTxnRequest)> {
        let (producer_id, epoch) = self.transaction.identity()?;
        let (Node::Coordinator(broker), address) = self.coordinator.node(cluster)? else {
            return None;
        };
        let request = EndTxnRequest::default()
            .with_transactional_id(self.id())
            .with_producer_id(producer_id.into())
            .with_producer_epoch(epoch)
            .with_committed(false);
        Some((broker, address.to_owned(), request))
    }
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::AddOffsets => "AddOffsetsToTxn",
            Self::Offsets => "TxnOffsetCommit",
            Self::End => "EndTxn",
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes() {
        for (error, expected) in [
            (ResponseError::ConcurrentTransactions, Outcome::Soon),
            (
                ResponseError::NotCoordinator,
                Outcome::Again { moved: true },
            ),
            (
                ResponseError::CoordinatorLoadInProgress,
                Outcome::Again { moved: false },
            ),
            (ResponseError::IllegalGeneration, Outcome::Aborted),
            (ResponseError::UnknownMemberId, Outcome::Aborted),
            (ResponseError::RebalanceInProgress, Outcome::Aborted),
            (ResponseError::InvalidProducerEpoch, Outcome::Aborted),
            (ResponseError::ProducerFenced, Outcome::Aborted),
            (ResponseError::InvalidTxnState, Outcome::Aborted),
            (ResponseError::Unknown(1000), Outcome::Aborted),
            (ResponseError::FencedInstanceId, Outcome::Final),
            (
                ResponseError::TransactionalIdAuthorizationFailed,
                Outcome::Final,
            ),
        ] {
            assert_eq!(outcome(error.code()), expected, "{error}");
            let aborted = matches!(failure("EndTxn", None, error.code()), Error::Aborted(_));
            assert_eq!(aborted, expected != Outcome::Final, "{error}");
        }
        assert_eq!(outcome(0), Outcome::Done);
    }
}
