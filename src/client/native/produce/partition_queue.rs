//! What waits for one partition, and what is on its way there.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::in_flight::{Counted, InFlightBatches};
use super::incomplete_batches::IncompleteBatches;
use super::producer_batch::ProducerBatch;
use crate::client::OutputTopic;
use crate::client::native::backoff::backoff;
use crate::client::native::compression::{self, Codec};
use crate::client::native::network::Node;
use crate::client::records::BATCH_HEADER;

/// How bodies become batches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) codec: Codec,
    pub(super) linger: Duration,
    /// Bytes of records up to which those that linger are merged; not more than `largest`.
    pub(super) merged: usize,
    /// Bytes of records at most, where it is not a single one.
    pub(super) largest: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct PartitionQueue {
    pub(super) output: OutputTopic,
    pub(super) partition: i32,
    waiting: VecDeque<ProducerBatch>,
    pub(super) in_flight: InFlightBatches<ProducerBatch>,
    /// To whom what is out was sent.
    pub(super) peer: Option<Node>,
    /// Failures since something was acknowledged last.
    pub(super) failures: u32,
    /// Nothing is sent before.
    pub(super) until: Option<Instant>,
    /// That it does not get on is told.
    pub(super) is_troubled: bool,
    /// Number of the last transaction that its partition was added to.
    pub(super) transaction: u64,
}

impl PartitionQueue {
    pub(super) fn new(
        output: OutputTopic,
        partition: i32,
        in_flight: InFlightBatches<ProducerBatch>,
    ) -> Self {
        Self {
            output,
            partition,
            waiting: VecDeque::new(),
            in_flight,
            peer: None,
            failures: 0,
            until: None,
            is_troubled: false,
            transaction: 0,
        }
    }

    /// Takes a body, behind the others.
    pub(super) fn push(&mut self, batch: ProducerBatch) {
        self.waiting.push_back(batch);
    }

    /// Bodies that do not come next yet.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// Moves what comes next into the window, as it is to be sent.
    pub(super) fn fill(
        &mut self,
        form: &Form,
        incomplete: &IncompleteBatches,
        now: Instant,
    ) -> Result<(), compression::Error> {
        while self.in_flight.has_room() && self.is_due(form, incomplete, now) {
            let Some(mut batch) = self.next(form, incomplete) else {
                break;
            };
            batch.compress(form.codec, incomplete)?;
            if batch.records(incomplete).len() > form.largest && batch.count() > 1 {
                for half in batch.halves(incomplete).into_iter().rev() {
                    self.waiting.push_front(half);
                }
            } else {
                self.in_flight.push(batch);
            }
        }
        Ok(())
    }

    fn is_due(&self, form: &Form, incomplete: &IncompleteBatches, now: Instant) -> bool {
        let due = self.lingers_until(form).is_none_or(|until| until <= now);
        due || {
            let sizes = self
                .waiting
                .iter()
                .map(|batch| batch.records(incomplete).len());
            sizes.sum::<usize>() >= form.merged
        }
    }

    /// Until when the first that waits does so for others.
    pub(super) fn lingers_until(&self, form: &Form) -> Option<Instant> {
        let first = self.waiting.front()?;
        (!form.linger.is_zero()).then(|| first.since + form.linger)
    }

    /// The first that waits, with those behind it that go into the same batch where they linger.
    fn next(&mut self, form: &Form, incomplete: &IncompleteBatches) -> Option<ProducerBatch> {
        let first = self.waiting.pop_front()?;
        if form.linger.is_zero() {
            return Some(first);
        }
        let mut size = first.records(incomplete).len();
        let mut batches = vec![first];
        while let Some(batch) = self.waiting.front() {
            size += batch.records(incomplete).len();
            if size > form.merged {
                break;
            }
            batches.extend(self.waiting.pop_front());
        }
        if batches.len() == 1 {
            return batches.pop();
        }
        ProducerBatch::merge(batches, incomplete)
    }

    /// Something was sent.
    pub(super) fn sent(&mut self, id: u64, peer: Node) {
        self.in_flight.sent(id);
        self.peer = Some(peer);
        self.until = None;
    }

    /// Whether what fails now is the first since something was acknowledged, or fails along with it.
    pub(super) fn fails_first(&self, now: Instant) -> bool {
        let rests = self.until.is_some_and(|until| now < until);
        self.failures == 0 || self.failures == 1 && rests
    }

