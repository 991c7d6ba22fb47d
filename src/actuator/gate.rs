//! The actuator's socket and its clients, on thread `actuator`: one poll over all of them, nothing else ever waits.
//!
//! A client can hold one of a fixed number of places for a fixed time, and cannot hold up another one. No failure of a client or a
//! shortage of descriptors ends the gate: it does without the connection, and tries again.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::connection::{Connection, Handler};

/// Clients at one time: a probe or two, Data Flow, a person; the rest is room for those who are stuck. With 16 KiB of request and
/// 4 KiB of reply each, they hold 1.3 MiB at most.
pub(crate) const MAX_CONNECTIONS: usize = 64;
/// Connections accepted before those that are there have their turn.
const ACCEPTS_PER_TURN: usize = 64;
/// The longest wait: how soon `ended` is seen. Five wake-ups a second cost about 0.01 % of a core.
const WAIT: Duration = Duration::from_millis(200);
/// Until the next try, after `accept` failed for want of descriptors or memory: the socket stays readable, and without a pause
/// the thread would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two warnings that connections cannot be accepted.
const WARN_PERIOD: Duration = Duration::from_secs(60);
/// For replies under way to be written when the end has come; the whole program has 25 s to stop in.
const FINISH_TIME: Duration = Duration::from_secs(1);

/// Handlers clients of `listener` (non-blocking) until `ended` is set, then finishes the replies under way. `request_stop` is called
/// once a reply that asks for it is written. Errors are those of the listening socket or of poll that waiting does not heal.
pub(crate) fn run(
    listener: &TcpListener,
    handler: Handler<'_>,
    request_stop: &dyn Fn(),
    ended: &AtomicBool,
) -> io::Result<()> {
    let mut gate = Gate {
        listener,
        handler,
        request_stop,
        connections: Vec::new(),
        resume: None,
        complaint: Complaint::default(),
    };
    while !ended.load(Relaxed) {
        gate.round()?;
    }
    gate.finish()
}

struct Gate<'a> {
    listener: &'a TcpListener,
    handler: Handler<'a>,
    request_stop: &'a dyn Fn(),
    /// At most [`MAX_CONNECTIONS`].
    connections: Vec<Connection>,
    /// While accepting pauses: until when.
    resume: Option<Instant>,
    complaint: Complaint,
}

