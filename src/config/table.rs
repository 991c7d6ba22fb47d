//! The table of the properties that the program reads. No I/O.
//!
//! The readers in this folder get the names, defaults and allowed values of a property from here, and so do the warnings about misspelt names,
//! `--help`, `scdf/metadata.json` and `scdf/PROPERTIES.md`. Kafka's own settings have a table of their own, in `kafka_settings`. The file is
//! long because it is one list.

use std::iter;
use std::time::Duration;

use super::RoleName;
use super::kind::{Kind, MAX_INT, MEGABYTE, TOPIC_CHARACTERS};

/// A property.
#[derive(Debug)]
pub(crate) struct Property {
    /// Spring's name, or ours.
    pub(crate) name: &'static str,
    /// Other names of the same property, older or newer ones, the preferred one first. `name` has priority over them.
    pub(crate) aliases: &'static [&'static str],
    /// Roles that read it.
    #[cfg_attr(not(test), expect(dead_code, reason = "only for the generated files"))]
    pub(super) roles: &'static [RoleName],
    /// Allowed values.
    pub(super) kind: Kind,
    /// The value if none is given.
    pub(super) default: DefaultValue,
    /// Its effect, in Markdown.
    #[cfg_attr(not(test), expect(dead_code, reason = "only for the generated files"))]
    pub(super) description: &'static str,
    /// A shorter description, for the properties that `--help` lists.
    pub(crate) help: Option<&'static str>,
    /// Its section in the reference.
    #[cfg_attr(not(test), expect(dead_code, reason = "only for the generated files"))]
    pub(super) audience: Audience,
    /// The value is masked wherever arguments are shown.
    pub(super) secret: bool,
}

