//! What a producer has of a transaction: a partition that something is sent to must have been added to it before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, FindCoordinatorRequest, TransactionalId,
};

use super::{Producer, Tag};
use crate::client::Error;
use crate::client::native::backoff::backoff;
use crate::client::native::coordinator::Coordinator;
use crate::client::native::network::Node;
use crate::client::native::request::{group_by_topic, text, topic_name};
use crate::client::native::response::Response;
use crate::client::native::transaction::{CONCURRENT_BACKOFF, Outcome, describe, failure, outcome};
use crate::client::transaction::Transaction;

/// See the module.
#[derive(Debug)]
pub(super) struct TransactionManager {
    pub(super) transaction: Arc<Transaction>,
    coordinator: Coordinator,
    /// The lines that it was asked for.
    asked: Option<Vec<usize>>,
    pub(super) not_before: Option<Instant>,
    failures: u32,
}

impl TransactionManager {
    pub(super) fn new(transaction: &Arc<Transaction>) -> Self {
        Self {
            transaction: transaction.clone(),
            coordinator: Coordinator::for_transaction(&transaction.id),
            asked: None,
            not_before: None,
            failures: 0,
        }
    }

    /// Nothing is added yet: it is asked again after a while.
    fn wait(&mut self, now: Instant, (first, longest): (Duration, Duration)) {
        self.asked = None;
        self.not_before = Some(now + backoff(first, longest, self.failures));
        self.failures = self.failures.saturating_add(1);
    }
}

impl Producer {
    /// Asks for what is to be added.
    pub(super) fn add_partitions(&mut self, now: Instant) {
        let Some(manager) = &mut self.transaction else {
            return;
        };
        let number = manager.transaction.number();
        let wanted = |queue: &super::partition_queue::PartitionQueue| {
            queue.transaction < number && !queue.is_idle()
        };
        if manager.asked.is_some()
            || manager.not_before.is_some_and(|at| now < at)
            || !self.queues.iter().any(wanted)
        {
            return;
        }
        let Some((producer_id, epoch)) = manager.transaction.identity() else {
            return;
        };
        let Some(peer) =
            manager
                .coordinator
                .connect(&mut self.network, &self.metadata, Tag::Coordinator)
        else {
            return;
        };
        let queues = self
            .queues
            .iter()
            .enumerate()
            .filter(|(_, queue)| wanted(queue));
        let queues: Vec<usize> = queues.map(|(index, _)| index).collect();
        let partitions = queues.iter().filter_map(|&index| self.queues.get(index));
        let mut partitions: Vec<_> = partitions
            .map(|queue| (self.topics.output(queue.output), queue.partition))
            .collect();
        partitions.sort_unstable();
        let topics = group_by_topic(partitions, |name, partitions| {
            AddPartitionsToTxnTopic::default()
                .with_name(topic_name(name))
                .with_partitions(partitions)
        });
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(text(&manager.transaction.id)))
            .with_v3_and_below_producer_id(producer_id.into())
            .with_v3_and_below_producer_epoch(epoch)
            .with_v3_and_below_topics(topics);
        manager.asked = Some(queues);
        self.network.send(peer, &request, Tag::Partitions);
    }

    pub(super) fn coordinator_answered(
        &mut self,
        peer: Node,
        response: &Response<Tag>,
    ) -> Result<(), Error> {
        let Some(manager) = &mut self.transaction else {
            return Ok(());
        };
        match response.decode::<FindCoordinatorRequest>() {
            Ok(answer) => manager
                .coordinator
                .handle_response(&self.network, &mut self.metadata, &answer)
                .map_err(super::failure),
            Err(error) => {
                manager.coordinator.disconnected(&self.network);
                self.network.disconnect(peer, &error.to_string());
                Ok(())
            }
        }
    }

    pub(super) fn coordinator_unanswered(&mut self) {
        if let Some(manager) = &mut self.transaction {
            manager.coordinator.disconnected(&self.network);
        }
    }

    /// The partitions are added, or not.
    pub(super) fn partitions_answered(
        &mut self,
        peer: Node,
        response: &Response<Tag>,
        now: Instant,
    ) -> Result<(), Error> {
        let Ok(answer) = response.decode::<AddPartitionsToTxnRequest>() else {
            self.partitions_unanswered(now);
            self.network
                .disconnect(peer, "an answer to AddPartitionsToTxn that cannot be read");
            return Ok(());
        };
        let Some(manager) = &mut self.transaction else {
            return Ok(());
        };
        let results = answer.results_by_topic_v3_and_below.iter();
        let results = results.flat_map(|topic| {
            let results = topic.results_by_partition.iter();
            results.map(move |result| (topic, result))
        });
        // One that is refused keeps the others from being added.
        let worst = results.max_by_key(|(_, result)| match outcome(result.partition_error_code) {
            Outcome::Done => 0,
            Outcome::Soon => 1,
            Outcome::Again { .. } => 2,
            Outcome::Aborted => 3,
            Outcome::Final => 4,
        });
        let code = worst.map_or(0, |(_, result)| result.partition_error_code);
        let partition = worst
            .filter(|_| code != 0)
            .map(|(topic, result)| format!("{}-{}", topic.name.as_str(), result.partition_index));
        match outcome(code) {
            Outcome::Done => {
                manager.failures = 0;
                manager.not_before = None;
                let number = manager.transaction.number();
                for index in manager.asked.take().unwrap_or_default() {
                    if let Some(queue) = self.queues.get_mut(index) {
                        queue.transaction = number;
                    }
                }
                Ok(())
            }
            Outcome::Soon => {
                manager.wait(now, CONCURRENT_BACKOFF);
                Ok(())
            }
            Outcome::Again { moved } => {
                if moved {
                    manager.coordinator.mark_unknown(&self.network);
                }
                let what = describe("AddPartitionsToTxn", partition.as_deref(), code);
                self.warn(now, &what);
                self.partitions_unanswered(now);
                Ok(())
            }
            Outcome::Aborted | Outcome::Final => {
                Err(failure("AddPartitionsToTxn", partition.as_deref(), code))
            }
        }
    }

    pub(super) fn partitions_unanswered(&mut self, now: Instant) {
        if let Some(manager) = &mut self.transaction {
            manager.wait(now, self.network.settings().retry_backoff);
        }
    }
}
