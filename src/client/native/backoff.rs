//! Exponential back-off with jitter (KIP-580).

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::client::settings::BackoffRange;

/// Returns `range.initial`, doubled for each earlier failure, at most `range.max`.
pub(super) fn exponential(range: BackoffRange, failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures);
    range.initial.saturating_mul(factor).min(range.max)
}

/// Returns [`exponential`] with a jitter of 20 % in both directions, so that many clients do not retry at the same moment.
pub(super) fn backoff(range: BackoffRange, failures: u32) -> Duration {
    let random = RandomState::new().hash_one(failures) % 400;
    exponential(range, failures).mul_f64(0.8 + random as f64 / 1000.0)
}

/// State of a request or a connection that is retried: its failures in a row, and the time before which it is not tried again.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// Counts a failure and starts the next, longer wait.
    pub(super) fn fail(&mut self, now: Instant, range: BackoffRange) {
        self.until = Some(now + backoff(range, self.failures));
        self.failures = self.failures.saturating_add(1);
    }

    /// Ends the wait and forgets earlier failures.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Ends the wait, but keeps the number of failures: if the next attempt fails, its wait is longer.
    pub(super) fn end_wait(&mut self) {
        self.until = None;
    }

    /// Forgets earlier failures, but keeps the wait.
    pub(super) fn clear_failures(&mut self) {
        self.failures = 0;
    }

    /// Number of failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns whether it is too early to try again.
    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Returns the end of the wait, which may be in the past, or `None` if there is no wait.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}
