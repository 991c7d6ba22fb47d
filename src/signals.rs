//! Thread `signals`: SIGTERM and SIGINT ask the router to stop; a second one ends the process at once.
//!
//! Without a handler a process that is PID 1 in a container would not see a SIGTERM at all.

use std::process;

use crossbeam_channel::Sender;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::Error;
use crate::thread::ThreadEvent;

/// The handlers are in place; [`run`] serves them.
pub(crate) fn install() -> Result<Signals, Error> {
    Signals::new([SIGTERM, SIGINT]).map_err(|source| Error::System {
        what: "install the signal handlers",
        source,
    })
}

/// Body of the thread; it ends when the handle of `signals` is closed.
pub(crate) fn run(mut signals: Signals, events: &Sender<ThreadEvent>) {
    let mut asked = false;
    for signal in signals.forever() {
        if asked {
            exit_at_once(signal);
        }
        asked = true;
        let name = if signal == SIGINT {
            "SIGINT"
        } else {
            "SIGTERM"
        };
        // Full means that others have asked already.
        let _ = events.try_send(ThreadEvent::StopRequested(name));
    }
}

#[allow(
    clippy::exit,
    reason = "the one place: who sends a second signal does not want to wait for the drain"
)]
fn exit_at_once(signal: i32) -> ! {
    log::warn!("second signal: ending at once, with what is in flight");
    process::exit(128 + signal)
}
