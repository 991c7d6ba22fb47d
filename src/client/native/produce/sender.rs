//! Runs on the producer thread: sends the batches that may be sent, one partition per produce request.

use std::time::{Duration, Instant};

use kafka_protocol::messages::ProduceRequest;

use super::in_flight::NextBatch;
use super::{BatchId, Producer, RequestTag, failure};
use crate::client::Error;
use crate::client::native::network::Node;
use crate::client::records::TRANSACTIONAL;
use crate::client::report;
use crate::client::settings::Acks;

impl Producer {
    /// Sends at most one batch of each partition. Returns whether any was sent.
    pub(super) fn send_batches(&mut self, now: Instant) -> Result<bool, Error> {
        let mut has_sent = false;
        for queue in self.accumulator.drain_order() {
            has_sent |= self.send_next(queue, now)?;
        }
        Ok(has_sent)
    }

    /// Sends the next batch of a partition if it may be sent now.
    fn send_next(&mut self, queue: usize, now: Instant) -> Result<bool, Error> {
        let Some(next) = self.next_to_send(queue, now)? else {
            return Ok(false);
        };
        let Some(leader) = self.ready_leader(queue, now) else {
            return Ok(false);
        };
        self.network
            .version::<ProduceRequest>(leader)
            .map_err(failure)?;
        Ok(self.send_batch(queue, next, leader))
    }

    /// Returns the next batch of a partition, or `None` if there is none or it must wait: for its linger or back-off to end, for a producer
    /// id, for the partition to be added to the transaction, or for a response.
    fn next_to_send(&mut self, queue: usize, now: Instant) -> Result<Option<NextBatch>, Error> {
        let accumulator = &mut self.accumulator;
        let queue = accumulator.queues.get_mut(queue);
        let Some(queue) = queue.filter(|queue| !queue.is_empty()) else {
            return Ok(None);
        };
        let topic = self.topics.output(queue.output);
        let partition = queue.partition;
        queue
            .fill_in_flight(&accumulator.batch_settings, &accumulator.incomplete, now)
            .map_err(|error| failure(format!("topic {topic}: {}", report(&error))))?;
        if queue.backoff.is_waiting(now) {
            return Ok(None);
        }
        if queue.in_flight.needs_identity() {
            match self.producer_id.identity {
                Some(identity) if queue.in_flight.set_identity(identity) => (),
                _ => {
                    self.producer_id.identity = None;
                    return Ok(None);
                }
            }
        }
        let manager = self.transaction_manager.as_ref();
        if manager.is_some_and(|manager| queue.transaction < manager.transaction.number()) {
            return Ok(None);
        }
        let next = queue.in_flight.next_to_send();
        if queue.in_flight.must_abort() {
            return Err(Error::Aborted(format!(
                "{topic}-{partition}: the broker rejects the producer's sequence numbers"
            )));
        }
        if queue.in_flight.take_restarted() {
            log::warn!(
                "produce {topic}-{partition}: the broker has forgotten the sequence numbers of {}, restarting them; \
                 records in flight may be duplicated",
                self.name
            );
        }
        Ok(next)
    }

    /// Returns the leader of a partition if a batch can be sent to it now.
    fn ready_leader(&mut self, index: usize, now: Instant) -> Option<Node> {
        let queue = self.accumulator.queues.get(index)?;
        let topic = self.topics.output(queue.output);
        let Some((leader, address)) = self.metadata.leader(topic, queue.partition) else {
            self.metadata.request_update();
            self.handle_leader_failure(index, now, "no leader");
            return None;
        };
        let node = Node::Broker(leader);
        // Two brokers would not keep the order between their batches.
        if queue.node != Some(node) && queue.in_flight.has_sent() {
            return None;
        }
        if !self.network.connect(node, address) {
            // A single failure is normal, because brokers close idle connections.
            if self.network.connect_failures(node) > 1 {
                let cause = self.network.last_error().to_owned();
                self.metadata.request_update();
                self.handle_failure(index, now, &cause, "refreshing metadata");
            }
            return None;
        }
        let throttled_until = self.throttled_until.get(&node);
        if throttled_until.is_some_and(|until| now < *until) {
            return None;
        }
        let (requests, unsent_bytes) = self.network.in_flight(node);
        (requests < self.settings.max_in_flight && unsent_bytes == 0).then_some(node)
    }

