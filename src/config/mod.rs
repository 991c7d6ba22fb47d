//! Finished, validated values: what the program works with. Raw properties stop here.

mod known;
mod read;

use std::net::IpAddr;

/// Everything the router needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Which Kafka client does the work.
    pub(crate) client: ClientKind,
    /// Bootstrap brokers, each `host:port` (an IPv6 host in brackets); at least one.
    pub(crate) brokers: Vec<String>,
    /// Input topics; at least one, all different.
    pub(crate) input: Vec<String>,
    /// Topic for even records.
    pub(crate) even: String,
    /// Topic for odd records.
    pub(crate) odd: String,
    /// Consumer group.
    pub(crate) group: Group,
    /// Where a group without a committed offset starts.
    pub(crate) start_offset: StartOffset,
    /// What becomes of a record that cannot be routed.
    pub(crate) invalid: Invalid,
    /// Making of missing topics.
    pub(crate) topics: TopicSettings,
    /// Where the actuator listens.
    pub(crate) actuator: ActuatorSettings,
    /// What `/actuator/info` tells.
    pub(crate) info: Info,
}

/// Which Kafka client does the work (`parity-router.client`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientKind {
    /// librdkafka, by the `rdkafka` crate.
    Librdkafka,
    /// The pure-Rust `kafka` crate.
    Kafka,
}

/// The consumer group (`spring.cloud.stream.bindings.input.group`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Group {
    /// Offsets are committed under this name.
    Named(String),
    /// Spring's anonymous subscription: from the latest record, nothing is committed.
    Anonymous,
}

/// Where a group without a committed offset starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartOffset {
    /// At the oldest record there is.
    Earliest,
    /// At what comes from now on.
    Latest,
}

/// What becomes of a record that cannot be routed (`parity-router.invalid`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// It goes unchanged to a dead-letter topic; here is one for each input topic, in the order of `input`.
    DeadLetter(Vec<String>),
    /// It is counted, warned about and skipped.
    Skip,
    /// The router stops before it, its offset uncommitted.
    Fail,
}

/// Making of missing topics, as Spring's Kafka binder does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicSettings {
    /// `spring.cloud.stream.kafka.binder.autoCreateTopics`
    pub(crate) auto_create: bool,
    /// `spring.cloud.stream.kafka.binder.minPartitionCount`, at least 1.
    pub(crate) min_partition_count: i32,
    /// `spring.cloud.stream.kafka.binder.replicationFactor`; -1 means the broker's default.
    pub(crate) replication_factor: i16,
}

/// Where the actuator listens, and how much it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ActuatorSettings {
    /// `management.server.address`, else `server.address`; none means every address of the host.
    pub(crate) address: Option<IpAddr>,
    /// `management.server.port`, else `server.port`; 0 lets the system choose.
    pub(crate) port: u16,
    /// `management.endpoint.health.show-details=always`: health tells its components too.
    pub(crate) show_details: bool,
}

/// What `/actuator/info` tells, as the recipe's script does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Info {
    /// `spring.cloud.dataflow.stream.name`, or empty.
    pub(crate) stream_name: String,
    /// `spring.cloud.dataflow.stream.app.label`, or empty.
    pub(crate) app_label: String,
    /// `spring.cloud.application.guid`, or empty.
    pub(crate) app_guid: String,
    /// `spring.cloud.application.group`, or empty.
    pub(crate) app_group: String,
    /// `spring.cloud.stream.kafka.binder.brokers` as it was given.
    pub(crate) brokers: String,
    /// `spring.cloud.stream.kafka.binder.zkNodes` as it was given, or empty.
    pub(crate) zk_nodes: String,
    /// `spring.cloud.stream.bindings.{input,even,odd}.destination`.
    pub(crate) input: String,
    /// See `input`.
    pub(crate) even: String,
    /// See `input`.
    pub(crate) odd: String,
    /// The program and its arguments; the values of secrets are masked as `******`.
    pub(crate) arguments: Vec<String>,
}
