//! The table of Kafka's own settings: which clients each applies to, what the router does with it, and librdkafka's name for it. No I/O.
//!
//! Names are those of Java's `ConsumerConfig` and `ProducerConfig` (Kafka 4.3); where librdkafka differs, those of its CONFIGURATION.md.
//! The readers, the warnings and the reference in `scdf/PROPERTIES.md` use this table. The file is long because it is one list.

use crate::config::kind::{Kind, MAX_INT, TOPIC_CHARACTERS};
use crate::config::table::DefaultValue;
use crate::properties::undotted;

/// Clients that a setting applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Scope {
    /// Consumers and producers.
    All,
    /// Consumers.
    Consumers,
    /// Producers.
    Producers,
}

/// Treatment of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Support {
    /// It is read.
    Read {
        /// Its name in librdkafka, unless librdkafka does not have it or the router sets it by other means.
        librdkafka: Option<&'static str>,
    },
    /// TLS or SASL, which only the client `librdkafka` supports.
    Security,
    /// The router sets it: other values have no effect, which is logged.
    DecidedByRouter {
        /// The router's value.
        value: &'static str,
        reason: &'static str,
    },
    /// Refused, because the router's guarantees would not hold.
    Refused { reason: &'static str },
    /// Only Kafka's Java client has it.
    JavaOnly,
    /// Kafka's Java client and librdkafka have it.
    LibrdkafkaOnly,
}

/// A setting that is known.
#[derive(Debug)]
pub(in crate::config) struct Definition {
    /// Kafka's name.
    pub(in crate::config) name: &'static str,
    pub(in crate::config) scope: Scope,
    pub(in crate::config) support: Support,
    /// librdkafka's other names for it.
    pub(in crate::config) aliases: &'static [&'static str],
    /// Allowed values, if it is read.
    pub(in crate::config) kind: Kind,
    /// The value if none is given. The client's settings have the same default in its own type.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only for the generated reference")
    )]
    pub(in crate::config) default: DefaultValue,
    /// Its effect, in Markdown.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only for the generated reference")
    )]
    pub(in crate::config) description: &'static str,
}

/// A setting that is not read.
const fn other(scope: Scope, name: &'static str, support: Support) -> Definition {
    Definition {
        name,
        scope,
        support,
        aliases: &[],
        kind: Kind::Text,
        default: DefaultValue::None,
        description: "",
    }
}

/// A setting that is read, and has the same name in librdkafka.
const fn read(
    scope: Scope,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
) -> Definition {
    Definition {
        name,
        scope,
        support: Support::Read {
            librdkafka: Some(name),
        },
        aliases: &[],
        kind,
        default: DefaultValue::Text(default),
        description,
    }
}

impl Definition {
    /// The same setting, with another name in librdkafka or none.
    const fn in_librdkafka(self, name: Option<&'static str>) -> Self {
        Self {
            support: Support::Read { librdkafka: name },
            ..self
        }
    }

