//! Tests of the running actuator over TCP: misbehaving clients must not prevent it from responding to probes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::cli::Probe;
use crate::commands::probe;

/// Longest wait of a test; far above the time limits under test, because the machine may be busy.
const MAX_WAIT: Duration = Duration::from_secs(20);

/// A running actuator.
struct RunningActuator<'a> {
    settings: ActuatorSettings,
    health: &'a Health,
    stops: &'a AtomicUsize,
}

/// Runs `test` with an actuator, which must end by itself afterwards.
fn with_actuator(test: impl FnOnce(&RunningActuator<'_>)) {
    with_argument("argument".to_owned(), test);
}

/// The same with this command-line argument in the response of `/info`.
fn with_argument(argument: String, test: impl FnOnce(&RunningActuator<'_>)) {
    let settings = ActuatorSettings {
        address: Some(Ipv4Addr::LOCALHOST.into()),
        port: 0,
        show_details: true,
    };
    let (health, stops, ended) = (
        Health::default(),
        AtomicUsize::new(0),
        AtomicBool::new(false),
    );
    let actuator = bind(&settings).unwrap();
    let running = RunningActuator {
        settings: ActuatorSettings {
            port: actuator.port(),
            ..settings
        },
        health: &health,
        stops: &stops,
    };
    let text = String::new;
    let info = Info {
        role: crate::config::RoleName::Router,
        stream_name: text(),
        app_label: text(),
        app_guid: text(),
        app_group: text(),
        brokers: text(),
        zk_nodes: text(),
        inputs: vec![("input", "timeDest".to_owned())],
        outputs: Vec::new(),
        arguments: vec![argument],
    };
    std::thread::scope(|scope| {
        let (health, info, stops, ended) = (&health, &info, &stops, &ended);
        let request_stop = || {
            stops.fetch_add(1, SeqCst);
        };
        let thread = scope.spawn(move || actuator.run(health, info, request_stop, ended));
        // After a failed test, the scope must not wait for the thread.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&running)));
        ended.store(true, SeqCst);
        thread.join().unwrap().unwrap();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

impl RunningActuator<'_> {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.settings.port)).unwrap();
        stream.set_read_timeout(Some(MAX_WAIT)).unwrap();
        stream.set_write_timeout(Some(MAX_WAIT)).unwrap();
        stream
    }

    fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        stream
    }

    /// Connects as one of four kinds of clients that never complete an exchange.
    fn open_stuck(&self, number: usize) -> TcpStream {
        match number % 4 {
            0 => self.connect(),
            1 => self.send(b"GET /livez HTTP/1.1\r\nX: "),
            // Does not read the response.
            2 => self.send(b"GET /info HTTP/1.1\r\n\r\n"),
            _ => self.send(b"POST /shutdown HTTP/1.1\r\nContent-Length: 9\r\n\r\n"),
        }
    }

    /// Sends a liveness probe, which has a time limit of its own.
    #[track_caller]
    fn probe(&self) {
        probe::run(&self.settings, Probe::Liveness).unwrap();
    }

    /// Sends `request`, reads until the connection closes, and checks the start and the end of the response.
    #[track_caller]
    fn check(&self, request: &str, start: &str, end: &str) {
        let response = read_to_end(self.send(request.as_bytes()));
        assert!(
            response.starts_with(start) && response.ends_with(end),
            "{request:?}: {response}"
        );
    }
}

fn read_to_end(mut stream: TcpStream) -> String {
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    String::from_utf8(response).unwrap()
}

/// Reads until the response ends with `end`, on a connection that stays open.
#[track_caller]
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut response = Vec::new();
    let mut byte = [0];
    while !response.ends_with(end.as_bytes()) {
        assert_eq!(
            stream.read(&mut byte).unwrap(),
            1,
            "{}",
            String::from_utf8_lossy(&response)
        );
        response.push(byte[0]);
    }
    String::from_utf8(response).unwrap()
}

const LIVE: &str = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
const UP: &str = "\r\n\r\n{\"status\":\"UP\"}";

#[test]
fn responds() {
    with_actuator(|actuator| {
        actuator.check(
            "GET /livez HTTP/1.1\r\nConnection: close\r\nAuthorization: Basic eA==\r\n\r\n",
            "HTTP/1.1 200 OK\r\n",
            UP,
        );
        actuator.check("GET /livez HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\n", UP);
        actuator.check(
            "HEAD /livez HTTP/1.0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n",
            "\r\n\r\n",
        );
        actuator.check(
            "GET /nowhere HTTP/1.0\r\n\r\n",
            "HTTP/1.0 404 Not Found\r\n",
            "\"status\":404}",
        );
        actuator.check(
            "GET /health HTTP/1.0\r\nAccept: text/plain\r\n\r\n",
            "HTTP/1.0 200 OK\r\n",
            "\r\n\r\nAlive",
        );
        probe::run(&actuator.settings, Probe::Readiness).unwrap_err();
        actuator.health.set_assigned(0);
        probe::run(&actuator.settings, Probe::Readiness).unwrap();
        actuator.health.break_liveness();
        let text = probe::run(&actuator.settings, Probe::Liveness)
            .unwrap_err()
            .to_string();
        assert_eq!(text, "liveness: DOWN (503)");
    });
}

#[test]
fn rejects_invalid_requests() {
    with_actuator(|actuator| {
        actuator.check(
            "\u{e9}\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n",
            "{\"status\":400}",
        );
        actuator.check("GET / HTTP/2.0\r\n\r\n", "HTTP/1.1 505 ", "}");
        actuator.check(
            "POST /shutdown HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 411 Length Required\r\n",
            "}",
        );
        let body = format!(
            "POST /shutdown HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n{}",
            "x".repeat(1_000_000)
        );
        actuator.check(&body, "HTTP/1.1 413 Payload Too Large\r\n", "}");
        let head = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1_000_000));
        actuator.check(
            &head,
            "HTTP/1.1 431 Request Header Fields Too Large\r\n",
            "}",
        );
        assert_eq!(actuator.stops.load(SeqCst), 0);
        actuator.probe();
    });
}

