//! Thread `signals`: SIGTERM and SIGINT request a stop; a second signal exits at once.
//!
//! The handlers are necessary because the kernel ignores SIGTERM for PID 1 in a container unless the process handles it.

use std::process;

use crossbeam_channel::Sender;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::Error;
use crate::thread::ThreadEvent;

/// Installs the handlers. [`run`] receives the signals.
pub(crate) fn install() -> Result<Signals, Error> {
    Signals::new([SIGTERM, SIGINT]).map_err(|source| Error::System {
        what: "install the signal handlers",
        source,
    })
}

/// Body of the thread. It ends when the handle of `signals` is closed.
pub(crate) fn run(mut signals: Signals, events: &Sender<ThreadEvent>) {
    let mut is_stopping = false;
    for signal in signals.forever() {
        if is_stopping {
            exit_at_once(signal);
        }
        is_stopping = true;
        let name = if signal == SIGINT {
            "SIGINT"
        } else {
            "SIGTERM"
        };
        // A full channel already holds a stop request.
        let _ = events.try_send(ThreadEvent::StopRequested(name));
    }
}

#[allow(
    clippy::exit,
    reason = "the only place: the sender of a second signal does not want to wait for the drain"
)]
fn exit_at_once(signal: i32) -> ! {
    log::warn!("second signal, exiting at once; records in flight will be routed again");
    process::exit(128 + signal)
}
