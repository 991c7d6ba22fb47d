//! One TCP connection to a broker. Nothing here waits: it connects, writes and reads as far as the system lets it at once, and `network`
//! waits for all connections of a thread together. Kafka answers the requests of a connection in their order.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::StrBytes;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::protocol::{self, SupportedRequest};

/// An answer at most; librdkafka's bound too (`receive.message.max.bytes`). What is larger is no answer of a broker's.
const MAX_ANSWER: usize = 100_000_000;

/// How much room an answer gets before its bytes have shown that it is so large.
const FIRST_ROOM: usize = 64 * 1024;

/// An answer that has come.
#[derive(Debug)]
pub(super) struct Answer<T> {
    /// What was given along with the request.
    pub(super) tag: T,
    /// The request's version.
    pub(super) version: i16,
    /// The answer, from its correlation id on.
    pub(super) body: Bytes,
}

/// A connection, from the first packet on.
#[derive(Debug)]
pub(super) struct Connection<T> {
    stream: TcpStream,
    stage: Stage,
    /// What the system has not taken yet.
    unsent: BytesMut,
    disconnected: VecDeque<Unanswered<T>>,
    next_correlation: i32,
    incoming: Incoming,
    /// When the connection, or the answer that is next, must be there.
    connect_until: Instant,
}

#[derive(Debug)]
enum Stage {
    Connecting,
    /// ApiVersions is asked.
    Greeting,
    /// The versions that the broker takes, from the lowest to the highest, by request.
    Ready(BTreeMap<i16, (i16, i16)>),
}

#[derive(Debug)]
struct Unanswered<T> {
    correlation: i32,
    name: &'static str,
    version: i16,
    until: Instant,
    /// None for the greeting.
    tag: Option<T>,
}

/// The answer that is being read.
#[derive(Debug, Default)]
struct Incoming {
    length: [u8; 4],
    /// Bytes of the length that are there.
    of_length: usize,
    /// As long as the longest answer so far: what is behind `filled` is room.
    room: BytesMut,
    filled: usize,
    /// Of an answer that was done with.
    spare: BytesMut,
}

