//! Per-partition record counters. No I/O.
//!
//! Invariant: when nothing is in flight, `input = even + odd + dead_lettered + skipped` (log sink: `input = printed`).
//! A partition with unread or in-flight records that makes no progress for `parity-router.stall-timeout` is stalled.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::topic_partition::TopicPartition;

/// Final outcome of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Acknowledged by the even topic.
    Even,
    /// Acknowledged by the odd topic.
    Odd,
    /// Acknowledged by a dead-letter topic.
    DeadLettered,
    /// Not routed on purpose: a tombstone, or invalid with `parity-router.invalid=skip`.
    Skipped,
    /// Written by the log sink.
    Printed,
}

impl Outcome {
    const COUNT: usize = 5;
}

/// Counters of one partition, or the sum of several, since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PartitionCounters {
    /// Records read.
    pub(crate) input: u64,
    /// Unread records at the broker, as of its last response; `None` if the client does not report it.
    pub(crate) lag: Option<u64>,
    /// Records deleted, by retention or on purpose, before they were read.
    pub(crate) lost: u64,
    outcomes: [u64; Outcome::COUNT],
}

impl PartitionCounters {
    /// Returns the number of records with this outcome.
    pub(crate) fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Returns the number of records that were read and have no outcome yet.
    pub(crate) fn in_flight(&self) -> u64 {
        self.input.saturating_sub(self.completed())
    }

    /// Returns whether the partition has in-flight or unread records.
    fn has_work(&self) -> bool {
        self.in_flight() > 0 || self.lag.is_some_and(|lag| lag > 0)
    }

    fn completed(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    fn add(&mut self, other: &Self) {
        self.input += other.input;
        self.lost += other.lost;
        self.lag = match (self.lag, other.lag) {
            (Some(sum), Some(lag)) => Some(sum + lag),
            (sum, lag) => sum.or(lag),
        };
        for (sum, count) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum += count;
        }
    }
}

impl fmt::Display for PartitionCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in, {} even, {} odd, {} dead-lettered, {} skipped, {} printed",
            self.input,
            self.count(Outcome::Even),
            self.count(Outcome::Odd),
            self.count(Outcome::DeadLettered),
            self.count(Outcome::Skipped),
            self.count(Outcome::Printed)
        )
    }
}

/// Counters of all partitions.
#[derive(Debug, Default)]
pub(crate) struct RecordCounters {
    /// One entry for each partition that was ever assigned.
    entries: BTreeMap<TopicPartition, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    counters: PartitionCounters,
    /// The counters at the last commit of a transaction.
    committed: PartitionCounters,
    /// Start of the stall time of a partition with in-flight or unread records: its last progress, or the time when it got work.
    idle_since: Option<Instant>,
}

impl Entry {
    fn note_progress(&mut self, now: Instant) {
        self.idle_since = self.counters.has_work().then_some(now);
    }
}

impl RecordCounters {
    /// Counts records that were read.
    pub(crate) fn add_read(&mut self, partition: TopicPartition, records: u64, now: Instant) {
        let entry = self.entries.entry(partition).or_default();
        entry.counters.input += records;
        entry.note_progress(now);
    }

    /// Counts records that have this outcome.
    pub(crate) fn add_outcome(
        &mut self,
        partition: TopicPartition,
        outcome: Outcome,
        records: u64,
        now: Instant,
    ) {
        let entry = self.entries.entry(partition).or_default();
        entry.counters.outcomes[outcome as usize] += records;
        entry.note_progress(now);
    }

    /// Sets the number of unread records.
    pub(crate) fn set_lag(&mut self, partition: TopicPartition, records: u64, now: Instant) {
        let entry = self.entries.entry(partition).or_default();
        entry.counters.lag = Some(records);
        if entry.counters.has_work() {
            entry.idle_since.get_or_insert(now);
        } else {
            entry.idle_since = None;
        }
    }

    /// Counts records that were deleted before they were read.
    pub(crate) fn add_lost(&mut self, partition: TopicPartition, records: u64) {
        self.entries.entry(partition).or_default().counters.lost += records;
    }

    /// Resets the lag of partitions that another member reads from now on.
    pub(crate) fn revoke(&mut self, partitions: &[TopicPartition], now: Instant) {
        for partition in partitions {
            if self.entries.contains_key(partition) {
                self.set_lag(*partition, 0, now);
            }
        }
    }

    /// Keeps the outcomes of a committed transaction.
    pub(crate) fn commit(&mut self) {
        for entry in self.entries.values_mut() {
            entry.committed = entry.counters;
        }
    }

    /// Restores the counters of the last committed transaction: the records of the aborted one are read again.
    pub(crate) fn roll_back(&mut self) {
        for entry in self.entries.values_mut() {
            entry.counters = PartitionCounters {
                lag: entry.counters.lag.map(|_| 0),
                ..entry.committed
            };
            entry.idle_since = None;
        }
    }

    /// Returns the counters of each partition.
    pub(crate) fn partitions(
        &self,
    ) -> impl ExactSizeIterator<Item = (TopicPartition, &PartitionCounters)> {
        let entries = self.entries.iter();
        entries.map(|(&partition, entry)| (partition, &entry.counters))
    }

