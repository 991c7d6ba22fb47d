//! Warnings about names that are probably misspelt properties. No I/O.

use super::kafka_settings::prefix;
use super::reader::bounded;
use super::table::PROPERTIES;
use crate::properties::undotted;

/// Prefix of this program's own properties: every unknown name that starts with it is a mistake.
const OWN_PREFIX: &str = "parity-router.";

/// Largest edit distance at which a name counts as misspelt; for short names at most a quarter of the letters. At 3 `input` would count as
/// a misspelt `output`, and both are right.
const MAX_DISTANCE: usize = 2;

/// Returns a warning for each of the names that is not known and looks like a misspelt property.
pub(super) fn near_misses<'a>(given: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let warnings: Vec<String> = given
        .filter_map(|(name, origin)| near_miss(name, origin))
        .collect();
    bounded(warnings, "more unknown properties")
}

/// Names of all properties, with their aliases.
fn known_names() -> impl Iterator<Item = &'static str> {
    PROPERTIES.iter().flat_map(|property| property.names())
}

fn near_miss(name: &str, origin: &str) -> Option<String> {
    let letters = undotted(name);
    let distance = |known: &str| strsim::osa_distance(&letters, &undotted(known));
    let nearest = known_names().min_by_key(|known| distance(known))?;
    let is_near = match distance(nearest) {
        0 => return None,
        distance => distance <= MAX_DISTANCE && distance <= letters.len() / 4,
    };
    let suggestion = if is_near || letters.starts_with(&undotted(OWN_PREFIX)) {
        nearest.to_owned()
    } else {
        prefix::suggestion(name)?
    };
    Some(format!(
        "unknown property {name} ({origin}); did you mean {suggestion}?"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::config::reader::MAX_WARNINGS;

    #[track_caller]
    fn check(name: &str, suggestion: Option<&str>) {
        let warning = near_miss(name, "argument");
        match suggestion {
            None => assert_eq!(warning, None),
            Some(suggestion) => {
                assert!(
                    warning
                        .as_ref()
                        .is_some_and(|text| text.contains(&format!("did you mean {suggestion}?"))),
                    "{name}: {warning:?}"
                );
            }
        }
    }

    #[test]
    fn misspelt_names() {
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
    fn known_and_unrelated_names() {
        for known in known_names() {
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
}
