//! The endpoints, and clients that do not behave. The broker is not there: the actuator must not need it.

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
fn alive_but_not_ready_without_a_broker() {
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
fn text_for_a_client_that_asks_for_text() {
    let router = start();
    let url = format!("http://127.0.0.1:{}/actuator/health", router.port());
    let answer = minreq::get(url)
        .with_header("Accept", "text/plain")
        .send()
        .unwrap();
    assert_eq!(
        (answer.status_code, answer.as_str().unwrap()),
        (200, "Alive")
    );
}

#[test]
fn it_can_be_asked_to_stop() {
    for path in ["/shutdown", "/actuator/shutdown"] {
        let mut router = start();
        assert_eq!(router.post(path).unwrap().0, 200, "{path}");
        assert_eq!(router.wait().code(), Some(0), "{}", router.log());
    }
}

#[test]
fn both_signals_stop_it() {
    for signal in ["TERM", "INT"] {
        let mut router = start();
        router.signal(signal);
        assert_eq!(router.wait().code(), Some(0), "{}", router.log());
    }
}

#[test]
fn clients_that_do_not_behave_do_not_keep_probes_from_being_answered() {
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
        // It may be refused while it is still sending.
        let mut client = stuck_client(router.port(), b"");
        let _ = std::io::Write::write_all(&mut client, &huge);
        stuck.push(client);
        let asked = Instant::now();
        assert_eq!(
            router
                .get("/actuator/health/liveness")
                .map(|(status, _)| status),
            Some(200)
        );
        // Kubernetes gives a probe one second by default.
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "{:?}",
            asked.elapsed()
        );
    }
    router.stop();
}
