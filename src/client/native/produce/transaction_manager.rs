//! Runs on the producer thread: adds partitions to the open transaction (`AddPartitionsToTxn`, KIP-98), which the broker requires before the
//! first batch of a partition. The consumer thread begins and ends transactions, see `transaction_committer`.

use std::sync::Arc;
use std::time::Instant;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, FindCoordinatorResponse, TransactionalId,
};

use super::partition_queue::PartitionQueue;
use super::{Producer, RequestTag};
use crate::client::Error;
use crate::client::native::backoff::Backoff;
use crate::client::native::coordinator::Coordinator;
use crate::client::native::protocol::SupportedRequest;
use crate::client::native::request::{group_by_topic, text, topic_name};
use crate::client::native::transaction_error::{
    CONCURRENT_BACKOFF, TransactionErrorClass, error_message, transaction_error,
};
use crate::client::settings::BackoffRange;
use crate::client::transaction::Transaction;

#[derive(Debug)]
pub(super) struct TransactionManager {
    pub(super) transaction: Arc<Transaction>,
    coordinator: Coordinator,
    /// Indexes of the queues whose partitions are being added, while the request is in flight.
    requested: Option<Vec<usize>>,
    pub(super) backoff: Backoff,
}

impl TransactionManager {
    pub(super) fn new(transaction: &Arc<Transaction>) -> Self {
        Self {
            transaction: transaction.clone(),
            coordinator: Coordinator::for_transaction(&transaction.id),
            requested: None,
            backoff: Backoff::default(),
        }
    }

    /// The request failed: it is sent again after a back-off.
    fn back_off(&mut self, now: Instant, range: BackoffRange) {
        self.requested = None;
        self.backoff.fail(now, range);
    }
}

impl Producer {
    /// Requests that the partitions which have batches be added to the open transaction.
    pub(super) fn add_partitions(&mut self, now: Instant) {
        let Some(manager) = &mut self.transaction_manager else {
            return;
        };
        let queues = &self.accumulator.queues;
        let number = manager.transaction.number();
        let is_missing = |queue: &PartitionQueue| queue.transaction < number && !queue.is_empty();
        if manager.requested.is_some()
            || manager.backoff.is_waiting(now)
            || !queues.iter().any(is_missing)
        {
            return;
        }
        let Some((producer_id, epoch)) = manager.transaction.producer_identity() else {
            return;
        };
        let tag = RequestTag::FindCoordinator;
        let coordinator = &mut manager.coordinator;
        let Some(node) = coordinator.connect(&mut self.network, &self.metadata, tag) else {
            return;
        };
        let missing = queues.iter().enumerate();
        let missing = missing.filter(|(_, queue)| is_missing(queue));
        let (indexes, mut partitions): (Vec<usize>, Vec<(&str, i32)>) = missing
            .map(|(index, queue)| (index, (self.topics.output(queue.output), queue.partition)))
            .unzip();
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
        manager.requested = Some(indexes);
        self.network
            .send(node, &request, RequestTag::AddPartitionsToTxn);
    }

    pub(super) fn handle_coordinator_response(
        &mut self,
        response: &FindCoordinatorResponse,
    ) -> Result<(), Error> {
        let Some(manager) = &mut self.transaction_manager else {
            return Ok(());
        };
        manager
            .coordinator
            .handle_response(&self.network, &mut self.metadata, response)
            .map_err(super::failure)
    }

    pub(super) fn coordinator_disconnected(&mut self) {
        if let Some(manager) = &mut self.transaction_manager {
            manager.coordinator.disconnected(&self.network);
        }
    }

    pub(super) fn handle_add_partitions_response(
        &mut self,
        response: &AddPartitionsToTxnResponse,
        now: Instant,
    ) -> Result<(), Error> {
        let Some(manager) = &mut self.transaction_manager else {
            return Ok(());
        };
        let Some((error, partition)) = worst_error(response) else {
            manager.backoff.reset();
            let number = manager.transaction.number();
            for index in manager.requested.take().unwrap_or_default() {
                if let Some(queue) = self.accumulator.queues.get_mut(index) {
                    queue.transaction = number;
                }
            }
            return Ok(());
        };
        match TransactionErrorClass::of(error) {
            TransactionErrorClass::Concurrent => {
                manager.back_off(now, CONCURRENT_BACKOFF);
                Ok(())
            }
            TransactionErrorClass::Retriable { coordinator_moved } => {
                if coordinator_moved {
                    manager.coordinator.mark_unknown(&self.network);
                }
                let cause = error_message(AddPartitionsToTxnRequest::NAME, Some(&partition), error);
                self.warn(now, &format!("{cause}, retrying"));
                self.retry_add_partitions(now);
                Ok(())
            }
            TransactionErrorClass::Abortable | TransactionErrorClass::Fatal => Err(
                transaction_error(AddPartitionsToTxnRequest::NAME, Some(&partition), error),
            ),
        }
    }

    /// Sends the request again after a back-off.
    pub(super) fn retry_add_partitions(&mut self, now: Instant) {
        if let Some(manager) = &mut self.transaction_manager {
            manager.back_off(now, self.network.settings().retry_backoff);
        }
    }
}

/// Returns the worst error of a response and its partition, or `None` if there is none. Kafka adds no partition if one of them fails.
fn worst_error(response: &AddPartitionsToTxnResponse) -> Option<(ResponseError, String)> {
    let topics = response.results_by_topic_v3_and_below.iter();
    let errors = topics.flat_map(|topic| {
        let results = topic.results_by_partition.iter();
        results.filter_map(move |result| {
            let error = ResponseError::try_from_code(result.partition_error_code)?;
            Some((error, topic, result.partition_index))
        })
    });
    let worst = errors.max_by_key(|&(error, ..)| match TransactionErrorClass::of(error) {
        TransactionErrorClass::Concurrent => 0,
        TransactionErrorClass::Retriable { .. } => 1,
        TransactionErrorClass::Abortable => 2,
        TransactionErrorClass::Fatal => 3,
    });
    let (error, topic, partition) = worst?;
    Some((error, format!("{}-{partition}", topic.name.as_str())))
}
