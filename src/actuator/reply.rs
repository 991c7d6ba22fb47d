//! From a request and the state to a reply, with Spring Boot's paths, bodies and status codes. Pure: no socket, no HTTP library.
//!
//! Health and info stay 200 as long as the process can heal by itself: Data Flow's defaults probe them, and a restart for a broker
//! that is away would only add to the trouble. The truth about the work is told by readiness.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Map, Value, json};

use super::content_negotiation::{ACTUATOR_JSON, JSON, Representation, TEXT, negotiate};
use crate::config::{Info, RoleName};
use crate::counters::PartitionCounters;
use crate::health::{self, Health, Readiness};

/// Partitions whose accounts the health tells, so that its answer stays below 50 KB.
const MAX_PARTITIONS: usize = 256;

/// What a client is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// HTTP status.
    pub(crate) status: u16,
    /// Media type of `body`.
    pub(crate) content_type: &'static str,
    /// The body; of a reply to HEAD too, whose length is sent without it.
    pub(crate) body: String,
    /// The `Allow` header, where the method is not one of the path's.
    pub(crate) allow: Option<&'static str>,
    /// Whether the router is asked to stop, once this reply is written.
    pub(crate) stop: bool,
}

/// The reply to one request: `target` is its path with the query, `accept` its `Accept` header, `show_details` is Spring's
/// `management.endpoint.health.show-details=always`.
pub(crate) fn reply(
    method: &str,
    target: &str,
    accept: Option<&str>,
    health: &Health,
    info: &Info,
    show_details: bool,
) -> Reply {
    let path = path(target);
    let Some(endpoint) = endpoint(path) else {
        return error(404, "Not Found", path);
    };
    let allow = if matches!(endpoint, Endpoint::Shutdown) {
        "POST"
    } else {
        "GET, HEAD"
    };
    if !allow.split(", ").any(|allowed| allowed == method) {
        return Reply {
            allow: Some(allow),
            ..error(405, "Method Not Allowed", path)
        };
    }
    let representation = negotiate(accept);
    match endpoint {
        Endpoint::Links => document(representation, 200, &links()),
        Endpoint::Health => root(representation, info.role, health, show_details),
        Endpoint::Liveness => document(
            representation,
            http_status(liveness(health)),
            &json!({ "status": liveness(health) }),
        ),
        Endpoint::Readiness => {
            let component = readiness(health, show_details);
            document(
                representation,
                if health.readiness() == Readiness::Accepting {
                    200
                } else {
                    503
                },
                &component,
            )
        }
        Endpoint::Info if representation == Representation::Text => text(200, info_text(info)),
        Endpoint::Info => document(representation, 200, &info_json(info)),
        Endpoint::Shutdown => Reply {
            stop: true,
            ..document(
                representation,
                200,
                &json!({ "message": "Shutting down, bye..." }),
            )
        },
    }
}

/// The reply to bytes that are no request: the HTTP status says why.
pub(crate) fn refusal(status: u16) -> Reply {
    Reply {
        status,
        content_type: JSON,
        body: json!({ "status": status }).to_string(),
        allow: None,
        stop: false,
    }
}

#[derive(Clone, Copy)]
enum Endpoint {
    Links,
    Health,
    Liveness,
    Readiness,
    Info,
    Shutdown,
}

fn endpoint(path: &str) -> Option<Endpoint> {
    Some(match path {
        "/actuator" => Endpoint::Links,
        "/actuator/health" | "/health" => Endpoint::Health,
        "/actuator/health/liveness" | "/livez" => Endpoint::Liveness,
        "/actuator/health/readiness" | "/readyz" => Endpoint::Readiness,
        "/actuator/info" | "/info" => Endpoint::Info,
        // Data Flow's local platform posts to the one below no base path.
        "/actuator/shutdown" | "/shutdown" => Endpoint::Shutdown,
        _ => return None,
    })
}

/// The path alone; a proxy may send the absolute form (RFC 9112, 3.2.2).
fn path(target: &str) -> &str {
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |start| &rest[start..]),
        None => target,
    };
    target.split(['?', '#']).next().unwrap_or_default()
}

fn text(status: u16, body: String) -> Reply {
    Reply {
        status,
        content_type: TEXT,
        body,
        allow: None,
        stop: false,
    }
}

/// A reply that exists in JSON only; who asked for text gets it nevertheless.
fn document(representation: Representation, status: u16, body: &Value) -> Reply {
    let content_type = match representation {
        Representation::Json(content_type) => content_type,
        Representation::Text => ACTUATOR_JSON,
    };
    Reply {
        status,
        content_type,
        body: body.to_string(),
        allow: None,
        stop: false,
    }
}

/// Spring's error form without its `timestamp`: a reply depends on request and state alone, and the `Date` header says when.
fn error(status: u16, error: &str, path: &str) -> Reply {
    let body = json!({ "status": status, "error": error, "path": path }).to_string();
    Reply {
        status,
        content_type: JSON,
        body,
        allow: None,
        stop: false,
    }
}