impl Property {
    /// Returns the name, then the aliases.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// The value of a property that is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DefaultValue {
    /// No value.
    None,
    /// This value, as it would be given.
    Text(&'static str),
    /// A value that depends on other properties; how, in Markdown.
    Derived(&'static str),
}

/// Origin of a property, which decides on its section in the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Users give it; Data Flow's shell and dashboard list it.
    Users,
    /// Data Flow sets it for every application of a stream.
    DataFlow,
    /// Users of older versions of Spring give it, and it keeps working.
    OlderVersions,
}

const ALL: &[RoleName] = &RoleName::ALL;
const ROUTER_AND_LOG: &[RoleName] = &[RoleName::Router, RoleName::Log];
const ROUTER_AND_TIME: &[RoleName] = &[RoleName::Router, RoleName::Time];
const ROUTER: &[RoleName] = &[RoleName::Router];
const TIME: &[RoleName] = &[RoleName::Time];
const LOG: &[RoleName] = &[RoleName::Log];

/// Values of the fields that an entry of the table leaves out.
const PROPERTY: Property = Property {
    name: "",
    aliases: &[],
    roles: ALL,
    kind: Kind::Text,
    default: DefaultValue::None,
    description: "",
    help: None,
    audience: Audience::Users,
    secret: false,
};

/// Defines a static for each property, and the table of all of them.
macro_rules! properties {
    ($($identifier:ident { $($fields:tt)* })*) => {
        $(pub(crate) static $identifier: Property = Property { $($fields)*, ..PROPERTY };)*

        /// Every property, in the order of `scdf/PROPERTIES.md`.
        pub(super) static PROPERTIES: &[&Property] = &[$(&$identifier),*];
    };
}

/// Group if neither a group nor a stream is given.
pub(super) const DEFAULT_GROUP: &str = "parity-router";

/// Logger if none is given: `spring.application.name` of Spring's log sink.
pub(super) const DEFAULT_LOGGER: &str = "log-sink";

const DURATION_FROM_1_MS: Kind = Kind::Duration {
    min: Duration::from_millis(1),
};
const TOPIC: Kind = Kind::Format(TOPIC_CHARACTERS);
const TIME_UNITS: Kind = Kind::Choice(&[
    "NANOSECONDS",
    "MICROSECONDS",
    "MILLISECONDS",
    "SECONDS",
    "MINUTES",
    "HOURS",
    "DAYS",
]);
const COMPRESSION: Kind = Kind::Choice(&["none", "gzip", "snappy", "lz4", "zstd"]);
const COMPRESSION_TYPE: &str =
    "Compression of what is sent to this topic; Kafka's `compression.type`.";
const BATCH_TIMEOUT: &str = "How long a batch waits for more records; Kafka's `linger.ms`.";
const BUFFER_SIZE: &str = "Largest batch that is sent to this topic; Kafka's `batch.size`.";
const FROM_MEMORY: DefaultValue = DefaultValue::Derived("from `parity-router.memory`");
const MILLISECONDS: Kind = Kind::Number {
    unit: "milliseconds",
    min: 0,
    max: MAX_INT,
};
const BYTES: Kind = Kind::Number {
    unit: "bytes",
    min: 1,
    max: MAX_INT,
};
const PORT: Kind = Kind::Number {
    unit: "a port",
    min: 0,
    max: 65535,
};
const SYNC: &str = "Has no effect: the producers always wait for the broker's acknowledgement.";

properties! {
    // All roles
    ROLE {
        name: "parity-router.role",
        kind: Kind::Choice(&["router", "time", "log"]),
        default: DefaultValue::Text("router"),
        description: "Role of the program, if its first argument does not name one."
    }
    BROKERS {
        name: "spring.cloud.stream.kafka.binder.brokers",
        kind: Kind::Format("[PLAINTEXT://]host[:port], separated by commas"),
        default: DefaultValue::Text("localhost"),
        description: "Kafka brokers to connect to first.",
        help: Some("Kafka brokers")
    }
    DEFAULT_BROKER_PORT {
        name: "spring.cloud.stream.kafka.binder.defaultBrokerPort",
        kind: Kind::Number { unit: "a port", min: 1, max: 65535 },
        default: DefaultValue::Text("9092"),
        description: "Port of the brokers that are given without one."
    }
    AUTO_CREATE_TOPICS {
        name: "spring.cloud.stream.kafka.binder.autoCreateTopics",
        kind: Kind::Boolean,
        default: DefaultValue::Text("true"),
        description: "`true` creates missing topics, `false` waits until they exist."
    }
    MIN_PARTITION_COUNT {
        name: "spring.cloud.stream.kafka.binder.minPartitionCount",
        kind: Kind::Number { unit: "a number", min: 1, max: MAX_INT },
        default: DefaultValue::Text("1"),
        description: "Number of partitions of a topic that is created."
    }
    REPLICATION_FACTOR {
        name: "spring.cloud.stream.kafka.binder.replicationFactor",
        kind: Kind::NumberOrMinusOne { minus_one: "the broker's default", min: 1, max: 32767 },
        default: DefaultValue::Text("-1"),
        description: "Number of replicas of a topic that is created."
    }
    CLIENT {
        name: "parity-router.client",
        kind: Kind::Format("native, or librdkafka or kafka in builds that include them"),
        default: DefaultValue::Text("native"),
        description: "Kafka client. `librdkafka` is for TLS, SASL and messages from before Kafka 0.11.",
        help: Some("Kafka client")
    }
    MEMORY {
        name: "parity-router.memory",
        kind: Kind::Size { min: 4 * MEGABYTE, max: 1024 * MEGABYTE },
        default: DefaultValue::Text("16MB"),
        description: "Memory for everything that the client `native` holds. The unit is `B`, `KB`, `MB` or `GB`."
    }
    SERVER_PORT {
        name: "server.port",
        kind: PORT,
        default: DefaultValue::Text("8080"),
        description: "Port of the actuator; with `0` the system chooses a free one.",
        help: Some("port of the actuator")
    }
    SERVER_ADDRESS {
        name: "server.address",
        kind: Kind::Format("an IP address"),
        default: DefaultValue::Derived("all addresses of the host"),
        description: "Address of the actuator."
    }
    MANAGEMENT_SERVER_PORT {
        name: "management.server.port",
        kind: PORT,
        default: DefaultValue::Derived("`server.port`"),
        description: "Port of the actuator. Has priority over `server.port`."
    }
    MANAGEMENT_SERVER_ADDRESS {
        name: "management.server.address",
        kind: Kind::Format("an IP address"),
        default: DefaultValue::Derived("`server.address`"),
        description: "Address of the actuator. Has priority over `server.address`."
    }
    SHOW_DETAILS {
        name: "management.endpoint.health.show-details",
        kind: Kind::Choice(&["never", "when-authorized", "always"]),
        default: DefaultValue::Text("never"),
        description: "`always` adds components and counters to the health. The actuator has no authorization, so `when-authorized` means `never`."
    }
    LOGGING_LEVEL {
        name: "logging.level.root",
        kind: Kind::Choice(&["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "OFF"]),
        default: DefaultValue::Text("INFO"),
        description: "Level of the log. The environment variable `RUST_LOG` has priority.",
        help: Some("log level")
    }
    ZK_NODES {
        name: "spring.cloud.stream.kafka.binder.zkNodes",
        description: "ZooKeeper nodes. Not used; shown by `/actuator/info`."
    }

    // Set by Data Flow
    STREAM_NAME {
        name: "spring.cloud.dataflow.stream.name",
        audience: Audience::DataFlow,
        description: "Name of the stream, and the default of the consumer group. Shown by `/actuator/info`."
    }
    APP_LABEL {
        name: "spring.cloud.dataflow.stream.app.label",
        audience: Audience::DataFlow,
        description: "Name of the application in the stream; part of the log sink's default consumer group. Shown by `/actuator/info`."
    }
    APP_GUID {
        name: "spring.cloud.application.guid",
        audience: Audience::DataFlow,
        description: "Id of this instance. Shown by `/actuator/info`."
    }
    APP_GROUP {
        name: "spring.cloud.application.group",
        audience: Audience::DataFlow,
        description: "Group of the application. Shown by `/actuator/info`."
    }

    // Router and log sink
    INPUT_DESTINATION {
        name: "spring.cloud.stream.bindings.input.destination",
        roles: ROUTER_AND_LOG,
        kind: Kind::Format("names of topics, separated by commas"),
        default: DefaultValue::Text("input"),
        description: "Topics to read.",
        help: Some("topics to read")
    }
    INPUT_GROUP {
        name: "spring.cloud.stream.bindings.input.group",
        roles: ROUTER_AND_LOG,
        default: DefaultValue::Derived("router: the stream's name; log sink: `<stream>.<label>`; without a stream `parity-router`"),
        description: "Consumer group. An empty value means no group, as in the recipe: reading starts at the latest record and commits nothing.",
        help: Some("group (the stream's name)")
    }
    START_OFFSET {
        name: "spring.cloud.stream.kafka.bindings.input.consumer.startOffset",
        roles: ROUTER_AND_LOG,
        kind: Kind::Choice(&["earliest", "latest"]),
        default: DefaultValue::Derived("`earliest`, without a group `latest`"),
        description: "Where a group without committed offsets starts."
    }
    STALL_TIMEOUT {
        name: "parity-router.stall-timeout",
        roles: ROUTER_AND_LOG,
        kind: Kind::Duration { min: Duration::from_secs(1) },
        default: DefaultValue::Text("30s"),
        description: "How long a partition may have records in flight or unread without progress before it is logged and makes the program unready."
    }
    AUTO_REBALANCE {
        name: "spring.cloud.stream.kafka.bindings.input.consumer.autoRebalanceEnabled",
        roles: ROUTER_AND_LOG,
        kind: Kind::Boolean,
        default: DefaultValue::Text("true"),
        description: "`false`: no group assigns partitions; each instance reads the partitions whose number modulo the instance count is its index (client `native`)."
    }
    BINDING_INSTANCE_INDEX {
        name: "spring.cloud.stream.bindings.input.consumer.instanceIndex",
        roles: ROUTER_AND_LOG,
        kind: Kind::NumberOrMinusOne { minus_one: "spring.cloud.stream.instanceIndex", min: 0, max: MAX_INT - 1 },
        default: DefaultValue::Text("-1"),
        description: "Index of this instance, below the instance count. For `autoRebalanceEnabled=false`."
    }
    BINDING_INSTANCE_COUNT {
        name: "spring.cloud.stream.bindings.input.consumer.instanceCount",
        roles: ROUTER_AND_LOG,
        kind: Kind::NumberOrMinusOne { minus_one: "spring.cloud.stream.instanceCount", min: 1, max: MAX_INT },
        default: DefaultValue::Text("-1"),
        description: "Number of instances. For `autoRebalanceEnabled=false`."
    }
    INSTANCE_INDEX {
        name: "spring.cloud.stream.instanceIndex",
        roles: ROUTER_AND_LOG,
        kind: Kind::Number { unit: "a number", min: 0, max: MAX_INT - 1 },
        default: DefaultValue::Text("0"),
        description: "Index of this instance, below the instance count. For `autoRebalanceEnabled=false`."
    }
    INSTANCE_COUNT {
        name: "spring.cloud.stream.instanceCount",
        roles: ROUTER_AND_LOG,
        kind: Kind::Number { unit: "a number", min: 1, max: MAX_INT },
        default: DefaultValue::Text("1"),
        description: "Number of instances. For `autoRebalanceEnabled=false`."
    }

    // Router and time source
    REQUIRED_ACKS {
        name: "spring.cloud.stream.kafka.binder.requiredAcks",
        roles: ROUTER_AND_TIME,
        kind: Kind::Choice(&["all", "-1", "1"]),
        default: DefaultValue::Text("all"),
        description: "Replicas that must have a record before it counts as delivered: `all` in-sync ones (`-1` means the same), or with `1` the partition's leader alone."
    }

    // Router
    EVEN_DESTINATION {
        name: "spring.cloud.stream.bindings.even.destination",
        roles: ROUTER,
        kind: TOPIC,
        default: DefaultValue::Text("even"),
        description: "Topic for records whose last digit is even.",
        help: Some("topic for even records")
    }
    ODD_DESTINATION {
        name: "spring.cloud.stream.bindings.odd.destination",
        roles: ROUTER,
        kind: TOPIC,
        default: DefaultValue::Text("odd"),
        description: "Topic for records whose last digit is odd.",
        help: Some("topic for odd records")
    }
    DLQ_NAME {
        name: "spring.cloud.stream.kafka.bindings.input.consumer.dlqName",
        roles: ROUTER,
        kind: TOPIC,
        default: DefaultValue::Derived("`error.<destination>.<group>`; without a group `error.<destination>.anonymous`"),
        description: "Dead-letter topic."
    }
    INVALID {
        name: "parity-router.invalid",
        roles: ROUTER,
        kind: Kind::Choice(&["dlq", "skip", "fail"]),
        default: DefaultValue::Text("dlq"),
        description: "What to do with a record that cannot be routed: send it to the dead-letter topic, skip it, or stop before it (`fail`).",
        help: Some("unroutable records")
    }
    TRANSACTION_ID_PREFIX {
        name: "spring.cloud.stream.kafka.binder.transaction.transactionIdPrefix",
        roles: ROUTER,
        kind: Kind::Format("any text that is not empty"),
        description: "Exactly once: outputs and offsets are written in transactions whose ids start with this (client `native`, Kafka 2.5 or newer)."
    }
    EVEN_COMPRESSION_TYPE {
        name: "spring.cloud.stream.kafka.bindings.even.producer.compressionType",
        aliases: &["spring.cloud.stream.kafka.bindings.even.producer.compression"],
        roles: ROUTER,
        kind: COMPRESSION,
        default: DefaultValue::Derived("`none`"),
        description: COMPRESSION_TYPE
    }
    EVEN_BATCH_TIMEOUT {
        name: "spring.cloud.stream.kafka.bindings.even.producer.batchTimeout",
        roles: ROUTER,
        kind: MILLISECONDS,
        default: DefaultValue::Derived("`0`"),
        description: BATCH_TIMEOUT
    }
    EVEN_BUFFER_SIZE {
        name: "spring.cloud.stream.kafka.bindings.even.producer.bufferSize",
        roles: ROUTER,
        kind: BYTES,
        default: FROM_MEMORY,
        description: BUFFER_SIZE
    }
    EVEN_SYNC {
        name: "spring.cloud.stream.kafka.bindings.even.producer.sync",
        roles: ROUTER,
        audience: Audience::OlderVersions,
        description: SYNC
    }
    ODD_COMPRESSION_TYPE {
        name: "spring.cloud.stream.kafka.bindings.odd.producer.compressionType",
        aliases: &["spring.cloud.stream.kafka.bindings.odd.producer.compression"],
        roles: ROUTER,
        kind: COMPRESSION,
        default: DefaultValue::Derived("`none`"),
        description: COMPRESSION_TYPE
    }
    ODD_BATCH_TIMEOUT {
        name: "spring.cloud.stream.kafka.bindings.odd.producer.batchTimeout",
        roles: ROUTER,
        kind: MILLISECONDS,
        default: DefaultValue::Derived("`0`"),
        description: BATCH_TIMEOUT
    }
    ODD_BUFFER_SIZE {
        name: "spring.cloud.stream.kafka.bindings.odd.producer.bufferSize",
        roles: ROUTER,
        kind: BYTES,
        default: FROM_MEMORY,
        description: BUFFER_SIZE
    }
    ODD_SYNC {
        name: "spring.cloud.stream.kafka.bindings.odd.producer.sync",
        roles: ROUTER,
        audience: Audience::OlderVersions,
        description: SYNC
    }

    // Time source. Names, older ones too, and defaults are those of Spring's applications: `TimeSupplierProperties` and
    // `IntegrationProperties.Poller`; before them `DefaultPollerProperties` (Spring Cloud Stream 3) and `TriggerProperties` (app starters 1
    // and 2).
    OUTPUT_DESTINATION {
        name: "spring.cloud.stream.bindings.output.destination",
        roles: TIME,
        kind: TOPIC,
        default: DefaultValue::Text("output"),
        description: "Topic to send the time to."
    }
    DATE_FORMAT {
        name: "time.date-format",
        aliases: &["trigger.date-format"],
        roles: TIME,
        kind: Kind::Format("a pattern of Java's DateTimeFormatter"),
        default: DefaultValue::Text("MM/dd/yy HH:mm:ss"),
        description: "Format of the time, with English names, in the host's time zone or that of the environment variable `TZ`."
    }
    FIXED_DELAY {
        name: "spring.integration.poller.fixed-delay",
        aliases: &["spring.cloud.stream.poller.fixed-delay", "trigger.fixed-delay"],
        roles: TIME,
        kind: DURATION_FROM_1_MS,
        default: DefaultValue::Text("1s"),
        description: "Time from the end of one send to the start of the next."
    }
    FIXED_RATE {
        name: "spring.integration.poller.fixed-rate",
        roles: TIME,
        kind: DURATION_FROM_1_MS,
        description: "Time from the start of one send to the start of the next, instead of `fixed-delay`."
    }
    INITIAL_DELAY {
        name: "spring.integration.poller.initial-delay",
        aliases: &["spring.cloud.stream.poller.initial-delay", "trigger.initial-delay"],
        roles: TIME,
        kind: Kind::Duration { min: Duration::ZERO },
        default: DefaultValue::Text("0"),
        description: "Time before the first send."
    }
    CRON {
        name: "spring.integration.poller.cron",
        aliases: &["spring.cloud.stream.poller.cron", "trigger.cron"],
        roles: TIME,
        kind: Kind::Format("fixed-delay or fixed-rate instead"),
        description: "Not supported, refused at start-up."
    }
    POLLER_TIME_UNIT {
        name: "spring.cloud.stream.poller.time-unit",
        roles: TIME,
        kind: TIME_UNITS,
        default: DefaultValue::Text("MILLISECONDS"),
        audience: Audience::OlderVersions,
        description: "Unit of the numbers in `spring.cloud.stream.poller.*`."
    }
    TRIGGER_TIME_UNIT {
        name: "trigger.time-unit",
        roles: TIME,
        kind: TIME_UNITS,
        default: DefaultValue::Text("SECONDS"),
        audience: Audience::OlderVersions,
        description: "Unit of the numbers in `trigger.*`."
    }
    OUTPUT_COMPRESSION_TYPE {
        name: "spring.cloud.stream.kafka.bindings.output.producer.compressionType",
        aliases: &["spring.cloud.stream.kafka.bindings.output.producer.compression"],
        roles: TIME,
        kind: COMPRESSION,
        default: DefaultValue::Derived("`none`"),
        description: COMPRESSION_TYPE
    }
    OUTPUT_BATCH_TIMEOUT {
        name: "spring.cloud.stream.kafka.bindings.output.producer.batchTimeout",
        roles: TIME,
        kind: MILLISECONDS,
        default: DefaultValue::Derived("`0`"),
        description: BATCH_TIMEOUT
    }
    OUTPUT_BUFFER_SIZE {
        name: "spring.cloud.stream.kafka.bindings.output.producer.bufferSize",
        roles: TIME,
        kind: BYTES,
        default: FROM_MEMORY,
        description: BUFFER_SIZE
    }
    OUTPUT_SYNC {
        name: "spring.cloud.stream.kafka.bindings.output.producer.sync",
        roles: TIME,
        audience: Audience::OlderVersions,
        description: SYNC
    }

    // Log sink. Names and defaults are those of Spring's `LogSinkProperties`, later `LogConsumerProperties`.
    LOG_NAME {
        name: "log.name",
        aliases: &["log.consumer.name"],
        roles: LOG,
        default: DefaultValue::Derived("`spring.application.name`, else `log-sink`"),
        description: "Name of the logger."
    }
    LOG_LEVEL {
        name: "log.level",
        aliases: &["log.consumer.level"],
        roles: LOG,
        kind: Kind::Choice(&["FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"]),
        default: DefaultValue::Text("INFO"),
        description: "Level at which records are printed."
    }
    LOG_EXPRESSION {
        name: "log.expression",
        aliases: &["log.consumer.expression"],
        roles: LOG,
        kind: Kind::Format("payload, headers, headers['name'] and texts in quotes, joined by +"),
        default: DefaultValue::Text("payload"),
        description: "What is printed of a record. Its position is in the headers `kafka_receivedTopic`, `kafka_receivedPartitionId`, `kafka_offset`, `kafka_receivedTimestamp` and `kafka_receivedMessageKey`."
    }
    APPLICATION_NAME {
        name: "spring.application.name",
        roles: LOG,
        description: "Name of the logger, if `log.name` is not given."
    }
}

/// Returns a line for each of the properties that `--help` lists: name, with its values if there is room, short description and default.
pub(crate) fn help_lines() -> Vec<String> {
    let listed = PROPERTIES
        .iter()
        .filter_map(|property| Some((property, property.help?)));
    let listed: Vec<(&&Property, &str)> = listed.collect();
    let width = listed
        .iter()
        .map(|(property, _)| property.name.len())
        .max()
        .unwrap_or(0);
    let line = |(property, help): (&&Property, &str)| {
        let name = match property.kind {
            Kind::Choice(words) => format!("{}={}", property.name, words.join("|")),
            _ => property.name.to_owned(),
        };
        let name = if name.len() <= width {
            name.as_str()
        } else {
            property.name
        };
        match property.default {
            DefaultValue::Text(default) => format!("  {name:<width$}   {help} ({default})"),
            DefaultValue::None | DefaultValue::Derived(_) => format!("  {name:<width$}   {help}"),
        }
    };
    listed.into_iter().map(line).collect()
}
