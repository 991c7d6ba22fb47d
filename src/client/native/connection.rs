//! One TCP connection to a broker. It never blocks: it connects, writes and reads as far as the socket allows, and `network` waits for all
//! connections of a thread. A broker sends the responses on a connection in the order of the requests.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::StrBytes;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::error_name::kafka_name;
use super::protocol::{self, SupportedRequest};
use super::response::{Response, ResponseReader};

/// A connection, which sends ApiVersions by itself as its first request.
#[derive(Debug)]
pub(super) struct Connection<T> {
    stream: TcpStream,
    state: ConnectionState,
    /// Encoded requests that are not written to the socket yet.
    unsent: BytesMut,
    in_flight: VecDeque<InFlightRequest<T>>,
    next_correlation_id: i32,
    reader: ResponseReader,
    /// Deadline for the connection to be established and for the response to ApiVersions.
    connect_deadline: Instant,
}

#[derive(Debug)]
enum ConnectionState {
    Connecting,
    /// ApiVersions is in flight.
    CheckingApiVersions,
    /// Lowest and highest version of each request that the broker supports, by API key.
    Ready(BTreeMap<i16, (i16, i16)>),
}

#[derive(Debug)]
struct InFlightRequest<T> {
    correlation_id: i32,
    name: &'static str,
    version: i16,
    deadline: Instant,
    /// `None` for the connection's own ApiVersions.
    tag: Option<T>,
}

