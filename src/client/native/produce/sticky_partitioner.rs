//! Chooses the partition of records without a key as Kafka's own producer does (KIP-480): one partition until a batch is full, then another.
//! No I/O; the time is a parameter.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

/// Partitioner of one topic.
#[derive(Debug)]
pub(super) struct StickyPartitioner {
    /// Counter for the round robin over the partitions that have a leader.
    next: usize,
    current: Option<StickyPartition>,
}

#[derive(Debug)]
struct StickyPartition {
    partition: i32,
    until: Instant,
    remaining_bytes: usize,
}

impl Default for StickyPartitioner {
    fn default() -> Self {
        // Producers start at random partitions, so that they do not all write to the same one.
        let random = RandomState::new().hash_one(0);
        Self {
            next: (random % (1 << 20)) as usize,
            current: None,
        }
    }
}

impl StickyPartitioner {
    /// Returns the partition for `bytes` of records, or `None` if no partition has a leader. In `leaders` a partition without a leader has -1.
    /// A newly chosen partition is kept until `until` and for at most `capacity` bytes.
    pub(super) fn choose(
        &mut self,
        leaders: &BTreeMap<i32, i32>,
        bytes: usize,
        now: Instant,
        until: Instant,
        capacity: usize,
    ) -> Option<i32> {
        let has_leader = |partition: i32| leaders.get(&partition).is_some_and(|&id| id >= 0);
        if let Some(current) = &mut self.current
            && now < current.until
            && bytes <= current.remaining_bytes
            && has_leader(current.partition)
        {
            current.remaining_bytes -= bytes;
            return Some(current.partition);
        }
        let available = || leaders.iter().filter(|&(_, &id)| id >= 0);
        let index = self.next.checked_rem(available().count())?;
        let (&partition, _) = available().nth(index)?;
        self.next = self.next.wrapping_add(1);
        self.current = Some(StickyPartition {
            partition,
            until,
            remaining_bytes: capacity.saturating_sub(bytes),
        });
        Some(partition)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use super::*;

    /// Chooses partitions for `count` record sets of 10 bytes, one per millisecond.
    fn choose(leaders: &[i32], linger: u64, capacity: usize, count: u64) -> Vec<Option<i32>> {
        let leaders = (0..).zip(leaders.iter().copied()).collect();
        let mut partitioner = StickyPartitioner {
            next: 0,
            current: None,
        };
        let start = Instant::now();
        let choices = (0..count).map(|millis| {
            let now = start + Duration::from_millis(millis);
            let until = now + Duration::from_millis(linger);
            partitioner.choose(&leaders, 10, now, until, capacity)
        });
        choices.collect()
    }

    #[track_caller]
    fn check(leaders: &[i32], linger: u64, capacity: usize, expected: &[i32]) {
        let expected: Vec<Option<i32>> =
            expected.iter().map(|&partition| Some(partition)).collect();
        let found = choose(leaders, linger, capacity, expected.len() as u64);
        assert_eq!(found, expected);
    }

    #[test]
    fn without_linger_each_record_set_goes_to_the_next_partition() {
        check(&[1, 2, 3], 0, 1000, &[0, 1, 2, 0, 1]);
        check(&[1, 1], 0, 1000, &[0, 1, 0]);
        check(&[1], 0, 1000, &[0, 0]);
    }

    #[test]
    fn partitions_without_a_leader_are_skipped() {
        check(&[1, -1, 3], 0, 1000, &[0, 2, 0, 2]);
        assert_eq!(choose(&[-1, -1], 0, 1000, 1), [None]);
        assert_eq!(choose(&[], 0, 1000, 1), [None]);
    }

    #[test]
    fn with_linger_record_sets_stay_together() {
        check(&[1, 2], 3, 1000, &[0, 0, 0, 1, 1, 1, 0]);
        check(&[1, 2], 3, 20, &[0, 0, 1, 1, 0]);
    }
}
