//! Runs on the producer thread: handles responses and closed connections. Completes, retries or refuses the batches of produce responses.

use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse,
};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, MetadataRequest,
    ProduceRequest, ProduceResponse,
};

use super::error_class::ErrorClass;
use super::in_flight::RecordCount;
use super::{BatchId, Producer, RequestTag, failure};
use crate::client::Error;
use crate::client::batch::RefusalReason;
use crate::client::native::error_name::{kafka_name, with_message};
use crate::client::native::network::{NetworkEvent, Node};
use crate::client::native::response::{Response, ResponseFailure};
use crate::client::native::transaction_error::CONCURRENT_BACKOFF;
use crate::client::report;

/// Consecutive NOT_ENOUGH_REPLICAS of a transactional producer that are attributed to a busy coordinator, and not logged.
const BUSY_COORDINATOR_FAILURES: u32 = 8;

impl Producer {
    pub(super) fn handle_event(
        &mut self,
        event: NetworkEvent<RequestTag>,
        now: Instant,
    ) -> Result<(), Error> {
        match event {
            NetworkEvent::Response(node, response) => self.handle_response(node, &response, now),
            NetworkEvent::Disconnected(tags) => {
                self.metadata.request_update();
                for queue in &mut self.accumulator.queues {
                    queue.in_flight.connection_closed();
                }
                for tag in tags {
                    self.handle_disconnect(tag, now);
                }
                Ok(())
            }
        }
    }

    fn handle_response(
        &mut self,
        node: Node,
        response: &Response<RequestTag>,
        now: Instant,
    ) -> Result<(), Error> {
        match self.dispatch_response(node, response, now) {
            Ok(()) => Ok(()),
            Err(ResponseFailure::Fatal(error)) => Err(error),
            Err(ResponseFailure::Undecodable(error)) => {
                // The failure of a batch reports this error, so the connection is closed first.
                self.network.disconnect(node, &error.to_string());
                self.handle_disconnect(response.tag, now);
                Ok(())
            }
        }
    }

    fn dispatch_response(
        &mut self,
        node: Node,
        response: &Response<RequestTag>,
        now: Instant,
    ) -> Result<(), ResponseFailure> {
        match response.tag {
            RequestTag::Metadata => {
                let response = response.decode::<MetadataRequest>()?;
                self.metadata.handle_response(&self.network, &response);
            }
            RequestTag::InitProducerId => {
                let response = response.decode::<InitProducerIdRequest>()?;
                self.handle_producer_id_response(&response, now)?;
            }
            RequestTag::FindCoordinator => {
                let response = response.decode::<FindCoordinatorRequest>()?;
                self.handle_coordinator_response(&response)?;
            }
            RequestTag::AddPartitionsToTxn => {
                let response = response.decode::<AddPartitionsToTxnRequest>()?;
                self.handle_add_partitions_response(&response, now)?;
            }
            RequestTag::Produce(batch) => {
                let response = response.decode::<ProduceRequest>()?;
                self.handle_produce_response(node, response, batch, now)?;
            }
            // `prepare` does not wait for it any more.
            RequestTag::Prepare => (),
        }
        Ok(())
    }

    /// The request of `tag` will get no response.
    fn handle_disconnect(&mut self, tag: RequestTag, now: Instant) {
        match tag {
            RequestTag::Metadata => self.metadata.disconnected(),
            RequestTag::InitProducerId => self.retry_producer_id(now),
            RequestTag::FindCoordinator => self.coordinator_disconnected(),
            RequestTag::AddPartitionsToTxn => self.retry_add_partitions(now),
            RequestTag::Produce(batch) => {
                if let Some(queue) = self.accumulator.queues.get_mut(batch.queue) {
                    queue.in_flight.mark_failed(batch.id, true);
                    let cause = self.network.last_error().to_owned();
                    self.handle_failure(batch.queue, now, &cause, "retrying");
                }
            }
            RequestTag::Prepare => (),
        }
    }

    fn handle_produce_response(
        &mut self,
        node: Node,
        response: ProduceResponse,
        batch: BatchId,
        now: Instant,
    ) -> Result<(), Error> {
        if let Ok(millis @ 1..) = u64::try_from(response.throttle_time_ms) {
            let until = now + Duration::from_millis(millis);
            self.throttled_until.insert(node, until);
        }
        let topic = response.responses.into_iter().next();
        let partition = topic.and_then(|topic| topic.partition_responses.into_iter().next());
        let Some(partition) = partition else {
            self.network
                .disconnect(node, "the response to Produce has no partition");
            self.handle_disconnect(RequestTag::Produce(batch), now);
            return Ok(());
        };
        self.complete_batch(batch, &partition, now)
    }