    /// The same setting, with other names that librdkafka has for it.
    const fn or(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// The same setting, with a default that is not a fixed value.
    const fn with_default(self, default: DefaultValue) -> Self {
        Self { default, ..self }
    }
}

const fn decided(
    scope: Scope,
    name: &'static str,
    value: &'static str,
    reason: &'static str,
) -> Definition {
    other(scope, name, Support::DecidedByRouter { value, reason })
}

const fn refused(scope: Scope, name: &'static str, reason: &'static str) -> Definition {
    other(scope, name, Support::Refused { reason })
}

const fn number(unit: &'static str, min: i64, max: i64) -> Kind {
    Kind::Number { unit, min, max }
}

const FROM_MEMORY: DefaultValue = DefaultValue::Derived("from `parity-router.memory`");
const POSITIVE_MS: Kind = number("milliseconds", 1, MAX_INT);
const MS: Kind = number("milliseconds", 0, MAX_INT);
const POSITIVE_BYTES: Kind = number("bytes", 1, MAX_INT);

/// Default of `client.id`.
pub(in crate::config) const CLIENT_ID: &str = "parity-router";

const SERIALIZER: &str = "org.apache.kafka.common.serialization.ByteArraySerializer";
const DESERIALIZER: &str = "org.apache.kafka.common.serialization.ByteArrayDeserializer";
const BROKERS: &str = "brokers are given by spring.cloud.stream.kafka.binder.brokers";
const COMMITS: &str = "the router commits offsets itself, only of records that are delivered";
const RETRIES: &str = "the router retries a record until it is delivered or refused, and never gives it up because of time";
const BYTES: &str = "keys and values are bytes to the router";
const PARTITIONER: &str = "the router chooses a record's partition by its key, as Kafka's clients do; allowed: to leave it out";

/// Every setting that is known, those that are read first.
pub(in crate::config) const DEFINITIONS: &[Definition] = &[
    read(
        Scope::All,
        "client.id",
        Kind::Format("1 to 32000 bytes of text"),
        CLIENT_ID,
        "Name in the broker's logs, metrics and quotas. The producers append `-producer-even`, `-producer-odd` and, in the time source, `-time`.",
    ),
    read(
        Scope::All,
        "request.timeout.ms",
        POSITIVE_MS,
        "30000",
        "How long to wait for a response.",
    ),
    read(
        Scope::All,
        "socket.connection.setup.timeout.ms",
        POSITIVE_MS,
        "10000",
        "How long a first attempt to connect may take. Each further attempt may take twice as long.",
    ),
    read(
        Scope::All,
        "socket.connection.setup.timeout.max.ms",
        POSITIVE_MS,
        "30000",
        "How long any attempt to connect may take.",
    )
    .in_librdkafka(None),
    read(
        Scope::All,
        "reconnect.backoff.ms",
        MS,
        "50",
        "Wait before connecting again. It doubles with each attempt that fails.",
    ),
    read(
        Scope::All,
        "reconnect.backoff.max.ms",
        MS,
        "1000",
        "Longest wait before connecting again.",
    ),
    read(
        Scope::All,
        "retry.backoff.ms",
        MS,
        "100",
        "Wait before repeating a request. It doubles with each attempt that fails.",
    ),
    read(
        Scope::All,
        "retry.backoff.max.ms",
        MS,
        "1000",
        "Longest wait before repeating a request.",
    ),
    read(
        Scope::All,
        "metadata.max.age.ms",
        POSITIVE_MS,
        "300000",
        "Age at which metadata is refreshed.",
    ),
    read(
        Scope::Consumers,
        "session.timeout.ms",
        POSITIVE_MS,
        "45000",
        "The group removes a member that it has not heard of for this long. Not with `group.protocol=consumer`.",
    ),
    read(
        Scope::Consumers,
        "heartbeat.interval.ms",
        POSITIVE_MS,
        "3000",
        "Time between heartbeats; shorter than `session.timeout.ms`. Not with `group.protocol=consumer`.",
    ),
    read(
        Scope::Consumers,
        "max.poll.interval.ms",
        POSITIVE_MS,
        "300000",
        "How long a rebalance waits for this member.",
    ),
    read(
        Scope::Consumers,
        "partition.assignment.strategy",
        Kind::Format(
            "a list of range, roundrobin and cooperative-sticky, or of the names of their classes in Java",
        ),
        "range,cooperative-sticky",
        "Assignors, the preferred one first. Not with `group.protocol=consumer`.",
    ),
    read(
        Scope::Consumers,
        "group.instance.id",
        Kind::Format(TOPIC_CHARACTERS),
        "",
        "Makes the instance a static member (KIP-345). `${HOSTNAME}` gives each pod an id of its own.",
    )
    .with_default(DefaultValue::None),
    read(
        Scope::Consumers,
        "group.protocol",
        Kind::Choice(&["classic", "consumer"]),
        "classic",
        "With `consumer` the broker assigns partitions (KIP-848).",
    ),
    read(
        Scope::Consumers,
        "fetch.max.wait.ms",
        MS,
        "500",
        "How long a broker waits for `fetch.min.bytes`.",
    )
    .or(&["fetch.wait.max.ms"])
    .in_librdkafka(Some("fetch.wait.max.ms")),
    read(
        Scope::Consumers,
        "fetch.min.bytes",
        number("bytes", 0, MAX_INT),
        "1",
        "Bytes that a broker collects before it responds.",
    ),
    read(
        Scope::Consumers,
        "fetch.max.bytes",
        POSITIVE_BYTES,
        "",
        "Largest response to a fetch.",
    )
    .with_default(FROM_MEMORY),
    read(
        Scope::Consumers,
        "max.partition.fetch.bytes",
        POSITIVE_BYTES,
        "",
        "Most bytes of one partition in a response to a fetch.",
    )
    .or(&["fetch.message.max.bytes"])
    .with_default(FROM_MEMORY),
    read(
        Scope::Consumers,
        "isolation.level",
        Kind::Choice(&["read_committed", "read_uncommitted"]),
        "read_committed",
        "Whether to read records of transactions that are open or aborted. Kafka's default is `read_uncommitted`.",
    )
    .in_librdkafka(None),
    read(
        Scope::Consumers,
        "check.crcs",
        Kind::Boolean,
        "true",
        "Verify the checksums of the record batches that are read.",
    ),
    read(
        Scope::Consumers,
        "auto.offset.reset",
        Kind::Choice(&["earliest", "latest"]),
        "",
        "Where a group without committed offsets starts, if `startOffset` is not given.",
    )
    .in_librdkafka(None)
    .with_default(DefaultValue::Derived(
        "as `spring.cloud.stream.kafka.bindings.input.consumer.startOffset`",
    )),
    read(
        Scope::Producers,
        "acks",
        Kind::Choice(&["all", "-1", "1"]),
        "all",
        "Replicas that must have a record before it counts as delivered. `0` is refused: nothing could be known to be delivered.",
    )
    .or(&["request.required.acks"])
    .in_librdkafka(None),
    read(
        Scope::Producers,
        "linger.ms",
        MS,
        "0",
        "How long a batch waits for more records.",
    )
    .or(&["queue.buffering.max.ms"]),
    read(
        Scope::Producers,
        "compression.type",
        Kind::Choice(&["none", "gzip", "snappy", "lz4", "zstd"]),
        "none",
        "Compression of record batches.",
    )
    .or(&["compression.codec"]),
    read(
        Scope::Producers,
        "batch.size",
        POSITIVE_BYTES,
        "",
        "Largest record batch.",
    )
    .with_default(FROM_MEMORY),
    read(
        Scope::Producers,
        "max.request.size",
        POSITIVE_BYTES,
        "1048576",
        "Largest record and largest request.",
    )
    .or(&["message.max.bytes"])
    .in_librdkafka(Some("message.max.bytes")),
    read(
        Scope::Producers,
        "max.in.flight.requests.per.connection",
        number("a number", 1, 5),
        "5",
        "Requests that may wait for a response at a time.",
    )
    .or(&["max.in.flight"]),
    read(
        Scope::Producers,
        "enable.idempotence",
        Kind::Boolean,
        "true",
        "The broker discards records that a retry sent twice, and keeps their order. Requires `acks=all`.",
    )
    .in_librdkafka(None)
    .with_default(DefaultValue::Derived("`true`, with `acks=1` `false`")),
    read(
        Scope::Producers,
        "transaction.timeout.ms",
        number("milliseconds", 1_000, MAX_INT),
        "10000",
        "How long consumers wait for the open transaction of a router that was killed. The same for all producers of the router.",
    )
    .in_librdkafka(None),
    other(Scope::All, "security.protocol", Support::Security),
    decided(Scope::All, "bootstrap.servers", "", BROKERS),
    decided(Scope::All, "metadata.broker.list", "", BROKERS),
    decided(
        Scope::Consumers,
        "group.id",
        "",
        "the group is given by spring.cloud.stream.bindings.input.group",
    ),
    decided(Scope::Consumers, "enable.auto.commit", "false", COMMITS),
    decided(Scope::Consumers, "auto.commit.enable", "false", COMMITS),
    decided(Scope::Consumers, "auto.commit.interval.ms", "", COMMITS),
    decided(
        Scope::All,
        "allow.auto.create.topics",
        "false",
        "missing topics are created as spring.cloud.stream.kafka.binder.autoCreateTopics says",
    ),
    decided(Scope::Consumers, "key.deserializer", DESERIALIZER, BYTES),
    decided(Scope::Consumers, "value.deserializer", DESERIALIZER, BYTES),
    decided(Scope::Producers, "key.serializer", SERIALIZER, BYTES),
    decided(Scope::Producers, "value.serializer", SERIALIZER, BYTES),
    decided(Scope::Producers, "delivery.timeout.ms", "", RETRIES),
    decided(Scope::Producers, "message.timeout.ms", "0", RETRIES),
    decided(Scope::Producers, "retries", "2147483647", RETRIES),
    decided(
        Scope::Producers,
        "message.send.max.retries",
        "2147483647",
        RETRIES,
    ),
    refused(Scope::Consumers, "enable.auto.offset.store", "the router commits the offsets of records that are delivered, not of records that were read; allowed: to leave it out"),
    refused(Scope::Producers, "transactional.id", "the router makes transactional ids from spring.cloud.stream.kafka.binder.transaction.transactionIdPrefix; allowed: to leave it out"),
    refused(Scope::Producers, "partitioner", PARTITIONER),
    refused(Scope::Producers, "partitioner.class", PARTITIONER),
    refused(Scope::Producers, "queuing.strategy", "the router keeps the order of records; allowed: to leave it out"),
    refused(Scope::Producers, "delivery.report.only.error", "the router must know which records are delivered; allowed: to leave it out"),
    other(Scope::All, "client.dns.lookup", Support::LibrdkafkaOnly),
    other(Scope::All, "client.rack", Support::LibrdkafkaOnly),
    other(Scope::All, "connections.max.idle.ms", Support::LibrdkafkaOnly),
    other(Scope::All, "enable.metrics.push", Support::LibrdkafkaOnly),
    other(
        Scope::All,
        "metadata.recovery.rebootstrap.trigger.ms",
        Support::LibrdkafkaOnly,
    ),
    other(
        Scope::All,
        "metadata.recovery.strategy",
        Support::LibrdkafkaOnly,
    ),
    other(Scope::Consumers, "group.remote.assignor", Support::LibrdkafkaOnly),
    other(Scope::All, "auto.include.jmx.reporter", Support::JavaOnly),
    other(Scope::All, "config.providers", Support::JavaOnly),
    other(Scope::All, "interceptor.classes", Support::JavaOnly),
    other(Scope::All, "metric.reporters", Support::JavaOnly),
    other(Scope::All, "metrics.num.samples", Support::JavaOnly),
    other(Scope::All, "metrics.recording.level", Support::JavaOnly),
    other(Scope::All, "metrics.sample.window.ms", Support::JavaOnly),
    other(Scope::All, "receive.buffer.bytes", Support::JavaOnly),
    other(Scope::All, "security.providers", Support::JavaOnly),
    other(Scope::All, "send.buffer.bytes", Support::JavaOnly),
    other(Scope::Consumers, "default.api.timeout.ms", Support::JavaOnly),
    other(Scope::Consumers, "exclude.internal.topics", Support::JavaOnly),
    other(Scope::Consumers, "max.poll.records", Support::JavaOnly),
    other(Scope::Producers, "buffer.memory", Support::JavaOnly),
    other(Scope::Producers, "compression.gzip.level", Support::JavaOnly),
    other(Scope::Producers, "compression.lz4.level", Support::JavaOnly),
    other(Scope::Producers, "compression.zstd.level", Support::JavaOnly),
    other(Scope::Producers, "max.block.ms", Support::JavaOnly),
    other(Scope::Producers, "metadata.max.idle.ms", Support::JavaOnly),
    other(
        Scope::Producers,
        "partitioner.adaptive.partitioning.enable",
        Support::JavaOnly,
    ),
    other(
        Scope::Producers,
        "partitioner.availability.timeout.ms",
        Support::JavaOnly,
    ),
    other(Scope::Producers, "partitioner.ignore.keys", Support::JavaOnly),
    other(
        Scope::Producers,
        "transaction.two.phase.commit.enable",
        Support::JavaOnly,
    ),
];

/// Returns the definition of a setting.
pub(super) fn find(name: &str) -> Option<&'static Definition> {
    DEFINITIONS
        .iter()
        .find(|definition| definition.name == name)
}

