//! Position of each assigned partition: the offset of its next fetch, how that offset is found, and its retries. No I/O.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::client::Topics;
use crate::client::native::backoff::backoff;
use crate::client::native::network::Network;
use crate::throttle::{Throttle, WARNING_INTERVAL, more_suppressed};
use crate::topic_partition::{NextOffset, TopicPartition};

/// Source of the offset of the next fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client::native) enum PositionState {
    /// From the committed offset of the group, which has to be looked up with OffsetFetch.
    AwaitCommitted,
    /// From the start offset of a new group (earliest or latest), which has to be looked up with ListOffsets: nothing is committed, or the
    /// offset is out of range.
    AwaitReset,
    /// It is known; the partition is being fetched.
    Fetching,
}

/// Position of one partition.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) state: PositionState,
    /// Offset of the next fetch if the state is [`PositionState::Fetching`], otherwise the last one, or -1.
    pub(super) next: i64,
    /// The offset lookup that the state awaits is in flight.
    is_requested: bool,
    /// End of the current back-off.
    not_before: Option<Instant>,
    /// Failed requests in a row.
    pub(super) failures: u32,
    /// Unreadable batches in a row.
    pub(super) unreadable: u32,
    /// The offset that was out of range, if that is why it is being reset.
    out_of_range: Option<i64>,
    /// Throttles warnings about resets.
    reset_warnings: Throttle,
    /// The offset was reset to an earlier one, from which nothing has been fetched yet.
    pub(super) went_back: bool,
    /// The offset after the last readable record, from the last fetch response: the last stable offset or the high watermark, depending on
    /// `isolation.level`.
    pub(super) end: i64,
}

/// Positions of the assigned partitions.
pub(in crate::client::native) struct Positions {
    topics: Topics,
    partitions: BTreeMap<TopicPartition, Position>,
}

impl Positions {
    pub(super) fn new(topics: &Topics) -> Self {
        Self {
            topics: topics.clone(),
            partitions: BTreeMap::new(),
        }
    }

    /// Adds assigned partitions, whose offsets are to be looked up as `state` says.
    pub(in crate::client::native) fn add(
        &mut self,
        partitions: &[TopicPartition],
        state: PositionState,
    ) {
        for &partition in partitions {
            let position = Position {
                state,
                next: -1,
                is_requested: false,
                not_before: None,
                failures: 0,
                unreadable: 0,
                out_of_range: None,
                reset_warnings: Throttle::new(WARNING_INTERVAL),
                went_back: false,
                end: 0,
            };
            self.partitions.insert(partition, position);
        }
    }