    /// Completes, retries or refuses a batch.
    fn complete_batch(
        &mut self,
        batch: BatchId,
        response: &PartitionProduceResponse,
        now: Instant,
    ) -> Result<(), Error> {
        let Some(error) = ResponseError::try_from_code(response.error_code) else {
            self.acknowledge(batch, response.base_offset);
            return Ok(());
        };
        let Some(queue) = self.accumulator.queues.get_mut(batch.queue) else {
            return Ok(());
        };
        let retry_backoff = self.network.settings().retry_backoff;
        match ErrorClass::of(error) {
            ErrorClass::Duplicate => self.acknowledge(batch, response.base_offset),
            ErrorClass::Retriable {
                is_possibly_appended,
                needs_metadata,
            } => {
                queue.in_flight.mark_failed(batch.id, is_possibly_appended);
                self.retry(batch, error, needs_metadata, now);
            }
            // A warning is logged when the sequence numbers restart.
            ErrorClass::OutOfSequence => {
                if queue.in_flight.mark_out_of_sequence(batch.id) {
                    queue.back_off(now, retry_backoff);
                }
            }
            ErrorClass::IdentityRejected => {
                if queue.in_flight.mark_identity_rejected(batch.id) {
                    queue.back_off(now, retry_backoff);
                }
            }
            ErrorClass::Corrupt => match queue.in_flight.get_mut(batch.id) {
                Some(corrupt) if !corrupt.is_corrupt => {
                    corrupt.is_corrupt = true;
                    queue.in_flight.mark_failed(batch.id, false);
                    let cause = kafka_name(error).to_string();
                    self.handle_failure(batch.queue, now, &cause, "retrying");
                }
                _ => return self.refuse_invalid(batch, error, response),
            },
            ErrorClass::TooLarge => {
                return self.refuse(batch, &[], |_| RefusalReason::TooLarge);
            }
            ErrorClass::InvalidRecord => return self.refuse_invalid(batch, error, response),
            ErrorClass::Fatal => {
                let topic = self.topics.output(queue.output);
                return Err(failure(format!("topic {topic}: {}", kafka_name(error))));
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self, batch: BatchId, base_offset: i64) {
        let Some(queue) = self.accumulator.queues.get_mut(batch.queue) else {
            return;
        };
        if queue.mark_acknowledged() {
            let topic = self.topics.output(queue.output);
            log::info!("{topic}-{}: producing again", queue.partition);
        }
        let incomplete = &mut self.accumulator.incomplete;
        let base_offset = Some(base_offset).filter(|&offset| offset >= 0);
        queue.in_flight.acknowledge(batch.id, base_offset, |batch| {
            incomplete.acknowledge(batch.ranges());
        });
    }

    /// Backs off after a retriable error. Does not warn of the first failures after a leader change, nor of a busy transaction coordinator.
    fn retry(&mut self, batch: BatchId, error: ResponseError, needs_metadata: bool, now: Instant) {
        if needs_metadata {
            self.metadata.request_update();
        }
        let Some(queue) = self.accumulator.queues.get_mut(batch.queue) else {
            return;
        };
        // With transactions, the broker also answers NOT_ENOUGH_REPLICAS if the coordinator is busy with the transaction when the broker asks
        // it whether the partition belongs to the transaction (KIP-890). The coordinator needs only a moment.
        let is_coordinator_busy = error == ResponseError::NotEnoughReplicas
            && self.transaction_manager.is_some()
            && queue.backoff.failures() < BUSY_COORDINATOR_FAILURES;
        let cause = kafka_name(error).to_string();
        if is_coordinator_busy {
            queue.back_off(now, CONCURRENT_BACKOFF);
            let topic = self.topics.output(queue.output);
            log::debug!(
                "produce {topic}-{} failed: {cause}, retrying",
                queue.partition
            );
        } else if needs_metadata {
            self.handle_leader_failure(batch.queue, now, &cause);
        } else {
            self.handle_failure(batch.queue, now, &cause, "retrying");
        }
    }

    /// Refuses the records of a batch that the broker finds invalid.
    fn refuse_invalid(
        &mut self,
        batch: BatchId,
        error: ResponseError,
        response: &PartitionProduceResponse,
    ) -> Result<(), Error> {
        let batch_message = response.error_message.as_deref();
        self.refuse(batch, &response.record_errors, |record_message| {
            RefusalReason::Invalid(with_message(error, record_message.or(batch_message)))
        })
    }

    /// Refuses records of a batch for good: those that the broker names in `record_errors`, or the only one of the batch. If the broker names
    /// none of several, both halves of the batch are sent, to find the record. `reason` gets the broker's message about a record.
    fn refuse(
        &mut self,
        batch: BatchId,
        record_errors: &[BatchIndexAndErrorMessage],
        reason: impl Fn(Option<&str>) -> RefusalReason,
    ) -> Result<(), Error> {
        let BatchId { queue, id } = batch;
        let accumulator = &mut self.accumulator;
        let Some(queue) = accumulator.queues.get_mut(queue) else {
            return Ok(());
        };
        let Some(batch) = queue.in_flight.get_mut(id) else {
            return Ok(());
        };
        let count = usize::try_from(batch.record_count()).unwrap_or_default();
        let mut refused: Vec<(usize, Option<&str>)> = record_errors
            .iter()
            .filter_map(|error| {
                let index = usize::try_from(error.batch_index).ok()?;
                let message = error.batch_index_error_message.as_deref();
                (index < count).then_some((index, message))
            })
            .collect();
        if refused.is_empty() && count == 1 {
            refused.push((0, None));
        }
        refused.sort_by_key(|&(index, _)| index);
        refused.dedup_by_key(|&mut (index, _)| index);
        let incomplete = &mut accumulator.incomplete;
        let mut replacements = if refused.is_empty() {
            batch.halves(incomplete)
        } else {
            let indexes: Vec<usize> = refused.iter().map(|&(index, _)| index).collect();
            batch.without(incomplete, &indexes).into_iter().collect()
        };
        for replacement in &mut replacements {
            let topic = self.topics.output(queue.output);
            replacement
                .compress(accumulator.batch_settings.compression, incomplete)
                .map_err(|error| failure(format!("topic {topic}: {}", report(&error))))?;
        }
        let refused = refused
            .into_iter()
            .filter_map(|(index, message)| Some((batch.locate(index)?, reason(message))));
        incomplete.refuse(refused.collect());
        queue.in_flight.replace(id, replacements);
        Ok(())
    }
}
