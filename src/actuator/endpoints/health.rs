//! Health endpoint and its groups liveness and readiness.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Map, Value, json};

use crate::actuator::content_negotiation::Representation;
use crate::actuator::response::Response;
use crate::config::RoleName;
use crate::counters::PartitionCounters;
use crate::health::{self, Health, Readiness};

/// Partitions whose counters the response contains, which keeps it below 50 KB.
const MAX_PARTITIONS: usize = 256;

/// Health without components: its status is that of the liveness state.
pub(super) fn health(representation: Representation, health: &Health) -> Response {
    match representation {
        // The recipe's script responds with `Alive`.
        Representation::Text if health.is_live() => Response::text(200, "Alive".to_owned()),
        Representation::Text => Response::text(503, "DOWN".to_owned()),
        Representation::Json(_) => liveness(representation, health),
    }
}

/// The same with its components (`show-details=always`).
pub(super) fn health_with_components(
    representation: Representation,
    role: RoleName,
    state: &Health,
) -> Response {
    if representation == Representation::Text {
        return health(representation, state);
    }
    let status = liveness_status(state);
    let readiness = state.readiness();
    let kafka = readiness_component(&readiness, "UNKNOWN", true);
    let body = json!({
        "status": status,
        "components": {
            "binders": { "status": kafka["status"], "components": { "kafka": kafka } },
            "livenessState": { "status": status },
            "readinessState": readiness_component(&readiness, "OUT_OF_SERVICE", true),
            role.name(): { "status": status, "details": record_counters(role, state) },
        },
        "groups": ["liveness", "readiness"],
    });
    Response::json(status_code(status), representation, &body)
}

pub(super) fn liveness(representation: Representation, health: &Health) -> Response {
    let status = liveness_status(health);
    Response::json(
        status_code(status),
        representation,
        &json!({ "status": status }),
    )
}

pub(super) fn readiness(
    representation: Representation,
    health: &Health,
    show_details: bool,
) -> Response {
    let readiness = health.readiness();
    let status_code = match readiness {
        Readiness::Accepting => 200,
        Readiness::Refusing(_) => 503,
    };
    let body = readiness_component(&readiness, "OUT_OF_SERVICE", show_details);
    Response::json(status_code, representation, &body)
}

fn liveness_status(health: &Health) -> &'static str {
    if health.is_live() { "UP" } else { "DOWN" }
}

/// Maps a status as Spring's `SimpleHttpCodeStatusMapper` does: DOWN is 503.
fn status_code(status: &str) -> u16 {
    if status == "UP" { 200 } else { 503 }
}

/// A health component that is UP while the router is ready, else has the status `refusing`.
fn readiness_component(readiness: &Readiness, refusing: &str, show_details: bool) -> Value {
    match readiness {
        Readiness::Accepting => json!({ "status": "UP" }),
        Readiness::Refusing(reason) if show_details => {
            json!({ "status": refusing, "details": { "reason": reason } })
        }
        Readiness::Refusing(_) => json!({ "status": refusing }),
    }
}

/// The record counters in total and of each partition that was ever assigned.
fn record_counters(role: RoleName, health: &Health) -> Value {
    if role == RoleName::Time {
        return json!({ "sent": health.sent.load(Relaxed) });
    }
    let to_json = |counters: &PartitionCounters| -> Map<String, Value> {
        let counts = health::counts(role, counters).into_iter();
        counts
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect()
    };
    let counters = health.counters();
    let partitions = counters.partitions();
    let left_out = partitions.len().saturating_sub(MAX_PARTITIONS);
    let partitions: Map<String, Value> = partitions
        .take(MAX_PARTITIONS)
        .map(|(partition, counters)| (health.name(partition), to_json(counters).into()))
        .collect();
    let mut details = to_json(&counters.total());
    details.insert(
        "assignedPartitions".to_owned(),
        health.assigned_partitions().into(),
    );
    details.insert("partitions".to_owned(), partitions.into());
    if left_out > 0 {
        details.insert("partitionsLeftOut".to_owned(), left_out.into());
    }
    details.into()
}
