//! What comes from the brokers, and what becomes of a body by it.

use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{MetadataRequest, ProduceRequest};

use super::error_class::{ErrorClass, classify};
use super::in_flight::Counted;
use super::{Producer, Tag, failure};
use crate::client::Error;
use crate::client::batch::RefusalReason;
use crate::client::native::error_name::kafka_name;
use crate::client::native::network::{NetworkEvent, Node};
use crate::client::native::response::Response;
use crate::client::native::transaction::CONCURRENT_BACKOFF;
use crate::client::report;

/// How often in a row a coordinator may be busy before there is taken to be another reason.
const BUSY: u32 = 8;

impl Producer {
    /// Takes over what has come.
    pub(super) fn arrived(
        &mut self,
        arrival: NetworkEvent<Tag>,
        now: Instant,
    ) -> Result<(), Error> {
        match arrival {
            NetworkEvent::Response(peer, response) => match response.tag {
                Tag::Metadata => self.metadata_response(peer, &response),
                Tag::ProducerIdentity => return self.identified(peer, &response, now),
                Tag::Coordinator => return self.coordinator_answered(peer, &response),
                Tag::Partitions => return self.partitions_answered(peer, &response, now),
                Tag::ProducerBatch { queue, id } => {
                    return self.handle_response(peer, &response, (queue, id), now);
                }
                // Nobody waits for it any more.
                Tag::Prepare => (),
            },
            NetworkEvent::Disconnected(tags) => {
                self.metadata.request_update();
                for queue in &mut self.queues {
                    queue.in_flight.interrupted();
                }
                for tag in tags {
                    self.lost(tag, now);
                }
            }
        }
        Ok(())
    }

    fn lost(&mut self, tag: Tag, now: Instant) {
        match tag {
            Tag::Metadata => self.metadata.disconnected(),
            Tag::ProducerIdentity => self.identity_failed(now),
            Tag::Coordinator => self.coordinator_unanswered(),
            Tag::Partitions => self.partitions_unanswered(now),
            Tag::ProducerBatch { queue: number, id } => {
                if let Some(queue) = self.queues.get_mut(number) {
                    queue.in_flight.failed(id, true);
                    let (topic, partition) = (self.topics.output(queue.output), queue.partition);
                    let what = format!("{topic}-{partition}: {}", self.network.last_error());
                    self.trouble(number, now, &what);
                }
            }
            Tag::Prepare => (),
        }
    }

    fn metadata_response(&mut self, peer: Node, response: &Response<Tag>) {
        match response.decode::<MetadataRequest>() {
            Ok(answer) => self.metadata.handle_response(&self.network, &answer),
            Err(error) => {
                self.metadata.disconnected();
                self.network.disconnect(peer, &error.to_string());
            }
        }
    }

