//! `parity-router demo`: the stream of the recipe in one process.

use crate::process::run;

#[test]
fn it_shows_the_stream_and_ends_with_a_summary() {
    let output = run(&["demo", "--rate=20", "--count=10"]);
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("actuator: http://127.0.0.1:"), "{out}");
    let mut routed = 0;
    for line in &lines[1..lines.len() - 1] {
        let (_, text) = line.split_once(" --- log-sink   : ").unwrap();
        let value = text
            .strip_prefix("Even timestamp: ")
            .or_else(|| text.strip_prefix("Odd timestamp:"))
            .unwrap();
        assert_eq!(value.len(), "11/23/26 17:56:36".len(), "{line}");
        let even = value.as_bytes()[16].is_multiple_of(2);
        assert_eq!(text.starts_with("Even"), even, "{line}");
        routed += 1;
    }
    assert_eq!(routed, 10, "{out}");
    assert!(
        lines.last().unwrap().starts_with("10 timestamps sent in "),
        "{out}"
    );
    assert!(!out.contains('\x1b'), "colours are for terminals: {out}");
}

#[test]
fn properties_reach_it() {
    let output = run(&["demo", "--count=1", "--server.port=x"]);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(
        err.contains("server.port (argument --server.port)"),
        "{err}"
    );
}

#[test]
fn a_port_in_use_is_reported() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = run(&[
        "demo",
        "--count=1",
        &format!("--server.port={port}"),
        "--server.address=127.0.0.1",
    ]);
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(out.contains(&format!("actuator on port {port}: ")), "{out}");
}
