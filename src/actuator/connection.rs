//! One client connection of thread `actuator`. It never blocks, and each of its states has a time limit.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::request::{MAX_REQUEST, Parsed, Persistence, Request};
use super::response::Response;

/// Handles a request.
pub(super) type Handler<'a> = &'a dyn Fn(&Request) -> Response;

/// A client connection.
pub(super) struct Connection {
    stream: TcpStream,
    state: State,
    /// Start of `state`.
    since: Instant,
    /// Received bytes that are not handled yet, at most [`MAX_REQUEST`].
    input: Vec<u8>,
    /// True if `input` may contain a complete request. The socket does not become readable for it.
    has_unparsed_input: bool,
    /// The response that is being written.
    output: Vec<u8>,
    /// Bytes of `output` that are written.
    written: usize,
    /// True if the router is requested to stop after the response that is being written.
    is_shutdown: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waits for the first byte of the next request.
    Idle,
    /// Waits for the rest of a request; also the first state, because a client connects to send a request.
    Reading,
    Writing(Persistence),
    /// The last response is written: discards input until the client closes the connection. Closing a socket with unread bytes resets the
    /// connection, and a reset can overtake the response.
    Lingering,
    Closed,
}

impl State {
    fn time_limit(self) -> Duration {
        Duration::from_secs(match self {
            // Data Flow sends a request every few seconds; Kubernetes opens a connection for each probe.
            Self::Idle => 15,
            // The slowest probe that Data Flow configures in Kubernetes waits 5 s.
            Self::Reading | Self::Writing(_) => 5,
            Self::Lingering => 1,
            Self::Closed => 0,
        })
    }
}

impl Connection {
    /// Takes over a connection that was just accepted.
    pub(super) fn new(stream: TcpStream, now: Instant) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        // A response is written by one call, so Nagle's algorithm would only delay it.
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            state: State::Reading,
            since: now,
            input: Vec::new(),
            has_unparsed_input: false,
            output: Vec::new(),
            written: 0,
            is_shutdown: false,
        })
    }

    /// Events of the socket to wait for.
    pub(super) fn interest(&self) -> PollFlags {
        match self.state {
            State::Writing(_) => PollFlags::OUT,
            State::Idle | State::Reading | State::Lingering | State::Closed => PollFlags::IN,
        }
    }

    /// Start of the current state; the connection that has been in its state for the longest time is closed first to make room.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        now >= self.since + self.state.time_limit()
    }

    /// Returns whether a pipelined request can be handled without an event of the socket.
    pub(super) fn has_pipelined_request(&self) -> bool {
        self.has_unparsed_input && matches!(self.state, State::Idle | State::Reading)
    }

    pub(super) fn is_writing(&self) -> bool {
        matches!(self.state, State::Writing(_))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Returns true once after the response to a shutdown request is written, or cannot be written any more.
    pub(super) fn take_shutdown(&mut self) -> bool {
        !self.is_writing() && std::mem::take(&mut self.is_shutdown)
    }

    pub(super) fn close(&mut self, now: Instant) {
        self.enter(State::Closed, now);
    }

    /// Makes the next step that does not block: handles at most one request, so that a client with many of them does not delay the others.
    pub(super) fn advance(&mut self, now: Instant, handler: Handler<'_>) {
        match self.state {
            State::Idle | State::Reading => self.read_request(now, handler),
            State::Writing(persistence) => self.write(persistence, now),
            State::Lingering => self.discard_input(now),
            State::Closed => {}
        }
        if self.is_expired(now) {
            self.expire(now);
        }
    }

    fn enter(&mut self, state: State, now: Instant) {
        self.state = state;
        self.since = now;
    }

    fn read_request(&mut self, now: Instant, handler: Handler<'_>) {
        // Without a complete request there is room in `input`.
        if !self.has_unparsed_input && !self.read(now) {
            return;
        }
        // Empty lines before a request are ignored (RFC 9112, 2.2).
        let is_line_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let empty_lines = self.input.iter().take_while(is_line_end).count();
        self.input.drain(..empty_lines);
        if self.state == State::Idle && !self.input.is_empty() {
            self.enter(State::Reading, now);
        }
        match Request::parse(&self.input) {
            Parsed::Partial => self.has_unparsed_input = false,
            Parsed::Complete(request, length) => {
                self.input.drain(..length);
                self.has_unparsed_input = !self.input.is_empty();
                let response = handler(&request);
                self.respond(&response, Some(&request), request.persistence(), now);
            }
            Parsed::Invalid(status) => {
                self.respond_to_invalid(status, now);
            }
        }
    }

    /// Reads into `input`; returns whether it has grown. A client that closes its side before its request is complete gets no response.
    fn read(&mut self, now: Instant) -> bool {
        let mut chunk = [0; MAX_REQUEST];
        let room = MAX_REQUEST - self.input.len();
        match self.stream.read(&mut chunk[..room]) {
            Ok(0) => self.close(now),
            Ok(length) => {
                self.input.extend_from_slice(&chunk[..length]);
                return true;
            }
            Err(error) => self.close_unless_transient(&error, now),
        }
        false
    }

    fn respond_to_invalid(&mut self, status: u16, now: Instant) {
        let response = Response::invalid_request(status);
        self.respond(&response, None, Persistence::Close, now);
    }

    fn respond(
        &mut self,
        response: &Response,
        request: Option<&Request>,
        persistence: Persistence,
        now: Instant,
    ) {
        self.output = response.serialize(request, persistence);
        self.written = 0;
        self.is_shutdown = response.is_shutdown;
        self.enter(State::Writing(persistence), now);
        self.write(persistence, now);
    }

    fn write(&mut self, persistence: Persistence, now: Instant) {
        match self.stream.write(&self.output[self.written..]) {
            Ok(length) => self.written += length,
            Err(error) => return self.close_unless_transient(&error, now),
        }
        if self.written < self.output.len() {
            return;
        }
        self.output = Vec::new();
        match persistence {
            Persistence::KeepAlive => self.enter(State::Idle, now),
            Persistence::Close if self.stream.shutdown(Shutdown::Write).is_ok() => {
                self.enter(State::Lingering, now);
            }
            Persistence::Close => self.close(now),
        }
    }

    fn discard_input(&mut self, now: Instant) {
        match self.stream.read(&mut [0; MAX_REQUEST]) {
            Ok(0) => self.close(now),
            Ok(_) => {}
            Err(error) => self.close_unless_transient(&error, now),
        }
    }

    fn expire(&mut self, now: Instant) {
        if self.state == State::Reading && !self.input.is_empty() {
            self.respond_to_invalid(408, now);
        } else {
            // The client has not sent a request yet, and would read a 408 as the response to its next one.
            self.close(now);
        }
    }

    fn close_unless_transient(&mut self, error: &io::Error, now: Instant) {
        if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
            self.close(now);
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