    /// The answer to a body.
    fn handle_response(
        &mut self,
        peer: Node,
        response: &Response<Tag>,
        (number, id): (usize, u64),
        now: Instant,
    ) -> Result<(), Error> {
        let answer = response.decode::<ProduceRequest>().ok();
        let throttle = answer.as_ref().map(|answer| answer.throttle_time_ms);
        if let Some(millis) = throttle.and_then(|millis| u64::try_from(millis).ok())
            && millis > 0
        {
            let until = now + Duration::from_millis(millis);
            self.throttled.insert(peer, until);
        }
        let partition = answer
            .and_then(|answer| answer.responses.into_iter().next())
            .and_then(|topic| topic.partition_responses.into_iter().next());
        let Some(answer) = partition else {
            self.lost(Tag::ProducerBatch { queue: number, id }, now);
            self.network
                .disconnect(peer, "an answer to Produce that cannot be read");
            return Ok(());
        };
        let Some(queue) = self.queues.get_mut(number) else {
            return Ok(());
        };
        let back_off = self.network.settings().retry_backoff;
        let error = ResponseError::try_from_code(answer.error_code);
        match classify(error) {
            ErrorClass::Acknowledged => {
                if queue.worked() {
                    let (topic, partition) = (self.topics.output(queue.output), queue.partition);
                    log::info!("produce: {topic}-{partition} gets on again");
                }
                let incomplete = &mut self.incomplete;
                let offset = Some(answer.base_offset).filter(|&offset| offset >= 0);
                queue
                    .in_flight
                    .acknowledged(id, offset, |batch| incomplete.acknowledged(batch.spans()));
                return Ok(());
            }
            ErrorClass::Again { doubtful, outdated } => {
                queue.in_flight.failed(id, doubtful);
                if outdated {
                    self.metadata.request_update();
                }
                // So the broker says, too, that the coordinator was busy with this transaction when it asked whether the partition
                // belongs to it (KIP-890): that is over in a moment.
                let is_busy =
                    error == Some(ResponseError::NotEnoughReplicas) && self.transaction.is_some();
                let everyday = if outdated && queue.fails_first(now) {
                    // Once: where leaders move, and where a topic was just made.
                    Some(back_off)
                } else {
                    (is_busy && queue.failures < BUSY).then_some(CONCURRENT_BACKOFF)
                };
                if let Some(back_off) = everyday {
                    queue.rest(now, back_off);
                    return Ok(());
                }
            }
            // The warning comes with the new numbers.
            ErrorClass::OutOfSequence => {
                if queue.in_flight.out_of_sequence(id) {
                    queue.rest(now, back_off);
                }
                return Ok(());
            }
            ErrorClass::Unidentified => {
                if queue.in_flight.unidentified(id) {
                    queue.rest(now, back_off);
                }
                return Ok(());
            }
            ErrorClass::Corrupt
                if queue
                    .in_flight
                    .batch(id)
                    .is_some_and(|batch| !batch.corrupt) =>
            {
                if let Some(batch) = queue.in_flight.batch(id) {
                    batch.corrupt = true;
                }
                queue.in_flight.failed(id, false);
            }
            ErrorClass::TooLarge => {
                return self.refused((number, id), None, |_| RefusalReason::TooLarge);
            }
            ErrorClass::Invalid | ErrorClass::Corrupt => {
                let words = error
                    .map(|error| kafka_name(error).to_string())
                    .unwrap_or_default();
                let all = answer.error_message.as_deref().unwrap_or_default();
                return self.refused((number, id), Some(&answer), |own| {
                    let more = own.unwrap_or(all);
                    let separator = if more.is_empty() { "" } else { ": " };
                    RefusalReason::Invalid(format!("{words}{separator}{more}"))
                });
            }
            ErrorClass::Final => {
                let topic = self.topics.output(queue.output);
                let words = error
                    .map(|error| kafka_name(error).to_string())
                    .unwrap_or_default();
                return Err(failure(format!("topic {topic}: {words}")));
            }
        }
        let (topic, partition) = (self.topics.output(queue.output), queue.partition);
        let words = error
            .map(|error| kafka_name(error).to_string())
            .unwrap_or_default();
        let what = format!("{topic}-{partition}: {words}");
        self.trouble(number, now, &what);
        Ok(())
    }

    /// Something in a body is refused for good: those records that the broker names, else the only one there is. Where it names none
    /// of several, the halves are tried. `reason` is given the broker's words about a record.
    fn refused(
        &mut self,
        (number, id): (usize, u64),
        answer: Option<&PartitionProduceResponse>,
        reason: impl Fn(Option<&str>) -> RefusalReason,
    ) -> Result<(), Error> {
        let Some(queue) = self.queues.get_mut(number) else {
            return Ok(());
        };
        let Some(batch) = queue.in_flight.batch(id) else {
            return Ok(());
        };
        let count = usize::try_from(batch.count()).unwrap_or_default();
        let named = answer.map_or(&[][..], |answer| &answer.record_errors);
        let mut bad: Vec<(usize, Option<&str>)> = named
            .iter()
            .filter_map(|error| {
                let number = usize::try_from(error.batch_index).ok()?;
                let words = error.batch_index_error_message.as_deref();
                (number < count).then_some((number, words))
            })
            .collect();
        if bad.is_empty() && count == 1 {
            bad.push((0, None));
        }
        bad.sort_by_key(|&(number, _)| number);
        bad.dedup_by_key(|&mut (number, _)| number);
        let mut left = if bad.is_empty() {
            batch.halves(&self.incomplete)
        } else {
            let numbers: Vec<usize> = bad.iter().map(|&(number, _)| number).collect();
            batch
                .without(&self.incomplete, &numbers)
                .into_iter()
                .collect()
        };
        for batch in &mut left {
            let topic = self.topics.output(queue.output);
            batch
                .compress(self.form.codec, &self.incomplete)
                .map_err(|error| failure(format!("topic {topic}: {}", report(&error))))?;
        }
        let refused = bad
            .into_iter()
            .filter_map(|(number, words)| Some((batch.single(number)?, reason(words))));
        self.incomplete.refuse(refused.collect());
        queue.in_flight.replace(id, left);
        Ok(())
    }
}
