//! `parity-router probe`: asks a running router how it is, for images without a shell or curl. A client of one request, no thread.
//!
//! On the standard library alone: `minreq`, the small client that was tried, takes no IPv6 address.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::cli::Probe;
use crate::config::ActuatorSettings;
use crate::error::Error;

/// For the whole exchange: below the 5 s after which Data Flow's Kubernetes probes are given up.
const TIME: Duration = Duration::from_secs(3);
/// What is read of a reply: a health group's is a status and a reason, and whoever else may have the port could send without end.
const MAX_REPLY: usize = 64 * 1024;

/// Asks the router on this host that has these settings. `Error::Probe` where the state is another one, or there is no answer in 3 s.
pub(crate) fn run(settings: &ActuatorSettings, probe: Probe) -> Result<(), Error> {
    let name = match probe {
        Probe::Liveness => "liveness",
        Probe::Readiness => "readiness",
    };
    if settings.port == 0 {
        return Err(Error::Probe(format!(
            "{name}: server.port is 0, so the router's port is not known"
        )));
    }
    let address = SocketAddr::new(local(settings.address), settings.port);
    let url = format!("http://{address}/actuator/health/{name}");
    let reply = ask(address, name)
        .map_err(|error| Error::Probe(format!("{name}: no answer from {url}: {error}")))?;
    match status(&reply) {
        Some(200) => Ok(()),
        Some(status) => Err(Error::Probe(format!(
            "{name}: {} ({status})",
            state(&reply)
        ))),
        None => Err(Error::Probe(format!(
            "{name}: {url} did not answer in HTTP"
        ))),
    }
}

/// Where a router that listens on `address` is reached from the same host. `::` is bound for both families.
fn local(address: Option<IpAddr>) -> IpAddr {
    match address {
        None => Ipv4Addr::LOCALHOST.into(),
        Some(IpAddr::V4(address)) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        Some(IpAddr::V6(address)) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        Some(address) => address,
    }
}

/// The reply as it was sent.
fn ask(address: SocketAddr, name: &str) -> io::Result<Vec<u8>> {
    let end = Instant::now() + TIME;
    let mut stream = TcpStream::connect_timeout(&address, TIME)?;
    stream.set_write_timeout(Some(TIME))?;
    // HTTP/1.0: the reply ends with the connection, and is never chunked.
    let request = format!(
        "GET /actuator/health/{name} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut reply = Vec::new();
    let mut chunk = [0; 4096];
    while reply.len() < MAX_REPLY {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => reply.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(reply)
}

/// The status of an HTTP reply.
fn status(reply: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(reply.split(|byte| *byte == b'\r').next()?).ok()?;
    let mut words = line.split(' ');
    words
        .next()
        .filter(|version| version.starts_with("HTTP/"))?;
    words.next()?.parse().ok()
}

/// The `status` in a health reply's body, with its reason where it gives one; else "unexpected reply".
fn state(reply: &[u8]) -> String {
    let body = reply
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .map_or(&[][..], |end| &reply[end + 4..]);
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    match (body["status"].as_str(), body["details"]["reason"].as_str()) {
        (Some(status), Some(reason)) => format!("{status}, {reason}"),
        (Some(status), None) => status.to_owned(),
        (None, _) => "unexpected reply".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::net::TcpListener;

    use super::*;

    /// What a probe says to a server that answers its one client with `reply`; `{port}` in `expected` is the server's.
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
                // Read to the end: closing over unread bytes would reset the connection.
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
            Err("liveness: unexpected reply (404)"),
        );
        let text =
            "liveness: http://127.0.0.1:{port}/actuator/health/liveness did not answer in HTTP";
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
        // A host without IPv6 has nothing to test here.
        if TcpListener::bind(("::1", 0)).is_ok() {
            check("::1", Probe::Liveness, b"HTTP/1.1 200 OK\r\n\r\n", Ok(()));
            check("::", Probe::Liveness, b"HTTP/1.1 200 OK\r\n\r\n", Ok(()));
        }
    }

    #[test]
    fn nobody_there() {
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
            "readiness: no answer from http://127.0.0.1:{port}/actuator/health/readiness: "
        );
        assert!(text.starts_with(&expected), "{text}");
        let settings = ActuatorSettings {
            port: 0,
            ..settings
        };
        let text = run(&settings, Probe::Liveness).unwrap_err().to_string();
        assert_eq!(
            text,
            "liveness: server.port is 0, so the router's port is not known"
        );
    }
}
