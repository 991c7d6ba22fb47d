//! One client connection of thread `actuator`: a request in, its reply out, each within a time and a size. It never blocks.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::request::{MAX_REQUEST, Parsed, Persistence, Request};
use super::response::Response;

/// For a request to arrive, from its first byte (the first one: from `accept`), and as long again for its reply to be taken. The
/// slowest probe of a Kubernetes deployment by Data Flow waits 5 s.
const EXCHANGE_TIME: Duration = Duration::from_secs(5);
/// For the next request on a connection to begin. Data Flow asks every few seconds, Kubernetes on a new connection each time.
const IDLE_TIME: Duration = Duration::from_secs(15);
/// For a client to close persistence its last reply. A socket closed over unread bytes is reset, and a reset can overtake the reply.
const LINGER_TIME: Duration = Duration::from_secs(1);
/// Pipelined requests that are answered before the other connections have their turn: 8 take well below a millisecond.
const REQUESTS_PER_TURN: usize = 8;
/// Reads of a lingering connection before the others have their turn: 16 × 4 KiB.
const DISCARDS_PER_TURN: usize = 16;

/// Gives the reply to a request.
pub(crate) type Handler<'a> = &'a dyn Fn(&Request) -> Response;

/// One client connection.
pub(crate) struct Connection {
    stream: TcpStream,
    phase: Phase,
    /// When `phase` has lasted too long.
    deadline: Instant,
    /// Accepted, or last answered: what tells which connection has waited longest.
    since: Instant,
    /// Received and not yet served; at most [`MAX_REQUEST`] bytes.
    input: Vec<u8>,
    /// Whether the first byte of the next request is here, or is due since `accept`.
    begun: bool,
    /// The last turn was over before `input` was.
    has_more: bool,
    /// The client sends nothing more; it may still wait for replies.
    input_ended: bool,
    /// The reply under way, `written` bytes of which are.
    output: Vec<u8>,
    written: usize,
    /// The reply under way asks the router to stop.
    stop: bool,
    /// Such a reply is written.
    stop_due: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Reading,
    Writing(Persistence),
    Lingering,
    Closed,
}

