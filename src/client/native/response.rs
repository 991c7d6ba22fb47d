//! Responses of a broker: reads their bytes from a socket and decodes them.

use std::io::{self, ErrorKind, Read};

use bytes::{Bytes, BytesMut};

use super::protocol::{self, DecodeError, SupportedRequest};
use crate::client::error::Error;

/// Largest response that is accepted, as in librdkafka (`receive.message.max.bytes`). A larger length does not come from a Kafka broker.
const MAX_RESPONSE_BYTES: usize = 100_000_000;

/// First size of the buffer for a response. It grows with the bytes that arrive, so a peer cannot make us allocate by a length alone.
const INITIAL_BUFFER_BYTES: usize = 64 * 1024;

/// A complete response that is not decoded yet.
#[derive(Debug)]
pub(super) struct Response<T> {
    /// Tag that was passed with the request.
    pub(super) tag: T,
    /// Version of the request.
    pub(super) version: i16,
    /// The response from its correlation id on.
    pub(super) body: Bytes,
}

impl<T> Response<T> {
    /// Decodes the response to a request of type `R`.
    pub(super) fn decode<R: SupportedRequest>(&self) -> Result<R::Response, DecodeError> {
        protocol::decode::<R>(&self.body, self.version)
    }

    /// Returns the buffer, which everything decoded from the response shares.
    pub(super) fn into_body(self) -> Bytes {
        self.body
    }
}

/// The reason why a response was not handled.
pub(super) enum ResponseFailure {
    /// It cannot be decoded: the connection is closed and the request counts as disconnected.
    Undecodable(DecodeError),
    /// The client fails.
    Fatal(Error),
}

impl From<DecodeError> for ResponseFailure {
    fn from(error: DecodeError) -> Self {
        Self::Undecodable(error)
    }
}

impl From<Error> for ResponseFailure {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

/// Reads one response after the other from a socket.
#[derive(Debug, Default)]
pub(super) struct ResponseReader {
    length: [u8; 4],
    /// Bytes of `length` that have been read.
    length_filled: usize,
    /// Buffer for the response; the bytes after `filled` are free.
    buffer: BytesMut,
    filled: usize,
    /// Buffer of an earlier response, for the next one.
    spare: BytesMut,
}

impl ResponseReader {
    /// Reads from the socket once. Returns a response when it is complete.
    pub(super) fn read(&mut self, stream: &mut impl Read) -> io::Result<Option<Bytes>> {
        if let Some(length) = self
            .length
            .get_mut(self.length_filled..)
            .filter(|left| !left.is_empty())
        {
            self.length_filled += not_closed(stream.read(length)?)?;
            return Ok(None);
        }
        let length = usize::try_from(i32::from_be_bytes(self.length)).unwrap_or(usize::MAX);
        if !(4..=MAX_RESPONSE_BYTES).contains(&length) {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("the peer sent a response of {length} bytes, so it is not a Kafka broker"),
            ));
        }
        if self.filled == 0 && self.spare.len() > self.buffer.len() {
            self.buffer = std::mem::take(&mut self.spare);
        }
        let size = length.min((2 * self.filled).max(INITIAL_BUFFER_BYTES));
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        let end = length.min(self.buffer.len());
        let free = self.buffer.get_mut(self.filled..end).unwrap_or_default();
        self.filled += not_closed(stream.read(free)?)?;
        if self.filled < length {
            return Ok(None);
        }
        let mut body = std::mem::take(&mut self.buffer);
        body.truncate(length);
        self.filled = 0;
        self.length_filled = 0;
        Ok(Some(body.freeze()))
    }

    /// Takes the buffer of a consumed response for a later one. The largest buffer is kept.
    pub(super) fn recycle(&mut self, buffer: BytesMut) {
        if buffer.len() > self.spare.len() {
            self.spare = buffer;
        }
    }
}

/// Returns an error if a read returned no bytes, which means that the broker closed the connection.
fn not_closed(read: usize) -> io::Result<usize> {
    if read == 0 {
        Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            "the broker closed the connection",
        ))
    } else {
        Ok(read)
    }
}
