//! Rate limit for log lines. No I/O; the caller passes the time.

use std::time::{Duration, Instant};

/// Shortest time between two warnings of one kind.
pub(crate) const WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// Admits one event per interval and counts the suppressed ones.
#[derive(Debug)]
pub(crate) struct Throttle {
    interval: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// Creates a throttle that admits at most one event per `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: None,
            suppressed: 0,
        }
    }

    /// Returns `Some` if the event at `now` is to be logged, with the number of events suppressed since the last admitted one.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        if self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < self.interval)
        {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// Returns the end of a log line for a number of suppressed events: empty if there is none.
pub(crate) fn more_suppressed(suppressed: u64) -> String {
    match suppressed {
        0 => String::new(),
        count => format!(" ({count} more since the last line)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_per_interval() {
        let start = Instant::now();
        let mut throttle = Throttle::new(Duration::from_secs(1));
        let mut check = |millis: u64, expected: Option<u64>| {
            assert_eq!(
                throttle.admit(start + Duration::from_millis(millis)),
                expected,
                "at {millis} ms"
            );
        };
        check(0, Some(0));
        check(1, None);
        check(999, None);
        check(1000, Some(2));
        check(1001, None);
        check(5000, Some(1));
        check(9000, Some(0));
    }
}
