//! Finished, validated values: what the program works with. Raw properties stop here.

mod client;
mod kafka;
pub(crate) mod known;
mod read;
mod roles;

use std::net::IpAddr;
use std::time::Duration;

use log::Level;

pub(crate) use client::{
    Acks, AssignorName, Compression, ConnectionSettings, ConsumerSettings, DEFAULT_MEMORY,
    GroupProtocol, InstanceShare, Isolation, Pairs, ProducerSettings,
};

use crate::client::Transaction;
use crate::roles::log::Expression;
use crate::roles::time::DatePattern;

/// Everything the program needs to know.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// Which Kafka client does the work.
    pub(crate) client: ClientKind,
    /// The brokers, and how topics are made there.
    pub(crate) cluster: Cluster,
    /// What the program is, and what it works with as that.
    pub(crate) role: Role,
    /// Where the actuator listens.
    pub(crate) actuator: ActuatorSettings,
    /// What `/actuator/info` tells.
    pub(crate) info: Info,
}

/// What the program can be (the first argument, or `parity-router.role`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoleName {
    /// Routes records.
    Router,
    /// Sends the time.
    Time,
    /// Prints records.
    Log,
}

impl RoleName {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Router, Self::Time, Self::Log];

    /// As it is written on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Time => "time",
            Self::Log => "log",
        }
    }

    /// The role of this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// A role with its settings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Role {
    /// See [`RoleName::Router`].
    Router(Box<RouterSettings>),
    /// See [`RoleName::Time`].
    Time(TimeSettings),
    /// See [`RoleName::Log`].
    Log(LogSettings),
}

impl Role {
    /// Its name.
    pub(crate) fn name(&self) -> RoleName {
        match self {
            Self::Router(_) => RoleName::Router,
            Self::Time(_) => RoleName::Time,
            Self::Log(_) => RoleName::Log,
        }
    }

    /// The transactional id of this process, where it writes in transactions.
    pub(crate) fn transactional_id(&self) -> Option<String> {
        let Self::Router(router) = self else {
            return None;
        };
        let transaction = router.transaction.as_ref()?;
        Some(Transaction::id(&transaction.prefix, &router.input))
    }

    /// What it reads, if anything.
    pub(crate) fn input(&self) -> Option<&Subscription> {
        match self {
            Self::Router(settings) => Some(&settings.input),
            Self::Time(_) => None,
            Self::Log(settings) => Some(&settings.input),
        }
    }
}

/// Where Kafka is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// Bootstrap brokers, each `host:port` (an IPv6 host in brackets); at least one.
    pub(crate) brokers: Vec<String>,
    /// Making of missing topics.
    pub(crate) topics: TopicSettings,
    /// How they are connected to and asked.
    pub(crate) connection: ConnectionSettings,
    /// `parity-router.memory`, in bytes: bounds everything the router holds.
    pub(crate) memory: usize,
    /// What was given for all clients, as librdkafka takes it.
    pub(crate) librdkafka: Pairs,
}

/// What is read, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// Input topics; at least one, all different.
    pub(crate) topics: Vec<String>,
    /// Consumer group.
    pub(crate) group: Group,
    /// Where a group without a committed offset starts.
    pub(crate) start_offset: StartOffset,
    /// `parity-router.stall-timeout`: how long a partition with something to do may not get on.
    pub(crate) stall_timeout: Duration,
    /// How it is read.
    pub(crate) consumer: ConsumerSettings,
}

/// Where `parity-router.stall-timeout` does not say: as long as Kafka's clients wait for an answer (`request.timeout.ms`).
pub(crate) const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// That outputs and offsets are written in transactions (`spring.cloud.stream.kafka.binder.transaction`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TransactionSettings {
    /// `transaction-id-prefix`: what transactional ids begin with.
    pub(crate) prefix: String,
    /// `transaction.timeout.ms`: how long one may be open before the broker aborts it.
    pub(crate) timeout: Duration,
}

/// What the router works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouterSettings {
    /// What is routed.
    pub(crate) input: Subscription,
    /// Topic for even records.
    pub(crate) even: String,
    /// Topic for odd records.
    pub(crate) odd: String,
    /// What becomes of a record that cannot be routed.
    pub(crate) invalid: Invalid,
    /// Exactly once; none is at least once.
    pub(crate) transaction: Option<TransactionSettings>,
    /// How the producer of even records sends.
    pub(crate) even_producer: ProducerSettings,
    /// How the producer of odd records, and of dead letters, sends.
    pub(crate) odd_producer: ProducerSettings,
}

/// What the time source works with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TimeSettings {
    /// Topic that the time is sent to.
    pub(crate) output: String,
    /// `time.date-format`
    pub(crate) format: DatePattern,
    /// When the time is sent.
    pub(crate) poller: Poller,
    /// How it is sent.
    pub(crate) producer: ProducerSettings,
}

/// When a source is asked, as Spring Integration's poller does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Poller {
    /// Time from the start to the first time.
    pub(crate) initial_delay: Duration,
    /// Time between two.
    pub(crate) pace: Pace,
}

/// From when to when the time between two polls is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// From the end of one to the start of the next.
    FixedDelay(Duration),
    /// From start to start; what was missed is made up for.
    FixedRate(Duration),
}

/// What the log sink works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// What is printed.
    pub(crate) input: Subscription,
    /// Name of the logger (`log.name`).
    pub(crate) name: String,
    /// Level of the lines (`log.level`).
    pub(crate) level: Level,
    /// What is printed of a record (`log.expression`).
    pub(crate) expression: Expression,
}

/// Which Kafka client does the work (`parity-router.client`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientKind {
    /// The router's own, pure Rust.
    Native,
    /// librdkafka, by the `rdkafka` crate.
    Librdkafka,
    /// The pure-Rust `kafka` crate.
    Kafka,
}

impl ClientKind {
    /// As it is written in the property.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Librdkafka => "librdkafka",
            Self::Kafka => "kafka",
        }
    }
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
    /// It goes unchanged to a dead-letter topic; here is one for each input topic, in their order.
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
    /// What the program is.
    pub(crate) role: RoleName,
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
    /// Name and destination of each binding that is read.
    pub(crate) inputs: Vec<(&'static str, String)>,
    /// Name and destination of each binding that is written.
    pub(crate) outputs: Vec<(&'static str, String)>,
    /// The program and its arguments; the values of secrets are masked as `******`.
    pub(crate) arguments: Vec<String>,
}
