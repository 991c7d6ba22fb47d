//! Queue of producer batches for one partition, its in-flight batches and its back-off. No I/O; the time is a parameter.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::in_flight::{InFlightBatches, RecordCount};
use super::incomplete_batches::IncompleteBatches;
use super::producer_batch::ProducerBatch;
use crate::client::OutputTopic;
use crate::client::native::backoff::Backoff;
use crate::client::native::compression;
use crate::client::native::metadata::EXPECTED_LEADER_FAILURES;
use crate::client::native::network::Node;
use crate::client::records::BATCH_HEADER_SIZE;
use crate::client::settings::{BackoffRange, Compression};

/// How queued batches are merged, split and compressed before they are sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchSettings {
    pub(super) compression: Compression,
    /// `linger.ms`
    pub(super) linger: Duration,
    /// Maximum bytes of records in a merged batch. At most `max_size`.
    pub(super) merged_size: usize,
    /// Maximum bytes of records in a batch of more than one record.
    pub(super) max_size: usize,
}

#[derive(Debug)]
pub(super) struct PartitionQueue {
    pub(super) output: OutputTopic,
    pub(super) partition: i32,
    /// Batches behind the in-flight ones.
    queued: VecDeque<ProducerBatch>,
    pub(super) in_flight: InFlightBatches<ProducerBatch>,
    /// Broker that the in-flight batches were sent to.
    pub(super) node: Option<Node>,
    /// Failures since the last acknowledgement, and the time before which nothing is sent.
    pub(super) backoff: Backoff,
    /// A warning about the failures since the last acknowledgement was logged.
    pub(super) has_warned: bool,
    /// Number of the last transaction that the partition was added to.
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
            queued: VecDeque::new(),
            in_flight,
            node: None,
            backoff: Backoff::default(),
            has_warned: false,
            transaction: 0,
        }
    }

    pub(super) fn push(&mut self, batch: ProducerBatch) {
        self.queued.push_back(batch);
    }

    /// Number of batches behind the in-flight ones.
    pub(super) fn queued(&self) -> usize {
        self.queued.len()
    }

    /// True if all batches are acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.queued.is_empty() && self.in_flight.is_empty()
    }

    /// Moves queued batches to the in-flight ones while there is room. Merges, splits and compresses them first.
    pub(super) fn fill_in_flight(
        &mut self,
        settings: &BatchSettings,
        incomplete: &IncompleteBatches,
        now: Instant,
    ) -> Result<(), compression::Error> {
        while self.in_flight.has_room() && self.is_ready(settings, incomplete, now) {
            let Some(mut batch) = self.pop_merged(settings, incomplete) else {
                break;
            };
            batch.compress(settings.compression, incomplete)?;
            if batch.records(incomplete).len() > settings.max_size && batch.record_count() > 1 {
                for half in batch.halves(incomplete).into_iter().rev() {
                    self.queued.push_front(half);
                }
            } else {
                self.in_flight.push(batch);
            }
        }
        Ok(())
    }

    /// True if the first queued batch does not linger any more, or the queued batches fill a merged one.
    fn is_ready(
        &self,
        settings: &BatchSettings,
        incomplete: &IncompleteBatches,
        now: Instant,
    ) -> bool {
        let has_lingered = self.linger_end(settings).is_none_or(|end| end <= now);
        has_lingered || {
            let sizes = self
                .queued
                .iter()
                .map(|batch| batch.records(incomplete).len());
            sizes.sum::<usize>() >= settings.merged_size
        }
    }

    /// Returns when the first queued batch has lingered for `linger.ms`, or `None` if it does not linger.
    pub(super) fn linger_end(&self, settings: &BatchSettings) -> Option<Instant> {
        let first = self.queued.front()?;
        (!settings.linger.is_zero()).then(|| first.created + settings.linger)
    }

    /// Removes the first queued batch, merged with those behind it if batches linger.
    fn pop_merged(
        &mut self,
        settings: &BatchSettings,
        incomplete: &IncompleteBatches,
    ) -> Option<ProducerBatch> {
        let first = self.queued.pop_front()?;
        if settings.linger.is_zero() {
            return Some(first);
        }
        let mut size = first.records(incomplete).len();
        let mut batches = vec![first];
        while let Some(batch) = self.queued.front() {
            size += batch.records(incomplete).len();
            if size > settings.merged_size {
                break;
            }
            batches.extend(self.queued.pop_front());
        }
        if batches.len() == 1 {
            return batches.pop();
        }
        ProducerBatch::merge(batches, incomplete)
    }

    /// The batch `id` was sent to `node`.
    pub(super) fn mark_sent(&mut self, id: u64, node: Node) {
        self.in_flight.mark_sent(id);
        self.node = Some(node);
        self.backoff.end_wait();
    }

    /// Returns whether a failure now, because of the leader, is still within [`EXPECTED_LEADER_FAILURES`]. Failures during a back-off belong
    /// to the one that started it.
    pub(super) fn is_expected_leader_failure(&self, now: Instant) -> bool {
        let failures = self.backoff.failures() + u32::from(!self.backoff.is_waiting(now));
        failures <= EXPECTED_LEADER_FAILURES
    }

    /// Starts a back-off. Failures during a back-off do not extend it.
    pub(super) fn back_off(&mut self, now: Instant, range: BackoffRange) {
        if !self.backoff.is_waiting(now) {
            self.backoff.fail(now, range);
        }
    }

    /// A batch was acknowledged. Returns whether a warning about failures was logged before.
    pub(super) fn mark_acknowledged(&mut self) -> bool {
        self.backoff.clear_failures();
        std::mem::take(&mut self.has_warned)
    }
}

