//! Offset tracker: which offsets may be committed, per partition. No I/O; owned by the thread `consumer`.
//!
//! Records are dispatched in poll batches: what one poll returned, at most one batch for each output. A poll batch is complete when all its
//! batches are delivered. Poll batches may complete in any order, but one counts only when all before it are complete: an offset may be
//! committed when every record below it has been delivered by both producers.

use std::collections::{BTreeMap, VecDeque};

use crate::topic_partition::{NextOffset, TopicPartition};

/// Number of a poll batch, from 0 in the order of dispatch.
pub(crate) type PollBatchId = u64;

/// Tracks which dispatched records are delivered, and which offsets are committed.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
pub(crate) struct OffsetTracker {
    /// Poll batches in flight, oldest first; the first one is never complete.
    poll_batches: VecDeque<InFlight>,
    /// Number of the first poll batch in flight, or of the next one if none is.
    first: PollBatchId,
    /// Position of each partition below which every record is delivered.
    delivered: BTreeMap<TopicPartition, i64>,
    /// Offsets that the group coordinator has confirmed.
    committed: BTreeMap<TopicPartition, i64>,
}

/// A poll batch in flight.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
struct InFlight {
    /// Batches that are not delivered yet.
    batches: usize,
    /// Positions of its partitions after this poll batch.
    positions: Vec<NextOffset>,
}

impl OffsetTracker {
    /// Returns the number that the next dispatched poll batch will have.
    pub(crate) fn next_poll_batch(&self) -> PollBatchId {
        self.first + self.poll_batches.len() as PollBatchId
    }

    /// Tracks a poll batch of this many batches, after which its partitions are at `positions`. A poll batch without batches, whose records
    /// were all skipped, is complete at once.
    pub(crate) fn dispatch(&mut self, batches: usize, positions: Vec<NextOffset>) {
        self.poll_batches.push_back(InFlight { batches, positions });
        self.complete_poll_batches();
    }

    /// Tracks the delivery of one batch of a poll batch.
    pub(crate) fn deliver(&mut self, poll_batch: PollBatchId) {
        let index = poll_batch
            .checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(in_flight) = index.and_then(|index| self.poll_batches.get_mut(index)) {
            in_flight.batches = in_flight.batches.saturating_sub(1);
        }
        self.complete_poll_batches();
    }