    /// Returns the sum over all partitions.
    pub(crate) fn total(&self) -> PartitionCounters {
        let mut total = PartitionCounters::default();
        for (_, counters) in self.partitions() {
            total.add(counters);
        }
        total
    }

    /// Returns the partitions that have had work and made no progress for at least `after`.
    pub(crate) fn stalled(
        &self,
        now: Instant,
        after: Duration,
    ) -> Vec<(TopicPartition, &PartitionCounters)> {
        let stalled = self.entries.iter().filter(|(_, entry)| {
            let since = entry.idle_since;
            since.is_some_and(|since| now.saturating_duration_since(since) >= after)
        });
        stalled
            .map(|(&partition, entry)| (partition, &entry.counters))
            .collect()
    }

    /// Returns the partitions whose counters break the invariant; meaningful only when nothing is in flight.
    pub(crate) fn unbalanced(&self) -> Vec<(TopicPartition, &PartitionCounters)> {
        self.partitions()
            .filter(|(_, counters)| counters.input != counters.completed())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TopicPartition = TopicPartition {
        topic: 0,
        partition: 0,
    };
    const B: TopicPartition = TopicPartition {
        topic: 1,
        partition: 7,
    };

    #[track_caller]
    fn check(counters: &RecordCounters, now: Instant, stalled: &[TopicPartition], in_flight: u64) {
        let found = counters.stalled(now, Duration::from_secs(30));
        let found: Vec<TopicPartition> = found.iter().map(|(partition, _)| *partition).collect();
        assert_eq!(
            (found.as_slice(), counters.total().in_flight()),
            (stalled, in_flight)
        );
    }

    #[test]
    fn records_are_conserved() {
        let now = Instant::now();
        let mut counters = RecordCounters::default();
        counters.add_read(A, 10, now);
        counters.add_read(B, 5, now);
        counters.add_outcome(A, Outcome::Even, 4, now);
        counters.add_outcome(A, Outcome::Odd, 3, now);
        counters.add_outcome(A, Outcome::DeadLettered, 2, now);
        counters.add_outcome(B, Outcome::Printed, 5, now);
        check(&counters, now, &[], 1);
        let unbalanced = |counters: &RecordCounters| {
            let found = counters.unbalanced();
            found
                .iter()
                .map(|(partition, _)| *partition)
                .collect::<Vec<_>>()
        };
        assert_eq!(unbalanced(&counters), [A]);
        counters.add_outcome(A, Outcome::Skipped, 1, now);
        assert_eq!(unbalanced(&counters), []);
        // A record that is counted twice is as wrong as a lost one.
        counters.add_outcome(B, Outcome::Printed, 1, now);
        assert_eq!(unbalanced(&counters), [B]);
        let total = counters.total();
        assert_eq!((total.input, total.count(Outcome::Even)), (15, 4));
        assert_eq!(counters.partitions().len(), 2);
    }

    #[test]
    fn an_aborted_transaction_is_rolled_back() {
        let now = Instant::now();
        let mut counters = RecordCounters::default();
        counters.add_read(A, 2, now);
        counters.add_outcome(A, Outcome::Even, 2, now);
        counters.commit();
        counters.add_read(A, 5, now);
        counters.add_outcome(A, Outcome::Odd, 3, now);
        counters.set_lag(A, 9, now);
        counters.roll_back();
        let total = counters.total();
        assert_eq!((total.input, total.count(Outcome::Even)), (2, 2));
        assert_eq!((total.count(Outcome::Odd), total.lag), (0, Some(0)));
        check(&counters, now + Duration::from_secs(99), &[], 0);
    }

    #[test]
    fn in_flight_records_without_progress_stall() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut counters = RecordCounters::default();
        counters.add_read(A, 2, at(0));
        counters.add_read(B, 1, at(10));
        check(&counters, at(29), &[], 3);
        check(&counters, at(30), &[A], 3);
        check(&counters, at(40), &[A, B], 3);
        counters.add_outcome(A, Outcome::Even, 1, at(41));
        check(&counters, at(70), &[B], 2);
        check(&counters, at(71), &[A, B], 2);
        counters.add_outcome(A, Outcome::Odd, 1, at(72));
        counters.add_outcome(B, Outcome::Odd, 1, at(72));
        check(&counters, at(999), &[], 0);
    }

    #[test]
    fn unread_records_without_progress_stall() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut counters = RecordCounters::default();
        counters.set_lag(A, 0, at(0));
        check(&counters, at(99), &[], 0);
        counters.set_lag(A, 3, at(100));
        counters.set_lag(A, 4, at(120));
        check(&counters, at(129), &[], 0);
        check(&counters, at(130), &[A], 0);
        // Reading is progress.
        counters.add_read(A, 1, at(131));
        counters.add_outcome(A, Outcome::Skipped, 1, at(131));
        check(&counters, at(160), &[], 0);
        check(&counters, at(161), &[A], 0);
        counters.revoke(&[A], at(162));
        check(&counters, at(999), &[], 0);
    }
}
