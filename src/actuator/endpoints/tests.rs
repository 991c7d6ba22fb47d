#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::*;
use crate::actuator::content_negotiation::{ACTUATOR_JSON, JSON, TEXT};
use crate::config::RoleName;
use crate::counters::Outcome;
use crate::topic_partition::TopicPartition;

fn info() -> Info {
    Info {
        role: RoleName::Router,
        stream_name: "timeStream".to_owned(),
        app_label: "python-router".to_owned(),
        app_guid: "guid".to_owned(),
        app_group: "group".to_owned(),
        brokers: "localhost:9092".to_owned(),
        zk_nodes: "localhost:2181".to_owned(),
        inputs: vec![("input", "timeDest".to_owned())],
        outputs: vec![
            ("even", "evenDest".to_owned()),
            ("odd", "oddDest".to_owned()),
        ],
        arguments: vec![
            "parity-router".to_owned(),
            "--a=b".to_owned(),
            "--password=******".to_owned(),
        ],
    }
}

fn ready() -> Health {
    let health = Health::new(&["timeDest".to_owned()], Duration::from_secs(30));
    health.set_assigned(2);
    health
}

fn broken() -> Health {
    let health = ready();
    health.break_liveness();
    health
}

fn get(target: &str, accept: Option<&str>, health: &Health, show_details: bool) -> Response {
    let endpoints = Endpoints {
        health,
        info: &info(),
        show_details,
    };
    endpoints.respond("GET", target, accept)
}

/// Checks the JSON response to a GET without `Accept` and without details.
#[track_caller]
fn check(target: &str, health: &Health, status: u16, body: Value) {
    check_details(target, health, false, status, body);
}

#[track_caller]
fn check_details(target: &str, health: &Health, show_details: bool, status: u16, body: Value) {
    let response = get(target, None, health, show_details);
    assert_eq!(
        (response.status, response.allow, response.is_shutdown),
        (status, None, false),
        "{target}"
    );
    assert_eq!(
        serde_json::from_str::<Value>(&response.body).unwrap(),
        body,
        "{target}"
    );
    assert_eq!(
        response.content_type,
        if status == 404 { JSON } else { ACTUATOR_JSON },
        "{target}"
    );
}

#[test]
fn health() {
    for target in [
        "/actuator/health",
        "/health",
        "/health?x=1",
        "http://host:8080/health",
        "/health#x",
    ] {
        check(target, &Health::default(), 200, json!({ "status": "UP" }));
        check(target, &ready(), 200, json!({ "status": "UP" }));
        check(target, &broken(), 503, json!({ "status": "DOWN" }));
    }
    for target in ["/actuator/health/liveness", "/livez"] {
        check(target, &Health::default(), 200, json!({ "status": "UP" }));
        check(target, &broken(), 503, json!({ "status": "DOWN" }));
    }
    for target in ["/actuator/health/readiness", "/readyz"] {
        check(target, &ready(), 200, json!({ "status": "UP" }));
        check(
            target,
            &Health::default(),
            503,
            json!({ "status": "OUT_OF_SERVICE" }),
        );
        check(
            target,
            &broken(),
            503,
            json!({ "status": "OUT_OF_SERVICE" }),
        );
    }
}

