//! Threads `consumer` and `time`: waiting for a broker and the topics at the start.

use std::thread;
use std::time::Instant;

use crate::client::NotReady;
use crate::error::Error;
use crate::health::Health;
use crate::limits::{POLL, PREPARE_BACKOFF};
use crate::thread::Stop;

/// Calls `attempt` until it succeeds, with exponential back-off ([`PREPARE_BACKOFF`]), and logs the reason whenever it changes. Returns early when a stop
/// is requested. Fails if waiting would not help.
pub(crate) fn prepare(
    health: &Health,
    stop: &Stop,
    mut attempt: impl FnMut() -> Result<(), NotReady>,
) -> Result<(), Error> {
    let (mut back_off, longest) = PREPARE_BACKOFF;
    let mut logged = String::new();
    while !stop.is_set() {
        let reason = match attempt() {
            Ok(()) => {
                health.set_available();
                return Ok(());
            }
            Err(NotReady::Failed(error)) => return Err(error.into()),
            Err(NotReady::Waiting(reason)) => reason,
            Err(NotReady::MissingTopics(topics)) => format!(
                "missing topics: {}; spring.cloud.stream.kafka.binder.autoCreateTopics=false",
                topics.join(", ")
            ),
        };
        if reason != logged {
            log::warn!("waiting: {reason}");
            health.set_unavailable(&reason);
            logged = reason;
        }
        let until = Instant::now() + back_off;
        while !stop.is_set() && Instant::now() < until {
            thread::sleep(POLL.min(until.saturating_duration_since(Instant::now())));
        }
        back_off = longest.min(back_off * 2);
    }
    Ok(())
}
