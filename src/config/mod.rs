//! The validated configuration. `read` makes it from the raw properties, which no other module sees.

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

/// The configuration of the program.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) client: ClientKind,
    /// Settings that all Kafka clients of the program share: brokers, connections, creation of topics, memory.
    pub(crate) client_settings: ClientSettings,
    /// The role, with its settings.
    pub(crate) role: Role,
    pub(crate) actuator: ActuatorSettings,
    pub(crate) info: Info,
}

/// Name of a role, given by the first argument or by `parity-router.role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoleName {
    /// Routes records by the parity of their last digit.
    Router,
    /// Sends the time, as Spring's time source does.
    Time,
    /// Prints records, as Spring's log sink does.
    Log,
}

impl RoleName {
    /// All roles.
    pub(crate) const ALL: [Self; 3] = [Self::Router, Self::Time, Self::Log];

    /// Returns the name, as on the command line.
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
    Router(Box<RouterSettings>),
    Time(TimeSettings),
    Log(LogSettings),
}

impl Role {
    pub(crate) fn name(&self) -> RoleName {
        match self {
            Self::Router(_) => RoleName::Router,
            Self::Time(_) => RoleName::Time,
            Self::Log(_) => RoleName::Log,
        }
    }

    /// Returns the subscription and the stall timeout, or `None` for the time source, which does not read.
    pub(crate) fn input(&self) -> Option<(&Subscription, Duration)> {
        match self {
            Self::Router(settings) => Some((&settings.input, settings.stall_timeout)),
            Self::Time(_) => None,
            Self::Log(settings) => Some((&settings.input, settings.stall_timeout)),
        }
    }
}

/// Exactly once: outputs and offsets are written in transactions (`spring.cloud.stream.kafka.binder.transaction`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TransactionSettings {
    /// `transactionIdPrefix`: prefix of the transactional ids.
    pub(crate) prefix: String,
    /// `transaction.timeout.ms`: how long a transaction may be open before the broker aborts it.
    pub(crate) timeout: Duration,
}

/// Settings of the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouterSettings {
    /// Topics to route.
    pub(crate) input: Subscription,
    /// `parity-router.stall-timeout`: how long a partition with unread or in-flight records may make no progress.
    pub(crate) stall_timeout: Duration,
    /// Topic for even records.
    pub(crate) even: String,
    /// Topic for odd records.
    pub(crate) odd: String,
    /// Treatment of records that cannot be routed.
    pub(crate) invalid: Invalid,
    /// Exactly once, or with `None` at least once.
    pub(crate) transaction: Option<TransactionSettings>,
    /// Settings of the producer of even records.
    pub(crate) even_producer: ProducerSettings,
    /// Settings of the producer of odd records, which also sends dead letters.
    pub(crate) odd_producer: ProducerSettings,
}

/// Settings of the time source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TimeSettings {
    /// Topic that the time is sent to.
    pub(crate) output: String,
    /// `time.date-format`
    pub(crate) format: DatePattern,
    pub(crate) poller: Poller,
    pub(crate) producer: ProducerSettings,
}

/// When the time is sent, as with Spring Integration's poller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Poller {
    /// Delay before the first send.
    pub(crate) initial_delay: Duration,
    pub(crate) pace: Pace,
}

/// Time between two sends, at least 1 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// From the end of one send to the start of the next.
    FixedDelay(Duration),
    /// From start to start. After a delay the missed sends follow without a pause.
    FixedRate(Duration),
}

/// Settings of the log sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// Topics to print.
    pub(crate) input: Subscription,
    /// `parity-router.stall-timeout`: how long a partition with unread or in-flight records may make no progress.
    pub(crate) stall_timeout: Duration,
    /// Name of the logger (`log.name`).
    pub(crate) name: String,
    /// Level at which records are printed (`log.level`).
    pub(crate) level: Level,
    /// The text to print for a record (`log.expression`).
    pub(crate) expression: Expression,
}

/// The Kafka client (`parity-router.client`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientKind {
    /// The router's own client, in pure Rust.
    Native,
    /// librdkafka, through the crate `rdkafka`.
    Librdkafka,
    /// The crate `kafka`, in pure Rust.
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

    /// Returns the name, as in the property.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Librdkafka => "librdkafka",
            Self::Kafka => "kafka",
        }
    }
}

/// Treatment of records that cannot be routed (`parity-router.invalid`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// They go unchanged to dead-letter topics: one for each input topic, in the order of the input topics.
    DeadLetter(Vec<String>),
    /// They are counted, logged as warnings and skipped.
    Skip,
    /// The router stops at the first one, without committing its offset.
    Fail,
}

/// Settings of the actuator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ActuatorSettings {
    /// `management.server.address`, else `server.address`; with `None` every address of the host.
    pub(crate) address: Option<IpAddr>,
    /// `management.server.port`, else `server.port`; with 0 the system chooses.
    pub(crate) port: u16,
    /// `management.endpoint.health.show-details=always`: the health includes its components.
    pub(crate) show_details: bool,
}

/// Contents of `/actuator/info`, the same as the recipe's script shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) role: RoleName,
    /// `spring.cloud.dataflow.stream.name`, or empty.
    pub(crate) stream_name: String,
    /// `spring.cloud.dataflow.stream.app.label`, or empty.
    pub(crate) app_label: String,
    /// `spring.cloud.application.guid`, or empty.
    pub(crate) app_guid: String,
    /// `spring.cloud.application.group`, or empty.
    pub(crate) app_group: String,
    /// `spring.cloud.stream.kafka.binder.brokers`, each as `host:port`.
    pub(crate) brokers: String,
    /// `spring.cloud.stream.kafka.binder.zkNodes` as given, or empty.
    pub(crate) zk_nodes: String,
    /// Name and destination of each input binding.
    pub(crate) inputs: Vec<(&'static str, String)>,
    /// Name and destination of each output binding.
    pub(crate) outputs: Vec<(&'static str, String)>,
    /// The program and its arguments; the values of secrets are masked as `******`.
    pub(crate) arguments: Vec<String>,
}
