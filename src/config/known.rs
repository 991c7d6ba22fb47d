//! The properties that the program knows, and which of them an unknown one was meant to be. Pure.

use super::kafka_settings;
use super::read::{APP_LABEL, STREAM_NAME};
use crate::properties::undotted;

/// Properties that every role reads, in the order of the README's table.
pub(super) const COMMON: [&str; 15] = [
    "spring.cloud.stream.kafka.binder.brokers",
    "spring.cloud.stream.kafka.binder.defaultBrokerPort",
    "spring.cloud.stream.kafka.binder.autoCreateTopics",
    "spring.cloud.stream.kafka.binder.minPartitionCount",
    "spring.cloud.stream.kafka.binder.replicationFactor",
    "parity-router.role",
    "parity-router.client",
    "parity-router.memory",
    "server.port",
    "server.address",
    "management.server.port",
    "management.server.address",
    "management.endpoint.health.show-details",
    "logging.level.root",
    "spring.cloud.stream.kafka.binder.zkNodes",
];

/// Those that are Data Flow's to give, not a user's: for `/actuator/info` and for the groups' default names.
pub(super) const GIVEN_BY_DATA_FLOW: [&str; 4] = [
    STREAM_NAME,
    APP_LABEL,
    "spring.cloud.application.guid",
    "spring.cloud.application.group",
];

/// Properties that the roles with an input read.
pub(super) const INPUT: [&str; 9] = [
    "spring.cloud.stream.bindings.input.destination",
    "spring.cloud.stream.bindings.input.group",
    "spring.cloud.stream.kafka.bindings.input.consumer.startOffset",
    "parity-router.stall-timeout",
    "spring.cloud.stream.kafka.bindings.input.consumer.autoRebalanceEnabled",
    "spring.cloud.stream.bindings.input.consumer.instanceIndex",
    "spring.cloud.stream.bindings.input.consumer.instanceCount",
    "spring.cloud.stream.instanceIndex",
    "spring.cloud.stream.instanceCount",
];

/// Properties that the roles with an output read.
pub(super) const OUTPUT: [&str; 1] = ["spring.cloud.stream.kafka.binder.requiredAcks"];

/// Properties of the router alone.
pub(super) const ROUTER: [&str; 11] = [
    "spring.cloud.stream.bindings.even.destination",
    "spring.cloud.stream.bindings.odd.destination",
    "spring.cloud.stream.kafka.bindings.input.consumer.dlqName",
    "parity-router.invalid",
    "spring.cloud.stream.kafka.binder.transaction.transactionIdPrefix",
    "spring.cloud.stream.kafka.bindings.even.producer.compressionType",
    "spring.cloud.stream.kafka.bindings.even.producer.batchTimeout",
    "spring.cloud.stream.kafka.bindings.even.producer.bufferSize",
    "spring.cloud.stream.kafka.bindings.odd.producer.compressionType",
    "spring.cloud.stream.kafka.bindings.odd.producer.batchTimeout",
    "spring.cloud.stream.kafka.bindings.odd.producer.bufferSize",
];

/// Properties of the time source alone.
pub(super) const TIME: [&str; 9] = [
    "spring.cloud.stream.bindings.output.destination",
    "time.date-format",
    "spring.integration.poller.fixed-delay",
    "spring.integration.poller.fixed-rate",
    "spring.integration.poller.initial-delay",
    "spring.integration.poller.cron",
    "spring.cloud.stream.kafka.bindings.output.producer.compressionType",
    "spring.cloud.stream.kafka.bindings.output.producer.batchTimeout",
    "spring.cloud.stream.kafka.bindings.output.producer.bufferSize",
];

/// Properties of the log sink alone.
pub(super) const LOG: [&str; 4] = [
    "log.name",
    "log.level",
    "log.expression",
    "spring.application.name",
];