/// Returns the scope and the support of a setting, or `None` if it is not known. All settings that start with `ssl.` or `sasl.` count as
/// known, whatever follows.
pub(super) fn support(name: &str) -> Option<(Scope, Support)> {
    match find(name) {
        Some(definition) => Some((definition.scope, definition.support)),
        None if name.starts_with("ssl.") || name.starts_with("sasl.") => {
            Some((Scope::All, Support::Security))
        }
        None => None,
    }
}

/// Replaces librdkafka's name by Kafka's. Other names stay as they are.
pub(super) fn canonical(given: &str) -> &str {
    DEFINITIONS
        .iter()
        .find(|definition| definition.aliases.contains(&given))
        .map_or(given, |definition| definition.name)
}

/// Returns the setting that the end of an environment variable's name stands for: its underscores can be dots, dashes or nothing. In a name
/// that is not known they become dots, as Spring Boot does with the keys of maps.
pub(super) fn from_variable(given: &str) -> String {
    let letters = undotted(given);
    DEFINITIONS
        .iter()
        .map(|definition| definition.name)
        .find(|name| undotted(name) == letters)
        .map_or_else(
            || given.to_ascii_lowercase().replace('_', "."),
            str::to_owned,
        )
}

/// Largest edit distance at which a name counts as misspelt; for short names at most a quarter of the letters.
const MAX_DISTANCE: usize = 3;

