//! Finished, validated values: what the program works with. Raw properties stop here.

mod actuator;
mod bindings;
mod brokers;
mod kafka_settings;
mod kind;
mod log;
mod near_misses;
mod read;
mod reader;
#[cfg(test)]
mod reference;
mod router;
mod secrets;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod time;

use std::net::IpAddr;
use std::time::Duration;

use ::log::Level;

use crate::client::settings::{ClientSettings, ProducerSettings, Subscription};
use crate::date_pattern::DatePattern;
use crate::expression::Expression;

/// Everything the program needs to know.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// Which Kafka client does the work.
    pub(crate) client: ClientKind,
    /// The brokers, and how topics are made there.
    pub(crate) cluster: ClientSettings,
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

    /// Returns the role with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
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

    /// Returns what the role reads and its stall timeout, or `None` for the time source.
    pub(crate) fn input(&self) -> Option<(&Subscription, Duration)> {
        match self {
            Self::Router(settings) => Some((&settings.input, settings.stall_timeout)),
            Self::Time(_) => None,
            Self::Log(settings) => Some((&settings.input, settings.stall_timeout)),
        }
    }
}

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
    /// `parity-router.stall-timeout`
    pub(crate) stall_timeout: Duration,
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
    /// `parity-router.stall-timeout`: how long a partition with unread or in-flight records may make no progress.
    pub(crate) stall_timeout: Duration,
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
    /// All clients.
    pub(crate) const ALL: [Self; 3] = [Self::Native, Self::Librdkafka, Self::Kafka];

    /// The clients of this build that support what `kafka` does not, for messages.
    pub(crate) const KAFKA_ALTERNATIVES: &str = if cfg!(feature = "librdkafka") {
        "parity-router.client=native or librdkafka"
    } else {
        "parity-router.client=native"
    };

    /// The clients that this build includes.
    pub(crate) const AVAILABLE: &[Self] = &[
        Self::Native,
        #[cfg(feature = "librdkafka")]
        Self::Librdkafka,
        #[cfg(feature = "kafka")]
        Self::Kafka,
    ];

    /// Returns the names of the clients that this build includes.
    pub(crate) fn available_names() -> Vec<&'static str> {
        Self::AVAILABLE.iter().map(|client| client.name()).collect()
    }

    /// As it is written in the property.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Librdkafka => "librdkafka",
            Self::Kafka => "kafka",
        }
    }
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