/// Spring's discovery page, its links relative to the host: what the client calls this host is the client's to know.
fn links() -> Value {
    let link = |href: &str, templated: bool| json!({ "href": href, "templated": templated });
    json!({ "_links": {
        "self": link("/actuator", false),
        "health": link("/actuator/health", false),
        "health-path": link("/actuator/health/{*path}", true),
        "info": link("/actuator/info", false),
        "shutdown": link("/actuator/shutdown", false),
    } })
}

/// Spring's status of the liveness state.
fn liveness(health: &Health) -> &'static str {
    if health.is_live() { "UP" } else { "DOWN" }
}

/// Spring's `SimpleHttpCodeStatusMapper`: DOWN and OUT_OF_SERVICE are 503.
fn http_status(status: &str) -> u16 {
    if status == "UP" { 200 } else { 503 }
}

fn readiness(health: &Health, show_details: bool) -> Value {
    match health.readiness() {
        Readiness::Accepting => json!({ "status": "UP" }),
        Readiness::Refusing(reason) if show_details => {
            json!({ "status": "OUT_OF_SERVICE", "details": { "reason": reason } })
        }
        Readiness::Refusing(_) => json!({ "status": "OUT_OF_SERVICE" }),
    }
}

/// The root of health: liveness alone decides its status, its components tell the rest.
fn root(
    representation: Representation,
    role: RoleName,
    health: &Health,
    show_details: bool,
) -> Reply {
    let status = liveness(health);
    if representation == Representation::Text {
        // `Alive` is the recipe's word.
        return text(
            http_status(status),
            if health.is_live() { "Alive" } else { "DOWN" }.to_owned(),
        );
    }
    if !show_details {
        return document(
            representation,
            http_status(status),
            &json!({ "status": status }),
        );
    }
    let kafka = match health.readiness() {
        Readiness::Accepting => json!({ "status": "UP" }),
        Readiness::Refusing(reason) => {
            json!({ "status": "UNKNOWN", "details": { "reason": reason } })
        }
    };
    let body = json!({
        "status": status,
        "components": {
            "binders": { "status": kafka["status"], "components": { "kafka": kafka } },
            "livenessState": { "status": status },
            "readinessState": readiness(health, show_details),
            role.name(): { "status": status, "details": counters(role, health) },
        },
        "groups": ["liveness", "readiness"],
    });
    document(representation, http_status(status), &body)
}

/// What became of the records: in all, and of each partition that was ever assigned.
fn counters(role: RoleName, health: &Health) -> Value {
    if role == RoleName::Time {
        return json!({ "sent": health.sent.load(Relaxed) });
    }
    let object = |account: &PartitionCounters| -> Map<String, Value> {
        let counts = health::counts(role, account).into_iter();
        counts
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect()
    };
    let counters = health.counters();
    let accounts = counters.partitions();
    let left_out = accounts.len().saturating_sub(MAX_PARTITIONS);
    let partitions: Map<String, Value> = accounts
        .take(MAX_PARTITIONS)
        .map(|(partition, account)| (health.name(partition), object(account).into()))
        .collect();
    let mut counters = object(&counters.total());
    counters.insert("assignedPartitions".to_owned(), health.partitions().into());
    counters.insert("partitions".to_owned(), partitions.into());
    if left_out > 0 {
        counters.insert("partitionsLeftOut".to_owned(), left_out.into());
    }
    counters.into()
}

