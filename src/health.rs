//! What the probes ask and the threads tell: the only shared state. It is all atomics but for one short text and the counters, whose lock is
//! taken once for a round and once for a delivered batch.
//!
//! Liveness is about the process alone: it breaks when a thread has ended unasked, which only a restart heals. Readiness is about
//! the work: partitions are assigned (maybe none: the group has more members than partitions), a broker answers, and the records get on.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::RoleName;
use crate::counters::{Outcome, PartitionCounters, RecordCounters};
use crate::topic_partition::TopicPartition;

/// Partitions that a sentence names; it counts the others.
const NAMED: usize = 8;

/// Liveness, readiness and what became of the records.
#[derive(Debug, Default)]
pub(crate) struct Health {
    broken: AtomicBool,
    stopping: AtomicBool,
    joined: AtomicBool,
    assigned: AtomicUsize,
    /// Why no broker can be worked with; empty while one can. Written when that changes, read by probes.
    unavailable: Mutex<String>,
    counters: Mutex<RecordCounters>,
    /// Names of the topics that are read.
    inputs: Vec<String>,
    /// `parity-router.stall-timeout`; none where nothing is read.
    stall_timeout: Option<Duration>,
    /// Times that the time source has sent.
    pub(crate) sent: AtomicU64,
}

/// The words of a role for an account, with their counts; `lag` only where the client tells it.
pub(crate) fn counts(role: RoleName, account: &PartitionCounters) -> Vec<(&'static str, u64)> {
    let of = |fate| account.count(fate);
    let mut counts = vec![("input", account.input)];
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
    counts.push(("missed", account.lost));
    counts.push(("inFlight", account.in_flight()));
    counts.extend(account.lag.map(|lag| ("lag", lag)));
    counts
}

/// What a readiness probe is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Partitions are assigned, a broker answers, and the records get on.
    Accepting,
    /// Not now, and why.
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

    /// What became of the records.
    pub(crate) fn counters(&self) -> MutexGuard<'_, RecordCounters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the role has done, in a sentence.
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
            let _ = write!(summary, ", {} missed", total.lost);
        }
        summary
    }

    /// Name of a partition that is read, as `topic-0`.
    pub(crate) fn name(&self, partition: TopicPartition) -> String {
        let topic = self.inputs.get(usize::from(partition.topic));
        format!(
            "{}-{}",
            topic.map_or("", String::as_str),
            partition.partition
        )
    }

    /// Which partitions do not get on, in a sentence. Where no broker answers that is told instead.
    pub(crate) fn stalled(&self, now: Instant) -> Option<String> {
        let timeout = self.stall_timeout?;
        let counters = self.counters();
        let stalled = counters.stalled(now, timeout);
        if stalled.is_empty() || !self.unavailable_text().is_empty() {
            return None;
        }
        let mut text = format!("no progress for {timeout:?}: ");
        for (number, (partition, account)) in stalled.iter().take(NAMED).enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            // Writing into a String does not fail.
            let _ = write!(
                text,
                "{comma}{} ({} in flight, {} not read)",
                self.name(*partition),
                account.in_flight(),
                account.lag.unwrap_or_default()
            );
        }
        if stalled.len() > NAMED {
            let _ = write!(text, " and {} more", stalled.len() - NAMED);
        }
        Some(text)
    }

    /// Says so where the records of a partition do not add up though none is in flight: something was lost, or counted twice.
    pub(crate) fn audit(&self) {
        for (partition, account) in self.counters().unbalanced().into_iter().take(NAMED) {
            log::error!(
                "the records of {} do not add up: {account}",
                self.name(partition)
            );
        }
    }

    fn unavailable_text(&self) -> MutexGuard<'_, String> {
        self.unavailable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread has ended unasked: only a restart heals that.
    pub(crate) fn break_liveness(&self) {
        self.broken.store(true, Relaxed);
    }

    /// Whether the process can go on, or heal by itself.
    pub(crate) fn is_live(&self) -> bool {
        !self.broken.load(Relaxed)
    }

    /// The router drains and ends: ready never again.
    pub(crate) fn stopping(&self) {
        self.stopping.store(true, Relaxed);
    }

    /// The group has given this router `partitions` partitions; none is an answer too.
    pub(crate) fn assigned(&self, partitions: usize) {
        self.assigned.store(partitions, Relaxed);
        self.joined();
    }

    /// What has no partitions to be given is where it can work.
    pub(crate) fn joined(&self) {
        self.joined.store(true, Relaxed);
    }

    /// The assignment was taken away; another one will come.
    pub(crate) fn revoked(&self) {
        self.joined.store(false, Relaxed);
        self.assigned.store(0, Relaxed);
    }

    /// Partitions assigned now.
    pub(crate) fn partitions(&self) -> usize {
        self.assigned.load(Relaxed)
    }

    /// No broker can be worked with, and why.
    pub(crate) fn unavailable(&self, reason: &str) {
        reason.clone_into(&mut self.unavailable_text());
    }

    /// A broker answers again.
    pub(crate) fn available(&self) {
        self.unavailable("");
    }

    /// Whether records are being routed, else why not.
    pub(crate) fn readiness(&self) -> Readiness {
        if !self.is_live() {
            return Readiness::Refusing("a thread has ended unasked".to_owned());
        }
        if self.stopping.load(Relaxed) {
            return Readiness::Refusing("stopping".to_owned());
        }
        let unavailable = self.unavailable_text().clone();
        if !unavailable.is_empty() {
            return Readiness::Refusing(unavailable);
        }
        if !self.joined.load(Relaxed) {
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
    fn a_life() {
        let health = Health::default();
        check(&health, true, Some("no partitions assigned yet"));
        health.unavailable("localhost:9092: connection refused");
        check(&health, true, Some("localhost:9092: connection refused"));
        health.available();
        health.assigned(0);
        check(&health, true, None);
        health.assigned(3);
        assert_eq!(health.partitions(), 3);
        health.revoked();
        check(&health, true, Some("no partitions assigned yet"));
        health.assigned(1);
        health.stopping();
        check(&health, true, Some("stopping"));
        health.break_liveness();
        check(&health, false, Some("a thread has ended unasked"));
    }
    #[test]
    fn a_stall_makes_it_unready() {
        let health = Health::new(&["in".to_owned()], Duration::ZERO);
        health.assigned(20);
        check(&health, true, None);
        let now = Instant::now();
        let place = |partition| TopicPartition {
            topic: 0,
            partition,
        };
        health.counters().set_lag(place(3), 7, now);
        let reason = "no progress for 0ns: in-3 (0 in flight, 7 not read)";
        check(&health, true, Some(reason));
        health.unavailable("localhost:9092: connection refused");
        check(&health, true, Some("localhost:9092: connection refused"));
        health.available();
        for partition in 4..20 {
            health.counters().add_read(place(partition), 1, now);
        }
        let told = health.stalled(now);
        assert!(
            told.as_deref()
                .is_some_and(|text| text.contains(", in-10 (1 in flight, 0 not read) and 9 more")),
            "{told:?}"
        );
        for partition in 4..20 {
            health
                .counters()
                .add_outcome(place(partition), Outcome::Odd, 1, now);
        }
        health.counters().revoke(&[place(3)], now);
        check(&health, true, None);
    }
}
