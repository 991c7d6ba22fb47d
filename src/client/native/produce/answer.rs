//! What comes from the brokers, and what becomes of a body by it.

use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{MetadataRequest, ProduceRequest};

use super::sequence::Counted;
use super::verdict::{Verdict, verdict};
use super::{Producer, Tag, failure};
use crate::client::Error;
use crate::client::batch::RefusalReason;
use crate::client::native::error_name::kafka_name;
use crate::client::native::network::{NetworkEvent, Node, Response};
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
            NetworkEvent::Answer(peer, response) => match response.tag {
                Tag::Metadata => self.metadata(peer, &response),
                Tag::ProducerIdentity => return self.identified(peer, &response, now),
                Tag::Coordinator => return self.coordinator_answered(peer, &response),
                Tag::Partitions => return self.partitions_answered(peer, &response, now),
                Tag::Body { line, id } => {
                    return self.handle_response(peer, &response, (line, id), now);
                }
                // Nobody waits for it any more.
                Tag::Prepare => (),
            },
            NetworkEvent::Lost(tags) => {
                self.cluster.outdated();
                for line in &mut self.lines {
                    line.window.interrupted();
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
            Tag::Metadata => self.cluster.disconnected(),
            Tag::ProducerIdentity => self.identity_failed(now),
            Tag::Coordinator => self.coordinator_unanswered(),
            Tag::Partitions => self.partitions_unanswered(now),
            Tag::Body { line: number, id } => {
                if let Some(line) = self.lines.get_mut(number) {
                    line.window.failed(id, true);
                    let (topic, partition) = (self.topics.output(line.output), line.partition);
                    let what = format!("{topic}-{partition}: {}", self.network.reason());
                    self.trouble(number, now, &what);
                }
            }
            Tag::Prepare => (),
        }
    }

    fn metadata(&mut self, peer: Node, response: &Response<Tag>) {
        match response.read::<MetadataRequest>() {
            Ok(answer) => self.cluster.handle_response(&self.network, &answer),
            Err(error) => {
                self.cluster.disconnected();
                self.network.lose(peer, &error.to_string());
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
        let answer = response.read::<ProduceRequest>().ok();
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
            self.lost(Tag::Body { line: number, id }, now);
            self.network
                .lose(peer, "an answer to Produce that cannot be read");
            return Ok(());
        };
        let Some(line) = self.lines.get_mut(number) else {
            return Ok(());
        };
        let back_off = self.network.settings().retry_backoff;
        let error = ResponseError::try_from_code(answer.error_code);
        match verdict(error) {
            Verdict::Acknowledged => {
                if line.worked() {
                    let (topic, partition) = (self.topics.output(line.output), line.partition);
                    log::info!("produce: {topic}-{partition} gets on again");
                }
                let held = &mut self.held;
                let offset = Some(answer.base_offset).filter(|&offset| offset >= 0);
                line.window
                    .acknowledged(id, offset, |body| held.acknowledged(body.spans()));
                return Ok(());
            }
            Verdict::Again { doubtful, outdated } => {
                line.window.failed(id, doubtful);
                if outdated {
                    self.cluster.outdated();
                }
                // So the broker says, too, that the coordinator was busy with this transaction when it asked whether the partition
                // belongs to it (KIP-890): that is over in a moment.
                let is_busy =
                    error == Some(ResponseError::NotEnoughReplicas) && self.transaction.is_some();
                let everyday = if outdated && line.fails_first(now) {
                    // Once: where leaders move, and where a topic was just made.
                    Some(back_off)
                } else {
                    (is_busy && line.failures < BUSY).then_some(CONCURRENT_BACKOFF)
                };
                if let Some(back_off) = everyday {
                    line.rest(now, back_off);
                    return Ok(());
                }
            }
            // The warning comes with the new numbers.
            Verdict::OutOfSequence => {
                if line.window.out_of_sequence(id) {
                    line.rest(now, back_off);
                }
                return Ok(());
            }
            Verdict::Unidentified => {
                if line.window.unidentified(id) {
                    line.rest(now, back_off);
                }
                return Ok(());
            }
            Verdict::Corrupt if line.window.body(id).is_some_and(|body| !body.corrupt) => {
                if let Some(body) = line.window.body(id) {
                    body.corrupt = true;
                }
                line.window.failed(id, false);
            }
            Verdict::TooLarge => {
                return self.refused((number, id), None, |_| RefusalReason::TooLarge);
            }
            Verdict::Invalid | Verdict::Corrupt => {
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
            Verdict::Final => {
                let topic = self.topics.output(line.output);
                let words = error
                    .map(|error| kafka_name(error).to_string())
                    .unwrap_or_default();
                return Err(failure(format!("topic {topic}: {words}")));
            }
        }
        let (topic, partition) = (self.topics.output(line.output), line.partition);
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
        let Some(line) = self.lines.get_mut(number) else {
            return Ok(());
        };
        let Some(body) = line.window.body(id) else {
            return Ok(());
        };
        let count = usize::try_from(body.count()).unwrap_or_default();
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
            body.halves(&self.held)
        } else {
            let numbers: Vec<usize> = bad.iter().map(|&(number, _)| number).collect();
            body.without(&self.held, &numbers).into_iter().collect()
        };
        for body in &mut left {
            let topic = self.topics.output(line.output);
            body.compress(self.form.codec, &self.held)
                .map_err(|error| failure(format!("topic {topic}: {}", report(&error))))?;
        }
        let refused = bad
            .into_iter()
            .filter_map(|(number, words)| Some((body.single(number)?, reason(words))));
        self.held.refuse(refused.collect());
        line.window.replace(id, left);
        Ok(())
    }
}
