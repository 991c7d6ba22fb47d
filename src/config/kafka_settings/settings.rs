//! Reads what connections, the consumer and the producers are told, with Kafka's bounds. Pure.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::judge::other_clients;
use super::{ASSIGNORS, INSTANCE_ID, Place};
use crate::client::settings::DEFAULT_TRANSACTION_TIMEOUT;
use crate::client::settings::{
    Acks, AssignorName, BackoffRange, Compression, ConnectionSettings, ConsumerSettings,
    DEFAULT_MEMORY, GroupProtocol, Isolation, PartitionShare, ProducerSettings, StartOffset,
};
use crate::config::ClientKind;
use crate::config::read::{Reader, is_topic};

/// Bounds of `parity-router.memory`: below, a single record of Kafka's usual limit has no room on its way in and out; above, it is a mistake.
const MEMORY: RangeInclusive<usize> = 4 * MEGABYTE..=1024 * MEGABYTE;

/// Default of `client.id`.
pub(super) const CLIENT_ID: &str = "parity-router";

pub(super) const MEGABYTE: usize = 1024 * 1024;

pub(super) const REBALANCE: &str =
    "spring.cloud.stream.kafka.bindings.input.consumer.autoRebalanceEnabled";

impl Reader<'_> {
    /// How brokers are connected to: for all of the program, so that only the binder's place counts.
    pub(crate) fn connection(&mut self) -> ConnectionSettings {
        let places = [Place::Binder];
        let default = ConnectionSettings::default();
        ConnectionSettings {
            client_id: self.understood_setting(
                &places,
                "client.id",
                CLIENT_ID.to_owned(),
                "1 to 32000 bytes of text",
                |text| (1..=32_000).contains(&text.len()).then(|| text.to_owned()),
            ),
            request_timeout: self.time_setting(
                &places,
                "request.timeout.ms",
                1,
                default.request_timeout,
            ),
            connect_timeout: self.growing(
                "socket.connection.setup.timeout.ms",
                "socket.connection.setup.timeout.max.ms",
                1,
                default.connect_timeout,
            ),
            reconnect_backoff: self.growing(
                "reconnect.backoff.ms",
                "reconnect.backoff.max.ms",
                0,
                default.reconnect_backoff,
            ),
            retry_backoff: self.growing(
                "retry.backoff.ms",
                "retry.backoff.max.ms",
                0,
                default.retry_backoff,
            ),
            metadata_max_age: self.time_setting(
                &places,
                "metadata.max.age.ms",
                1,
                default.metadata_max_age,
            ),
        }
    }

    /// A time that is doubled up to another one; as in Kafka's clients it is never longer than that.
    fn growing(
        &mut self,
        first: &str,
        last: &str,
        least: u64,
        default: BackoffRange,
    ) -> BackoffRange {
        let places = [Place::Binder];
        let initial = self.time_setting(&places, first, least, default.initial);
        if self.setting(&places, last).is_none() {
            return BackoffRange {
                initial,
                max: default.max.max(initial),
            };
        }
        let max = self.time_setting(&places, last, least, default.max);
        BackoffRange {
            initial: initial.min(max),
            max,
        }
    }

    /// `parity-router.memory`, in bytes.
    pub(crate) fn memory(&mut self) -> usize {
        const NAME: &str = "parity-router.memory";
        let Some(value) = self.given(NAME) else {
            return DEFAULT_MEMORY;
        };
        match data_size(value.text.trim()).filter(|size| MEMORY.contains(size)) {
            Some(size) => size,
            None => self.not_allowed(
                NAME,
                &value,
                "bytes, or a size as 16MB, from 4MB to 1GB",
                DEFAULT_MEMORY,
            ),
        }
    }

    /// How the binding `input` is read.
    pub(crate) fn consumer_settings(&mut self) -> ConsumerSettings {
        let places = Place::OF_CONSUMER;
        let default = ConsumerSettings::default();
        let settings = ConsumerSettings {
            session_timeout: self.time_setting(
                &places,
                "session.timeout.ms",
                1,
                default.session_timeout,
            ),
            heartbeat_interval: self.time_setting(
                &places,
                "heartbeat.interval.ms",
                1,
                default.heartbeat_interval,
            ),
            rebalance_timeout: self.time_setting(
                &places,
                "max.poll.interval.ms",
                1,
                default.rebalance_timeout,
            ),
            assignors: self.understood_setting(
                &places,
                ASSIGNORS,
                default.assignors,
                "a list of range, roundrobin and cooperative-sticky, or of the names of their classes in Java",
                assignors,
            ),
            group_instance_id: self.understood_setting(
                &places,
                INSTANCE_ID,
                None,
                "up to 249 of a-z, A-Z, 0-9, '.', '_' and '-', but not \".\" or \"..\"",
                |text| is_topic(text).then(|| Some(text.to_owned())),
            ),
            group_protocol: self.understood_setting(
                &places,
                "group.protocol",
                default.group_protocol,
                "classic or consumer",
                |text| match text.to_ascii_lowercase().as_str() {
                    "classic" => Some(GroupProtocol::Classic),
                    "consumer" => Some(GroupProtocol::Consumer),
                    _ => None,
                },
            ),
            fetch_max_wait: self.time_setting(
                &places,
                "fetch.max.wait.ms",
                0,
                default.fetch_max_wait,
            ),
            fetch_min_bytes: self
                .bytes(&places, "fetch.min.bytes", 0)
                .unwrap_or(default.fetch_min_bytes),
            fetch_max_bytes: self.bytes(&places, "fetch.max.bytes", 1),
            max_partition_fetch_bytes: self.bytes(&places, "max.partition.fetch.bytes", 1),
            isolation: self.understood_setting(
                &places,
                "isolation.level",
                default.isolation,
                "read_committed or read_uncommitted",
                |text| match text.to_ascii_lowercase().as_str() {
                    "read_committed" => Some(Isolation::ReadCommitted),
                    "read_uncommitted" => Some(Isolation::ReadUncommitted),
                    _ => None,
                },
            ),
            check_crcs: self
                .truth(&places, "check.crcs")
                .unwrap_or(default.check_crcs),
            manual_assignment: self.manual_assignment(),
            librdkafka: self.pairs(&places),
        };
        self.check_group(&settings);
        settings
    }

    /// What of a group's settings does not go together.
    fn check_group(&mut self, settings: &ConsumerSettings) {
        let places = Place::OF_CONSUMER;
        if settings.heartbeat_interval >= settings.session_timeout {
            let given = self
                .setting(&places, "heartbeat.interval.ms")
                .or_else(|| self.setting(&places, "session.timeout.ms"));
            if let Some((property, value)) = given {
                let message = format!(
                    "heartbeat.interval.ms is {:?} and session.timeout.ms {:?}; allowed: a heartbeat within the session's timeout",
                    settings.heartbeat_interval, settings.session_timeout
                );
                self.problem(&property, &value, &message, ());
            }
        }
        if settings.manual_assignment.is_some() {
            for name in [ASSIGNORS, INSTANCE_ID, "group.protocol"] {
                if let Some((property, value)) = self.setting(&places, name) {
                    self.warnings.push(format!(
                        "{property} ({}) has no effect: with autoRebalanceEnabled=false there is no group to be a member of",
                        value.origin
                    ));
                }
            }
            return;
        }
        if settings.group_protocol == GroupProtocol::Consumer {
            for name in ["session.timeout.ms", "heartbeat.interval.ms", ASSIGNORS] {
                if let Some((property, value)) = self.setting(&places, name) {
                    let message = format!(
                        "with group.protocol=consumer the broker decides on {name}; allowed: to leave it out"
                    );
                    self.problem(&property, &value, &message, ());
                }
            }
        }
        let given = self.setting(&places, INSTANCE_ID);
        if let (Some((property, value)), ClientKind::Kafka) = (given, self.client) {
            let message = format!(
                "the client kafka has no group membership; allowed: {}",
                other_clients("")
            );
            self.problem(&property, &value, &message, ());
        }
        let sticky = settings
            .assignors
            .contains(&AssignorName::CooperativeSticky);
        let given = self.setting(&places, ASSIGNORS);
        if let (true, 2.., Some((property, value)), ClientKind::Librdkafka) =
            (sticky, settings.assignors.len(), given, self.client)
        {
            let message = "the client librdkafka takes cooperative-sticky only alone; allowed: one of the two, or parity-router.client=native";
            self.problem(&property, &value, message, ());
        }
    }

    /// The share of this instance, where the group shall share out nothing.
    fn manual_assignment(&mut self) -> Option<PartitionShare> {
        if self.parsed(REBALANCE, true, "true or false", |_| true) {
            return None;
        }
        if let (Some(value), ClientKind::Librdkafka | ClientKind::Kafka) =
            (self.given(REBALANCE), self.client)
        {
            let message = format!(
                "the client {} has no shares without a group; parity-router.client=native can",
                self.client.name()
            );
            return self.problem(REBALANCE, &value, &message, None);
        }
        let (_, count) = self.instance("instanceCount", 1, "a number from 1 to 2147483647", 1);
        let (name, index) = self.instance(
            "instanceIndex",
            0,
            "a number from 0 to 2147483646, below the instanceCount",
            0,
        );
        if index >= count {
            if let Some(value) = self.given(&name) {
                let message = format!(
                    "{index} of {count} instances is not one of them; allowed: from 0 to {}",
                    count - 1
                );
                self.problem(&name, &value, &message, ());
            }
            return None;
        }
        Some(PartitionShare { index, count })
    }

    /// Number or count of the instances: the binding's, else that of all bindings; and which property says so.
    fn instance(&mut self, which: &str, default: u32, allowed: &str, least: u32) -> (String, u32) {
        let own = format!("spring.cloud.stream.bindings.input.consumer.{which}");
        let most = i32::MAX as u32;
        match self.given(&own) {
            // Spring's default, which means the other one.
            Some(value) if value.text.trim() == "-1" => (),
            Some(_) => {
                let allowed = format!("-1 for spring.cloud.stream.{which}, or {allowed}");
                let number = self.parsed(&own, default, &allowed, |number| {
                    (least..=most).contains(number)
                });
                return (own, number);
            }
            None => (),
        }
        let name = format!("spring.cloud.stream.{which}");
        let number = self.parsed(&name, default, allowed, |number| {
            (least..=most).contains(number)
        });
        (name, number)
    }

    /// `auto.offset.reset`, where Spring's `startOffset` does not say it.
    pub(crate) fn offset_reset(&mut self, default: StartOffset) -> StartOffset {
        let Some((property, value)) = self.setting(&Place::OF_CONSUMER, "auto.offset.reset") else {
            return default;
        };
        match value.text.trim().to_ascii_lowercase().as_str() {
            "earliest" => StartOffset::Earliest,
            "latest" => StartOffset::Latest,
            "none" => self.problem(
                &property,
                &value,
                "none leaves a group without an offset nowhere to start; allowed: earliest or latest",
                default,
            ),
            _ => self.not_allowed(&property, &value, "earliest or latest", default),
        }
    }

    /// How what goes to this binding is sent.
    pub(crate) fn producer_settings(&mut self, binding: &'static str) -> ProducerSettings {
        let places = Place::of_producer(binding);
        let default = ProducerSettings::default();
        let acks = self.acks(&places);
        let idempotent = self.truth(&places, "enable.idempotence");
        if let (Acks::Leader, Some(true)) = (acks, idempotent)
            && let Some((property, value)) = self.setting(&places, "enable.idempotence")
        {
            let message =
                "true needs acks=all, and acks is 1; allowed: false, to leave it out, or acks=all";
            self.problem(&property, &value, message, ());
        }
        ProducerSettings {
            acks,
            linger: self.time_setting(&places, "linger.ms", 0, default.linger),
            compression: self.understood_setting(
                &places,
                "compression.type",
                default.compression,
                "none, gzip, snappy, lz4 or zstd",
                compression,
            ),
            batch_size: self.bytes(&places, "batch.size", 1),
            max_request_size: self
                .bytes(&places, "max.request.size", 1)
                .unwrap_or(default.max_request_size),
            max_in_flight: self
                .number(
                    &places,
                    "max.in.flight.requests.per.connection",
                    "a number",
                    1..=5,
                )
                .and_then(|number| usize::try_from(number).ok())
                .unwrap_or(default.max_in_flight),
            idempotent: acks == Acks::All && idempotent.unwrap_or(default.idempotent),
            librdkafka: self.pairs(&places),
        }
    }

    /// `transaction.timeout.ms`. Its default is Kafka Streams': so long others wait for what a router that was killed has left open.
    pub(crate) fn transaction_timeout(&mut self) -> Duration {
        let places = [Place::Producers, Place::Binder];
        self.time_setting(
            &places,
            "transaction.timeout.ms",
            1_000,
            DEFAULT_TRANSACTION_TIMEOUT,
        )
    }

    fn acks(&mut self, places: &[Place]) -> Acks {
        const ALLOWED: &str = "all, -1 or 1";
        let Some((property, value)) = self.setting(places, "acks") else {
            return Acks::All;
        };
        match value.text.trim().to_ascii_lowercase().as_str() {
            "all" | "-1" => Acks::All,
            "1" => Acks::Leader,
            "0" => self.problem(
                &property,
                &value,
                &format!(
                    "with 0 no broker answers, and nothing could be known to be delivered; allowed: {ALLOWED}"
                ),
                Acks::All,
            ),
            _ => self.not_allowed(&property, &value, ALLOWED, Acks::All),
        }
    }
}