/// What Spring has called them before or since, and what asks for what is so anyway.
pub(super) const OTHER_SPELLINGS: [&str; 18] = [
    "spring.cloud.stream.poller.fixed-delay",
    "spring.cloud.stream.poller.initial-delay",
    "spring.cloud.stream.poller.cron",
    "spring.cloud.stream.poller.time-unit",
    "trigger.date-format",
    "trigger.fixed-delay",
    "trigger.initial-delay",
    "trigger.cron",
    "trigger.time-unit",
    "log.consumer.name",
    "log.consumer.level",
    "log.consumer.expression",
    "spring.cloud.stream.kafka.bindings.even.producer.compression",
    "spring.cloud.stream.kafka.bindings.even.producer.sync",
    "spring.cloud.stream.kafka.bindings.odd.producer.compression",
    "spring.cloud.stream.kafka.bindings.odd.producer.sync",
    "spring.cloud.stream.kafka.bindings.output.producer.compression",
    "spring.cloud.stream.kafka.bindings.output.producer.sync",
];

/// The clients of this build.
pub(crate) const CLIENTS: &[&str] = &[
    "native",
    #[cfg(feature = "librdkafka")]
    "librdkafka",
    #[cfg(feature = "kafka")]
    "kafka",
];

/// Every property that is read.
fn all() -> impl Iterator<Item = &'static str> {
    [
        COMMON.as_slice(),
        &GIVEN_BY_DATA_FLOW,
        &INPUT,
        &OUTPUT,
        &ROUTER,
        &TIME,
        &LOG,
        &OTHER_SPELLINGS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// Prefix of what is this program's alone: there every unknown name is a mistake.
const OWN_PREFIX: &str = "parity-router.";

/// Letters, at most, that are wrong, missing or too many in a name that was meant to be a known one, and of a short name a quarter of them:
/// `input` and `output`, which differ in three, are both right.
const WRONG_LETTERS: usize = 2;

/// Warnings at most: a wrong prefix on all of them is understood from a few.
const MAX_WARNINGS: usize = 10;

/// A sentence for each name that is not known but was meant to be.
pub(super) fn near_misses<'a>(given: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let warnings: Vec<String> = given
        .filter_map(|(name, origin)| near_miss(name, origin))
        .collect();
    bounded(warnings, "more properties that are not known")
}

/// The first of the sentences, and how many there are besides: `more` says of what.
pub(super) fn bounded(mut sentences: Vec<String>, more: &str) -> Vec<String> {
    if sentences.len() > MAX_WARNINGS {
        let others = sentences.len() - MAX_WARNINGS;
        sentences.truncate(MAX_WARNINGS);
        sentences.push(format!("and {others} {more}"));
    }
    sentences
}

