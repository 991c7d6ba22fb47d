//! An asynchronous commit whose outcome is not known yet.
//!
//! librdkafka 2.12 reports the outcome of an asynchronous commit only to a C callback, which `rdkafka` 0.39 does not set, and a synchronous
//! commit blocks up to the session timeout if the coordinator is unavailable. So the consumer asks the broker for the committed offsets.

use std::time::{Duration, Instant};

use crate::topic_partition::{NextOffset, TopicPartition};

/// Delay between a commit and the first check.
const FIRST_CHECK: Duration = Duration::from_millis(20);

/// Interval of the following checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// Time after which a commit that is not confirmed has failed.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Offsets that were committed but are not confirmed.
pub(super) struct PendingCommit {
    offsets: Vec<NextOffset>,
    check_at: Instant,
    deadline: Instant,
}

impl PendingCommit {
    /// A commit started at `now`. It replaces `previous` and keeps its deadline, so that a series of commits cannot hide that none succeeds.
    pub(super) fn new(offsets: &[NextOffset], previous: Option<&Self>, now: Instant) -> Self {
        Self {
            offsets: offsets.to_vec(),
            check_at: now + FIRST_CHECK,
            deadline: previous.map_or(now + TIMEOUT, |previous| previous.deadline),
        }
    }

    /// Returns true if it is time for a check.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.check_at <= now
    }

    /// Partitions of the unconfirmed offsets.
    pub(super) fn partitions(&self) -> Vec<TopicPartition> {
        self.offsets
            .iter()
            .map(|&(partition, _)| partition)
            .collect()
    }

    /// Removes and returns the offsets that the broker has.
    pub(super) fn confirm(&mut self, committed: &[NextOffset]) -> Vec<NextOffset> {
        let offsets = std::mem::take(&mut self.offsets);
        let (confirmed, unconfirmed) = offsets
            .into_iter()
            .partition(|offset| committed.contains(offset));
        self.offsets = unconfirmed;
        confirmed
    }

    /// Returns true if no offset is left to confirm.
    pub(super) fn is_confirmed(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Schedules the next check. Returns false if the commit has timed out instead.
    pub(super) fn schedule_check(&mut self, now: Instant) -> bool {
        self.check_at = now + CHECK_INTERVAL;
        now < self.deadline
    }
}
