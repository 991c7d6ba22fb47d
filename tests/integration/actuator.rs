//! The actuator's endpoints and its misbehaving clients. No broker is running, because the actuator must not need one.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{Router, command, finish, stuck_client, unused_address};

fn start() -> Router {
    Router::start(&[format!(
        "--spring.cloud.stream.kafka.binder.brokers={}",
        unused_address()
    )])
}

fn probe(router: &Router, kind: &str) -> Option<i32> {
    let port = format!("--server.port={}", router.port());
    let mut probe: Command = command(&["probe", kind, &port]);
    finish(&mut probe).status.code()
}

#[test]
fn live_but_not_ready_without_a_broker() {
    let router = start();
    for path in [
        "/actuator/health",
        "/health",
        "/actuator/health/liveness",
        "/livez",
    ] {
        assert_eq!(
            router.get(path),
            Some((200, r#"{"status":"UP"}"#.to_owned())),
            "{path}"
        );
    }
    for path in ["/actuator/health/readiness", "/readyz"] {
        assert_eq!(
            router.get(path),
            Some((503, r#"{"status":"OUT_OF_SERVICE"}"#.to_owned())),
            "{path}"
        );
    }
    for path in ["/actuator/info", "/info"] {
        assert_eq!(router.get(path).unwrap().0, 200, "{path}");
    }
    assert_eq!(router.get("/nowhere").unwrap().0, 404);
    assert_eq!(router.get("/shutdown").unwrap().0, 405);
    assert_eq!(probe(&router, "liveness"), Some(0));
    assert_eq!(probe(&router, "readiness"), Some(1));
    router.wait_for("waiting: ");
    router.stop();
}

#[test]
fn a_client_that_prefers_text_gets_text() {
    let router = start();
    let url = format!("http://127.0.0.1:{}/actuator/health", router.port());
    let response = minreq::get(url)
        .with_header("Accept", "text/plain")
        .send()
        .unwrap();
    assert_eq!(
        (response.status_code, response.as_str().unwrap()),
        (200, "Alive")
    );
}

#[test]
fn a_shutdown_request_stops_the_router() {
    for path in ["/shutdown", "/actuator/shutdown"] {
        let mut router = start();
        assert_eq!(router.post(path).unwrap().0, 200, "{path}");
        assert_eq!(router.wait().code(), Some(0), "{}", router.log());
    }
}

#[test]
fn both_signals_stop_the_router() {
    for signal in ["TERM", "INT"] {
        let mut router = start();
        router.signal(signal);
        assert_eq!(router.wait().code(), Some(0), "{}", router.log());
    }
}

#[test]
fn misbehaving_clients_do_not_delay_probes() {
    let router = start();
    let huge = [
        b"GET /actuator/health HTTP/1.1\r\nX: ".as_slice(),
        &[b'x'; 100_000],
    ]
    .concat();
    let mut stuck = Vec::new();
    for _ in 0..50 {
        stuck.push(stuck_client(router.port(), b""));
        stuck.push(stuck_client(
            router.port(),
            b"GET /actuator/health HTTP/1.1\r\nHost: x",
        ));
        // The router may reject the request before it is sent completely.
        let mut client = stuck_client(router.port(), b"");
        let _ = std::io::Write::write_all(&mut client, &huge);
        stuck.push(client);
        let start = Instant::now();
        assert_eq!(
            router
                .get("/actuator/health/liveness")
                .map(|(status, _)| status),
            Some(200)
        );
        // Kubernetes waits one second for a probe by default.
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{:?}",
            start.elapsed()
        );
    }
    router.stop();
}
