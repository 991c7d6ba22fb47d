//! Kafka's own names: whose each is, what becomes of it here, and what librdkafka calls it. A table and its look-up; pure. `kafka.rs` reads
//! by it. Names are those of Java's `ConsumerConfig` and `ProducerConfig` (Kafka 4.3); where librdkafka differs, those of its CONFIGURATION.md.

use crate::properties::undotted;

/// Whose a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Of consumers and producers alike.
    Both,
    /// Of consumers.
    Consumer,
    /// Of producers.
    Producer,
}

/// What becomes of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It is one of the settings. With its name in librdkafka; none where it has no such thing, or where the router tells it.
    Read(Option<&'static str>),
    /// About TLS and SASL, which librdkafka alone has.
    Security,
    /// The router decides that: it has no effect, and nothing need be said where it is `ours`.
    Routers {
        ours: &'static str,
        why: &'static str,
    },
    /// What the router does would not hold any more.
    Refused(&'static str),
    /// Kafka's clients have it, the router's have not.
    NoEffect,
    /// The same, but librdkafka has it.
    OnlyLibrdkafka,
}

/// A name that is known.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) name: &'static str,
    pub(super) side: Side,
    pub(super) becomes: Use,
}

const fn of(side: Side, name: &'static str, becomes: Use) -> Name {
    Name {
        name,
        side,
        becomes,
    }
}

/// One that is read, and that librdkafka calls the same.
const fn same(side: Side, name: &'static str) -> Name {
    of(side, name, Use::Read(Some(name)))
}

const fn routers(side: Side, name: &'static str, ours: &'static str, why: &'static str) -> Name {
    of(side, name, Use::Routers { ours, why })
}

const BYTES_WRITTEN: &str = "org.apache.kafka.common.serialization.ByteArraySerializer";
const BYTES_READ: &str = "org.apache.kafka.common.serialization.ByteArrayDeserializer";
const BROKERS: &str = "brokers are given by spring.cloud.stream.kafka.binder.brokers";
const COMMITS: &str = "offsets are committed by the router, and only of what is delivered";
const FOREVER: &str =
    "a record is tried until it is delivered or refused, and never given up because of time";
const BYTES: &str = "keys and values are bytes to the router";
const PARTITIONER: &str = "a record's partition is chosen by its key, as Kafka's own clients do it; allowed: to leave it out";