impl Connection {
    /// A connection just accepted.
    pub(crate) fn new(stream: TcpStream, now: Instant) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        // A reply goes out in one write: nothing to gain from waiting for more.
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            phase: Phase::Reading,
            deadline: now + EXCHANGE_TIME,
            since: now,
            input: Vec::new(),
            begun: true,
            has_more: false,
            input_ended: false,
            output: Vec::new(),
            written: 0,
            stop: false,
            stop_due: false,
        })
    }

    /// What it waits for.
    pub(crate) fn interest(&self) -> PollFlags {
        match self.phase {
            Phase::Writing(_) => PollFlags::OUT,
            Phase::Reading | Phase::Lingering | Phase::Closed => PollFlags::IN,
        }
    }

    /// When it needs a turn though nothing happens.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Since when it has had no reply.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Whether its last turn left requests in `input`: no event tells of them.
    pub(crate) fn has_more(&self) -> bool {
        self.has_more
    }

    /// Whether a reply is under way.
    pub(crate) fn is_writing(&self) -> bool {
        matches!(self.phase, Phase::Writing(_))
    }

    /// Whether it is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether the router is to stop now: a reply that asks for it is written, or its client is gone. Tells it once.
    pub(crate) fn take_stop(&mut self) -> bool {
        let due = self.stop_due || (self.is_closed() && self.stop);
        if due {
            (self.stop, self.stop_due) = (false, false);
        }
        due
    }

    /// Closes it at once, whatever is under way.
    pub(crate) fn close(&mut self) {
        self.phase = Phase::Closed;
    }

    /// Does all that can be done without waiting, within the bounds of a turn.
    pub(crate) fn turn(&mut self, now: Instant, handler: Handler<'_>) {
        match self.phase {
            Phase::Writing(persistence) => self.write(persistence, now),
            Phase::Lingering => self.discard(),
            Phase::Reading | Phase::Closed => {}
        }
        if self.phase == Phase::Reading && !self.input_ended {
            self.read();
        }
        let mut served = 0;
        while served < REQUESTS_PER_TURN
            && self.phase == Phase::Reading
            && self.serve_one(now, handler)
        {
            served += 1;
        }
        self.has_more = served == REQUESTS_PER_TURN && self.phase == Phase::Reading;
        if self.phase != Phase::Closed && self.deadline <= now {
            self.expire(now);
        }
    }

    /// Answers the first request in `input`; false where it is not complete.
    fn serve_one(&mut self, now: Instant, handler: Handler<'_>) -> bool {
        // Empty lines between requests are none (RFC 9112, 2.2).
        let blank = self
            .input
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        self.input.drain(..blank);
        if !self.begun && !self.input.is_empty() {
            self.begun = true;
            self.deadline = now + EXCHANGE_TIME;
        }
        match Request::parse(&self.input) {
            Parsed::Partial => {
                if self.input_ended {
                    self.close();
                }
                return false;
            }
            Parsed::Complete(request, length) => {
                self.input.drain(..length);
                let reply = handler(&request);
                self.answer(&reply, Some(&request), request.persistence(), now);
            }
            Parsed::Invalid(status) => self.answer(
                &Response::invalid_request(status),
                None,
                Persistence::Close,
                now,
            ),
        }
        true
    }

    fn expire(&mut self, now: Instant) {
        if self.phase == Phase::Reading && !self.input.is_empty() {
            self.answer(
                &Response::invalid_request(408),
                None,
                Persistence::Close,
                now,
            );
        } else {
            // Nothing was asked, so nothing is answered: a 408 would pass for the reply to the next request.
            self.close();
        }
    }

    fn answer(
        &mut self,
        reply: &Response,
        request: Option<&Request>,
        persistence: Persistence,
        now: Instant,
    ) {
        self.output = reply.serialize(request, persistence);
        self.written = 0;
        self.stop = reply.is_shutdown;
        self.deadline = now + EXCHANGE_TIME;
        self.phase = Phase::Writing(persistence);
        self.write(persistence, now);
    }

    fn read(&mut self) {
        let mut chunk = [0; 4096];
        while self.input.len() < MAX_REQUEST {
            let room = chunk.len().min(MAX_REQUEST - self.input.len());
            match self.stream.read(&mut chunk[..room]) {
                Ok(0) => return self.input_ended = true,
                Ok(length) => self.input.extend_from_slice(&chunk[..length]),
                Err(error) => return self.failed(&error),
            }
        }
    }

    fn write(&mut self, persistence: Persistence, now: Instant) {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return self.close(),
                Ok(length) => self.written += length,
                Err(error) => return self.failed(&error),
            }
        }
        self.output = Vec::new();
        self.stop_due |= std::mem::take(&mut self.stop);
        self.since = now;
        self.begun = false;
        match persistence {
            Persistence::KeepAlive => {
                self.phase = Phase::Reading;
                self.deadline = now + IDLE_TIME;
            }
            Persistence::Close => {
                self.phase = Phase::Lingering;
                self.deadline = now + LINGER_TIME;
                self.input = Vec::new();
                if self.input_ended || self.stream.shutdown(Shutdown::Write).is_err() {
                    self.close();
                }
            }
        }
    }

    fn discard(&mut self) {
        let mut chunk = [0; 4096];
        for _ in 0..DISCARDS_PER_TURN {
            match self.stream.read(&mut chunk) {
                Ok(0) => return self.close(),
                Ok(_) => {}
                Err(error) => return self.failed(&error),
            }
        }
    }

    /// Nothing to read or no room to write is no failure; an interrupted call is made again in the next turn.
    fn failed(&mut self, error: &io::Error) {
        if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
            self.close();
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