impl Gate<'_> {
    fn round(&mut self) -> io::Result<()> {
        let acceptable = self.turns(self.resume.is_none_or(|resume| resume <= Instant::now()))?;
        self.reap();
        if acceptable { self.accept() } else { Ok(()) }
    }

    /// Waits, and gives a turn to each connection that can go on or is out of time; true if there are clients to accept.
    fn turns(&mut self, accepting: bool) -> io::Result<bool> {
        let more: Vec<bool> = self.connections.iter().map(Connection::has_more).collect();
        let timeout = if more.contains(&true) {
            Duration::ZERO
        } else {
            self.timeout()
        };
        let mut descriptors: Vec<PollFd<'_>> = self
            .connections
            .iter()
            .map(|connection| PollFd::new(connection, connection.interest()))
            .collect();
        if accepting {
            descriptors.push(PollFd::new(self.listener, PollFlags::IN));
        }
        wait(&mut descriptors, timeout)?;
        let happened: Vec<bool> = descriptors
            .iter()
            .map(|descriptor| !descriptor.revents().is_empty())
            .collect();
        let now = Instant::now();
        for ((connection, happened), more) in self.connections.iter_mut().zip(&happened).zip(more) {
            if *happened || more || connection.deadline() <= now {
                connection.turn(now, self.handler);
            }
        }
        Ok(accepting && happened.last() == Some(&true))
    }

    fn timeout(&self) -> Duration {
        let now = Instant::now();
        let deadlines = self
            .connections
            .iter()
            .map(Connection::deadline)
            .chain(self.resume);
        // A pause that is over is behind `now` until the next failure: it sets no timeout.
        let next = deadlines
            .filter(|deadline| *deadline > now || Some(*deadline) != self.resume)
            .min();
        next.map_or(WAIT, |next| WAIT.min(next.saturating_duration_since(now)))
    }

    /// Lets go of what is closed, and passes on requests to stop.
    fn reap(&mut self) {
        for connection in &mut self.connections {
            if connection.take_stop() {
                (self.request_stop)();
            }
        }
        self.connections
            .retain(|connection| !connection.is_closed());
    }

    fn accept(&mut self) -> io::Result<()> {
        self.resume = None;
        let mut made_room = false;
        for _ in 0..ACCEPTS_PER_TURN {
            let error = match self.listener.accept() {
                Ok((stream, _)) => {
                    made_room = false;
                    self.admit(stream);
                    continue;
                }
                Err(error) => error,
            };
            match Failure::of(&error) {
                Failure::Nobody => return Ok(()),
                Failure::ThatClient => {}
                // The descriptor of whoever has waited longest may be all that is missing; if it is not, the others keep theirs.
                Failure::Descriptors if !made_room && !self.connections.is_empty() => {
                    made_room = true;
                    self.make_room();
                }
                Failure::Descriptors | Failure::Passing => {
                    self.complaint.warn(&error);
                    self.resume = Some(Instant::now() + ACCEPT_PAUSE);
                    return Ok(());
                }
                Failure::Final => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes a client in, and serves it at once where its request is here: it may not have to wait for its turn among the stuck.
    fn admit(&mut self, stream: std::net::TcpStream) {
        if self.connections.len() >= MAX_CONNECTIONS {
            self.make_room();
        }
        let now = Instant::now();
        match Connection::new(stream, now) {
            Ok(mut connection) => {
                connection.turn(now, self.handler);
                self.connections.push(connection);
                self.reap();
            }
            Err(error) => log::debug!("actuator: client gone: {error}"),
        }
    }

    /// Closes the connection that has waited longest.
    fn make_room(&mut self) {
        if let Some(oldest) = self
            .connections
            .iter_mut()
            .min_by_key(|connection| connection.since())
        {
            oldest.close();
        }
        self.reap();
    }

    /// Writes what is under way, for [`FINISH_TIME`] at most.
    fn finish(&mut self) -> io::Result<()> {
        let end = Instant::now() + FINISH_TIME;
        loop {
            self.reap();
            self.connections.retain(Connection::is_writing);
            if self.connections.is_empty() || end <= Instant::now() {
                return Ok(());
            }
            self.turns(false)?;
        }
    }
}

/// Poll, where being interrupted or short of memory is no more than a wait that was too short.
fn wait(descriptors: &mut [PollFd<'_>], timeout: Duration) -> io::Result<()> {
    let timeout = Timespec::try_from(timeout).unwrap_or_default();
    match poll(descriptors, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(Errno::AGAIN | Errno::NOMEM) => {
            std::thread::sleep(ACCEPT_PAUSE);
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// What a failed `accept` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// Nobody is waiting.
    Nobody,
    /// The client that was waiting is gone; the next one may be there.
    ThatClient,
    /// The process or the host has no descriptor left.
    Descriptors,
    /// The system cannot now: memory, network, a firewall's verdict (accept(2), "Error handling").
    Passing,
    /// The socket itself is not one to accept from: no waiting heals that.
    Final,
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::AGAIN) => Self::Nobody,
            Some(Errno::CONNABORTED | Errno::INTR) => Self::ThatClient,
            Some(Errno::MFILE | Errno::NFILE) => Self::Descriptors,
            Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP | Errno::FAULT) => {
                Self::Final
            }
            _ => Self::Passing,
        }
    }
}

/// Warnings at a bounded rate.
#[derive(Default)]
struct Complaint {
    last: Option<Instant>,
    unsaid: u64,
}

impl Complaint {
    fn warn(&mut self, error: &io::Error) {
        if self.last.is_some_and(|last| last.elapsed() < WARN_PERIOD) {
            self.unsaid += 1;
            return;
        }
        log::warn!(
            "actuator: no connection can be accepted now ({error}); {} such failures since the last warning",
            self.unsaid
        );
        *self = Self {
            last: Some(Instant::now()),
            unsaid: 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: Errno, expected: Failure) {
        assert_eq!(Failure::of(&error.into()), expected, "{error}");
    }

    #[test]
    fn failures_of_accept() {
        check(Errno::AGAIN, Failure::Nobody);
        check(Errno::CONNABORTED, Failure::ThatClient);
        check(Errno::INTR, Failure::ThatClient);
        check(Errno::MFILE, Failure::Descriptors);
        check(Errno::NFILE, Failure::Descriptors);
        check(Errno::NOMEM, Failure::Passing);
        check(Errno::PERM, Failure::Passing);
        check(Errno::NETDOWN, Failure::Passing);
        check(Errno::INVAL, Failure::Final);
        check(Errno::BADF, Failure::Final);
        assert_eq!(
            Failure::of(&io::Error::other("no number")),
            Failure::Passing
        );
    }

    #[test]
    fn complaints_are_rare() {
        let mut complaint = Complaint::default();
        for _ in 0..5 {
            complaint.warn(&Errno::MFILE.into());
        }
        assert_eq!(complaint.unsaid, 4);
    }

    #[test]
    fn a_socket_of_no_use_ends_it() {
        // Bound, but not listening: accept fails for good.
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            None,
        );
        let listener = socket.map(TcpListener::from).map_err(io::Error::from);
        let result = listener.and_then(|listener| {
            run(
                &listener,
                &|_| super::super::response::Response::invalid_request(500),
                &|| {},
                &AtomicBool::new(false),
            )
        });
        assert_eq!(
            result.map_err(|error| Errno::from_io_error(&error)),
            Err(Some(Errno::INVAL))
        );
    }
}