/// A list of them, by Kafka's short names or by those of Java's classes.
pub(super) fn assignors(text: &str) -> Option<Vec<AssignorName>> {
    let mut assignors = Vec::new();
    for name in text.split(',').map(str::trim) {
        let class = name.strip_prefix("org.apache.kafka.clients.consumer.");
        let assignor = AssignorName::ALL.into_iter().find(|assignor| {
            assignor.name() == name || class.is_some_and(|class| assignor.class() == class)
        })?;
        if !assignors.contains(&assignor) {
            assignors.push(assignor);
        }
    }
    Some(assignors)
}

fn compression(text: &str) -> Option<Compression> {
    match text.to_ascii_lowercase().as_str() {
        "none" => Some(Compression::None),
        "gzip" => Some(Compression::Gzip),
        "snappy" => Some(Compression::Snappy),
        "lz4" => Some(Compression::Lz4),
        "zstd" => Some(Compression::Zstd),
        _ => None,
    }
}

/// A size as Spring's `DataSize` reads it: bytes, or with a unit, each 1,024 of the one before.
fn data_size(text: &str) -> Option<usize> {
    let letters = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: usize = text.strip_suffix(letters)?.parse().ok()?;
    let unit = match letters.trim_start().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "KB" => 1024,
        "MB" => MEGABYTE,
        "GB" => 1024 * MEGABYTE,
        _ => return None,
    };
    number.checked_mul(unit)
}