fn near_miss(name: &str, origin: &str) -> Option<String> {
    let letters = undotted(name);
    let distance = |known: &str| strsim::osa_distance(&letters, &undotted(known));
    let nearest = all().min_by_key(|known| distance(known))?;
    let near = match distance(nearest) {
        0 => return None,
        wrong => wrong <= WRONG_LETTERS && wrong <= letters.len() / 4,
    };
    let ours = letters.starts_with(&undotted(OWN_PREFIX));
    let meant = if ours || near {
        nearest.to_owned()
    } else {
        kafka_settings::meant(name)?
    };
    Some(format!(
        "{name} ({origin}) is not a property of this program; did you mean {meant}?"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[track_caller]
    fn check(name: &str, meant: Option<&str>) {
        let warning = near_miss(name, "argument");
        match meant {
            None => assert_eq!(warning, None),
            Some(meant) => {
                assert!(
                    warning
                        .as_ref()
                        .is_some_and(|text| text.contains(&format!("did you mean {meant}?"))),
                    "{name}: {warning:?}"
                );
            }
        }
    }

    #[test]
    fn misses() {
        check(
            "spring.cloud.stream.bindings.input.destnation",
            Some("spring.cloud.stream.bindings.input.destination"),
        );
        check(
            "spring.cloud.stream.binding.even.destination",
            Some("spring.cloud.stream.bindings.even.destination"),
        );
        check(
            "spring.cloud.stream.kafka.binder.broker",
            Some("spring.cloud.stream.kafka.binder.brokers"),
        );
        check(
            "SPRING_CLOUD_STREAM_KAFKA_BINDER_BROKRES",
            Some("spring.cloud.stream.kafka.binder.brokers"),
        );
        check(
            "spring.cloud.stream.kafka.binder.configuraton.acks",
            Some("spring.cloud.stream.kafka.binder.configuration.acks"),
        );
        check(
            "spring.cloud.stream.kafka.bindings.inptu.consumer.configuration.fetch.min.bytes",
            Some("spring.cloud.stream.kafka.bindings.input.consumer.configuration.fetch.min.bytes"),
        );
        check("parity-router.invlaid", Some("parity-router.invalid"));
        check("PARITY_ROUTER_KLIENT", Some("parity-router.client"));
    }

    #[test]
    fn known_ones_and_neighbours() {
        for known in all() {
            check(known, None);
            check(&known.to_uppercase().replace(['.', '-'], "_"), None);
        }
        for name in [
            "spring.cloud.stream.bindings.output.contentType",
            "spring.cloud.stream.bindings.input.contentType",
            "spring.cloud.stream.bindings.input.consumer.concurrency",
            "spring.cloud.dataflow.stream.app.type",
            "management.endpoints.web.exposure.include",
            "management.metrics.tags.application.name",
            "management.server.base-path",
            "server.ssl.key-store",
            "wavefront.application.name",
            "spring.kafka.streams.properties.metrics.recording.level",
            "endpoints.shutdown.enabled",
            "instance.index",
            "spring.cloud.stream.kafka.binder.configuration.acks",
            "SPRING_CLOUD_STREAM_KAFKA_BINDER_CONSUMER_PROPERTIES_FETCH_MIN_BYTES",
            "spring.cloud.stream.kafka.bindings.output.producer.configuration.a",
            "spring.cloud.stream.instanceIndex",
            "spring.cloud.stream.instanceCount",
            "a",
            "",
        ] {
            check(name, None);
        }
    }

    #[test]
    fn warnings_are_bounded() {
        let names: Vec<String> = (0..50).map(|n| format!("parity-router.x{n}")).collect();
        assert_eq!(
            near_misses(names.iter().map(|name| (name.as_str(), "argument"))).len(),
            MAX_WARNINGS + 1
        );
    }

    /// What Data Flow shows of the properties is what the program reads, with the defaults that it has.
    mod metadata {
        use std::collections::BTreeSet;

        use serde_json::Value;

        use super::super::*;
        use crate::config::{Config, RoleName};
        use crate::properties::Properties;

        fn entries(role: RoleName) -> Vec<Value> {
            let source: Value =
                serde_json::from_str(include_str!("../../scdf/metadata.json")).unwrap();
            let ours = |entry: &&Value| {
                let roles = entry["roles"].as_array().unwrap();
                roles.iter().any(|name| name == role.name())
            };
            source["properties"]
                .as_array()
                .unwrap()
                .iter()
                .filter(ours)
                .cloned()
                .collect()
        }

        fn names(role: RoleName) -> BTreeSet<&'static str> {
            let own: &[&[&str]] = match role {
                RoleName::Router => &[&INPUT, &OUTPUT, &ROUTER],
                RoleName::Time => &[&OUTPUT, &TIME],
                RoleName::Log => &[&INPUT, &LOG],
            };
            own.iter()
                .copied()
                .flatten()
                .chain(&COMMON)
                .copied()
                .collect()
        }

        #[test]
        fn names_are_those_that_are_read() {
            for role in RoleName::ALL {
                let entries = entries(role);
                let shown: Vec<&str> = entries
                    .iter()
                    .map(|entry| entry["name"].as_str().unwrap())
                    .collect();
                let different: BTreeSet<&str> = shown.iter().copied().collect();
                assert_eq!((different.len(), different), (shown.len(), names(role)));
                // Data Flow takes `${` in a description for a placeholder.
                assert!(
                    entries
                        .iter()
                        .all(|entry| !entry.to_string().contains("${"))
                );
            }
        }

        #[test]
        fn defaults_are_those_that_are_used() {
            for role in RoleName::ALL {
                let read = |arguments: &[String]| {
                    Config::read(&Properties::of_arguments(arguments), Some(role), &[])
                        .unwrap()
                        .0
                };
                let without = read(&[]);
                for entry in entries(role) {
                    let default = match &entry["defaultValue"] {
                        Value::Null => continue,
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    };
                    let argument = format!("--{}={default}", entry["name"].as_str().unwrap());
                    assert_eq!(read(std::slice::from_ref(&argument)), without, "{argument}");
                }
            }
        }

        #[test]
        fn the_readme_tells_all_of_them() {
            let readme = include_str!("../../README.md");
            for role in RoleName::ALL {
                for name in names(role) {
                    assert!(readme.contains(&format!("`{name}`")), "{name}");
                }
            }
        }
    }
}
