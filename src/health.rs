//! Liveness, readiness and record counters: the only state that threads share. The threads write it and the actuator reads it.
//!
//! Liveness concerns the process alone: it fails when a thread has ended unexpectedly, which only a restart repairs. Readiness concerns
//! the work: partitions are assigned, a broker answers, and no partition is stalled. An empty assignment counts as ready: the group has
//! more members than partitions.
//!
//! The lock of the counters is taken once for each poll batch and once for each delivered batch, never for a record.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::RoleName;
use crate::counters::{Outcome, PartitionCounters, RecordCounters};
use crate::topic_partition::TopicPartition;

/// Partitions that a message names; it only counts the others.
const MAX_NAMED: usize = 8;

/// Liveness, readiness and record counters of a running role.
#[derive(Debug, Default)]
pub(crate) struct Health {
    is_broken: AtomicBool,
    is_stopping: AtomicBool,
    is_joined: AtomicBool,
    assigned: AtomicUsize,
    /// The reason why no broker is available, or an empty string. Written when it changes, read by probes.
    unavailable: Mutex<String>,
    counters: Mutex<RecordCounters>,
    /// Names of the input topics.
    inputs: Vec<String>,
    /// `parity-router.stall-timeout`; `None` for the time source, which reads nothing.
    stall_timeout: Option<Duration>,
    /// Timestamps that the time source has sent and a broker has acknowledged.
    pub(crate) sent: AtomicU64,
}

/// Returns the counters that `/actuator/health` shows for a role, with their names; `lag` only if the client reports it.
pub(crate) fn counts(role: RoleName, counters: &PartitionCounters) -> Vec<(&'static str, u64)> {
    let of = |outcome| counters.count(outcome);
    let mut counts = vec![("input", counters.input)];
    match role {
        RoleName::Router => counts.extend([
            ("even", of(Outcome::Even)),
            ("odd", of(Outcome::Odd)),
            ("deadLettered", of(Outcome::DeadLettered)),
            ("skipped", of(Outcome::Skipped)),
        ]),
        RoleName::Log => counts.push(("printed", of(Outcome::Printed))),
        RoleName::Time => return Vec::new(),
    }
    counts.push(("missed", counters.lost));
    counts.push(("inFlight", counters.in_flight()));
    counts.extend(counters.lag.map(|lag| ("lag", lag)));
    counts
}

/// Response to a readiness probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Spring's `ACCEPTING_TRAFFIC`: partitions are assigned, a broker answers, and no partition is stalled.
    Accepting,
    /// Spring's `REFUSING_TRAFFIC`, with the reason.
    Refusing(String),
}

impl Health {
    /// Creates the health of a role that reads these topics.
    pub(crate) fn new(inputs: &[String], stall_timeout: Duration) -> Self {
        Self {
            inputs: inputs.to_vec(),
            stall_timeout: Some(stall_timeout),
            ..Self::default()
        }
    }

    /// Locks the record counters.
    pub(crate) fn counters(&self) -> MutexGuard<'_, RecordCounters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the totals of the role as one line for the log.
    pub(crate) fn summary(&self, role: RoleName) -> String {
        let total = self.counters().total();
        let mut summary = match role {
            RoleName::Router => format!(
                "{} records in, {} even, {} odd, {} dead-lettered, {} skipped",
                total.input,
                total.count(Outcome::Even),
                total.count(Outcome::Odd),
                total.count(Outcome::DeadLettered),
                total.count(Outcome::Skipped)
            ),
            RoleName::Time => format!("{} times sent", self.sent.load(Relaxed)),
            RoleName::Log => format!(
                "{} records in, {} printed",
                total.input,
                total.count(Outcome::Printed)
            ),
        };
        if total.lost > 0 {
            let _ = write!(summary, ", {} deleted before they were read", total.lost);
        }
        summary
    }

    /// Returns the name of an input partition, as `orders-0`.
    pub(crate) fn name(&self, partition: TopicPartition) -> String {
        let topic = self.inputs.get(usize::from(partition.topic));
        format!(
            "{}-{}",
            topic.map_or("", String::as_str),
            partition.partition
        )
    }