#[test]
fn health_with_components() {
    let waiting = Health::default();
    let reason = json!({ "reason": "no partitions assigned yet" });
    check_details(
        "/readyz",
        &waiting,
        true,
        503,
        json!({ "status": "OUT_OF_SERVICE", "details": reason }),
    );
    check_details("/livez", &waiting, true, 200, json!({ "status": "UP" }));
    let router = |counts: Value, assigned: u64, partitions: Value| {
        let mut details = counts;
        details["assignedPartitions"] = assigned.into();
        details["partitions"] = partitions;
        json!({ "status": "UP", "details": details })
    };
    let none = json!({ "input": 0, "even": 0, "odd": 0, "deadLettered": 0, "skipped": 0, "missed": 0, "inFlight": 0 });
    let some = json!({ "input": 7, "even": 3, "odd": 0, "deadLettered": 0, "skipped": 2, "missed": 4, "inFlight": 2, "lag": 9 });
    let body = json!({
        "status": "UP",
        "components": {
            "binders": { "status": "UNKNOWN", "components": { "kafka": { "status": "UNKNOWN", "details": reason } } },
            "livenessState": { "status": "UP" },
            "readinessState": { "status": "OUT_OF_SERVICE", "details": reason },
            "router": router(none, 0, json!({})),
        },
        "groups": ["liveness", "readiness"],
    });
    check_details("/health", &waiting, true, 200, body);
    let ready = ready();
    let now = Instant::now();
    let partition = TopicPartition {
        topic: 0,
        partition: 1,
    };
    ready.counters().add_read(partition, 7, now);
    ready
        .counters()
        .add_outcome(partition, Outcome::Even, 3, now);
    ready
        .counters()
        .add_outcome(partition, Outcome::Skipped, 2, now);
    ready.counters().add_lost(partition, 4);
    ready.counters().set_lag(partition, 9, now);
    let body = json!({
        "status": "UP",
        "components": {
            "binders": { "status": "UP", "components": { "kafka": { "status": "UP" } } },
            "livenessState": { "status": "UP" },
            "readinessState": { "status": "UP" },
            "router": router(some.clone(), 2, json!({ "timeDest-1": some })),
        },
        "groups": ["liveness", "readiness"],
    });
    check_details("/health", &ready, true, 200, body);
}

#[test]
fn each_role_reports_its_own_counters() {
    let health = ready();
    let now = Instant::now();
    for partition in 0..300 {
        let partition = TopicPartition {
            topic: 0,
            partition,
        };
        health.counters().add_read(partition, 2, now);
        health
            .counters()
            .add_outcome(partition, Outcome::Printed, 1, now);
    }
    health.sent.store(5, Relaxed);
    for (role, details, bindings) in [
        (
            RoleName::Time,
            json!({ "sent": 5 }),
            json!([{}, { "output": "timeDest" }]),
        ),
        (
            RoleName::Log,
            json!({ "input": 600, "printed": 300, "missed": 0, "inFlight": 300, "assignedPartitions": 2, "partitionsLeftOut": 44 }),
            json!([{ "input": "timeDest" }, {}]),
        ),
    ] {
        let destination = |name| vec![(name, "timeDest".to_owned())];
        let info = Info {
            role,
            inputs: if role == RoleName::Log {
                destination("input")
            } else {
                Vec::new()
            },
            outputs: if role == RoleName::Time {
                destination("output")
            } else {
                Vec::new()
            },
            ..info()
        };
        let endpoints = Endpoints {
            health: &health,
            info: &info,
            show_details: true,
        };
        let get = |target| -> Value {
            let response = endpoints.respond("GET", target, None);
            serde_json::from_str(&response.body).unwrap()
        };
        let mut reported = get("/health")["components"][role.name()]["details"].take();
        let partitions = reported.as_object_mut().unwrap().remove("partitions");
        assert_eq!(reported, details);
        assert_eq!(
            partitions.map_or(0, |partitions| partitions.as_object().unwrap().len()),
            if role == RoleName::Log { 256 } else { 0 }
        );
        let reported = &get("/info")[role.name()];
        assert_eq!(json!([reported["inputs"], reported["outputs"]]), bindings);
    }
}