/// Returns the known setting that an unknown name is probably a misspelling of.
pub(super) fn suggestion(name: &str) -> Option<&'static str> {
    let letters = undotted(name);
    let distance =
        |definition: &Definition| strsim::osa_distance(&letters, &undotted(definition.name));
    let nearest = DEFINITIONS
        .iter()
        .min_by_key(|definition| distance(definition))?;
    (distance(nearest) <= MAX_DISTANCE.min(letters.len() / 4)).then_some(nearest.name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<String> = DEFINITIONS
            .iter()
            .map(|definition| undotted(definition.name))
            .collect();
        assert_eq!(names.len(), DEFINITIONS.len());
        for definition in DEFINITIONS {
            for alias in definition.aliases {
                assert!(find(alias).is_none(), "{alias}");
                assert_eq!(canonical(alias), definition.name);
            }
        }
    }

    #[test]
    fn variables() {
        for (given, name) in [
            ("SESSION_TIMEOUT_MS", "session.timeout.ms"),
            ("SESSIONTIMEOUTMS", "session.timeout.ms"),
            ("session.timeout.ms", "session.timeout.ms"),
            ("QUEUED_MIN_MESSAGES", "queued.min.messages"),
        ] {
            assert_eq!(from_variable(given), name);
        }
    }

    #[test]
    fn suggestions() {
        for (given, name) in [
            ("session.timeout", Some("session.timeout.ms")),
            ("sessionTimeoutMs", Some("session.timeout.ms")),
            ("ack", None),
            ("akcs", Some("acks")),
            ("compresion.type", Some("compression.type")),
            ("socket.keepalive.enable", None),
        ] {
            assert_eq!(suggestion(given), name, "{given}");
        }
    }

    #[test]
    fn security_settings_are_known_by_their_prefix() {
        for name in ["security.protocol", "sasl.jaas.config", "ssl.key.password"] {
            assert_eq!(support(name), Some((Scope::All, Support::Security)));
        }
        assert_eq!(support("sslx"), None);
    }
}