    /// Returns a message that names the stalled partitions, or `None`. While no broker is available it returns `None`, because that is
    /// the reason to report.
    pub(crate) fn stalled(&self, now: Instant) -> Option<String> {
        let timeout = self.stall_timeout?;
        let all = self.counters();
        let stalled = all.stalled(now, timeout);
        if stalled.is_empty() || !self.unavailable_text().is_empty() {
            return None;
        }
        let mut text = format!("no progress for {timeout:?}: ");
        for (number, (partition, counters)) in stalled.iter().take(MAX_NAMED).enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            // Writing into a String does not fail.
            let _ = write!(
                text,
                "{comma}{} ({} in flight, {} unread)",
                self.name(*partition),
                counters.in_flight(),
                counters.lag.unwrap_or_default()
            );
        }
        if stalled.len() > MAX_NAMED {
            let _ = write!(text, " and {} more", stalled.len() - MAX_NAMED);
        }
        Some(text)
    }

    /// Logs each partition whose counters do not add up although nothing is in flight: a record was lost, or counted twice.
    pub(crate) fn audit(&self) {
        for (partition, counters) in self.counters().unbalanced().into_iter().take(MAX_NAMED) {
            log::error!(
                "the record counters of {} do not add up: {counters}",
                self.name(partition)
            );
        }
    }

    fn unavailable_text(&self) -> MutexGuard<'_, String> {
        self.unavailable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets liveness to broken: a thread has ended unexpectedly. Only a restart repairs that.
    pub(crate) fn break_liveness(&self) {
        self.is_broken.store(true, Relaxed);
    }

    /// Returns whether the process works or can recover without a restart.
    pub(crate) fn is_live(&self) -> bool {
        !self.is_broken.load(Relaxed)
    }

    /// Makes readiness refuse from now on: the program drains and ends.
    pub(crate) fn set_stopping(&self) {
        self.is_stopping.store(true, Relaxed);
    }

    /// Sets the number of assigned partitions, which can be 0.
    pub(crate) fn set_assigned(&self, partitions: usize) {
        self.assigned.store(partitions, Relaxed);
        self.set_joined();
    }

    /// Makes readiness accept: the group has assigned partitions, or the role reads nothing.
    pub(crate) fn set_joined(&self) {
        self.is_joined.store(true, Relaxed);
    }

    /// Makes readiness refuse until the next assignment.
    pub(crate) fn clear_assignment(&self) {
        self.is_joined.store(false, Relaxed);
        self.assigned.store(0, Relaxed);
    }

    /// Returns the number of assigned partitions.
    pub(crate) fn assigned_partitions(&self) -> usize {
        self.assigned.load(Relaxed)
    }

    /// Makes readiness refuse with this reason until [`Health::set_available`].
    pub(crate) fn set_unavailable(&self, reason: &str) {
        reason.clone_into(&mut self.unavailable_text());
    }

    /// Ends [`Health::set_unavailable`]: a broker answers.
    pub(crate) fn set_available(&self) {
        self.set_unavailable("");
    }

    /// Returns whether records are being processed, or the reason why not.
    pub(crate) fn readiness(&self) -> Readiness {
        if !self.is_live() {
            return Readiness::Refusing("a thread has ended unexpectedly".to_owned());
        }
        if self.is_stopping.load(Relaxed) {
            return Readiness::Refusing("stopping".to_owned());
        }
        let unavailable = self.unavailable_text().clone();
        if !unavailable.is_empty() {
            return Readiness::Refusing(unavailable);
        }
        if !self.is_joined.load(Relaxed) {
            return Readiness::Refusing("no partitions assigned yet".to_owned());
        }
        self.stalled(Instant::now())
            .map_or(Readiness::Accepting, Readiness::Refusing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(health: &Health, live: bool, reason: Option<&str>) {
        let readiness = match reason {
            None => Readiness::Accepting,
            Some(reason) => Readiness::Refusing(reason.to_owned()),
        };
        assert_eq!((health.is_live(), health.readiness()), (live, readiness));
    }

    #[test]
    fn readiness_over_a_lifetime() {
        let health = Health::default();
        check(&health, true, Some("no partitions assigned yet"));
        health.set_unavailable("localhost:9092: connection refused");
        check(&health, true, Some("localhost:9092: connection refused"));
        health.set_available();
        health.set_assigned(0);
        check(&health, true, None);
        health.set_assigned(3);
        assert_eq!(health.assigned_partitions(), 3);
        health.clear_assignment();
        check(&health, true, Some("no partitions assigned yet"));
        health.set_assigned(1);
        health.set_stopping();
        check(&health, true, Some("stopping"));
        health.break_liveness();
        check(&health, false, Some("a thread has ended unexpectedly"));
    }

    #[test]
    fn a_stall_makes_it_unready() {
        let health = Health::new(&["in".to_owned()], Duration::ZERO);
        health.set_assigned(20);
        check(&health, true, None);
        let now = Instant::now();
        let partition = |partition| TopicPartition {
            topic: 0,
            partition,
        };
        health.counters().set_lag(partition(3), 7, now);
        let reason = "no progress for 0ns: in-3 (0 in flight, 7 unread)";
        check(&health, true, Some(reason));
        health.set_unavailable("localhost:9092: connection refused");
        check(&health, true, Some("localhost:9092: connection refused"));
        health.set_available();
        for number in 4..20 {
            health.counters().add_read(partition(number), 1, now);
        }
        let message = health.stalled(now);
        assert!(
            message
                .as_deref()
                .is_some_and(|text| text.contains(", in-10 (1 in flight, 0 unread) and 9 more")),
            "{message:?}"
        );
        for number in 4..20 {
            health
                .counters()
                .add_outcome(partition(number), Outcome::Odd, 1, now);
        }
        health.counters().revoke(&[partition(3)], now);
        check(&health, true, None);
    }
}