impl<T> Connection<T> {
    /// Begins to connect; it is to be ready at `until`.
    pub(super) fn open(address: SocketAddr, until: Instant) -> io::Result<Self> {
        let family = if address.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => (),
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            stage: Stage::Connecting,
            unsent: BytesMut::new(),
            disconnected: VecDeque::new(),
            next_correlation: 0,
            incoming: Incoming::default(),
            connect_until: until,
        })
    }

    /// For `poll`.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether it waits for the system to take bytes, or to connect.
    pub(super) fn wants_to_write(&self) -> bool {
        matches!(self.stage, Stage::Connecting) || !self.unsent.is_empty()
    }

    /// Whether requests can be sent.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready(_))
    }

    /// Requests without an answer yet.
    pub(super) fn disconnected(&self) -> usize {
        self.disconnected.len()
    }

    /// Bytes that the system has not taken yet.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// The versions of a request that the broker takes; none where it does not know it, or the connection is not ready.
    pub(super) fn broker_versions<R: SupportedRequest>(&self) -> Option<(i16, i16)> {
        match &self.stage {
            Stage::Ready(versions) => versions.get(&R::KEY).copied(),
            Stage::Connecting | Stage::Greeting => None,
        }
    }

    /// The newest version of a request that both sides speak.
    pub(super) fn version<R: SupportedRequest>(&self) -> Option<i16> {
        protocol::common_version::<R>(self.broker_versions::<R>()?)
    }

    /// When the next thing is due that would end the connection if it did not happen.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.disconnected.front() {
            _ if matches!(self.stage, Stage::Connecting) => Some(self.connect_until),
            front => front.map(|disconnected| disconnected.until),
        }
    }

    /// Sends a request; its answer is to be there at `until`.
    pub(super) fn send<R: SupportedRequest>(
        &mut self,
        request: &R,
        version: i16,
        client_id: &StrBytes,
        until: Instant,
        tag: T,
    ) -> io::Result<()> {
        let correlation = self.expect::<R>(version, until, Some(tag));
        let encoded =
            protocol::encode(request, version, correlation, client_id).map_err(io::Error::other)?;
        self.write(&[&encoded])
    }

    /// Sends a request whose bytes behind the header are given in pieces: what the system does not take at once is kept, and only that.
    pub(super) fn send_pieces<R: SupportedRequest>(
        &mut self,
        pieces: [&[u8]; 3],
        version: i16,
        client_id: &StrBytes,
        until: Instant,
        tag: T,
    ) -> io::Result<()> {
        let correlation = self.expect::<R>(version, until, Some(tag));
        let mut begin = BytesMut::with_capacity(64);
        protocol::begin::<R>(&mut begin, version, correlation, client_id)
            .map_err(io::Error::other)?;
        protocol::end(&mut begin, pieces.iter().map(|piece| piece.len()).sum());
        let [first, second, third] = pieces;
        self.write(&[&begin, first, second, third])
    }

    fn expect<R: SupportedRequest>(&mut self, version: i16, until: Instant, tag: Option<T>) -> i32 {
        let correlation = self.next_correlation;
        self.next_correlation = correlation.wrapping_add(1);
        self.disconnected.push_back(Unanswered {
            correlation,
            name: R::NAME,
            version,
            until,
            tag,
        });
        correlation
    }

    fn write(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        let mut done = 0;
        if self.unsent.is_empty() {
            let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            done = match self.stream.write_vectored(&slices) {
                Ok(written) => written,
                Err(error) if is_not_now(&error) => 0,
                Err(error) => return Err(error),
            };
        }
        for piece in pieces {
            let taken = done.min(piece.len());
            done -= taken;
            self.unsent
                .extend_from_slice(piece.get(taken..).unwrap_or_default());
        }
        Ok(())
    }

    /// Goes on as far as it can at once. Answers go to `take`. Fails when the connection is over. `is_ready` says that the system has
    /// something to tell of it: that may be its end, and comes without a request too (`connections.max.idle.ms`).
    pub(super) fn progress(
        &mut self,
        now: Instant,
        is_ready: bool,
        client_id: &StrBytes,
        mut take: impl FnMut(Answer<T>),
    ) -> io::Result<()> {
        if matches!(self.stage, Stage::Connecting) && !self.connected(now, client_id)? {
            return Ok(());
        }
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.unsent.advance(written),
                Err(error) if is_not_now(&error) => break,
                Err(error) => return Err(error),
            }
        }
        if self.unsent.is_empty() && self.unsent.capacity() > 0 {
            // A large one is rare; its memory is not kept.
            self.unsent = BytesMut::new();
        }
        let mut goes_on = is_ready;
        while goes_on {
            match self.incoming.read(&mut self.stream) {
                Ok(Some(body)) => {
                    self.handle_response(body, &mut take)?;
                    goes_on = !self.disconnected.is_empty();
                }
                Ok(None) => (),
                Err(error) if is_not_now(&error) => break,
                Err(error) => return Err(error),
            }
        }
        match self.disconnected.front() {
            Some(late) if late.until <= now => Err(io::Error::new(
                ErrorKind::TimedOut,
                format!("no answer to {}", late.name),
            )),
            _ => Ok(()),
        }
    }

    /// Whether the connection stands; the first time it does, the broker is asked what it speaks.
    fn connected(&mut self, now: Instant, client_id: &StrBytes) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        if self.stream.peer_addr().is_err() {
            return if now >= self.connect_until {
                Err(io::Error::new(ErrorKind::TimedOut, "no connection"))
            } else {
                Ok(false)
            };
        }
        self.stage = Stage::Greeting;
        let version = 0;
        let correlation = self.expect::<ApiVersionsRequest>(version, self.connect_until, None);
        let request = ApiVersionsRequest::default();
        let encoded = protocol::encode(&request, version, correlation, client_id)
            .map_err(io::Error::other)?;
        self.write(&[&encoded])?;
        Ok(true)
    }

    fn handle_response(&mut self, body: Bytes, take: &mut impl FnMut(Answer<T>)) -> io::Result<()> {
        let Some(disconnected) = self.disconnected.pop_front() else {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "an answer to nothing",
            ));
        };
        let correlation = body.first_chunk().copied().map(i32::from_be_bytes);
        if correlation != Some(disconnected.correlation) {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("the answer to {} is another one's", disconnected.name),
            ));
        }
        let Some(tag) = disconnected.tag else {
            return self.greeted(&body);
        };
        take(Answer {
            tag,
            version: disconnected.version,
            body,
        });
        Ok(())
    }

    fn greeted(&mut self, body: &Bytes) -> io::Result<()> {
        let answer = protocol::decode::<ApiVersionsRequest>(body, 0)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        if answer.error_code != 0 {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("error {} to ApiVersions", answer.error_code),
            ));
        }
        let versions = answer.api_keys.iter();
        self.stage = Stage::Ready(
            versions
                .map(|api| (api.api_key, (api.min_version, api.max_version)))
                .collect(),
        );
        Ok(())
    }

    /// Gives the memory of a large answer back, for the next one.
    pub(super) fn recycle(&mut self, room: BytesMut) {
        if room.len() > self.incoming.spare.len() {
            self.incoming.spare = room;
        }
    }

    /// What was sent and will not be handle_response any more.
    pub(super) fn into_unanswered(self) -> Vec<T> {
        self.disconnected
            .into_iter()
            .filter_map(|disconnected| disconnected.tag)
            .collect()
    }
}

impl Incoming {
    /// Reads once; an answer when it is whole.
    fn read(&mut self, stream: &mut impl Read) -> io::Result<Option<Bytes>> {
        if let Some(length) = self
            .length
            .get_mut(self.of_length..)
            .filter(|left| !left.is_empty())
        {
            self.of_length += some(stream.read(length)?)?;
            return Ok(None);
        }
        let length = usize::try_from(i32::from_be_bytes(self.length)).unwrap_or(usize::MAX);
        if !(4..=MAX_ANSWER).contains(&length) {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("an answer of {length} bytes"),
            ));
        }
        if self.filled == 0 && self.spare.len() > self.room.len() {
            self.room = std::mem::take(&mut self.spare);
        }
        let room = length.min((2 * self.filled).max(FIRST_ROOM));
        if self.room.len() < room {
            self.room.resize(room, 0);
        }
        let end = length.min(self.room.len());
        let free = self.room.get_mut(self.filled..end).unwrap_or_default();
        self.filled += some(stream.read(free)?)?;
        if self.filled < length {
            return Ok(None);
        }
        let mut body = std::mem::take(&mut self.room);
        body.truncate(length);
        self.filled = 0;
        self.of_length = 0;
        Ok(Some(body.freeze()))
    }
}

/// Nothing read is the end of the connection.
fn some(read: usize) -> io::Result<usize> {
    if read == 0 {
        Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            "the broker closed the connection",
        ))
    } else {
        Ok(read)
    }
}

fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