    /// Sends a batch from its memory, without copying the records. Returns false if there is no such batch.
    fn send_batch(&mut self, index: usize, next: NextBatch, leader: Node) -> bool {
        let accumulator = &mut self.accumulator;
        let Some(queue) = accumulator.queues.get_mut(index) else {
            return false;
        };
        let topic = self.topics.output(queue.output);
        let partition = queue.partition;
        let Some(batch) = queue.in_flight.get_mut(next.id) else {
            return false;
        };
        let records = batch.records(&accumulator.incomplete);
        let mut fields = batch.header_fields();
        fields.producer = next.identity;
        fields.base_sequence = next.base_sequence;
        let manager = self.transaction_manager.as_ref();
        let transactional_id = manager.map(|manager| manager.transaction.id.as_str());
        if transactional_id.is_some() {
            fields.attributes |= TRANSACTIONAL;
        }
        let header = fields.encode(records);
        let timeout = self.network.settings().request_timeout;
        write_request_head(
            &mut self.request_head,
            transactional_id,
            (self.settings.acks, timeout),
            (topic, partition),
            header.len() + records.len(),
        );
        let tag = RequestTag::Produce(BatchId {
            queue: index,
            id: next.id,
        });
        let pieces = [&self.request_head, &header[..], records];
        self.network
            .send_encoded::<ProduceRequest>(leader, pieces, tag);
        queue.mark_sent(next.id, leader);
        true
    }
}

/// Writes a produce request of version 7 or 8 up to its record batch, which has `size` bytes.
fn write_request_head(
    out: &mut Vec<u8>,
    transactional_id: Option<&str>,
    (acks, timeout): (Acks, Duration),
    (topic, partition): (&str, i32),
    size: usize,
) {
    let acks: i16 = match acks {
        Acks::All => -1,
        Acks::Leader => 1,
    };
    let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    out.clear();
    let length = transactional_id.map_or(-1, |id| id.len() as i16);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(transactional_id.unwrap_or_default().as_bytes());
    out.extend_from_slice(&acks.to_be_bytes());
    out.extend_from_slice(&timeout.to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    out.extend_from_slice(&(topic.len() as i16).to_be_bytes());
    out.extend_from_slice(topic.as_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    out.extend_from_slice(&partition.to_be_bytes());
    out.extend_from_slice(&(size as i32).to_be_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use bytes::BytesMut;
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_protocol::messages::{TopicName, TransactionalId};
    use kafka_protocol::protocol::{Encodable, StrBytes};

    use super::*;

    #[test]
    fn the_request_equals_that_of_the_crate() {
        let partition = PartitionProduceData::default()
            .with_index(3)
            .with_records(Some(bytes::Bytes::from_static(b"batch")));
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_static_str("even")))
            .with_partition_data(vec![partition]);
        for id in [None, Some("tx-1")] {
            let request = ProduceRequest::default()
                .with_transactional_id(id.map(|id| TransactionalId(StrBytes::from_static_str(id))))
                .with_acks(-1)
                .with_timeout_ms(30_000)
                .with_topic_data(vec![topic.clone()]);
            for version in [7, 8] {
                let mut expected = BytesMut::new();
                request.encode(&mut expected, version).unwrap();
                let mut found = b"previous request".to_vec();
                write_request_head(
                    &mut found,
                    id,
                    (Acks::All, Duration::from_secs(30)),
                    ("even", 3),
                    5,
                );
                found.extend_from_slice(b"batch");
                assert_eq!(found, expected);
            }
        }
    }
}