#[test]
fn representations() {
    let of = |target, accept, health: &Health| {
        let response = get(target, Some(accept), health, true);
        (response.status, response.content_type, response.body)
    };
    assert_eq!(
        of("/health", "text/plain", &Health::default()),
        (200, TEXT, "Alive".to_owned())
    );
    assert_eq!(
        of("/health", "text/*, */*;q=0.1", &broken()),
        (503, TEXT, "DOWN".to_owned())
    );
    assert_eq!(
        of("/livez", "application/json", &ready()),
        (200, JSON, r#"{"status":"UP"}"#.to_owned())
    );
    assert_eq!(
        of("/livez", "text/plain", &ready()),
        (200, ACTUATOR_JSON, r#"{"status":"UP"}"#.to_owned())
    );
}

#[test]
fn info_as_text_equals_that_of_the_script() {
    let expected = "Properties\n  stream-name=timeStream\n  app-name=python-router\n  app-guid=guid\n  app-group=group\n  \
        kafka-brokers=localhost:9092\n  kafka-zk=localhost:2181\n\nChannels\n  Inputs:\n    input=timeDest\n  Outputs: \n    \
        even=evenDest\n    odd=oddDest\n\nArguments\n  parity-router\n   --a=b\n   --password=******\n\nEnvironment\n  ";
    for target in ["/actuator/info", "/info"] {
        let response = get(target, Some("text/plain"), &broken(), false);
        assert_eq!(
            (
                response.status,
                response.content_type,
                response.body.as_str()
            ),
            (200, TEXT, expected)
        );
    }
}

#[test]
fn info_as_json() {
    let body = json!({
        "app": {
            "name": "parity-router",
            "version": env!("CARGO_PKG_VERSION"),
            "description": env!("CARGO_PKG_DESCRIPTION"),
        },
        "router": {
            "stream-name": "timeStream",
            "app-name": "python-router",
            "app-guid": "guid",
            "app-group": "group",
            "kafka-brokers": "localhost:9092",
            "kafka-zk": "localhost:2181",
            "inputs": { "input": "timeDest" },
            "outputs": { "even": "evenDest", "odd": "oddDest" },
            "arguments": ["parity-router", "--a=b", "--password=******"],
        },
    });
    check("/actuator/info", &broken(), 200, body.clone());
    check("/info", &Health::default(), 200, body);
}

#[test]
fn discovery() {
    let response = get("/actuator", None, &ready(), false);
    let body: Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!(
        body["_links"]["health-path"],
        json!({ "href": "/actuator/health/{*path}", "templated": true })
    );
    for name in ["self", "health", "info", "shutdown"] {
        let href = body["_links"][name]["href"].as_str().unwrap();
        assert!(Endpoint::from_path(href).is_some(), "{href}");
    }
}

#[test]
fn unknown_paths() {
    for path in [
        "/",
        "/actuator/",
        "/actuator/health/",
        "/actuator/health/kafka",
        "/actuator/env",
        "/HEALTH",
        "*",
        "x\"y",
    ] {
        check(
            path,
            &ready(),
            404,
            json!({ "status": 404, "error": "Not Found", "path": path }),
        );
    }
    check(
        "http://host",
        &ready(),
        404,
        json!({ "status": 404, "error": "Not Found", "path": "/" }),
    );
}

#[test]
fn methods() {
    let (health, info) = (ready(), info());
    let endpoints = Endpoints {
        health: &health,
        info: &info,
        show_details: false,
    };
    let of = |method, target| {
        let response = endpoints.respond(method, target, None);
        (response.status, response.allow, response.is_shutdown)
    };
    for target in [
        "/actuator",
        "/actuator/health",
        "/health",
        "/livez",
        "/readyz",
        "/actuator/info",
        "/info",
    ] {
        assert_eq!(of("HEAD", target), (200, None, false));
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "BREW"] {
            assert_eq!(
                of(method, target),
                (405, Some("GET, HEAD"), false),
                "{method} {target}"
            );
        }
    }
    for target in ["/shutdown", "/actuator/shutdown"] {
        assert_eq!(of("POST", target), (200, None, true));
        for method in ["GET", "HEAD", "DELETE"] {
            assert_eq!(
                of(method, target),
                (405, Some("POST"), false),
                "{method} {target}"
            );
        }
    }
    assert_eq!(of("POST", "/nowhere"), (404, None, false));
    let response = endpoints.respond("POST", "/shutdown", Some("application/json"));
    assert_eq!(response.body, r#"{"message":"Shutting down, bye..."}"#);
}
