//! What the probes ask and the threads tell: the only shared state, all atomics but one short text.
//!
//! Liveness is about the process alone: it breaks when a thread has ended unasked, which only a restart heals. Readiness is about
//! the work: partitions are assigned (maybe none: the group has more members than partitions) and a broker answers.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::config::RoleName;

/// Liveness, readiness and counters.
#[derive(Debug, Default)]
pub(crate) struct Health {
    broken: AtomicBool,
    stopping: AtomicBool,
    joined: AtomicBool,
    assigned: AtomicUsize,
    /// Why no broker can be worked with; empty while one can. Written when that changes, read by probes.
    unavailable: Mutex<String>,
    /// Records since the start.
    pub(crate) counters: Counters,
}

/// Records since the start. In the router `input = even + odd + dead_lettered + skipped` once nothing is in flight.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Records read from the input topics.
    pub(crate) input: AtomicU64,
    /// Records sent to the even topic.
    pub(crate) even: AtomicU64,
    /// Records sent to the odd topic.
    pub(crate) odd: AtomicU64,
    /// Records sent to a dead-letter topic.
    pub(crate) dead_lettered: AtomicU64,
    /// Tombstones, and with `parity-router.invalid=skip` what cannot be routed.
    pub(crate) skipped: AtomicU64,
    /// Times that the time source has sent.
    pub(crate) sent: AtomicU64,
    /// Records that the log sink has printed.
    pub(crate) printed: AtomicU64,
}

impl Counters {
    /// Those of a role: a word for each, and how many.
    pub(crate) fn of(&self, role: RoleName) -> Vec<(&'static str, u64)> {
        let counters: &[(&str, &AtomicU64)] = match role {
            RoleName::Router => &[
                ("input", &self.input),
                ("even", &self.even),
                ("odd", &self.odd),
                ("deadLettered", &self.dead_lettered),
                ("skipped", &self.skipped),
            ],
            RoleName::Time => &[("sent", &self.sent)],
            RoleName::Log => &[("input", &self.input), ("printed", &self.printed)],
        };
        counters
            .iter()
            .map(|&(name, counter)| (name, counter.load(Relaxed)))
            .collect()
    }

    /// Those of a role in a sentence.
    pub(crate) fn summary(&self, role: RoleName) -> String {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        match role {
            RoleName::Router => format!(
                "{} records in, {} even, {} odd, {} dead-lettered, {} skipped",
                count(&self.input),
                count(&self.even),
                count(&self.odd),
                count(&self.dead_lettered),
                count(&self.skipped)
            ),
            RoleName::Time => format!("{} times sent", count(&self.sent)),
            RoleName::Log => format!(
                "{} records in, {} printed",
                count(&self.input),
                count(&self.printed)
            ),
        }
    }
}

/// What a readiness probe is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Partitions are assigned and a broker answers.
    Accepting,
    /// Not now, and why.
    Refusing(String),
}

impl Health {
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
        let mut text = self
            .unavailable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        reason.clone_into(&mut text);
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
        let unavailable = self
            .unavailable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !unavailable.is_empty() {
            return Readiness::Refusing(unavailable.clone());
        }
        if !self.joined.load(Relaxed) {
            return Readiness::Refusing("no partitions assigned yet".to_owned());
        }
        Readiness::Accepting
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
}