    pub(super) fn remove(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.partitions.remove(partition);
        }
    }

    /// Returns the assigned partitions in order.
    pub(in crate::client::native) fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.partitions.keys().copied()
    }

    /// Returns the first assigned partition after this one.
    pub(super) fn after(&self, partition: TopicPartition) -> Option<TopicPartition> {
        let after = (
            std::ops::Bound::Excluded(partition),
            std::ops::Bound::Unbounded,
        );
        self.partitions.range(after).next().map(|(&next, _)| next)
    }

    pub(super) fn get(&self, partition: TopicPartition) -> Option<&Position> {
        self.partitions.get(&partition)
    }

    pub(super) fn get_mut(&mut self, partition: TopicPartition) -> Option<&mut Position> {
        self.partitions.get_mut(&partition)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TopicPartition, &Position)> {
        self.partitions
            .iter()
            .map(|(&partition, position)| (partition, position))
    }

    /// Returns the partitions whose offset lookup in this state is due, and marks them as requested.
    ///
    /// Once one partition is due, those in back-off are returned too: looked up one by one, each would wait at the broker behind the fetch
    /// that the previous one is in by then.
    pub(in crate::client::native) fn take_due_lookups(
        &mut self,
        state: PositionState,
    ) -> Vec<TopicPartition> {
        let now = Instant::now();
        let waits = |position: &Position| position.state == state && !position.is_requested;
        let is_due = |position: &Position| position.not_before.is_none_or(|at| at <= now);
        let mut positions = self.partitions.values();
        if !positions.any(|position| waits(position) && is_due(position)) {
            return Vec::new();
        }
        let waiting = self
            .partitions
            .iter_mut()
            .filter(|(_, position)| waits(position));
        waiting
            .map(|(&partition, position)| {
                position.is_requested = true;
                position.not_before = None;
                partition
            })
            .collect()
    }

    /// Returns whether the partition's offset lookup in this state is in flight.
    pub(in crate::client::native) fn is_requested(
        &self,
        partition: TopicPartition,
        state: PositionState,
    ) -> bool {
        self.partitions
            .get(&partition)
            .is_some_and(|position| position.is_requested && position.state == state)
    }

    /// Marks the partition's offset lookup as not sent; it stays due.
    pub(in crate::client::native) fn cancel_lookup(&mut self, partition: TopicPartition) {
        if let Some(position) = self.partitions.get_mut(&partition) {
            position.is_requested = false;
        }
    }

    /// Retries the partition's offset lookup or fetch after a back-off.
    pub(in crate::client::native) fn retry_later<T>(
        &mut self,
        partition: TopicPartition,
        network: &Network<T>,
    ) {
        if let Some(position) = self.partitions.get_mut(&partition) {
            position.is_requested = false;
            position.back_off(network);
        }
    }

    /// Fetches the partition from `offset` on; `None` means that the group has no committed offset, so the position is reset.
    ///
    /// Returns the number of records lost to retention: those between an offset that was out of range and `offset`.
    pub(in crate::client::native) fn seek(
        &mut self,
        partition: TopicPartition,
        offset: Option<i64>,
    ) -> u64 {
        let Some(position) = self.partitions.get_mut(&partition) else {
            return 0;
        };
        position.is_requested = false;
        position.failures = 0;
        let Some(offset) = offset else {
            position.state = PositionState::AwaitReset;
            return 0;
        };
        position.state = PositionState::Fetching;
        position.went_back |= offset < position.next;
        position.next = offset;
        log::debug!(
            "{}: fetching from offset {offset}",
            self.topics.partition_name(partition)
        );
        let Some(out_of_range) = position.out_of_range.take() else {
            return 0;
        };
        let lost = u64::try_from(offset - out_of_range).unwrap_or_default();
        if let Some(suppressed) = position.reset_warnings.admit(Instant::now()) {
            log::warn!(
                "{}: offset {out_of_range} is out of range because of retention or because the topic was recreated, \
                 continuing at {offset}, {lost} records lost{}",
                self.topics.partition_name(partition),
                more_suppressed(suppressed)
            );
        }
        lost
    }

    /// Looks up a new start offset for a partition whose fetch offset is out of range.
    pub(super) fn reset(&mut self, partition: TopicPartition) {
        if let Some(position) = self.partitions.get_mut(&partition) {
            position.state = PositionState::AwaitReset;
            position.out_of_range = Some(position.next);
            position.is_requested = false;
        }
    }

    /// Returns when the first back-off ends.
    pub(in crate::client::native) fn next_poll(&self) -> Option<Instant> {
        let positions = self.partitions.values();
        positions.filter_map(|position| position.not_before).min()
    }

    /// Returns the partitions to fetch now with their offsets, in ascending order starting at `first`, then those before it.
    pub(super) fn take_due_fetches(&mut self, first: Option<TopicPartition>) -> Vec<NextOffset> {
        let now = Instant::now();
        let positions = self.partitions.iter_mut();
        let mut due: Vec<NextOffset> = positions
            .filter_map(|(&partition, position)| {
                position
                    .may_fetch(now)
                    .then_some((partition, position.next))
            })
            .collect();
        if let Some(first) = first {
            let before = due.partition_point(|&(partition, _)| partition < first);
            due.rotate_left(before);
        }
        due
    }
}

impl Position {
    fn may_fetch(&mut self, now: Instant) -> bool {
        if self.not_before.is_some_and(|at| at > now) {
            return false;
        }
        self.not_before = None;
        self.state == PositionState::Fetching
    }

    /// Begins a back-off (`retry.backoff.ms`, doubled with each failure up to `retry.backoff.max.ms`).
    fn back_off<T>(&mut self, network: &Network<T>) {
        let delay = backoff(network.settings().retry_backoff, self.failures);
        self.not_before = Some(Instant::now() + delay);
        self.failures = self.failures.saturating_add(1);
    }
}
