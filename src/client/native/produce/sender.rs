//! Sends what may be sent.

use std::time::{Duration, Instant};

use kafka_protocol::messages::ProduceRequest;

use super::{Producer, Tag, failure};
use crate::client::Error;
use crate::client::native::network::Node;
use crate::client::report;
use crate::client::settings::Acks;

impl Producer {
    /// Sends a body of each line, in turn, where one may be sent. Whether any was.
    pub(super) fn send_each(&mut self, now: Instant) -> Result<bool, Error> {
        let count = self.queues.len();
        let mut any = false;
        for number in 0..count {
            let number = (self.turn + number) % count;
            any |= self.send_next(number, now)?;
        }
        self.turn = self.turn.wrapping_add(1);
        Ok(any)
    }

    /// Sends what comes next of a line, if it may be sent now.
    fn send_next(&mut self, number: usize, now: Instant) -> Result<bool, Error> {
        let Some(queue) = self.queues.get_mut(number).filter(|queue| !queue.is_idle()) else {
            return Ok(false);
        };
        let topic = self.topics.output(queue.output);
        let partition = queue.partition;
        queue
            .fill(&self.form, &self.incomplete, now)
            .map_err(|error| failure(format!("topic {topic}: {}", report(&error))))?;
        if queue.until.is_some_and(|until| now < until) {
            return Ok(false);
        }
        if queue.in_flight.wants_identity() {
            match self.producer_id.known {
                Some(identity) if queue.in_flight.identify(identity) => (),
                _ => {
                    self.producer_id.known = None;
                    return Ok(false);
                }
            }
        }
        if self
            .transaction
            .as_ref()
            .is_some_and(|part| queue.transaction < part.transaction.number())
        {
            return Ok(false);
        }
        let turn = queue.in_flight.turn();
        if queue.in_flight.is_broken() {
            return Err(Error::Aborted(format!(
                "{topic}-{partition}: the broker does not take the producer's numbers any more"
            )));
        }
        if queue.in_flight.take_restarted() {
            log::warn!(
                "produce: {topic}-{partition}: the broker does not know what it acknowledged of {}; \
                 going on with new sequence numbers, records that were on their way may be doubled",
                self.name
            );
        }
        let Some(turn) = turn else {
            return Ok(false);
        };
        let Some((leader, address)) = self.metadata.leader(topic, partition) else {
            let what = format!("{topic}-{partition} has no leader");
            self.metadata.request_update();
            self.trouble(number, now, &what);
            return Ok(false);
        };
        let peer = Node::Broker(leader);
        // Two brokers do not keep the order between them.
        if queue.peer != Some(peer) && queue.in_flight.is_out() {
            return Ok(false);
        }
        if !self.network.connect(peer, address) {
            // One alone is a connection that ended, as an idle one does.
            if self.network.connect_failures(peer) > 1 {
                let what = format!("{topic}-{partition}: {}", self.network.last_error());
                self.metadata.request_update();
                self.trouble(number, now, &what);
            }
            return Ok(false);
        }
        if self.throttled.get(&peer).is_some_and(|until| now < *until) {
            return Ok(false);
        }
        let (requests, unsent) = self.network.in_flight(peer);
        if requests >= self.settings.max_in_flight || unsent > 0 {
            return Ok(false);
        }
        self.network
            .version::<ProduceRequest>(peer)
            .map_err(failure)?;
        let Some(batch) = queue.in_flight.batch(turn.id) else {
            return Ok(false);
        };
        let records = batch.records(&self.incomplete);
        let mut stamp = batch.stamp();
        stamp.producer = turn.identity;
        stamp.base_sequence = turn.base_sequence;
        let transaction = self.transaction.as_ref();
        let transaction = transaction.map(|part| part.transaction.id.as_str());
        if transaction.is_some() {
            stamp.attributes |= TRANSACTIONAL;
        }
        let header = stamp.header(records);
        let timeout = self.network.settings().request_timeout;
        begin(
            &mut self.head,
            transaction,
            (self.settings.acks, timeout),
            (topic, partition),
            header.len() + records.len(),
        );
        let tag = Tag::ProducerBatch {
            queue: number,
            id: turn.id,
        };
        self.network
            .send_encoded::<ProduceRequest>(peer, [&self.head, &header, records], tag);
        queue.sent(turn.id, peer);
        Ok(true)
    }
}

/// Of a record batch's attributes, that it is of a transaction.
const TRANSACTIONAL: i16 = 0x10;

/// A produce request of the versions 7 and 8 up to the bytes of its batch, which are so many.
fn begin(
    out: &mut Vec<u8>,
    transaction: Option<&str>,
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
    let length = transaction.map_or(-1, |id| id.len() as i16);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(transaction.unwrap_or_default().as_bytes());
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
    fn the_request_is_as_the_crate_writes_it() {
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
                let mut found = b"from before".to_vec();
                begin(
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
