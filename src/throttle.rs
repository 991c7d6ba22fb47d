//! Keeps a flood of events from becoming a flood of log lines. Pure: the time is given to it.

use std::time::{Duration, Instant};

/// Shortest time between two warnings of one kind.
pub(crate) const WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// Admits one event in each interval and counts those between.
#[derive(Debug)]
pub(crate) struct Throttle {
    interval: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// At most one event in each `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: None,
            suppressed: 0,
        }
    }

    /// Whether the event at `now` is to be logged: then, how many before it were not.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_each_interval() {
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