/// Destinations by binding.
fn bindings(bindings: &[(&'static str, String)]) -> Map<String, Value> {
    bindings
        .iter()
        .map(|(name, destination)| ((*name).to_owned(), destination.as_str().into()))
        .collect()
}

fn info_json(info: &Info) -> Value {
    json!({
        "app": {
            "name": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
            "description": env!("CARGO_PKG_DESCRIPTION"),
        },
        info.role.name(): {
            "stream-name": info.stream_name,
            "app-name": info.app_label,
            "app-guid": info.app_guid,
            "app-group": info.app_group,
            "kafka-brokers": info.brokers,
            "kafka-zk": info.zk_nodes,
            "inputs": bindings(&info.inputs),
            "outputs": bindings(&info.outputs),
            "arguments": info.arguments,
        },
    })
}

/// What the recipe's script answers, byte for byte: its blanks at line ends and its unequal indents too.
fn info_text(info: &Info) -> String {
    let Info {
        role: _,
        stream_name,
        app_label,
        app_guid,
        app_group,
        brokers,
        zk_nodes,
        inputs,
        outputs,
        arguments,
    } = info;
    let properties = format!(
        "  stream-name={stream_name}\n  app-name={app_label}\n  app-guid={app_guid}\n  app-group={app_group}\n  \
         kafka-brokers={brokers}\n  kafka-zk={zk_nodes}\n"
    );
    let list = |bindings: &[(&str, String)]| -> String {
        bindings
            .iter()
            .map(|(name, destination)| format!("    {name}={destination}\n"))
            .collect()
    };
    let channels = format!("  Inputs:\n{}  Outputs: \n{}", list(inputs), list(outputs));
    let arguments = arguments.join("\n   ");
    format!(
        "Properties\n{properties}\nChannels\n{channels}\nArguments\n  {arguments}\n\nEnvironment\n  "
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Instant;

    use super::*;
    use crate::config::DEFAULT_STALL_TIMEOUT;
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
        let health = Health::new(&["timeDest".to_owned()], DEFAULT_STALL_TIMEOUT);
        health.assigned(2);
        health
    }

    fn broken() -> Health {
        let health = ready();
        health.break_liveness();
        health
    }

    fn get(target: &str, accept: Option<&str>, health: &Health, show_details: bool) -> Reply {
        reply("GET", target, accept, health, &info(), show_details)
    }

    /// A JSON reply to a GET without `Accept` and details.
    #[track_caller]
    fn check(target: &str, health: &Health, status: u16, body: Value) {
        check_details(target, health, false, status, body);
    }

    #[track_caller]
    fn check_details(target: &str, health: &Health, show_details: bool, status: u16, body: Value) {
        let reply = get(target, None, health, show_details);
        assert_eq!(
            (reply.status, reply.allow, reply.stop),
            (status, None, false),
            "{target}"
        );
        assert_eq!(
            serde_json::from_str::<Value>(&reply.body).unwrap(),
            body,
            "{target}"
        );
        assert_eq!(
            reply.content_type,
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
    fn details() {
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
        let place = TopicPartition {
            topic: 0,
            partition: 1,
        };
        ready.counters().add_read(place, 7, now);
        ready.counters().add_outcome(place, Outcome::Even, 3, now);
        ready
            .counters()
            .add_outcome(place, Outcome::Skipped, 2, now);
        ready.counters().add_lost(place, 4);
        ready.counters().set_lag(place, 9, now);
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
    fn each_role_tells_its_own() {
        let health = ready();
        let now = Instant::now();
        for partition in 0..300 {
            let place = TopicPartition {
                topic: 0,
                partition,
            };
            health.counters().add_read(place, 2, now);
            health
                .counters()
                .add_outcome(place, Outcome::Printed, 1, now);
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
            let get = |target| -> Value {
                let reply = reply("GET", target, None, &health, &info, true);
                serde_json::from_str(&reply.body).unwrap()
            };
            let mut told = get("/health")["components"][role.name()]["details"].take();
            let partitions = told.as_object_mut().unwrap().remove("partitions");
            assert_eq!(told, details);
            assert_eq!(
                partitions.map_or(0, |partitions| partitions.as_object().unwrap().len()),
                if role == RoleName::Log { 256 } else { 0 }
            );
            let told = &get("/info")[role.name()];
            assert_eq!(json!([told["inputs"], told["outputs"]]), bindings);
        }
    }

    #[test]
    fn forms() {
        let of = |target, accept, health: &Health| {
            let reply = get(target, Some(accept), health, true);
            (reply.status, reply.content_type, reply.body)
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
    fn info_is_the_scripts() {
        let expected = "Properties\n  stream-name=timeStream\n  app-name=python-router\n  app-guid=guid\n  app-group=group\n  \
            kafka-brokers=localhost:9092\n  kafka-zk=localhost:2181\n\nChannels\n  Inputs:\n    input=timeDest\n  Outputs: \n    \
            even=evenDest\n    odd=oddDest\n\nArguments\n  parity-router\n   --a=b\n   --password=******\n\nEnvironment\n  ";
        for target in ["/actuator/info", "/info"] {
            let reply = get(target, Some("text/plain"), &broken(), false);
            assert_eq!(
                (reply.status, reply.content_type, reply.body.as_str()),
                (200, TEXT, expected)
            );
        }
    }

    #[test]
    fn info_in_json() {
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
        let reply = get("/actuator", None, &ready(), false);
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(
            body["_links"]["health-path"],
            json!({ "href": "/actuator/health/{*path}", "templated": true })
        );
        for name in ["self", "health", "info", "shutdown"] {
            let href = body["_links"][name]["href"].as_str().unwrap();
            assert!(endpoint(href).is_some(), "{href}");
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
        let of = |method, target| {
            let reply = reply(method, target, None, &ready(), &info(), false);
            (reply.status, reply.allow, reply.stop)
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
        let body = reply(
            "POST",
            "/shutdown",
            Some("application/json"),
            &ready(),
            &info(),
            false,
        )
        .body;
        assert_eq!(body, r#"{"message":"Shutting down, bye..."}"#);
    }
}