impl<T> Connection<T> {
    /// Starts to connect. The connection fails if it is not ready at `deadline`.
    pub(super) fn open(address: SocketAddr, deadline: Instant) -> io::Result<Self> {
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
            state: ConnectionState::Connecting,
            unsent: BytesMut::new(),
            in_flight: VecDeque::new(),
            next_correlation_id: 0,
            reader: ResponseReader::default(),
            connect_deadline: deadline,
        })
    }

    /// The socket, for `poll(2)`.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Returns whether the connection waits until the socket is writable.
    pub(super) fn wants_to_write(&self) -> bool {
        matches!(self.state, ConnectionState::Connecting) || !self.unsent.is_empty()
    }

    /// Returns whether requests can be sent.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, ConnectionState::Ready(_))
    }

    /// Returns the number of requests without a response.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns the number of request bytes that are not written to the socket yet.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// Returns the lowest and highest version of a request that the broker supports; `None` if it does not know the request, or the
    /// connection is not ready.
    pub(super) fn broker_versions<R: SupportedRequest>(&self) -> Option<(i16, i16)> {
        match &self.state {
            ConnectionState::Ready(versions) => versions.get(&R::KEY).copied(),
            ConnectionState::Connecting | ConnectionState::CheckingApiVersions => None,
        }
    }

    /// Returns the highest version of a request that the broker and this client support.
    pub(super) fn version<R: SupportedRequest>(&self) -> Option<i16> {
        protocol::common_version::<R>(self.broker_versions::<R>()?)
    }

    /// Returns the deadline for the connection to be established, or for the response to the oldest request.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            ConnectionState::Connecting => Some(self.connect_deadline),
            _ => self.in_flight.front().map(|request| request.deadline),
        }
    }

    /// Sends a request. The connection fails if there is no response at `deadline`.
    pub(super) fn send<R: SupportedRequest>(
        &mut self,
        request: &R,
        version: i16,
        client_id: &StrBytes,
        deadline: Instant,
        tag: T,
    ) -> io::Result<()> {
        let correlation_id = self.add_in_flight::<R>(version, deadline, Some(tag));
        let encoded = protocol::encode(request, version, correlation_id, client_id)
            .map_err(io::Error::other)?;
        self.write(&[&encoded])
    }

    /// Sends a request whose body is already encoded, in parts. Bytes are copied only if the socket does not accept them at once.
    pub(super) fn send_encoded<R: SupportedRequest>(
        &mut self,
        parts: [&[u8]; 3],
        version: i16,
        client_id: &StrBytes,
        deadline: Instant,
        tag: T,
    ) -> io::Result<()> {
        let correlation_id = self.add_in_flight::<R>(version, deadline, Some(tag));
        let mut header = BytesMut::with_capacity(64);
        protocol::begin::<R>(&mut header, version, correlation_id, client_id)
            .map_err(io::Error::other)?;
        protocol::end(&mut header, parts.iter().map(|part| part.len()).sum());
        let [first, second, third] = parts;
        self.write(&[&header, first, second, third])
    }

    /// Registers a request as in flight and returns its correlation id.
    fn add_in_flight<R: SupportedRequest>(
        &mut self,
        version: i16,
        deadline: Instant,
        tag: Option<T>,
    ) -> i32 {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = correlation_id.wrapping_add(1);
        self.in_flight.push_back(InFlightRequest {
            correlation_id,
            name: R::NAME,
            version,
            deadline,
            tag,
        });
        correlation_id
    }

    fn write(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let mut written = 0;
        if self.unsent.is_empty() {
            let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
            written = match self.stream.write_vectored(&slices) {
                Ok(written) => written,
                Err(error) if would_block(&error) => 0,
                Err(error) => return Err(error),
            };
        }
        for part in parts {
            let skipped = written.min(part.len());
            written -= skipped;
            self.unsent
                .extend_from_slice(part.get(skipped..).unwrap_or_default());
        }
        Ok(())
    }

    /// Connects, writes and reads as far as the socket allows, and passes complete responses to `handle`.
    ///
    /// `is_ready` is `poll(2)`'s result for the socket. It can report the end of the connection while no request is in flight, for example
    /// after `connections.max.idle.ms`. An error means that the connection has failed.
    pub(super) fn progress(
        &mut self,
        now: Instant,
        is_ready: bool,
        client_id: &StrBytes,
        mut handle: impl FnMut(Response<T>),
    ) -> io::Result<()> {
        if matches!(self.state, ConnectionState::Connecting)
            && !self.finish_connect(now, client_id)?
        {
            return Ok(());
        }
        self.flush()?;
        let mut reads = is_ready;
        while reads {
            match self.reader.read(&mut self.stream) {
                Ok(Some(body)) => {
                    self.handle_response(body, &mut handle)?;
                    reads = !self.in_flight.is_empty();
                }
                Ok(None) => (),
                Err(error) if would_block(&error) => break,
                Err(error) => return Err(error),
            }
        }
        match self.in_flight.front() {
            Some(request) if request.deadline <= now => Err(io::Error::new(
                ErrorKind::TimedOut,
                format!("no response to {}", request.name),
            )),
            _ => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.unsent.advance(written),
                Err(error) if would_block(&error) => break,
                Err(error) => return Err(error),
            }
        }
        if self.unsent.is_empty() && self.unsent.capacity() > 0 {
            // The socket rarely refuses bytes, so the buffer, which can be large, is freed.
            self.unsent = BytesMut::new();
        }
        Ok(())
    }

    /// Returns whether the connection is established. When it becomes so, sends ApiVersions.
    fn finish_connect(&mut self, now: Instant, client_id: &StrBytes) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        if self.stream.peer_addr().is_err() {
            return if now >= self.connect_deadline {
                Err(io::Error::new(ErrorKind::TimedOut, "connect timed out"))
            } else {
                Ok(false)
            };
        }
        self.state = ConnectionState::CheckingApiVersions;
        // Version 0 is the one that a broker of any version answers.
        let version = 0;
        let correlation_id =
            self.add_in_flight::<ApiVersionsRequest>(version, self.connect_deadline, None);
        let request = ApiVersionsRequest::default();
        let encoded = protocol::encode(&request, version, correlation_id, client_id)
            .map_err(io::Error::other)?;
        self.write(&[&encoded])?;
        Ok(true)
    }

    fn handle_response(
        &mut self,
        body: Bytes,
        handle: &mut impl FnMut(Response<T>),
    ) -> io::Result<()> {
        let Some(request) = self.in_flight.pop_front() else {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "the broker sent a response without a request",
            ));
        };
        let correlation_id = body.first_chunk().copied().map(i32::from_be_bytes);
        if correlation_id != Some(request.correlation_id) {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!(
                    "the response to {} has the correlation id of another request",
                    request.name
                ),
            ));
        }
        let Some(tag) = request.tag else {
            return self.handle_api_versions_response(&body);
        };
        handle(Response {
            tag,
            version: request.version,
            body,
        });
        Ok(())
    }

    fn handle_api_versions_response(&mut self, body: &Bytes) -> io::Result<()> {
        let response = protocol::decode::<ApiVersionsRequest>(body, 0)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        if let Some(error) = ResponseError::try_from_code(response.error_code) {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("ApiVersions failed: {}", kafka_name(error)),
            ));
        }
        let versions = response.api_keys.iter();
        self.state = ConnectionState::Ready(
            versions
                .map(|api| (api.api_key, (api.min_version, api.max_version)))
                .collect(),
        );
        Ok(())
    }

    /// Takes the buffer of a consumed response for a later one.
    pub(super) fn recycle(&mut self, buffer: BytesMut) {
        self.reader.recycle(buffer);
    }

    /// Closes the connection and returns the tags of the requests that will get no response.
    pub(super) fn into_tags(self) -> Vec<T> {
        self.in_flight
            .into_iter()
            .filter_map(|request| request.tag)
            .collect()
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