#[test]
fn a_header_without_end_is_rejected() {
    with_actuator(|actuator| {
        let mut stream = actuator.connect();
        let start = Instant::now();
        while stream.write_all(&[b'x'; 65_536]).is_ok() {
            assert!(start.elapsed() < MAX_WAIT);
        }
        actuator.probe();
    });
}

#[test]
fn keeps_connections() {
    with_actuator(|actuator| {
        let mut stream = actuator.send(LIVE.as_bytes());
        read_until(&mut stream, UP);
        stream.write_all(b"\r\n").unwrap();
        stream.write_all(LIVE.as_bytes()).unwrap();
        read_until(&mut stream, UP);
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n")
            .unwrap();
        assert!(read_to_end(stream).contains("\r\nConnection: close\r\n"));
        let mut stream = actuator.send(b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert!(read_until(&mut stream, UP).contains("\r\nConnection: keep-alive\r\n"));
        stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n").unwrap();
        assert!(read_to_end(stream).ends_with(UP));
    });
}

#[test]
fn serves_pipelined_requests() {
    with_actuator(|actuator| {
        // More than the receive buffer holds, from a client that has closed its side.
        let stream = actuator.send(LIVE.repeat(1000).as_bytes());
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(stream).matches(UP).count(), 1000);
    });
}

#[test]
fn reads_bodies() {
    with_actuator(|actuator| {
        let request = format!(
            "POST /livez HTTP/1.1\r\nContent-Length: 8000\r\n\r\n{}{LIVE}",
            "x".repeat(8000)
        );
        let mut stream = actuator.send(request.as_bytes());
        let response = read_until(&mut stream, UP);
        assert!(
            response.starts_with("HTTP/1.1 405 Method Not Allowed\r\n")
                && response.contains("\r\nAllow: GET, HEAD\r\n"),
            "{response}"
        );
    });
}

#[test]
fn accepts_single_bytes() {
    with_actuator(|actuator| {
        let mut stream = actuator.connect();
        stream.set_nodelay(true).unwrap();
        for byte in LIVE.bytes() {
            stream.write_all(&[byte]).unwrap();
        }
        read_until(&mut stream, UP);
    });
}

#[test]
fn partial_and_missing_requests_time_out() {
    with_actuator(|actuator| {
        let (partial, silent) = (actuator.send(b"GET /livez HT"), actuator.connect());
        let mut after_one = actuator.send(LIVE.as_bytes());
        read_until(&mut after_one, UP);
        after_one
            .write_all(b"POST /shutdown HTTP/1.1\r\nContent-Length: 2\r\n\r\n{")
            .unwrap();
        actuator.probe();
        assert!(read_to_end(partial).starts_with("HTTP/1.1 408 Request Timeout\r\n"));
        assert_eq!(read_to_end(silent), "");
        assert!(read_to_end(after_one).starts_with("HTTP/1.1 408 Request Timeout\r\n"));
        assert_eq!(actuator.stops.load(SeqCst), 0);
    });
}

#[test]
fn stuck_clients_do_not_delay_probes() {
    with_actuator(|actuator| {
        let stuck: Vec<TcpStream> = (0..200).map(|number| actuator.open_stuck(number)).collect();
        for _ in 0..50 {
            actuator.probe();
        }
        // The clients that waited longest were closed to make room.
        let mut first = &stuck[0];
        assert!(matches!(first.read(&mut [0]), Ok(0) | Err(_)));
        assert_eq!(actuator.stops.load(SeqCst), 0);
    });
}

