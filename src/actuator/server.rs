//! The actuator's server: an event loop on thread `actuator` over the listening socket and all connections. It blocks only in `poll(2)`.
//!
//! A client can occupy one of a fixed number of connections for a limited time, and cannot delay another client. The loop survives failing
//! clients and a lack of file descriptors.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::connection::{Connection, Handler};
use crate::throttle::{Throttle, more_suppressed};

/// Maximum number of connections: a few for probes, Data Flow and people, the rest for stuck clients. With 16 KiB of request and 4 KiB of
/// response each they occupy at most 1.3 MiB.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// Connections that are accepted before the existing ones are polled again.
const ACCEPTS_PER_POLL: usize = 64;
/// Longest wait in `poll(2)`: time limits and `ended` are noticed this late at most. Five wake-ups a second cost 0.01 % of a core.
const MAX_WAIT: Duration = Duration::from_millis(200);
/// Pause after the system had no resources for `accept` or `poll(2)`. The listener stays readable, so the loop would spin without it.
const RESOURCE_PAUSE: Duration = Duration::from_millis(100);
/// Interval of warnings that connections cannot be accepted.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// Longest time for writing responses after `ended` is set. The router stops within 25 s.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Serves the clients of `listener`, which must be non-blocking, until `ended` is set, then writes the responses in progress. Calls
/// `request_stop` when the response to a shutdown request is written.
///
/// Returns errors of the listening socket or of `poll(2)` that waiting does not resolve.
pub(super) fn run(
    listener: &TcpListener,
    handler: Handler<'_>,
    request_stop: &dyn Fn(),
    ended: &AtomicBool,
) -> io::Result<()> {
    let mut server = Server {
        listener,
        handler,
        request_stop,
        connections: Vec::new(),
        accept_after: None,
        warnings: Throttle::new(WARNING_INTERVAL),
    };
    while !ended.load(Relaxed) {
        let is_accepting = server
            .accept_after
            .is_none_or(|accept_after| accept_after <= Instant::now());
        server.poll(is_accepting)?;
        if is_accepting {
            server.accept()?;
        }
    }
    server.drain()
}

struct Server<'a> {
    listener: &'a TcpListener,
    handler: Handler<'a>,
    request_stop: &'a dyn Fn(),
    /// At most [`MAX_CONNECTIONS`].
    connections: Vec<Connection>,
    /// End of the pause after a failed `accept`.
    accept_after: Option<Instant>,
    warnings: Throttle,
}

