//! What became of the records of each partition. Pure.
//!
//! Conservation: once nothing of a partition is in flight, `input = even + odd + dead-lettered + skipped`, and in the log sink
//! `input = printed`. A partition that has something in flight, or left at the broker, and does not get on, is stalled.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::topic_partition::TopicPartition;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Acknowledged in the even topic.
    Even,
    /// Acknowledged in the odd topic.
    Odd,
    /// Acknowledged in a dead-letter topic.
    DeadLettered,
    /// A tombstone, or with `parity-router.invalid=skip` one that cannot be routed.
    Skipped,
    /// Printed by the log sink.
    Printed,
}

impl Outcome {
    const COUNT: usize = 5;
}

/// Records of one partition, or of several, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PartitionCounters {
    /// Records that were read.
    pub(crate) input: u64,
    /// Records at the broker that were not read yet, as it last told; none where the client does not know.
    pub(crate) lag: Option<u64>,
    /// Records that were deleted before they were read.
    pub(crate) missed: u64,
    fates: [u64; Outcome::COUNT],
}

impl PartitionCounters {
    /// Records with this fate.
    pub(crate) fn of(&self, fate: Outcome) -> u64 {
        self.fates[fate as usize]
    }

    /// Records that were read and have no fate yet.
    pub(crate) fn in_flight(&self) -> u64 {
        self.input.saturating_sub(self.done())
    }

    /// Whether there is something to get on with.
    fn waits(&self) -> bool {
        self.in_flight() > 0 || self.lag.is_some_and(|lag| lag > 0)
    }

    fn done(&self) -> u64 {
        self.fates.iter().sum()
    }

