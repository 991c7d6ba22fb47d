//! What comes from the brokers, and what becomes of a body by it.

use std::time::Instant;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{InitProducerIdRequest, MetadataRequest, ProduceRequest};

use super::sequence::Counted;
use super::verdict::{Verdict, verdict};
use super::{Producer, Tag, failure};
use crate::client::batch::Refusal;
use crate::client::native::network::{Arrival, Peer, Response, backoff};
use crate::error::Error;

impl Producer {
    /// Takes over what has come.
    pub(super) fn arrived(&mut self, arrival: Arrival<Tag>, now: Instant) -> Result<(), Error> {
        match arrival {
            Arrival::Answer(peer, response) => match response.tag {
                Tag::Metadata => self.metadata(peer, &response),
                Tag::Identity => return self.identified(peer, &response, now),
                Tag::Body { line, id } => return self.answered(peer, &response, (line, id), now),
                // Nobody waits for it any more.
                Tag::Prepare => (),
            },
            Arrival::Lost(tags) => {
                if self.held.len() > 0 {
                    let reason = self.network.reason().to_owned();
                    self.warn(now, &reason);
                }
                self.cluster.outdated();
                for tag in tags {
                    self.lost(tag, now);
                }
            }
        }
        Ok(())
    }

    fn lost(&mut self, tag: Tag, now: Instant) {
        match tag {
            Tag::Metadata => self.cluster.unanswered(),
            Tag::Identity => self.identity_failed(now),
            Tag::Body { line, id } => {
                let back_off = self.network.settings().retry_backoff;
                if let Some(line) = self.lines.get_mut(line) {
                    line.window.failed(id, true);
                    line.rest(now, back_off);
                }
            }
            Tag::Prepare => (),
        }
    }

    fn metadata(&mut self, peer: Peer, response: &Response<Tag>) {
        match response.read::<MetadataRequest>() {
            Ok(answer) => self.cluster.answered(&self.network, &answer),
            Err(error) => {
                self.cluster.unanswered();
                self.network.lose(peer, &error.to_string());
            }
        }
    }

    fn identified(
        &mut self,
        peer: Peer,
        response: &Response<Tag>,
        now: Instant,
    ) -> Result<(), Error> {
        let answer = match response.read::<InitProducerIdRequest>() {
            Ok(answer) => answer,
            Err(error) => {
                self.identity_failed(now);
                self.network.lose(peer, &error.to_string());
                return Ok(());
            }
        };
        match ResponseError::try_from_code(answer.error_code) {
            None => {
                self.asks_identity = false;
                self.identity_failures = 0;
                self.identity = Some((answer.producer_id.0, answer.producer_epoch));
                Ok(())
            }
            Some(error) if verdict(Some(error)) == Verdict::Final => Err(failure(format!(
                "a producer id (enable.idempotence): {error}"
            ))),
            Some(error) => {
                self.identity_failed(now);
                self.warn(now, &format!("a producer id: {error}"));
                Ok(())
            }
        }
    }

    fn identity_failed(&mut self, now: Instant) {
        let (first, longest) = self.network.settings().retry_backoff;
        self.asks_identity = false;
        self.identity_not_before = Some(now + backoff(first, longest, self.identity_failures));
        self.identity_failures = self.identity_failures.saturating_add(1);
    }

    /// The answer to a body.
    fn answered(
        &mut self,
        peer: Peer,
        response: &Response<Tag>,
        (number, id): (usize, u64),
        now: Instant,
    ) -> Result<(), Error> {
        let answer = response.read::<ProduceRequest>();
        let first = |answer: kafka_protocol::messages::ProduceResponse| {
            let topic = answer.responses.into_iter().next();
            topic.and_then(|topic| topic.partition_responses.into_iter().next())
        };
        let Some(answer) = answer.ok().and_then(first) else {
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
                line.worked();
                if let Some(body) = line.window.acknowledged(id) {
                    self.held.acknowledged(body.spans());
                }
                return Ok(());
            }
            Verdict::Again { doubtful, outdated } => {
                line.window.failed(id, doubtful);
                line.rest(now, back_off);
                if outdated {
                    self.cluster.outdated();
                }
            }
            Verdict::OutOfSequence => {
                if !line.window.out_of_sequence(id) {
                    return Ok(());
                }
                line.rest(now, back_off);
            }
            Verdict::Unidentified => {
                if !line.window.unidentified(id) {
                    return Ok(());
                }
                line.rest(now, back_off);
            }
            Verdict::Corrupt if line.window.body(id).is_some_and(|body| !body.corrupt) => {
                if let Some(body) = line.window.body(id) {
                    body.corrupt = true;
                }
                line.window.failed(id, false);
                line.rest(now, back_off);
            }
            Verdict::TooLarge => {
                self.refused(number, id, None, |_| Refusal::TooLarge);
                return Ok(());
            }
            Verdict::Invalid | Verdict::Corrupt => {
                let words = error.map(|error| error.to_string()).unwrap_or_default();
                let all = answer.error_message.as_deref().unwrap_or_default();
                self.refused(number, id, Some(&answer), |own| {
                    let more = own.unwrap_or(all);
                    let separator = if more.is_empty() { "" } else { ": " };
                    Refusal::Invalid(format!("{words}{separator}{more}"))
                });
                return Ok(());
            }
            Verdict::Final => {
                let topic = self.topics.output(line.output);
                let words = error.map(|error| error.to_string()).unwrap_or_default();
                return Err(failure(format!("topic {topic}: {words}")));
            }
        }
        let (topic, partition) = (self.topics.output(line.output), line.partition);
        let words = error.map(|error| error.to_string()).unwrap_or_default();
        let what = format!("{topic}-{partition}: {words}");
        self.warn(now, &what);
        Ok(())
    }

    /// Something in a body is refused for good: those records that the broker names, else the only one there is. Where it names none
    /// of several, the halves are tried. `reason` is given the broker's words about a record.
    fn refused(
        &mut self,
        number: usize,
        id: u64,
        answer: Option<&PartitionProduceResponse>,
        reason: impl Fn(Option<&str>) -> Refusal,
    ) {
        let Some(line) = self.lines.get_mut(number) else {
            return;
        };
        let Some(body) = line.window.body(id) else {
            return;
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
        if bad.is_empty() {
            let halves = body.halves(&self.held);
            line.window.replace(id, halves);
            return;
        }
        bad.sort_by_key(|&(number, _)| number);
        bad.dedup_by_key(|&mut (number, _)| number);
        let numbers: Vec<usize> = bad.iter().map(|&(number, _)| number).collect();
        let left = body.without(&self.held, &numbers);
        for (number, words) in bad {
            if let Some((slot, part, index)) = body.place(number) {
                self.held.refuse(slot, part, index, reason(words));
            }
        }
        line.window.replace(id, left.into_iter().collect());
    }
}