/// Every name that is known, those that are read first.
pub(super) const NAMES: &[Name] = &[
    same(Side::Both, "client.id"),
    same(Side::Both, "request.timeout.ms"),
    same(Side::Both, "socket.connection.setup.timeout.ms"),
    of(
        Side::Both,
        "socket.connection.setup.timeout.max.ms",
        Use::Read(None),
    ),
    same(Side::Both, "reconnect.backoff.ms"),
    same(Side::Both, "reconnect.backoff.max.ms"),
    same(Side::Both, "retry.backoff.ms"),
    same(Side::Both, "retry.backoff.max.ms"),
    same(Side::Both, "metadata.max.age.ms"),
    same(Side::Consumer, "session.timeout.ms"),
    same(Side::Consumer, "heartbeat.interval.ms"),
    same(Side::Consumer, "max.poll.interval.ms"),
    same(Side::Consumer, "partition.assignment.strategy"),
    same(Side::Consumer, "group.instance.id"),
    same(Side::Consumer, "group.protocol"),
    of(
        Side::Consumer,
        "fetch.max.wait.ms",
        Use::Read(Some("fetch.wait.max.ms")),
    ),
    same(Side::Consumer, "fetch.min.bytes"),
    same(Side::Consumer, "fetch.max.bytes"),
    same(Side::Consumer, "max.partition.fetch.bytes"),
    of(Side::Consumer, "isolation.level", Use::Read(None)),
    same(Side::Consumer, "check.crcs"),
    of(Side::Consumer, "auto.offset.reset", Use::Read(None)),
    of(Side::Producer, "acks", Use::Read(None)),
    same(Side::Producer, "linger.ms"),
    same(Side::Producer, "compression.type"),
    same(Side::Producer, "batch.size"),
    of(
        Side::Producer,
        "max.request.size",
        Use::Read(Some("message.max.bytes")),
    ),
    same(Side::Producer, "max.in.flight.requests.per.connection"),
    of(Side::Producer, "enable.idempotence", Use::Read(None)),
    of(Side::Both, "security.protocol", Use::Security),
    routers(Side::Both, "bootstrap.servers", "", BROKERS),
    routers(Side::Both, "metadata.broker.list", "", BROKERS),
    routers(
        Side::Consumer,
        "group.id",
        "",
        "the group is given by spring.cloud.stream.bindings.input.group",
    ),
    routers(Side::Consumer, "enable.auto.commit", "false", COMMITS),
    routers(Side::Consumer, "auto.commit.enable", "false", COMMITS),
    routers(Side::Consumer, "auto.commit.interval.ms", "", COMMITS),
    routers(
        Side::Both,
        "allow.auto.create.topics",
        "false",
        "missing topics are made as spring.cloud.stream.kafka.binder.autoCreateTopics says",
    ),
    routers(Side::Consumer, "key.deserializer", BYTES_READ, BYTES),
    routers(Side::Consumer, "value.deserializer", BYTES_READ, BYTES),
    routers(Side::Producer, "key.serializer", BYTES_WRITTEN, BYTES),
    routers(Side::Producer, "value.serializer", BYTES_WRITTEN, BYTES),
    routers(Side::Producer, "delivery.timeout.ms", "", FOREVER),
    routers(Side::Producer, "message.timeout.ms", "0", FOREVER),
    routers(Side::Producer, "retries", "2147483647", FOREVER),
    routers(
        Side::Producer,
        "message.send.max.retries",
        "2147483647",
        FOREVER,
    ),
    of(
        Side::Consumer,
        "enable.auto.offset.store",
        Use::Refused(
            "what is committed is what is delivered, not what was read; allowed: to leave it out",
        ),
    ),
    of(
        Side::Producer,
        "transactional.id",
        Use::Refused(
            "transactional ids are made of spring.cloud.stream.kafka.binder.transaction.transactionIdPrefix; allowed: to leave it out",
        ),
    ),
    of(Side::Producer, "partitioner", Use::Refused(PARTITIONER)),
    of(
        Side::Producer,
        "partitioner.class",
        Use::Refused(PARTITIONER),
    ),
    of(
        Side::Producer,
        "queuing.strategy",
        Use::Refused("records keep their order; allowed: to leave it out"),
    ),
    of(
        Side::Producer,
        "delivery.report.only.error",
        Use::Refused("the router must know what is delivered; allowed: to leave it out"),
    ),
    of(Side::Both, "client.dns.lookup", Use::OnlyLibrdkafka),
    of(Side::Both, "client.rack", Use::OnlyLibrdkafka),
    of(Side::Both, "connections.max.idle.ms", Use::OnlyLibrdkafka),
    of(Side::Both, "enable.metrics.push", Use::OnlyLibrdkafka),
    of(
        Side::Both,
        "metadata.recovery.rebootstrap.trigger.ms",
        Use::OnlyLibrdkafka,
    ),
    of(
        Side::Both,
        "metadata.recovery.strategy",
        Use::OnlyLibrdkafka,
    ),
    of(Side::Consumer, "group.remote.assignor", Use::OnlyLibrdkafka),
    of(Side::Both, "auto.include.jmx.reporter", Use::NoEffect),
    of(Side::Both, "config.providers", Use::NoEffect),
    of(Side::Both, "interceptor.classes", Use::NoEffect),
    of(Side::Both, "metric.reporters", Use::NoEffect),
    of(Side::Both, "metrics.num.samples", Use::NoEffect),
    of(Side::Both, "metrics.recording.level", Use::NoEffect),
    of(Side::Both, "metrics.sample.window.ms", Use::NoEffect),
    of(Side::Both, "receive.buffer.bytes", Use::NoEffect),
    of(Side::Both, "security.providers", Use::NoEffect),
    of(Side::Both, "send.buffer.bytes", Use::NoEffect),
    of(Side::Consumer, "default.api.timeout.ms", Use::NoEffect),
    of(Side::Consumer, "exclude.internal.topics", Use::NoEffect),
    of(Side::Consumer, "max.poll.records", Use::NoEffect),
    of(Side::Producer, "buffer.memory", Use::NoEffect),
    of(Side::Producer, "compression.gzip.level", Use::NoEffect),
    of(Side::Producer, "compression.lz4.level", Use::NoEffect),
    of(Side::Producer, "compression.zstd.level", Use::NoEffect),
    of(Side::Producer, "max.block.ms", Use::NoEffect),
    of(Side::Producer, "metadata.max.idle.ms", Use::NoEffect),
    of(
        Side::Producer,
        "partitioner.adaptive.partitioning.enable",
        Use::NoEffect,
    ),
    of(
        Side::Producer,
        "partitioner.availability.timeout.ms",
        Use::NoEffect,
    ),
    of(Side::Producer, "partitioner.ignore.keys", Use::NoEffect),
    of(Side::Producer, "transaction.timeout.ms", Use::Read(None)),
    of(
        Side::Producer,
        "transaction.two.phase.commit.enable",
        Use::NoEffect,
    ),
];

