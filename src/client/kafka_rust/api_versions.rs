//! Asks a broker which API versions it supports: ApiVersions version 0 (KIP-35), which the `kafka` crate does not have.
//!
//! Without this check a broker of Kafka 4 would only show as a response that cannot be parsed.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Timeout of connecting, and of each read and write.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Largest accepted response in bytes. A response has six bytes for each of about eighty APIs; this is more than a hundred times that.
const MAX_RESPONSE: usize = 64 * 1024;

/// API key of ApiVersions.
const API_VERSIONS: i16 = 18;

/// API key of Fetch.
const FETCH: i16 = 1;

/// Returns the lowest and the highest version of Fetch that the broker supports. Returns `None` if the broker does not answer the request:
/// brokers before Kafka 0.10 close the connection instead.
pub(super) fn fetch_versions(broker: &str, client_id: &str) -> io::Result<Option<(i16, i16)>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in broker.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => {
                return Ok(call(stream, client_id)
                    .unwrap_or_default()
                    .and_then(|response| parse(&response, FETCH)));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Encodes the request: its length, API key, version 0, correlation id 0 and the client id. The body of version 0 is empty.
fn encode(client_id: &str) -> Vec<u8> {
    let id_length = i16::try_from(client_id.len()).unwrap_or_default();
    let id = client_id
        .get(..id_length.unsigned_abs().into())
        .unwrap_or_default();
    let mut request = (10 + i32::from(id_length)).to_be_bytes().to_vec();
    request.extend_from_slice(&API_VERSIONS.to_be_bytes());
    request.extend_from_slice(&0_i16.to_be_bytes());
    request.extend_from_slice(&0_i32.to_be_bytes());
    request.extend_from_slice(&id_length.to_be_bytes());
    request.extend_from_slice(id.as_bytes());
    request
}

/// Sends the request and returns the response without its length, or `None` if it is too large.
fn call(mut stream: TcpStream, client_id: &str) -> io::Result<Option<Vec<u8>>> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(&encode(client_id))?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_RESPONSE {
        return Ok(None);
    }
    let mut response = vec![0; length];
    stream.read_exact(&mut response)?;
    Ok(Some(response))
}

/// Returns the version range of one API from a response: correlation id, error code, and an array of (API key, lowest, highest version).
fn parse(response: &[u8], api_key: i16) -> Option<(i16, i16)> {
    let error = response.get(4..6)?;
    let entries = response.get(10..)?;
    if error != [0, 0] {
        return None;
    }
    entries.chunks_exact(6).find_map(|entry| {
        let &[k1, k2, l1, l2, h1, h2] = entry else {
            return None;
        };
        (i16::from_be_bytes([k1, k2]) == api_key)
            .then(|| (i16::from_be_bytes([l1, l2]), i16::from_be_bytes([h1, h2])))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(response: &[u8], expected: Option<(i16, i16)>) {
        assert_eq!(parse(response, FETCH), expected);
    }

    #[test]
    fn responses() {
        check(b"", None);
        // Error 35, UNSUPPORTED_VERSION.
        check(b"\0\0\0\0\0\x23\0\0\0\0", None);
        check(
            b"\0\0\0\0\0\0\0\0\0\x02\0\0\0\0\0\x0b\0\x01\0\x04\0\x12",
            Some((4, 18)),
        );
        check(b"\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\x0b", None);
    }

    #[test]
    fn requests() {
        assert_eq!(
            encode("parity-router"),
            b"\0\0\0\x17\0\x12\0\0\0\0\0\0\0\x0dparity-router"
        );
        assert_eq!(encode(""), b"\0\0\0\x0a\0\x12\0\0\0\0\0\0\0\0");
    }

    proptest! {
        #[test]
        fn any_response_is_parsed_or_rejected(response in prop::collection::vec(any::<u8>(), 0..100)) {
            parse(&response, FETCH);
        }
    }
}
