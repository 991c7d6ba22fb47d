//! `parity-router probe`: an HTTP client for one health request, for images without a shell or curl. Runs on the main thread.
//!
//! It uses the standard library alone: the small HTTP client `minreq` was tried and does not accept IPv6 addresses.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::cli::Probe;
use crate::config::ActuatorSettings;
use crate::error::Error;

/// Time limit of the whole exchange, below the 5 s timeout of Data Flow's Kubernetes probes.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes read of a response. A health response is a status and a reason, but another program on the port could send without end.
const MAX_RESPONSE: usize = 64 * 1024;

/// Sends a health request to the router on this host with these settings. Returns `Error::Probe` if it is not in the requested state or does
/// not respond within 3 s.
pub(crate) fn run(settings: &ActuatorSettings, probe: Probe) -> Result<(), Error> {
    let name = match probe {
        Probe::Liveness => "liveness",
        Probe::Readiness => "readiness",
    };
    if settings.port == 0 {
        return Err(Error::Probe(format!(
            "{name}: server.port is 0, so the port of the router is unknown"
        )));
    }
    let address = SocketAddr::new(local(settings.address), settings.port);
    let url = format!("http://{address}/actuator/health/{name}");
    let response = request(address, name)
        .map_err(|error| Error::Probe(format!("{name}: no response from {url}: {error}")))?;
    match status(&response) {
        Some(200) => Ok(()),
        Some(status) => Err(Error::Probe(format!(
            "{name}: {} ({status})",
            state(&response)
        ))),
        None => Err(Error::Probe(format!(
            "{name}: {url} did not respond in HTTP"
        ))),
    }
}

/// Returns the address on this host of a router that listens on `address`. A router on `::` listens on IPv4 as well.
fn local(address: Option<IpAddr>) -> IpAddr {
    match address {
        None => Ipv4Addr::LOCALHOST.into(),
        Some(IpAddr::V4(address)) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        Some(IpAddr::V6(address)) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        Some(address) => address,
    }
}

/// Sends the request and returns the response as it was received.
fn request(address: SocketAddr, name: &str) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + TIMEOUT;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // With HTTP/1.0 the response ends with the connection and is never chunked.
    let head = format!(
        "GET /actuator/health/{name} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut response = Vec::new();
    let mut chunk = [0; 4096];
    while response.len() < MAX_RESPONSE {
        let remaining = deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(remaining))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => response.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(response)
}

/// Returns the status code of an HTTP response.
fn status(response: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(response.split(|byte| *byte == b'\r').next()?).ok()?;
    let mut words = line.split(' ');
    words
        .next()
        .filter(|version| version.starts_with("HTTP/"))?;
    words.next()?.parse().ok()
}

/// Returns the `status` of a health response, with its reason if there is one, or "unexpected response".
fn state(response: &[u8]) -> String {
    let body = response
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .map_or(&[][..], |end| &response[end + 4..]);
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    match (body["status"].as_str(), body["details"]["reason"].as_str()) {
        (Some(status), Some(reason)) => format!("{status}, {reason}"),
        (Some(status), None) => status.to_owned(),
        (None, _) => "unexpected response".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::net::TcpListener;

    use super::*;

    /// Probes a server that sends `reply` to its only client; `{port}` in `expected` stands for the port of the server.
    #[track_caller]
    fn check(address: &str, probe: Probe, reply: &[u8], expected: Result<(), &str>) {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let settings = ActuatorSettings {
            address: Some(address.parse().unwrap()),
            port,
            show_details: false,
        };
        let result = std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 20];
                stream.read_exact(&mut request).unwrap();
                assert_eq!(&request, b"GET /actuator/health");
                stream.write_all(reply).unwrap();
                // Closing a connection with unread bytes would reset it, so read to the end.
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                stream.read_to_end(&mut Vec::new()).unwrap();
            });
            run(&settings, probe)
        });
        let expected = expected.map_err(|text| text.replace("{port}", &port.to_string()));
        assert_eq!(result.map_err(|error| error.to_string()), expected);
    }

    #[test]
    fn replies() {
        let refusing =
            b"HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\n{\"status\":\"OUT_OF_SERVICE\"}";
        let reason = b"HTTP/1.0 503 X\r\n\r\n{\"status\":\"OUT_OF_SERVICE\",\"details\":{\"reason\":\"stopping\"}}";
        check(
            "127.0.0.1",
            Probe::Liveness,
            b"HTTP/1.1 200 OK\r\n\r\n",
            Ok(()),
        );
        check(
            "0.0.0.0",
            Probe::Readiness,
            refusing,
            Err("readiness: OUT_OF_SERVICE (503)"),
        );
        check(
            "127.0.0.1",
            Probe::Readiness,
            reason,
            Err("readiness: OUT_OF_SERVICE, stopping (503)"),
        );
        check(
            "127.0.0.1",
            Probe::Liveness,
            b"HTTP/1.1 404 Not Found\r\n\r\n",
            Err("liveness: unexpected response (404)"),
        );
        let text =
            "liveness: http://127.0.0.1:{port}/actuator/health/liveness did not respond in HTTP";
        for noise in [
            &b""[..],
            b"\xff",
            b"SSH-2.0-x\r\n",
            b"HTTP/1.1",
            b"HTTP/1.1 x",
        ] {
            check("127.0.0.1", Probe::Liveness, noise, Err(text));
        }
    }

    #[test]
    fn over_ipv6() {
        // A host without IPv6 cannot run this test.
        if TcpListener::bind(("::1", 0)).is_ok() {
            check("::1", Probe::Liveness, b"HTTP/1.1 200 OK\r\n\r\n", Ok(()));
            check("::", Probe::Liveness, b"HTTP/1.1 200 OK\r\n\r\n", Ok(()));
        }
    }

    #[test]
    fn no_listener() {
        let port = TcpListener::bind(("127.0.0.1", 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let settings = ActuatorSettings {
            address: None,
            port,
            show_details: false,
        };
        let text = run(&settings, Probe::Readiness).unwrap_err().to_string();
        let expected = format!(
            "readiness: no response from http://127.0.0.1:{port}/actuator/health/readiness: "
        );
        assert!(text.starts_with(&expected), "{text}");
        let settings = ActuatorSettings {
            port: 0,
            ..settings
        };
        let text = run(&settings, Probe::Liveness).unwrap_err().to_string();
        assert_eq!(
            text,
            "liveness: server.port is 0, so the port of the router is unknown"
        );
    }
}