#[test]
fn stuck_clients_that_reconnect_at_once_do_not_delay_probes() {
    with_actuator(|actuator| {
        let (reconnects, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
        let start = Instant::now();
        let mut times = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut stuck: Vec<TcpStream> =
                    (0..300).map(|number| actuator.open_stuck(number)).collect();
                while !ended.load(SeqCst) && start.elapsed() < MAX_WAIT {
                    for number in closed_by_server(&stuck) {
                        stuck[number] = actuator.open_stuck(number);
                        reconnects.fetch_add(1, SeqCst);
                    }
                }
            });
            while times.len() < 1000 || reconnects.load(SeqCst) < 300 {
                assert!(start.elapsed() < MAX_WAIT, "{reconnects:?} reconnects");
                let probe_start = Instant::now();
                let result = probe::run(&actuator.settings, Probe::Liveness);
                // About one probe in 50,000 is reset: its connection was closed to make room before it sent its request.
                times.push(result.map_or(Duration::MAX, |()| probe_start.elapsed()));
            }
            ended.store(true, SeqCst);
        });
        times.sort();
        let p99 = times[times.len() * 99 / 100];
        // Kubernetes waits one second for a probe by default.
        assert!(p99 < Duration::from_secs(1), "{p99:?}");
        assert_eq!(actuator.stops.load(SeqCst), 0);
    });
}

/// The indexes of the connections that the server has closed or reset.
fn closed_by_server(streams: &[TcpStream]) -> Vec<usize> {
    let descriptors = streams
        .iter()
        .map(|stream| PollFd::new(stream, PollFlags::RDHUP));
    let mut descriptors: Vec<PollFd<'_>> = descriptors.collect();
    poll(&mut descriptors, Some(&Timespec::default())).unwrap();
    (0..streams.len())
        .filter(|number| !descriptors[*number].revents().is_empty())
        .collect()
}

#[test]
fn a_slow_client_receives_a_long_response() {
    // Longer than the socket buffers; text, because JSON takes seconds to serialize in a debug build on a busy machine.
    with_argument("x".repeat(8_000_000), |actuator| {
        let stream = actuator.send(b"GET /info HTTP/1.0\r\nAccept: text/plain\r\n\r\n");
        actuator.probe();
        assert!(read_to_end(stream).len() > 8_000_000);
    });
}

#[test]
fn survives_resets() {
    with_actuator(|actuator| {
        for sent in [
            &b""[..],
            b"GET",
            LIVE.as_bytes(),
            b"GET /info HTTP/1.1\r\n\r\n",
            b"\xff\r\n\r\n",
        ] {
            for _ in 0..50 {
                let stream = actuator.send(sent);
                sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
                drop(stream);
            }
            actuator.probe();
        }
    });
}

#[test]
fn shutdown_responds_before_the_stop() {
    for path in ["/shutdown", "/actuator/shutdown"] {
        with_actuator(|actuator| {
            let request = format!("POST {path} HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{}}");
            let mut stream = actuator.send(request.as_bytes());
            assert!(read_until(&mut stream, "bye...\"}").starts_with("HTTP/1.1 200 OK\r\n"));
            let start = Instant::now();
            while actuator.stops.load(SeqCst) == 0 {
                assert!(start.elapsed() < MAX_WAIT);
                std::thread::yield_now();
            }
            actuator.probe();
            assert_eq!(actuator.stops.load(SeqCst), 1);
        });
    }
}

#[test]
fn writes_the_response_in_progress_before_it_ends() {
    let mut reader = None;
    with_argument("x".repeat(8_000_000), |actuator| {
        let mut client = actuator.send(b"GET /info HTTP/1.0\r\nAccept: text/plain\r\n\r\n");
        client.read_exact(&mut [0; 4]).unwrap();
        reader = Some(std::thread::spawn(move || read_to_end(client)));
    });
    assert!(reader.unwrap().join().unwrap().len() > 8_000_000);
}

#[test]
fn binds_ports() {
    let settings = |address, port| ActuatorSettings {
        address,
        port,
        show_details: false,
    };
    let everywhere = bind(&settings(None, 0)).unwrap();
    assert_ne!(everywhere.port(), 0);
    // In use for IPv4 too, independently of the host's default.
    let taken = bind(&settings(
        Some(Ipv4Addr::LOCALHOST.into()),
        everywhere.port(),
    ));
    assert_eq!(
        taken.map(|_| ()).unwrap_err().to_string(),
        format!("actuator on port {}", everywhere.port())
    );
    assert!(bind(&settings(None, everywhere.port())).is_err());
    TcpStream::connect((Ipv4Addr::LOCALHOST, everywhere.port())).unwrap();
    // An address of another host (RFC 5737).
    assert!(bind(&settings(Some(Ipv4Addr::new(192, 0, 2, 1).into()), 0)).is_err());
}
