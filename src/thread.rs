//! The one place where threads begin. Each has a name, and its end is always told, however it ends.

use std::sync::Arc;
use std::sync::OnceLock;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::error::Error;
use crate::limits::STOP_WITHIN;

/// What the main thread waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThreadEvent {
    /// Somebody wants the router to stop: a signal's name, or who asked.
    StopRequested(&'static str),
    /// The thread of this name has ended.
    Ended(&'static str),
}

/// Events that can wait: each of the five threads ends once, and of many requests to stop one is enough (senders drop the others).
pub(crate) const EVENTS: usize = 16;

/// A thread that was started.
#[derive(Debug)]
pub(crate) struct Running {
    /// Its name, at most 15 bytes: Linux keeps no more.
    pub(crate) name: &'static str,
    handle: JoinHandle<Result<(), Error>>,
}

/// Starts a thread. When it ends, by returning or by a panic, `events` is told.
pub(crate) fn spawn(
    name: &'static str,
    events: Sender<ThreadEvent>,
    body: impl FnOnce() -> Result<(), Error> + Send + 'static,
) -> Result<Running, Error> {
    let body = move || {
        let _tell = TellEnd { name, events };
        body()
    };
    let handle = Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|source| Error::System {
            what: "start a thread",
            source,
        })?;
    Ok(Running { name, handle })
}

impl Running {
    /// Whether it has ended: joining will not wait.
    pub(crate) fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits for its end and tells how it was.
    pub(crate) fn join(self) -> Result<(), Error> {
        self.handle
            .join()
            .unwrap_or(Err(Error::Panicked(self.name)))
    }
}

struct TellEnd {
    name: &'static str,
    events: Sender<ThreadEvent>,
}

impl Drop for TellEnd {
    fn drop(&mut self) {
        // Fails only when the main thread is gone, or when more events wait than there are threads.
        let _ = self.events.try_send(ThreadEvent::Ended(self.name));
    }
}

/// The flag for the head of the pipeline, and the time by which all must be over. Behind the head a closed channel is the stop message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<OnceLock<Instant>>);

impl Stop {
    /// Stopping begins, and is to be over at `deadline`. A second call changes nothing.
    pub(crate) fn begin(&self, deadline: Instant) {
        let _ = self.0.set(deadline);
    }

    /// When it is to be over but for the last `kept`. Where nobody has asked for it yet, as if somebody did now.
    pub(crate) fn deadline_but(&self, kept: Duration) -> Instant {
        let deadline = self
            .0
            .get()
            .copied()
            .unwrap_or_else(|| Instant::now() + STOP_WITHIN);
        deadline.checked_sub(kept).unwrap_or(deadline)
    }

    /// Whether it has begun.
    pub(crate) fn is_set(&self) -> bool {
        self.0.get().is_some()
    }
}