/// librdkafka's second names for what is in the table.
const ALIASES: [(&str, &str); 7] = [
    ("compression.codec", "compression.type"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("fetch.wait.max.ms", "fetch.max.wait.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("message.max.bytes", "max.request.size"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("request.required.acks", "acks"),
];

/// The name in the table.
pub(super) fn find(name: &str) -> Option<&'static Name> {
    NAMES.iter().find(|known| known.name == name)
}

/// What becomes of any name; none where it is not known. What Kafka has of TLS and SASL is known by its beginning.
pub(super) fn becomes(name: &str) -> Option<(Side, Use)> {
    match find(name) {
        Some(known) => Some((known.side, known.becomes)),
        None if name.starts_with("ssl.") || name.starts_with("sasl.") => {
            Some((Side::Both, Use::Security))
        }
        None => None,
    }
}

/// The name as the table has it, of one that was given with dots.
pub(super) fn canonical(given: &str) -> &str {
    ALIASES
        .iter()
        .find(|(alias, _)| *alias == given)
        .map_or(given, |(_, name)| name)
}

/// The name that an environment variable's end stands for: its underscores may be dots, dashes or nothing. What is not known gets dots, as
/// Spring Boot does with the keys of maps.
pub(super) fn of_variable(given: &str) -> String {
    let letters = undotted(given);
    NAMES
        .iter()
        .map(|known| known.name)
        .find(|name| undotted(name) == letters)
        .map_or_else(
            || given.to_ascii_lowercase().replace('_', "."),
            str::to_owned,
        )
}

/// Letters, at most, that are wrong, missing or too many in a name that was meant to be a known one, and of a short name a quarter of them.
const WRONG_LETTERS: usize = 3;

/// The known name that this unknown one was meant to be.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    let letters = undotted(name);
    let wrong = |known: &Name| strsim::osa_distance(&letters, &undotted(known.name));
    let nearest = NAMES.iter().min_by_key(|known| wrong(known))?;
    (wrong(nearest) <= WRONG_LETTERS.min(letters.len() / 4)).then_some(nearest.name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_name_is_there_once() {
        let names: BTreeSet<String> = NAMES.iter().map(|known| undotted(known.name)).collect();
        assert_eq!(names.len(), NAMES.len());
        for (alias, name) in ALIASES {
            assert!(find(alias).is_none() && find(name).is_some(), "{alias}");
            assert_eq!(canonical(alias), name);
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
            assert_eq!(of_variable(given), name);
        }
    }

    #[test]
    fn what_was_meant() {
        for (given, name) in [
            ("session.timeout", Some("session.timeout.ms")),
            ("sessionTimeoutMs", Some("session.timeout.ms")),
            ("ack", None),
            ("akcs", Some("acks")),
            ("compresion.type", Some("compression.type")),
            ("socket.keepalive.enable", None),
        ] {
            assert_eq!(meant(given), name, "{given}");
        }
    }

    #[test]
    fn security_is_known_by_its_beginning() {
        for name in ["security.protocol", "sasl.jaas.config", "ssl.key.password"] {
            assert_eq!(becomes(name), Some((Side::Both, Use::Security)));
        }
        assert_eq!(becomes("sslx"), None);
    }
}
