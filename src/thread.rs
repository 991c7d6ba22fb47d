//! Starting and joining threads. Each thread has a name and reports its end to the main thread, even if it panics.

use std::sync::Arc;
use std::sync::OnceLock;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::error::Error;
use crate::limits::STOP_WITHIN;

/// Events that the main thread waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThreadEvent {
    /// A stop was requested; the name of the signal, or of the source of the request.
    StopRequested(&'static str),
    /// The thread of this name has ended.
    Ended(&'static str),
}

/// Capacity of the event channel. Each of the five threads ends once, and one stop request is enough, so senders drop what does not fit.
pub(crate) const EVENTS: usize = 16;

/// A thread that has been started.
#[derive(Debug)]
pub(crate) struct Running {
    /// The name, at most 15 bytes: Linux truncates longer ones.
    pub(crate) name: &'static str,
    handle: JoinHandle<Result<(), Error>>,
}

/// Starts a thread. When the thread returns or panics, it sends [`ThreadEvent::Ended`].
pub(crate) fn spawn(
    name: &'static str,
    events: Sender<ThreadEvent>,
    body: impl FnOnce() -> Result<(), Error> + Send + 'static,
) -> Result<Running, Error> {
    let body = move || {
        let _reporter = EndReporter { name, events };
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
    /// Returns whether the thread has ended, so that joining does not wait.
    pub(crate) fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits for the end of the thread and returns its result.
    pub(crate) fn join(self) -> Result<(), Error> {
        self.handle
            .join()
            .unwrap_or(Err(Error::Panicked(self.name)))
    }
}

/// Reports the end of a thread when it is dropped, which a panic does as well.
struct EndReporter {
    name: &'static str,
    events: Sender<ThreadEvent>,
}

impl Drop for EndReporter {
    fn drop(&mut self) {
        // This fails only if the main thread has ended, or if more events are queued than there are threads.
        let _ = self.events.try_send(ThreadEvent::Ended(self.name));
    }
}

/// The stop flag of the first thread of the pipeline, with the deadline of the stop. For the threads after it, a closed channel is the stop
/// message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<OnceLock<Instant>>);

impl Stop {
    /// Sets the flag and the deadline. A second call has no effect.
    pub(crate) fn begin(&self, deadline: Instant) {
        let _ = self.0.set(deadline);
    }

    /// Returns the deadline minus `remaining`. Before the flag is set, the deadline counts from now.
    pub(crate) fn deadline_minus(&self, remaining: Duration) -> Instant {
        let deadline = self
            .0
            .get()
            .copied()
            .unwrap_or_else(|| Instant::now() + STOP_WITHIN);
        deadline.checked_sub(remaining).unwrap_or(deadline)
    }

    /// Returns whether the flag is set.
    pub(crate) fn is_set(&self) -> bool {
        self.0.get().is_some()
    }
}