    /// Returns the number of poll batches in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.poll_batches.len()
    }

    /// Returns the offsets that may be committed and are not confirmed.
    ///
    /// An offset can be lower than the committed one: if a topic was recreated or truncated, its partitions are read again from an earlier
    /// offset, and the group has to continue from there.
    pub(crate) fn committable(&self) -> Vec<NextOffset> {
        let unconfirmed = |(partition, next): &(&TopicPartition, &i64)| {
            self.committed
                .get(partition)
                .is_none_or(|offset| offset != *next)
        };
        self.delivered
            .iter()
            .filter(unconfirmed)
            .map(|(&partition, &next)| (partition, next))
            .collect()
    }

    /// Tracks that these offsets are committed.
    pub(crate) fn confirm(&mut self, offsets: &[NextOffset]) {
        for &(partition, next) in offsets {
            // The confirmation can arrive after the partition was revoked.
            if self.delivered.contains_key(&partition) {
                self.committed.insert(partition, next);
            }
        }
    }

    /// Forgets revoked partitions: their offsets must not be committed any more, not even by deliveries that are still to come.
    pub(crate) fn revoke(&mut self, partitions: &[TopicPartition]) {
        for poll_batch in &mut self.poll_batches {
            poll_batch
                .positions
                .retain(|(partition, _)| !partitions.contains(partition));
        }
        for partition in partitions {
            self.delivered.remove(partition);
            self.committed.remove(partition);
        }
    }

    /// Removes complete poll batches from the front and advances the delivered positions.
    fn complete_poll_batches(&mut self) {
        while self
            .poll_batches
            .front()
            .is_some_and(|poll_batch| poll_batch.batches == 0)
        {
            if let Some(poll_batch) = self.poll_batches.pop_front() {
                for (partition, next) in poll_batch.positions {
                    let before = self.delivered.insert(partition, next);
                    // The partition is read again from an earlier offset. Its committed offset is unknown until the next confirmation.
                    if before.is_some_and(|before| before > next) {
                        self.committed.remove(&partition);
                    }
                }
                self.first += 1;
            }
        }
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: TopicPartition = TopicPartition {
        topic: 0,
        partition: 0,
    };
    const B: TopicPartition = TopicPartition {
        topic: 0,
        partition: 1,
    };

    #[track_caller]
    fn check(tracker: &OffsetTracker, committable: &[NextOffset], in_flight: usize) {
        assert_eq!(
            (tracker.committable().as_slice(), tracker.in_flight()),
            (committable, in_flight)
        );
    }

    #[test]
    fn a_poll_batch_is_complete_when_both_batches_are_delivered() {
        let mut tracker = OffsetTracker::default();
        tracker.dispatch(2, vec![(A, 10)]);
        check(&tracker, &[], 1);
        tracker.deliver(0);
        check(&tracker, &[], 1);
        tracker.deliver(0);
        check(&tracker, &[(A, 10)], 0);
    }

    #[test]
    fn an_incomplete_poll_batch_holds_back_the_later_ones() {
        let mut tracker = OffsetTracker::default();
        tracker.dispatch(1, vec![(A, 10)]);
        tracker.dispatch(1, vec![(A, 20), (B, 5)]);
        assert_eq!(tracker.next_poll_batch(), 2);
        tracker.deliver(1);
        check(&tracker, &[], 2);
        tracker.deliver(0);
        check(&tracker, &[(A, 20), (B, 5)], 0);
        assert_eq!(tracker.next_poll_batch(), 2);
    }

    #[test]
    fn a_poll_batch_without_batches_completes_in_its_turn() {
        let mut tracker = OffsetTracker::default();
        tracker.dispatch(0, vec![(A, 3)]);
        check(&tracker, &[(A, 3)], 0);
        tracker.dispatch(1, vec![(A, 4)]);
        tracker.dispatch(0, vec![(A, 5)]);
        check(&tracker, &[(A, 3)], 2);
        tracker.deliver(1);
        check(&tracker, &[(A, 5)], 0);
    }

    #[test]
    fn a_confirmed_offset_is_not_committed_again() {
        let mut tracker = OffsetTracker::default();
        tracker.dispatch(0, vec![(A, 3), (B, 7)]);
        tracker.confirm(&[(A, 3)]);
        check(&tracker, &[(B, 7)], 0);
        tracker.dispatch(0, vec![(A, 4)]);
        check(&tracker, &[(A, 4), (B, 7)], 0);
    }

    #[test]
    fn a_position_that_goes_back_is_committed() {
        let mut tracker = OffsetTracker::default();
        tracker.dispatch(0, vec![(A, 1_000)]);
        tracker.confirm(&[(A, 1_000)]);
        tracker.dispatch(1, vec![(A, 5)]);
        check(&tracker, &[], 1);
        tracker.deliver(1);
        check(&tracker, &[(A, 5)], 0);
        tracker.confirm(&[(A, 5)]);
        check(&tracker, &[], 0);
    }

    #[test]
    fn a_revoked_partition_is_forgotten() {
        let mut tracker = OffsetTracker::default();
        tracker.dispatch(0, vec![(A, 3)]);
        tracker.dispatch(1, vec![(A, 4), (B, 1)]);
        tracker.revoke(&[A]);
        tracker.confirm(&[(A, 3)]);
        check(&tracker, &[], 1);
        tracker.deliver(1);
        check(&tracker, &[(B, 1)], 0);
        // A delivery of a complete or an unknown poll batch changes nothing.
        tracker.deliver(0);
        tracker.deliver(99);
        check(&tracker, &[(B, 1)], 0);
    }

    proptest! {
        /// In any order of deliveries, the committable offset is that of the longest prefix of complete poll batches.
        #[test]
        fn commits_follow_the_longest_complete_prefix(
            sizes in prop::collection::vec(0..3usize, 1..12),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let mut tracker = OffsetTracker::default();
            let mut left = sizes.clone();
            for (poll_batch, &batches) in sizes.iter().enumerate() {
                tracker.dispatch(batches, vec![(A, poll_batch as i64 + 1)]);
            }
            for pick in picks {
                let incomplete: Vec<usize> = (0..left.len()).filter(|&poll_batch| left[poll_batch] > 0).collect();
                if incomplete.is_empty() {
                    break;
                }
                let poll_batch = incomplete[pick.index(incomplete.len())];
                left[poll_batch] -= 1;
                tracker.deliver(poll_batch as PollBatchId);
                let complete = left.iter().take_while(|&&batches| batches == 0).count();
                let expected: Vec<NextOffset> = if complete == 0 { vec![] } else { vec![(A, complete as i64)] };
                prop_assert_eq!(tracker.committable(), expected);
                prop_assert_eq!(tracker.in_flight(), left.len() - complete);
            }
        }
    }
}
