//! Help, version, commands, and exit codes.

use crate::process::{command, finish, run};

#[track_caller]
fn check(arguments: &[&str], code: i32, out: &str, err: &[&str]) {
    let output = run(arguments);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
    assert!(stdout.contains(out), "{stdout}");
    for part in err {
        assert!(stderr.contains(part), "{part:?} is not in {stderr}");
    }
}

#[test]
fn help_and_version() {
    for help in [["--help"], ["-h"]] {
        check(&help, 0, "usage: parity-router", &[]);
    }
    check(&["demo", "--help"], 0, "demo [--rate=n]", &[]);
    check(&["--version"], 0, env!("CARGO_PKG_VERSION"), &[]);
}

#[test]
fn an_unknown_command() {
    check(
        &["routre"],
        2,
        "",
        &["unknown command \"routre\"; available: router, time, log, demo, probe"],
    );
    check(
        &["demo", "--rate=0", "--count=x"],
        2,
        "",
        &["--rate (argument)", "--count (argument)"],
    );
}

#[test]
fn all_problems_at_once_with_their_origins() {
    let mut command = command(&["--server.port=http", "--parity-router.client=java"]);
    command.env(
        "SPRING_APPLICATION_JSON",
        r#"{"spring.cloud.stream.bindings.odd.destination": ""}"#,
    );
    command.env("SPRING_CLOUD_STREAM_BINDINGS_EVEN_DESTINATION", "same");
    command.env("spring.cloud.stream.bindings.input.destination", "same");
    command.env("LOGGING_LEVEL_ROOT", "loud");
    let output = finish(&mut command);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    for part in [
        "server.port (argument --server.port): \"http\" is not allowed; allowed: a port from 0 to 65535",
        "parity-router.client (argument --parity-router.client): \"java\" is not allowed; allowed: ",
        "spring.cloud.stream.bindings.odd.destination (SPRING_APPLICATION_JSON): an empty destination",
        "spring.cloud.stream.bindings.even.destination (environment variable SPRING_CLOUD_STREAM_BINDINGS_EVEN_DESTINATION): topic \"same\" is both an input",
        "logging.level.root (environment variable LOGGING_LEVEL_ROOT): \"loud\" is not allowed",
    ] {
        assert!(stderr.contains(part), "{part:?} is not in {stderr}");
    }
}

#[test]
fn broken_json_is_reported_but_not_shown() {
    let json = r#"{"password": "hunter2""#;
    let output = finish(command(&[]).env("SPRING_APPLICATION_JSON", json));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("SPRING_APPLICATION_JSON") && stderr.contains("not valid JSON at line 1"),
        "{stderr}"
    );
    assert!(!stderr.contains("hunter2"), "{stderr}");
}

#[test]
fn a_port_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = run(&[
        &format!("--server.port={port}"),
        "--server.address=127.0.0.1",
    ]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(
        stdout.contains(&format!("actuator on port {port}: ")),
        "{stdout}"
    );
}

#[test]
fn a_probe_without_a_router() {
    let port = crate::process::unused_address().port();
    check(
        &["probe", &format!("--server.port={port}")],
        1,
        "",
        &["readiness: no response from http://127.0.0.1:"],
    );
    check(
        &["probe", "health"],
        2,
        "",
        &["allowed: readiness, liveness"],
    );
}