/// Returns the maximum bytes of records in a request of `request_size` bytes; the rest is for the request and the record batch header.
pub(super) fn max_records_size(request_size: usize, topic: &str) -> usize {
    request_size.saturating_sub(BATCH_HEADER_SIZE + 64 + topic.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::client::records::Headers;
    use crate::client::{Batch, Record};
    use crate::topic_partition::TopicPartition;

    /// Size of each record below: lengths, attributes, deltas and a value of 92 bytes.
    const RECORD: usize = 101;

    fn insert(incomplete: &mut IncompleteBatches, records: i64) -> usize {
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
        incomplete.insert(batch)
    }

    /// Queues batches of these record counts, one every 10 ms, and compares the record counts of those that may be sent at `millis`.
    #[track_caller]
    fn check(
        linger: u64,
        merged_records: usize,
        max_records: usize,
        queued: &[i64],
        millis: u64,
        expected: &[i32],
    ) {
        let settings = BatchSettings {
            compression: Compression::None,
            linger: Duration::from_millis(linger),
            merged_size: merged_records * RECORD,
            max_size: max_records * RECORD,
        };
        let start = Instant::now();
        let mut incomplete = IncompleteBatches::default();
        let mut queue = PartitionQueue::new(0, 0, InFlightBatches::new(5, false, true));
        for (number, &records) in (0..).zip(queued) {
            let slot = insert(&mut incomplete, records);
            let created = start + Duration::from_millis(10 * number);
            queue.push(ProducerBatch::from_record_set(&incomplete, slot, 0, created).unwrap());
        }
        queue
            .fill_in_flight(
                &settings,
                &incomplete,
                start + Duration::from_millis(millis),
            )
            .unwrap();
        let counts: Vec<i32> = std::iter::from_fn(|| {
            let next = queue.in_flight.next_to_send()?;
            queue.in_flight.mark_sent(next.id);
            let batch = queue.in_flight.get_mut(next.id)?;
            let count = batch.record_count();
            assert_eq!(batch.records(&incomplete).len(), RECORD * count as usize);
            Some(count)
        })
        .collect();
        assert_eq!(counts, expected);
    }

    #[test]
    fn without_linger_batches_stay_as_they_are() {
        check(0, 10, 10, &[1, 2, 3], 0, &[1, 2, 3]);
        check(0, 10, 10, &[1, 1, 1, 1, 1, 1, 1], 0, &[1, 1, 1, 1, 1]);
    }

    #[test]
    fn with_linger_batches_are_merged() {
        check(50, 10, 10, &[1, 2, 3], 49, &[]);
        check(50, 10, 10, &[1, 2, 3], 50, &[6]);
        // The third batch does not fit and lingers on.
        check(50, 5, 10, &[2, 2, 2], 0, &[4]);
        check(50, 5, 10, &[2, 2, 2], 70, &[4, 2]);
        check(50, 5, 10, &[7, 1], 50, &[7]);
    }

    #[test]
    fn batches_larger_than_a_request_are_split() {
        check(0, 4, 4, &[4, 9], 0, &[4, 4, 2, 3]);
        check(0, 0, 0, &[2], 0, &[1, 1]);
    }

    #[test]
    fn the_first_leader_failures_are_expected() {
        let mut queue = PartitionQueue::new(0, 0, InFlightBatches::new(5, false, true));
        let range = BackoffRange {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(1),
        };
        let mut now = Instant::now();
        for _ in 0..EXPECTED_LEADER_FAILURES {
            assert!(queue.is_expected_leader_failure(now));
            queue.back_off(now, range);
            // The failure of another batch during the back-off.
            assert!(queue.is_expected_leader_failure(now));
            now += Duration::from_secs(2);
        }
        assert!(!queue.is_expected_leader_failure(now));
        queue.mark_acknowledged();
        assert!(queue.is_expected_leader_failure(now));
    }

    #[test]
    fn the_back_off_grows() {
        let mut queue = PartitionQueue::new(0, 0, InFlightBatches::new(5, false, true));
        let bounds = BackoffRange {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(1),
        };
        let now = Instant::now();
        let back_off = |queue: &mut PartitionQueue| {
            queue.back_off(now, bounds);
            let retry_at = queue.backoff.until().unwrap();
            // A second failure during the back-off.
            queue.back_off(now, bounds);
            assert_eq!(queue.backoff.until(), Some(retry_at));
            queue.mark_sent(0, Node::Broker(1));
            retry_at - now
        };
        let waits: Vec<Duration> = (0..6).map(|_| back_off(&mut queue)).collect();
        for (wait, millis) in waits.iter().zip([100, 200, 400, 800, 1000, 1000]) {
            let expected = Duration::from_millis(millis);
            assert!(*wait >= expected.mul_f64(0.8) && *wait <= expected.mul_f64(1.2));
        }
        queue.mark_acknowledged();
        assert!(back_off(&mut queue) <= Duration::from_millis(120));
    }
}
