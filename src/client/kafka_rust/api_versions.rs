//! Which requests a broker takes: the ApiVersions request (KIP-35), version 0, which the `kafka` crate has not.
//!
//! Without asking, a broker of Kafka 4 would be met as an answer that cannot be read.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Longest wait for the connection, and for each part of the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The answer at most: six bytes for each of some eighty requests; 64 KiB is more than a hundred times that.
const MAX_ANSWER: usize = 64 * 1024;

/// ApiVersions, version 0, correlation id 0, client id "parity-router"; in front, the length of the rest.
const REQUEST: &[u8] = b"\0\0\0\x17\0\x12\0\0\0\0\0\0\0\x0dparity-router";

/// The key of Fetch in the protocol.
const FETCH: i16 = 1;

/// The versions of Fetch that the broker takes, from the lowest to the highest. None where it does not say: brokers before 0.10 do not
/// know the question.
pub(super) fn fetch_versions(broker: &str) -> io::Result<Option<(i16, i16)>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in broker.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ANSWER_WITHIN) {
            Ok(stream) => {
                return Ok(ask(stream)
                    .unwrap_or_default()
                    .and_then(|answer| find(&answer, FETCH)));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask(mut stream: TcpStream) -> io::Result<Option<Vec<u8>>> {
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(REQUEST)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_ANSWER {
        return Ok(None);
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    Ok(Some(answer))
}

/// Reads correlation id, error code, and an array of (key, lowest, highest).
fn find(answer: &[u8], wanted: i16) -> Option<(i16, i16)> {
    let error = answer.get(4..6)?;
    let entries = answer.get(10..)?;
    if error != [0, 0] {
        return None;
    }
    entries.chunks_exact(6).find_map(|entry| {
        let &[k1, k2, l1, l2, h1, h2] = entry else {
            return None;
        };
        (i16::from_be_bytes([k1, k2]) == wanted)
            .then(|| (i16::from_be_bytes([l1, l2]), i16::from_be_bytes([h1, h2])))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(answer: &[u8], expected: Option<(i16, i16)>) {
        assert_eq!(find(answer, FETCH), expected);
    }

    #[test]
    fn answers() {
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
    fn the_request_tells_its_own_length() {
        assert_eq!(REQUEST.len(), 4 + 0x17);
    }

    proptest! {
        #[test]
        fn any_answer_is_read(answer in prop::collection::vec(any::<u8>(), 0..100)) {
            find(&answer, FETCH);
        }
    }
}