    /// Something failed: the line rests before it goes on. What fails along with it makes that no longer.
    pub(super) fn rest(&mut self, now: Instant, (first, longest): (Duration, Duration)) {
        if self.until.is_none_or(|until| until <= now) {
            self.until = Some(now + backoff(first, longest, self.failures));
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Something was acknowledged. Whether it was told that the line does not get on.
    pub(super) fn worked(&mut self) -> bool {
        self.failures = 0;
        std::mem::take(&mut self.is_troubled)
    }
}

/// Bytes of records in a request of so many; the rest is for the request and the batch's header.
pub(super) fn records_within(request: usize, topic: &str) -> usize {
    request.saturating_sub(BATCH_HEADER + 64 + topic.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::client::records::Headers;
    use crate::client::{Batch, Record};
    use crate::topic_partition::TopicPartition;

    /// Bytes of a record below: lengths, attributes, deltas and 92 bytes of value.
    const RECORD: usize = 101;

    fn hold(incomplete: &mut IncompleteBatches, records: i64) -> usize {
        let mut batch = Batch::new(1 << 20);
        for offset in 0..records {
            let record = Record {
                partition: TopicPartition {
                    topic: 0,
                    partition: 0,
                },
                offset,
                timestamp: None,
                key: None,
                value: Some(&[b'x'; 92]),
                headers: Headers::default(),
            };
            batch.push(0, b"", &record);
        }
        incomplete.take(batch)
    }

    /// Bodies of so many records each come one each 10 ms; at `millis` the next ones have these counts.
    #[track_caller]
    fn check(linger: u64, merged: usize, largest: usize, given: &[i64], millis: u64, next: &[i32]) {
        let form = Form {
            codec: Codec::None,
            linger: Duration::from_millis(linger),
            merged: merged * RECORD,
            largest: largest * RECORD,
        };
        let start = Instant::now();
        let mut incomplete = IncompleteBatches::default();
        let mut queue = PartitionQueue::new(0, 0, InFlightBatches::new(5, false, true));
        for (number, &records) in (0..).zip(given) {
            let slot = hold(&mut incomplete, records);
            let since = start + Duration::from_millis(10 * number);
            queue.push(ProducerBatch::whole(&incomplete, slot, 0, since).unwrap());
        }
        queue
            .fill(&form, &incomplete, start + Duration::from_millis(millis))
            .unwrap();
        let counts: Vec<i32> = std::iter::from_fn(|| {
            let turn = queue.in_flight.turn()?;
            queue.in_flight.sent(turn.id);
            let batch = queue.in_flight.batch(turn.id)?;
            assert_eq!(
                batch.records(&incomplete).len(),
                RECORD * batch.count() as usize
            );
            Some(batch.count())
        })
        .collect();
        assert_eq!(counts, next);
    }

    #[test]
    fn what_does_not_linger_goes_as_it_is() {
        check(0, 10, 10, &[1, 2, 3], 0, &[1, 2, 3]);
        check(0, 10, 10, &[1, 1, 1, 1, 1, 1, 1], 0, &[1, 1, 1, 1, 1]);
    }

    #[test]
    fn what_lingers_is_merged() {
        check(50, 10, 10, &[1, 2, 3], 49, &[]);
        check(50, 10, 10, &[1, 2, 3], 50, &[6]);
        // As much as goes into one; the rest lingers on.
        check(50, 5, 10, &[2, 2, 2], 0, &[4]);
        check(50, 5, 10, &[2, 2, 2], 70, &[4, 2]);
        check(50, 5, 10, &[7, 1], 50, &[7]);
    }

    #[test]
    fn what_is_larger_than_a_request_goes_in_parts() {
        check(0, 4, 4, &[4, 9], 0, &[4, 4, 2, 3]);
        check(0, 0, 0, &[2], 0, &[1, 1]);
    }

    #[test]
    fn a_rest_is_longer_each_time() {
        let mut queue = PartitionQueue::new(0, 0, InFlightBatches::new(5, false, true));
        let back_off = (Duration::from_millis(100), Duration::from_secs(1));
        let now = Instant::now();
        let rest = |queue: &mut PartitionQueue| {
            queue.rest(now, back_off);
            let until = queue.until.unwrap();
            // What fails along with it.
            queue.rest(now, back_off);
            assert_eq!(queue.until, Some(until));
            queue.sent(0, Node::Broker(1));
            until - now
        };
        let rests: Vec<Duration> = (0..6).map(|_| rest(&mut queue)).collect();
        for (rest, millis) in rests.iter().zip([100, 200, 400, 800, 1000, 1000]) {
            let expected = Duration::from_millis(millis);
            assert!(*rest >= expected.mul_f64(0.8) && *rest <= expected.mul_f64(1.2));
        }
        queue.worked();
        assert!(rest(&mut queue) <= Duration::from_millis(120));
    }
}