    fn add(&mut self, other: &Self) {
        self.input += other.input;
        self.missed += other.missed;
        self.lag = match (self.lag, other.lag) {
            (Some(sum), Some(lag)) => Some(sum + lag),
            (sum, lag) => sum.or(lag),
        };
        for (sum, count) in self.fates.iter_mut().zip(other.fates) {
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
            self.of(Outcome::Even),
            self.of(Outcome::Odd),
            self.of(Outcome::DeadLettered),
            self.of(Outcome::Skipped),
            self.of(Outcome::Printed)
        )
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct RecordCounters {
    /// As many as partitions that were ever assigned.
    entries: BTreeMap<TopicPartition, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    account: PartitionCounters,
    /// What it was when a transaction was committed last.
    committed: PartitionCounters,
    /// Of a partition that has something in flight or left at the broker: since when, or since it got on last.
    waits_since: Option<Instant>,
}

impl Entry {
    fn has_got_on(&mut self, now: Instant) {
        self.waits_since = self.account.waits().then_some(now);
    }
}

impl RecordCounters {
    /// So many records of the partition were read.
    pub(crate) fn read(&mut self, partition: TopicPartition, records: u64, now: Instant) {
        let entry = self.entries.entry(partition).or_default();
        entry.account.input += records;
        entry.has_got_on(now);
    }

    /// So many of them have this fate.
    pub(crate) fn settle(
        &mut self,
        partition: TopicPartition,
        fate: Outcome,
        records: u64,
        now: Instant,
    ) {
        let entry = self.entries.entry(partition).or_default();
        entry.account.fates[fate as usize] += records;
        entry.has_got_on(now);
    }

    /// So many of the partition were not read yet.
    pub(crate) fn lag(&mut self, partition: TopicPartition, records: u64, now: Instant) {
        let entry = self.entries.entry(partition).or_default();
        entry.account.lag = Some(records);
        if entry.account.waits() {
            entry.waits_since.get_or_insert(now);
        } else {
            entry.waits_since = None;
        }
    }

    /// So many of the partition were deleted before they were read.
    pub(crate) fn miss(&mut self, partition: TopicPartition, records: u64) {
        self.entries.entry(partition).or_default().account.missed += records;
    }

    /// What is left of these partitions at the broker is another member's.
    pub(crate) fn revoke(&mut self, partitions: &[TopicPartition], now: Instant) {
        for partition in partitions {
            if self.entries.contains_key(partition) {
                self.lag(*partition, 0, now);
            }
        }
    }

    /// A transaction is committed: what became of the records is final.
    pub(crate) fn commit(&mut self) {
        for entry in self.entries.values_mut() {
            entry.committed = entry.account;
        }
    }

    /// A transaction is aborted: what was read since the last one was never read, and is nobody's to get on with.
    pub(crate) fn roll_back(&mut self) {
        for entry in self.entries.values_mut() {
            entry.account = PartitionCounters {
                lag: entry.account.lag.map(|_| 0),
                ..entry.committed
            };
            entry.waits_since = None;
        }
    }

    /// The account of each partition.
    pub(crate) fn accounts(
        &self,
    ) -> impl ExactSizeIterator<Item = (TopicPartition, &PartitionCounters)> {
        let entries = self.entries.iter();
        entries.map(|(&partition, entry)| (partition, &entry.account))
    }

    /// The sum of all accounts.
    pub(crate) fn total(&self) -> PartitionCounters {
        let mut total = PartitionCounters::default();
        for (_, account) in self.accounts() {
            total.add(account);
        }
        total
    }

    /// Partitions that have not got on for so long though something waits.
    pub(crate) fn stalled(
        &self,
        now: Instant,
        after: Duration,
    ) -> Vec<(TopicPartition, &PartitionCounters)> {
        let stalled = self.entries.iter().filter(|(_, entry)| {
            let since = entry.waits_since;
            since.is_some_and(|since| now.saturating_duration_since(since) >= after)
        });
        stalled
            .map(|(&partition, entry)| (partition, &entry.account))
            .collect()
    }

    /// Partitions whose records do not add up, where nothing is in flight.
    pub(crate) fn unbalanced(&self) -> Vec<(TopicPartition, &PartitionCounters)> {
        self.accounts()
            .filter(|(_, account)| account.input != account.done())
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
    fn records_add_up() {
        let now = Instant::now();
        let mut counters = RecordCounters::default();
        counters.read(A, 10, now);
        counters.read(B, 5, now);
        counters.settle(A, Outcome::Even, 4, now);
        counters.settle(A, Outcome::Odd, 3, now);
        counters.settle(A, Outcome::DeadLettered, 2, now);
        counters.settle(B, Outcome::Printed, 5, now);
        check(&counters, now, &[], 1);
        let unbalanced = |counters: &RecordCounters| {
            let found = counters.unbalanced();
            found
                .iter()
                .map(|(partition, _)| *partition)
                .collect::<Vec<_>>()
        };
        assert_eq!(unbalanced(&counters), [A]);
        counters.settle(A, Outcome::Skipped, 1, now);
        assert_eq!(unbalanced(&counters), []);
        // One too many is as wrong as one too few.
        counters.settle(B, Outcome::Printed, 1, now);
        assert_eq!(unbalanced(&counters), [B]);
        let total = counters.total();
        assert_eq!((total.input, total.of(Outcome::Even)), (15, 4));
        assert_eq!(counters.accounts().len(), 2);
    }

    #[test]
    fn what_is_aborted_was_never_read() {
        let now = Instant::now();
        let mut counters = RecordCounters::default();
        counters.read(A, 2, now);
        counters.settle(A, Outcome::Even, 2, now);
        counters.commit();
        counters.read(A, 5, now);
        counters.settle(A, Outcome::Odd, 3, now);
        counters.lag(A, 9, now);
        counters.roll_back();
        let total = counters.total();
        assert_eq!((total.input, total.of(Outcome::Even)), (2, 2));
        assert_eq!((total.of(Outcome::Odd), total.lag), (0, Some(0)));
        check(&counters, now + Duration::from_secs(99), &[], 0);
    }

    #[test]
    fn what_does_not_get_on_is_stalled() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut counters = RecordCounters::default();
        counters.read(A, 2, at(0));
        counters.read(B, 1, at(10));
        check(&counters, at(29), &[], 3);
        check(&counters, at(30), &[A], 3);
        check(&counters, at(40), &[A, B], 3);
        counters.settle(A, Outcome::Even, 1, at(41));
        check(&counters, at(70), &[B], 2);
        check(&counters, at(71), &[A, B], 2);
        counters.settle(A, Outcome::Odd, 1, at(72));
        counters.settle(B, Outcome::Odd, 1, at(72));
        check(&counters, at(999), &[], 0);
    }

    #[test]
    fn what_is_not_read_is_stalled() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut counters = RecordCounters::default();
        counters.lag(A, 0, at(0));
        check(&counters, at(99), &[], 0);
        counters.lag(A, 3, at(100));
        counters.lag(A, 4, at(120));
        check(&counters, at(129), &[], 0);
        check(&counters, at(130), &[A], 0);
        // Reading is getting on.
        counters.read(A, 1, at(131));
        counters.settle(A, Outcome::Skipped, 1, at(131));
        check(&counters, at(160), &[], 0);
        check(&counters, at(161), &[A], 0);
        counters.revoke(&[A], at(162));
        check(&counters, at(999), &[], 0);
    }
}