impl Server<'_> {
    /// Waits for events, of the listener if `is_accepting`, and advances each connection that has one or is expired.
    fn poll(&mut self, is_accepting: bool) -> io::Result<()> {
        let has_pipelined_request = |connection: &Connection| connection.has_pipelined_request();
        let timeout = if self.connections.iter().any(has_pipelined_request) {
            Duration::ZERO
        } else {
            MAX_WAIT
        };
        let mut descriptors: Vec<PollFd<'_>> = self
            .connections
            .iter()
            .map(|connection| PollFd::new(connection, connection.interest()))
            .collect();
        if is_accepting {
            descriptors.push(PollFd::new(self.listener, PollFlags::IN));
        }
        let timeout = Timespec::try_from(timeout).unwrap_or_default();
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            // The kernel has no memory for the poll; waiting can resolve that.
            Err(Errno::AGAIN | Errno::NOMEM) => std::thread::sleep(RESOURCE_PAUSE),
            Err(error) => return Err(error.into()),
        }
        let has_event: Vec<bool> = descriptors
            .iter()
            .map(|descriptor| !descriptor.revents().is_empty())
            .collect();
        let now = Instant::now();
        for (connection, has_event) in self.connections.iter_mut().zip(&has_event) {
            if *has_event || connection.has_pipelined_request() || connection.is_expired(now) {
                connection.advance(now, self.handler);
            }
        }
        self.remove_closed();
        Ok(())
    }

    /// Removes closed connections, and passes on requests to stop.
    fn remove_closed(&mut self) {
        for connection in &mut self.connections {
            if connection.take_shutdown() {
                (self.request_stop)();
            }
        }
        self.connections
            .retain(|connection| !connection.is_closed());
    }

    fn accept(&mut self) -> io::Result<()> {
        self.accept_after = None;
        let mut has_made_room = false;
        for _ in 0..ACCEPTS_PER_POLL {
            let error = match self.listener.accept() {
                Ok((stream, _)) => {
                    has_made_room = false;
                    self.add(stream);
                    continue;
                }
                Err(error) => error,
            };
            match AcceptError::of(&error) {
                AcceptError::NoClient => return Ok(()),
                AcceptError::ClientGone => {}
                // One descriptor may be enough. If closing a connection does not help, the others stay open.
                AcceptError::NoDescriptor if !has_made_room && !self.connections.is_empty() => {
                    has_made_room = true;
                    self.close_oldest();
                }
                AcceptError::NoDescriptor | AcceptError::Transient => {
                    self.warn(&error);
                    self.accept_after = Some(Instant::now() + RESOURCE_PAUSE);
                    return Ok(());
                }
                AcceptError::Permanent => return Err(error),
            }
        }
        Ok(())
    }

    /// Adds a connection, and handles its request at once if it has arrived: with many clients connecting, the connection may be closed to
    /// make room before it is polled.
    fn add(&mut self, stream: TcpStream) {
        if self.connections.len() >= MAX_CONNECTIONS {
            self.close_oldest();
        }
        let now = Instant::now();
        match Connection::new(stream, now) {
            Ok(mut connection) => {
                connection.advance(now, self.handler);
                self.connections.push(connection);
                self.remove_closed();
            }
            Err(error) => log::debug!("actuator: closing a connection: {error}"),
        }
    }

    /// Closes the connection that has been in its state for the longest time.
    fn close_oldest(&mut self) {
        if let Some(oldest) = self
            .connections
            .iter_mut()
            .min_by_key(|connection| connection.since())
        {
            oldest.close(Instant::now());
        }
        self.remove_closed();
    }

    /// Writes the responses in progress, for at most [`DRAIN_TIME`].
    fn drain(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + DRAIN_TIME;
        loop {
            self.connections.retain(Connection::is_writing);
            if self.connections.is_empty() || Instant::now() >= deadline {
                return Ok(());
            }
            self.poll(false)?;
        }
    }

    fn warn(&mut self, error: &io::Error) {
        if let Some(suppressed) = self.warnings.admit(Instant::now()) {
            log::warn!(
                "actuator: cannot accept connections: {error}, retrying every {RESOURCE_PAUSE:?}{}",
                more_suppressed(suppressed)
            );
        }
    }
}

/// Class of an error of `accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AcceptError {
    /// No client is waiting.
    NoClient,
    /// The client has closed its connection; another one may be waiting.
    ClientGone,
    /// The limit of open files is reached, of the process or of the host.
    NoDescriptor,
    /// Memory, network or firewall (accept(2), "Error handling"): a retry can succeed.
    Transient,
    /// The socket cannot accept connections; a retry cannot succeed.
    Permanent,
}

impl AcceptError {
    fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::AGAIN) => Self::NoClient,
            Some(Errno::CONNABORTED | Errno::INTR) => Self::ClientGone,
            Some(Errno::MFILE | Errno::NFILE) => Self::NoDescriptor,
            Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP | Errno::FAULT) => {
                Self::Permanent
            }
            _ => Self::Transient,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_errors() {
        for (error, expected) in [
            (Errno::AGAIN, AcceptError::NoClient),
            (Errno::CONNABORTED, AcceptError::ClientGone),
            (Errno::INTR, AcceptError::ClientGone),
            (Errno::MFILE, AcceptError::NoDescriptor),
            (Errno::NFILE, AcceptError::NoDescriptor),
            (Errno::NOMEM, AcceptError::Transient),
            (Errno::PERM, AcceptError::Transient),
            (Errno::NETDOWN, AcceptError::Transient),
            (Errno::INVAL, AcceptError::Permanent),
            (Errno::BADF, AcceptError::Permanent),
            (Errno::OPNOTSUPP, AcceptError::Permanent),
        ] {
            assert_eq!(AcceptError::of(&error.into()), expected, "{error}");
        }
        assert_eq!(
            AcceptError::of(&io::Error::other("no error number")),
            AcceptError::Transient
        );
    }

    #[test]
    fn a_socket_that_cannot_accept_ends_the_server() {
        // `accept` fails with EINVAL on a socket that does not listen.
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            None,
        );
        let listener = socket.map(TcpListener::from).map_err(io::Error::from);
        let result = listener.and_then(|listener| {
            run(
                &listener,
                &|_| crate::actuator::response::Response::invalid_request(500),
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
