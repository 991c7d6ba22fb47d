//! Which offset may be committed, per partition. Pure; owned by the consumer thread.
//!
//! Records are dispatched in poll_batches: what one poll brought, at most one batch for each output. A poll_batch is done when all its batches
//! are delivered. Rounds are done in any order, but only those without an undone one before them count: an offset may be committed
//! when every record below it has been delivered, out of both producers.

use std::collections::{BTreeMap, VecDeque};

use crate::topic_partition::{NextOffset, TopicPartition};

/// Identifies a poll_batch; they are numbered from 0 in the order of dispatch.
pub(crate) type PollBatchId = u64;

/// Meeting point of what was dispatched and what was delivered.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
pub(crate) struct OffsetTracker {
    /// Rounds in flight, oldest first; the front one is never done.
    poll_batches: VecDeque<InFlight>,
    /// Number of the front poll_batch, or of the next one where none is in flight.
    first: PollBatchId,
    /// The next offset of each partition, all below it delivered.
    delivered: BTreeMap<TopicPartition, i64>,
    /// What the broker has confirmed.
    committed: BTreeMap<TopicPartition, i64>,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
struct InFlight {
    /// Batches not yet delivered.
    batches: usize,
    /// Where each partition stands after this poll_batch.
    ends: Vec<NextOffset>,
}

impl OffsetTracker {
    /// The number that the next dispatched poll_batch will have.
    pub(crate) fn next_poll_batch(&self) -> PollBatchId {
        self.first + self.poll_batches.len() as PollBatchId
    }

    /// A poll_batch of so many batches goes out, after which the partitions stand at `ends`. It may have none: all its records were skipped.
    pub(crate) fn dispatch(&mut self, batches: usize, ends: Vec<NextOffset>) {
        self.poll_batches.push_back(InFlight { batches, ends });
        self.settle();
    }

    /// A batch of `poll_batch` is delivered.
    pub(crate) fn deliver(&mut self, poll_batch: PollBatchId) {
        let index = poll_batch
            .checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(in_flight) = index.and_then(|index| self.poll_batches.get_mut(index)) {
            in_flight.batches = in_flight.batches.saturating_sub(1);
        }
        self.settle();
    }

    /// Rounds not yet done.
    pub(crate) fn in_flight(&self) -> usize {
        self.poll_batches.len()
    }

    /// What may be committed and is not confirmed yet. It can be less than what is: where a topic was made anew, or has lost its end, its
    /// partitions are read from an earlier place, which counts from then on.
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

    /// The broker has confirmed this commit.
    pub(crate) fn confirm(&mut self, offsets: &[NextOffset]) {
        for &(partition, next) in offsets {
            // A confirmation can arrive after the partition was taken away; it is nothing to remember then.
            if self.delivered.contains_key(&partition) {
                self.committed.insert(partition, next);
            }
        }
    }

    /// These partitions are another consumer's now: nothing of them may be committed any more, even if a delivery is still to come.
    pub(crate) fn revoke(&mut self, partitions: &[TopicPartition]) {
        for poll_batch in &mut self.poll_batches {
            poll_batch
                .ends
                .retain(|(partition, _)| !partitions.contains(partition));
        }
        for partition in partitions {
            self.delivered.remove(partition);
            self.committed.remove(partition);
        }
    }

    /// Takes the done poll_batches from the front.
    fn settle(&mut self) {
        while self
            .poll_batches
            .front()
            .is_some_and(|poll_batch| poll_batch.batches == 0)
        {
            if let Some(poll_batch) = self.poll_batches.pop_front() {
                for (partition, next) in poll_batch.ends {
                    let before = self.delivered.insert(partition, next);
                    // Back to an earlier place: what the broker holds from now on is known by the next confirmation.
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
    fn a_round_is_done_when_both_lanes_are() {
        let mut tracker = OffsetTracker::default();
        tracker.dispatch(2, vec![(A, 10)]);
        check(&tracker, &[], 1);
        tracker.deliver(0);
        check(&tracker, &[], 1);
        tracker.deliver(0);
        check(&tracker, &[(A, 10)], 0);
    }

    #[test]
    fn an_undone_round_holds_those_behind_it() {
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
    fn a_round_without_batches_is_done_at_once_but_in_its_turn() {
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
    fn a_place_that_goes_back_is_committed() {
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
        // A delivery of a poll_batch that is long done, or of none, changes nothing.
        tracker.deliver(0);
        tracker.deliver(99);
        check(&tracker, &[(B, 1)], 0);
    }

    proptest! {
        /// Whatever the order of deliveries: the committable offset is that of the longest prefix of done poll_batches.
        #[test]
        fn commits_follow_the_longest_done_prefix(
            sizes in prop::collection::vec(0..3usize, 1..12),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let mut tracker = OffsetTracker::default();
            let mut left = sizes.clone();
            for (poll_batch, &batches) in sizes.iter().enumerate() {
                tracker.dispatch(batches, vec![(A, poll_batch as i64 + 1)]);
            }
            for pick in picks {
                let undone: Vec<usize> = (0..left.len()).filter(|&poll_batch| left[poll_batch] > 0).collect();
                if undone.is_empty() {
                    break;
                }
                let poll_batch = undone[pick.index(undone.len())];
                left[poll_batch] -= 1;
                tracker.deliver(poll_batch as PollBatchId);
                let done = left.iter().take_while(|&&batches| batches == 0).count();
                let expected: Vec<NextOffset> = if done == 0 { vec![] } else { vec![(A, done as i64)] };
                prop_assert_eq!(tracker.committable(), expected);
                prop_assert_eq!(tracker.in_flight(), left.len() - done);
            }
        }
    }
}
