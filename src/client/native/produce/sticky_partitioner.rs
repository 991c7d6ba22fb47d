//! The partition of records without a key, as Kafka's own producer chooses it (KIP-480): one for as many as go into one batch, then another.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

/// Chooses for one topic.
#[derive(Debug)]
pub(super) struct StickyPartitioner {
    /// Partitions that have a leader are taken in turn, from anywhere.
    turn: usize,
    /// The partition that is stayed with, until when, and for how many bytes more.
    stay: Option<(i32, Instant, usize)>,
}

impl Default for StickyPartitioner {
    fn default() -> Self {
        // Two producers do not go hand in hand.
        let anywhere = RandomState::new().hash_one(0);
        Self {
            turn: (anywhere % (1 << 20)) as usize,
            stay: None,
        }
    }
}

impl StickyPartitioner {
    /// The partition for so many bytes; none where none of them has a leader. `leaders` has -1 for a partition without one. It is stayed
    /// with until `until`, for `room` bytes.
    pub(super) fn choose(
        &mut self,
        leaders: &BTreeMap<i32, i32>,
        bytes: usize,
        now: Instant,
        until: Instant,
        room: usize,
    ) -> Option<i32> {
        let has_leader = |partition: i32| leaders.get(&partition).is_some_and(|&id| id >= 0);
        if let Some((partition, until, room)) = &mut self.stay
            && now < *until
            && bytes <= *room
            && has_leader(*partition)
        {
            *room -= bytes;
            return Some(*partition);
        }
        let led = || leaders.iter().filter(|&(_, &id)| id >= 0);
        let place = self.turn.checked_rem(led().count())?;
        let (&partition, _) = led().nth(place)?;
        self.turn = self.turn.wrapping_add(1);
        self.stay = Some((partition, until, room.saturating_sub(bytes)));
        Some(partition)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use super::*;

    /// What is chosen for parts of 10 bytes, one each millisecond.
    fn choose(leaders: &[i32], linger: u64, room: usize, count: u64) -> Vec<Option<i32>> {
        let leaders = (0..).zip(leaders.iter().copied()).collect();
        let mut sticky = StickyPartitioner {
            turn: 0,
            stay: None,
        };
        let start = Instant::now();
        let choices = (0..count).map(|millis| {
            let now = start + Duration::from_millis(millis);
            sticky.choose(&leaders, 10, now, now + Duration::from_millis(linger), room)
        });
        choices.collect()
    }

    #[track_caller]
    fn check(leaders: &[i32], linger: u64, room: usize, expected: &[i32]) {
        let expected: Vec<Option<i32>> =
            expected.iter().map(|&partition| Some(partition)).collect();
        let found = choose(leaders, linger, room, expected.len() as u64);
        assert_eq!(found, expected);
    }

    #[test]
    fn each_part_goes_to_another_partition() {
        check(&[1, 2, 3], 0, 1000, &[0, 1, 2, 0, 1]);
        check(&[1, 1], 0, 1000, &[0, 1, 0]);
        check(&[1], 0, 1000, &[0, 0]);
    }

    #[test]
    fn a_partition_without_a_leader_is_passed_over() {
        check(&[1, -1, 3], 0, 1000, &[0, 2, 0, 2]);
        assert_eq!(choose(&[-1, -1], 0, 1000, 1), [None]);
        assert_eq!(choose(&[], 0, 1000, 1), [None]);
    }

    #[test]
    fn what_lingers_stays_together() {
        check(&[1, 2], 3, 1000, &[0, 0, 0, 1, 1, 1, 0]);
        check(&[1, 2], 3, 20, &[0, 0, 1, 1, 0]);
    }
}
