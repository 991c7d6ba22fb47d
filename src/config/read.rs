//! From raw properties to finished values. Pure. Every problem is collected: a user sees all of them at once.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use super::kafka_settings::Setting;
use super::known;
use super::roles::MILLISECOND;
use super::{
    ActuatorSettings, ClientKind, Config, DEFAULT_STALL_TIMEOUT, Info, Invalid, Role, RoleName,
    RouterSettings, TransactionSettings,
};
use crate::client::settings::{
    ClientSettings, GroupId, Isolation, StartOffset, Subscription, TopicSettings,
};
use crate::error::Problem;
use crate::properties::{Properties, Value};

/// The group of who has neither a group nor a stream.
pub(super) const DEFAULT_GROUP: &str = "parity-router";

/// The client of who names none.
const DEFAULT_CLIENT: ClientKind = ClientKind::Native;

/// A shorter one would tell of every group that is joined and every broker that starts.
const SHORTEST_STALL: Duration = Duration::from_secs(1);

/// What turns exactly once on.
const TRANSACTION_PREFIX: &str = "spring.cloud.stream.kafka.binder.transaction.transactionIdPrefix";

/// Data Flow's names for the stream and for the application in it.
pub(super) const STREAM_NAME: &str = "spring.cloud.dataflow.stream.name";
pub(super) const APP_LABEL: &str = "spring.cloud.dataflow.stream.app.label";

/// Name and destination of bindings, for `/actuator/info`.
pub(super) type Bindings = Vec<(&'static str, String)>;

/// Words in an argument's name whose value is not shown: those of Spring Boot's sanitizing, and what holds a login in Kafka's names.
const SECRETS: [&str; 8] = [
    "password",
    "secret",
    "token",
    "credential",
    "passphrase",
    "jaas",
    "apikey",
    "key",
];

impl Config {
    /// Reads it; beside it, what is to be warned about. `role` is the command's, where there was one; `arguments` are what
    /// `/actuator/info` shows.
    pub(crate) fn read(
        properties: &Properties,
        role: Option<RoleName>,
        arguments: &[String],
    ) -> Result<(Self, Vec<String>), Vec<Problem>> {
        let mut reader = Reader::new(properties);
        reader.warnings.extend(properties.warnings.iter().cloned());
        reader
            .warnings
            .extend(known::near_misses(properties.given()));
        let config = reader.config(role, arguments);
        if reader.problems.is_empty() {
            Ok((config, reader.warnings))
        } else {
            Err(reader.problems)
        }
    }

    /// Where the actuator listens, for who only wants to ask it.
    pub(crate) fn read_actuator(properties: &Properties) -> Result<ActuatorSettings, Vec<Problem>> {
        let mut reader = Reader::new(properties);
        let settings = reader.actuator();
        if reader.problems.is_empty() {
            Ok(settings)
        } else {
            Err(reader.problems)
        }
    }
}

pub(super) struct Reader<'a> {
    pub(super) properties: &'a Properties,
    problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
    /// What is read first, since it decides on what can be.
    pub(super) client: ClientKind,
    /// Kafka's own names that are given.
    pub(super) settings: Vec<Setting>,
}

impl<'a> Reader<'a> {
    fn new(properties: &'a Properties) -> Self {
        Self {
            properties,
            problems: properties.problems.clone(),
            warnings: Vec::new(),
            client: DEFAULT_CLIENT,
            settings: Vec::new(),
        }
    }
}

impl Reader<'_> {
    fn config(&mut self, role: Option<RoleName>, arguments: &[String]) -> Config {
        let role = role.unwrap_or_else(|| self.role());
        self.client = self.client();
        self.collect_kafka(role);
        if role != RoleName::Router {
            self.no_transaction(role);
        }
        let (role, inputs, outputs) = match role {
            RoleName::Router => self.router(),
            RoleName::Time => self.time(),
            RoleName::Log => self.log(),
        };
        let brokers = self.brokers();
        let config = Config {
            client: self.client,
            info: Info {
                role: role.name(),
                stream_name: self.text(STREAM_NAME),
                app_label: self.text(APP_LABEL),
                app_guid: self.text("spring.cloud.application.guid"),
                app_group: self.text("spring.cloud.application.group"),
                brokers: brokers.join(","),
                zk_nodes: self.text("spring.cloud.stream.kafka.binder.zkNodes"),
                inputs,
                outputs,
                arguments: arguments.iter().map(|argument| masked(argument)).collect(),
            },
            cluster: ClientSettings {
                brokers,
                topics: self.topic_settings(),
                connection: self.connection(),
                memory: self.memory(),
                librdkafka: self.common_pairs(),
            },
            actuator: self.actuator(),
            role,
        };
        self.judge_kafka();
        config
    }

    fn role(&mut self) -> RoleName {
        const NAME: &str = "parity-router.role";
        let Some(value) = self.given(NAME) else {
            return RoleName::Router;
        };
        RoleName::of(&value.text.trim().to_ascii_lowercase()).unwrap_or_else(|| {
            self.not_allowed(NAME, &value, "router, time or log", RoleName::Router)
        })
    }

    fn router(&mut self) -> (Role, Bindings, Bindings) {
        let topics = self.inputs();
        let even = self.output("even", &topics);
        let odd = self.output("odd", &topics);
        let stream_name = self.text(STREAM_NAME);
        let group = self.group(if stream_name.is_empty() {
            DEFAULT_GROUP
        } else {
            &stream_name
        });
        let start_offset = self.start_offset(&group);
        let invalid = self.invalid(&topics, &[&even, &odd], &group);
        let mut settings = RouterSettings {
            even: even.clone(),
            odd: odd.clone(),
            invalid,
            transaction: None,
            input: Subscription {
                topics: topics.clone(),
                group,
                start_offset,
                consumer: self.consumer_settings(),
            },
            stall_timeout: self.stall_timeout(),
            even_producer: self.producer_settings("even"),
            odd_producer: self.producer_settings("odd"),
        };
        settings.transaction = self.transaction(&settings);
        (
            Role::Router(Box::new(settings)),
            vec![("input", topics.join(","))],
            vec![("even", even), ("odd", odd)],
        )
    }

    /// Exactly once, where it is wanted; it must not be given up by something else.
    fn transaction(&mut self, router: &RouterSettings) -> Option<TransactionSettings> {
        let timeout = self.transaction_timeout();
        let value = self.given(TRANSACTION_PREFIX)?;
        let prefix = value.text.trim().to_owned();
        let producers = [&router.even_producer, &router.odd_producer];
        let message = if prefix.is_empty() {
            "an empty prefix; allowed: any other one, or to leave it out"
        } else if self.client != ClientKind::Native {
            "only the client native has transactions; allowed: parity-router.client=native, or to leave it out"
        } else if router.input.group == GroupId::Anonymous {
            "without a group there are no offsets to commit; allowed with a spring.cloud.stream.bindings.input.group"
        } else if producers.iter().any(|producer| !producer.idempotent) {
            "transactions need acks=all and enable.idempotence=true, which are the defaults"
        } else if router.input.consumer.isolation == Isolation::ReadUncommitted {
            "exactly once needs isolation.level=read_committed, which is the default"
        } else {
            return Some(TransactionSettings { prefix, timeout });
        };
        self.problem(TRANSACTION_PREFIX, &value, message, None)
    }

    /// In a role that writes no transactions: who gave the prefix may rely on it.
    fn no_transaction(&mut self, role: RoleName) {
        if let Some(value) = self.given(TRANSACTION_PREFIX) {
            self.warnings.push(format!(
                "{TRANSACTION_PREFIX} ({}) has no effect in the role {}; it is the router's",
                value.origin,
                role.name()
            ));
        }
    }

    fn topic_settings(&mut self) -> TopicSettings {
        TopicSettings {
            auto_create: self.parsed(
                "spring.cloud.stream.kafka.binder.autoCreateTopics",
                true,
                "true or false",
                |_| true,
            ),
            min_partition_count: self.parsed(
                "spring.cloud.stream.kafka.binder.minPartitionCount",
                1,
                "a number from 1 to 2147483647",
                |&count| count >= 1,
            ),
            replication_factor: self.parsed(
                "spring.cloud.stream.kafka.binder.replicationFactor",
                -1,
                "-1 for the broker's default, or a number from 1 to 32767",
                |&factor| factor == -1 || factor >= 1,
            ),
        }
    }

    fn client(&mut self) -> ClientKind {
        const NAME: &str = "parity-router.client";
        let Some(value) = self.given(NAME) else {
            return DEFAULT_CLIENT;
        };
        match value.text.as_str() {
            "native" => ClientKind::Native,
            "kafka" if cfg!(feature = "kafka") => ClientKind::Kafka,
            "librdkafka" if cfg!(feature = "librdkafka") => ClientKind::Librdkafka,
            other @ ("librdkafka" | "kafka") => {
                let message = format!(
                    "this build has not the client {other}, which the default build (cargo feature {other}) has; allowed here: {}",
                    known::CLIENTS.join(" or ")
                );
                self.problem(NAME, &value, &message, DEFAULT_CLIENT)
            }
            _ => self.not_allowed(NAME, &value, &known::CLIENTS.join(" or "), DEFAULT_CLIENT),
        }
    }

    /// The topics of the binding `input`.
    pub(super) fn inputs(&mut self) -> Vec<String> {
        const NAME: &str = "spring.cloud.stream.bindings.input.destination";
        let value = self.given(NAME).unwrap_or_else(|| by_default("input"));
        let mut topics: Vec<String> = Vec::new();
        for topic in value.text.split(',').map(str::trim) {
            self.check_topic(NAME, &value, topic);
            if topics.iter().any(|other| other == topic) {
                self.warnings.push(format!(
                    "{NAME} ({}) names {topic} twice; it is read once",
                    value.origin
                ));
            } else {
                topics.push(topic.to_owned());
            }
        }
        topics
    }

    /// The topic of an output binding, which must be none of the `inputs`.
    pub(super) fn output(&mut self, binding: &str, inputs: &[String]) -> String {
        let name = &format!("spring.cloud.stream.bindings.{binding}.destination");
        let value = self.given(name).unwrap_or_else(|| by_default(binding));
        let topic = value.text.trim();
        self.check_topic(name, &value, topic);
        if inputs.iter().any(|input| input == topic) {
            let message = format!(
                "{topic} is also in spring.cloud.stream.bindings.input.destination: records would go round; allowed: a topic that is not read"
            );
            self.problem(name, &value, &message, ());
        }
        topic.to_owned()
    }

    /// The group of the binding `input`, which is called `default` where none is given.
    pub(super) fn group(&mut self, default: &str) -> GroupId {
        match self.given("spring.cloud.stream.bindings.input.group") {
            None => GroupId::Named(default.to_owned()),
            // Data Flow's stream language writes an empty value as two (escaped) quotes.
            Some(value) if matches!(value.text.trim(), "" | "\"\"" | "\\\"\\\"" | "''") => {
                GroupId::Anonymous
            }
            Some(value) => GroupId::Named(value.text.trim().to_owned()),
        }
    }

    /// Where a new group starts.
    pub(super) fn start_offset(&mut self, group: &GroupId) -> StartOffset {
        const NAME: &str = "spring.cloud.stream.kafka.bindings.input.consumer.startOffset";
        // Spring's rule: an anonymous subscription is about what comes.
        let default = if *group == GroupId::Anonymous {
            StartOffset::Latest
        } else {
            StartOffset::Earliest
        };
        let Some(value) = self.given(NAME) else {
            return self.offset_reset(default);
        };
        match value.text.to_ascii_lowercase().as_str() {
            "earliest" => StartOffset::Earliest,
            "latest" => StartOffset::Latest,
            _ => self.not_allowed(NAME, &value, "earliest or latest", default),
        }
    }

    /// How long a partition may not get on.
    pub(super) fn stall_timeout(&mut self) -> Duration {
        const NAME: &str = "parity-router.stall-timeout";
        let given = self.given(NAME);
        given
            .and_then(|value| self.duration(NAME, &value, MILLISECOND, SHORTEST_STALL))
            .unwrap_or(DEFAULT_STALL_TIMEOUT)
    }

    fn invalid(&mut self, inputs: &[String], outputs: &[&str], group: &GroupId) -> Invalid {
        const NAME: &str = "parity-router.invalid";
        const DLQ_NAME: &str = "spring.cloud.stream.kafka.bindings.input.consumer.dlqName";
        let choice = self.given(NAME).unwrap_or_else(|| by_default("dlq"));
        match choice.text.to_ascii_lowercase().as_str() {
            "dlq" => (),
            "skip" => return Invalid::Skip,
            "fail" => return Invalid::Fail,
            _ => return self.not_allowed(NAME, &choice, "dlq, skip or fail", Invalid::Fail),
        }
        let group = match group {
            GroupId::Named(name) => name,
            GroupId::Anonymous => "anonymous",
        };
        let given = self.given(DLQ_NAME);
        let mut topics = Vec::new();
        for input in inputs {
            let (topic, value) = match &given {
                Some(value) => (value.text.trim().to_owned(), value.clone()),
                None => (
                    format!("error.{input}.{group}"),
                    by_default("made of destination and group"),
                ),
            };
            // One cause is told once: a bad input is told already, and a name that is given holds for all inputs.
            let check = if given.is_none() {
                is_topic(input)
            } else {
                topics.is_empty()
            };
            if check {
                self.check_topic(DLQ_NAME, &value, &topic);
                if inputs.contains(&topic) || outputs.contains(&topic.as_str()) {
                    let message =
                        format!("{topic} is also a destination; allowed: a topic of its own");
                    self.problem(DLQ_NAME, &value, &message, ());
                }
            }
            topics.push(topic);
        }
        Invalid::DeadLetter(topics)
    }

    fn brokers(&mut self) -> Vec<String> {
        const NAME: &str = "spring.cloud.stream.kafka.binder.brokers";
        let port: u16 = self.parsed(
            "spring.cloud.stream.kafka.binder.defaultBrokerPort",
            9092,
            "a port from 1 to 65535",
            |&port| port != 0,
        );
        let value = self.given(NAME).unwrap_or_else(|| by_default("localhost"));
        let list = value.text.trim().trim_matches(['\'', '"']);
        let mut brokers = Vec::new();
        for broker in list.split(',').map(str::trim) {
            match self::broker(broker, port) {
                Ok(broker) => brokers.push(broker),
                Err(message) => self.problem(NAME, &value, &message, ()),
            }
        }
        brokers
    }

    fn actuator(&mut self) -> ActuatorSettings {
        let port = if self.is_given("management.server.port") {
            "management.server.port"
        } else {
            "server.port"
        };
        let address = if self.is_given("management.server.address") {
            "management.server.address"
        } else {
            "server.address"
        };
        let details = "management.endpoint.health.show-details";
        let show_details = match self.given(details) {
            None => false,
            Some(value) => match value.text.to_ascii_lowercase().replace('_', "-").as_str() {
                "always" => true,
                "never" | "when-authorized" => false,
                _ => self.not_allowed(details, &value, "never, when-authorized or always", false),
            },
        };
        ActuatorSettings {
            port: self.parsed(
                port,
                8080,
                "a port from 0 to 65535, where 0 lets the system choose",
                |_| true,
            ),
            address: self
                .parsed(address, OptionalAddress(None), "an IP address", |_| true)
                .0,
            show_details,
        }
    }

    fn check_topic(&mut self, name: &str, value: &Value, topic: &str) {
        if topic.is_empty() {
            self.problem(
                name,
                value,
                "an empty destination; allowed: the name of a topic",
                (),
            );
        } else if !is_topic(topic) {
            let message = format!(
                "{topic:?} is no topic name; allowed: up to 249 of a-z, A-Z, 0-9, '.', '_' and '-', but not \".\" or \"..\""
            );
            self.problem(name, value, &message, ());
        }
    }

    /// The property, or `default` where it is not given or not as it is allowed to be, which is a problem.
    pub(super) fn parsed<T: FromStr>(
        &mut self,
        name: &str,
        default: T,
        allowed: &str,
        valid: impl Fn(&T) -> bool,
    ) -> T {
        let Some(value) = self.given(name) else {
            return default;
        };
        match value.text.trim().parse() {
            Ok(parsed) if valid(&parsed) => parsed,
            _ => self.not_allowed(name, &value, allowed, default),
        }
    }

    /// The property's text, empty where it is not given. It is only shown, so a placeholder without a value stays as it is.
    pub(super) fn text(&mut self, name: &str) -> String {
        self.properties
            .get(name)
            .ok()
            .flatten()
            .map(|value| value.text)
            .unwrap_or_default()
    }

    /// Whether it is given at all.
    pub(super) fn is_given(&self, name: &str) -> bool {
        !matches!(self.properties.get(name), Ok(None))
    }

    /// The property as it is given; none where it is not, or where a placeholder in it has no value, which is a problem.
    pub(super) fn given(&mut self, name: &str) -> Option<Value> {
        match self.properties.get(name) {
            Ok(value) => value,
            Err(problem) => {
                if !self.problems.contains(&problem) {
                    self.problems.push(problem);
                }
                None
            }
        }
    }

    /// Notes that the value is none of those that are `allowed`; gives back `instead`, to go on with.
    pub(super) fn not_allowed<T>(
        &mut self,
        name: &str,
        value: &Value,
        allowed: &str,
        instead: T,
    ) -> T {
        self.problem(
            name,
            value,
            &format!("{:?} is not allowed; allowed: {allowed}", value.text),
            instead,
        )
    }

    /// Notes a problem; gives back `instead`, to go on with.
    pub(super) fn problem<T>(&mut self, name: &str, value: &Value, message: &str, instead: T) -> T {
        let problem = Problem {
            property: name.to_owned(),
            origin: value.origin.clone(),
            message: message.to_owned(),
        };
        // What two bindings read is told once.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
        instead
    }
}

/// An address where one is given: `Option` has no `FromStr`.
struct OptionalAddress(Option<IpAddr>);

impl FromStr for OptionalAddress {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|address| Self(Some(address)))
    }
}

fn by_default(text: &str) -> Value {
    Value {
        text: text.to_owned(),
        origin: "default".to_owned(),
    }
}

/// Whether Kafka takes it as the name of a topic (`org.apache.kafka.common.internals.Topic`).
pub(super) fn is_topic(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=249).contains(&name.len()) && !matches!(name, "." | "..") && name.chars().all(legal)
}

/// `host:port` of one element of the list: `[PLAINTEXT://]host[:port]`, an IPv6 host in brackets or alone.
fn broker(given: &str, default_port: u16) -> Result<String, String> {
    const ALLOWED: &str = "allowed: [PLAINTEXT://]host[:port], separated by commas";
    let address = match given.split_once("://") {
        Some((protocol, address)) if protocol.eq_ignore_ascii_case("PLAINTEXT") => address,
        Some((protocol, _)) => {
            return Err(format!(
                "{protocol}:// in {given:?}: a protocol other than PLAINTEXT is given by spring.cloud.stream.kafka.binder.configuration.security.protocol; {ALLOWED}"
            ));
        }
        None => given,
    };
    let (host, port) = if address.parse::<Ipv6Addr>().is_ok() {
        (format!("[{address}]"), None)
    } else if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest
            .split_once(']')
            .ok_or_else(|| format!("{given:?} has no closing bracket; {ALLOWED}"))?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err(format!(
                "{host:?} in {given:?} is no IPv6 address; {ALLOWED}"
            ));
        }
        (
            format!("[{host}]"),
            if rest.is_empty() {
                None
            } else {
                Some(rest.strip_prefix(':').unwrap_or("none"))
            },
        )
    } else {
        let (host, port) = address
            .split_once(':')
            .map_or((address, None), |(host, port)| (host, Some(port)));
        (host.to_owned(), port)
    };
    if host.is_empty()
        || host
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '/')
    {
        return Err(format!("{given:?} names no host; {ALLOWED}"));
    }
    let port = match port {
        None => default_port,
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port != 0 => port,
            _ => return Err(format!("{port:?} in {given:?} is no port; {ALLOWED}")),
        },
    };
    Ok(format!("{host}:{port}"))
}

/// The argument, its value hidden where its name tells of a secret.
fn masked(argument: &str) -> String {
    let Some((name, _)) = argument.split_once('=') else {
        return argument.to_owned();
    };
    let mut parts = name.split(['.', '-', '_']).map(str::to_ascii_lowercase);
    let secret = parts.any(|part| {
        SECRETS
            .iter()
            .any(|word| part == *word || (word.len() > 3 && part.contains(word)))
    });
    if secret {
        format!("{name}=******")
    } else {
        argument.to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )]

    use proptest::prelude::*;

    use super::*;
    use crate::client::settings::{ConsumerSettings, ProducerSettings};

    const RECIPE: [&str; 3] = [
        "--spring.cloud.stream.bindings.input.destination=timeDest",
        "--spring.cloud.stream.bindings.even.destination=evenDest",
        "--spring.cloud.stream.bindings.odd.destination=oddDest",
    ];

    fn read(arguments: &[&str]) -> Result<(Config, Vec<String>), Vec<Problem>> {
        let arguments: Vec<String> = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        Config::read(&Properties::of_arguments(&arguments), None, &arguments)
    }

    fn router(config: Config) -> RouterSettings {
        match config.role {
            Role::Router(settings) => *settings,
            role => panic!("{role:?}"),
        }
    }

    /// The recipe's arguments and these in front give a configuration of which `part` is `expected`.
    #[track_caller]
    fn check<T: PartialEq + std::fmt::Debug>(
        arguments: &[&str],
        part: impl Fn(Config) -> T,
        expected: T,
    ) {
        let (config, _) = read(&[arguments, &RECIPE].concat()).unwrap();
        assert_eq!(part(config), expected);
    }

    /// They give one problem for each of these pairs of property and a part of the sentence.
    #[track_caller]
    fn check_problems(arguments: &[&str], expected: &[(&str, &str)]) {
        let problems = read(&[arguments, &RECIPE].concat()).unwrap_err();
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, (property, part)) in problems.iter().zip(expected) {
            assert!(
                problem.property == *property && problem.to_string().contains(part),
                "{problem}"
            );
        }
    }

    #[test]
    fn the_recipe() {
        let (config, warnings) = read(&RECIPE).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(config.cluster.brokers, ["localhost:9092"]);
        assert_eq!(
            router(config.clone()),
            RouterSettings {
                input: Subscription {
                    topics: vec!["timeDest".to_owned()],
                    group: GroupId::Named("parity-router".to_owned()),
                    start_offset: StartOffset::Earliest,
                    consumer: ConsumerSettings::default(),
                },
                even: "evenDest".to_owned(),
                odd: "oddDest".to_owned(),
                transaction: None,
                invalid: Invalid::DeadLetter(vec!["error.timeDest.parity-router".to_owned()]),
                stall_timeout: DEFAULT_STALL_TIMEOUT,
                even_producer: ProducerSettings::default(),
                odd_producer: ProducerSettings::default(),
            }
        );
        assert_eq!(
            config.cluster.topics,
            TopicSettings {
                auto_create: true,
                min_partition_count: 1,
                replication_factor: -1
            }
        );
        assert_eq!(
            config.actuator,
            ActuatorSettings {
                address: None,
                port: 8080,
                show_details: false
            }
        );
    }

    #[test]
    fn what_a_real_data_flow_passes() {
        let json = include_str!("../../tests/fixtures/spring-application-json.json");
        let properties = Properties::read(
            &[],
            [("SPRING_APPLICATION_JSON".to_owned(), json.to_owned())],
            [],
        );
        let (config, warnings) = Config::read(&properties, None, &[]).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(config.cluster.brokers, ["127.0.0.1:9092"]);
        assert_eq!(config.actuator.port, 19548);
        assert_eq!(config.info.app_guid, "timeStampStream.python-router-v2-0");
        assert_eq!(
            router(config).input.group,
            GroupId::Named("timeStampStream".to_owned())
        );
    }

    #[test]
    fn without_destinations_the_bindings_names() {
        let (config, _) = read(&[]).unwrap();
        let router = router(config);
        assert_eq!(
            (router.input.topics, router.even, router.odd),
            (
                vec!["input".to_owned()],
                "even".to_owned(),
                "odd".to_owned()
            )
        );
    }

    #[test]
    fn destinations() {
        let input = |list: &str| format!("--spring.cloud.stream.bindings.input.destination={list}");
        check(
            &[&input("a, b")],
            |config| router(config).input.topics,
            vec!["a".to_owned(), "b".to_owned()],
        );
        let name = "spring.cloud.stream.bindings.input.destination";
        check_problems(&[&input("")], &[(name, "an empty destination")]);
        check_problems(&[&input("a,,b")], &[(name, "an empty destination")]);
        check_problems(&[&input("a b")], &[(name, "is no topic name")]);
        check_problems(
            &[&input("evenDest")],
            &[(
                "spring.cloud.stream.bindings.even.destination",
                "records would go round",
            )],
        );
        check_problems(
            &[&input("x,error.x.parity-router")],
            &[(
                "spring.cloud.stream.kafka.bindings.input.consumer.dlqName",
                "is also a destination",
            )],
        );
        let (config, warnings) = read(&[&input("a,a"), RECIPE[1], RECIPE[2]]).unwrap();
        assert_eq!(
            (router(config).input.topics, warnings.len()),
            (vec!["a".to_owned()], 1)
        );
        check(
            &["--spring.cloud.stream.bindings.odd.destination=evenDest"],
            |config| router(config).odd,
            "evenDest".to_owned(),
        );
    }

    #[test]
    fn groups() {
        let group = "--spring.cloud.stream.bindings.input.group=";
        let stream = "--spring.cloud.dataflow.stream.name=stream";
        let named = |name: &str| GroupId::Named(name.to_owned());
        check(
            &[stream],
            |config| router(config).input.group,
            named("stream"),
        );
        check(
            &[stream, &format!("{group}g")],
            |config| router(config).input.group,
            named("g"),
        );
        let anonymous = (
            GroupId::Anonymous,
            StartOffset::Latest,
            Invalid::DeadLetter(vec!["error.timeDest.anonymous".to_owned()]),
        );
        for empty in ["", "\"\"", "\\\"\\\""] {
            let arguments = [stream, &format!("{group}{empty}")];
            check(
                &arguments,
                |config| {
                    let router = router(config);
                    (
                        router.input.group,
                        router.input.start_offset,
                        router.invalid,
                    )
                },
                anonymous.clone(),
            );
        }
        let dlq = "spring.cloud.stream.kafka.bindings.input.consumer.dlqName";
        check_problems(&[&format!("{group}a/b")], &[(dlq, "is no topic name")]);
        check(
            &[&format!("{group}a/b"), "--parity-router.invalid=skip"],
            |config| router(config).invalid,
            Invalid::Skip,
        );
        let own = format!("--{dlq}=dead");
        check(
            &[&format!("{group}a/b"), &own],
            |config| router(config).invalid,
            Invalid::DeadLetter(vec!["dead".to_owned()]),
        );
    }

    #[test]
    fn brokers() {
        let brokers = |list: &str| format!("--spring.cloud.stream.kafka.binder.brokers={list}");
        let list = |list: &[&str]| -> Vec<String> {
            list.iter().map(|&broker| broker.to_owned()).collect()
        };
        check(
            &[&brokers("a")],
            |config| config.cluster.brokers,
            list(&["a:9092"]),
        );
        check(
            &[&brokers("a:1, b:2 ,PLAINTEXT://c,plaintext://d:3")],
            |config| config.cluster.brokers,
            list(&["a:1", "b:2", "c:9092", "d:3"]),
        );
        check(
            &[&brokers("'a:1,b'")],
            |config| config.cluster.brokers,
            list(&["a:1", "b:9092"]),
        );
        check(
            &[&brokers("[::1]:1,[::1],::1")],
            |config| config.cluster.brokers,
            list(&["[::1]:1", "[::1]:9092", "[::1]:9092"]),
        );
        let port = "--spring.cloud.stream.kafka.binder.default-broker-port=7";
        check(
            &[port, &brokers("a,b:8")],
            |config| config.cluster.brokers,
            list(&["a:7", "b:8"]),
        );
        let name = "spring.cloud.stream.kafka.binder.brokers";
        for (bad, part) in [
            ("", "names no host"),
            ("a,", "names no host"),
            ("a:x", "is no port"),
            ("a:0", "is no port"),
            ("a:99999", "is no port"),
            ("a:", "is no port"),
            ("SSL://a", "configuration.security.protocol"),
            ("[::1", "no closing bracket"),
            ("[a]:1", "no IPv6 address"),
            ("[::1]x", "is no port"),
            ("a b", "names no host"),
        ] {
            check_problems(&[&brokers(bad)], &[(name, part)]);
        }
    }

    #[test]
    fn numbers_and_choices() {
        check(&["--server.port=1"], |config| config.actuator.port, 1);
        check(
            &["--server.port=1", "--management.server.port=2"],
            |config| config.actuator.port,
            2,
        );
        check(
            &["--server.address=127.0.0.1"],
            |config| config.actuator.address,
            Some("127.0.0.1".parse().unwrap()),
        );
        check(
            &["--management.endpoint.health.show-details=ALWAYS"],
            |config| config.actuator.show_details,
            true,
        );
        #[cfg(feature = "kafka")]
        check(
            &["--parity-router.client=kafka"],
            |config| config.client,
            ClientKind::Kafka,
        );
        for native in ["--parity-router.client=native", "other=1"] {
            check(&[native], |config| config.client, ClientKind::Native);
        }
        for (argument, allowed) in [
            ("server.port=x", "a port from 0 to 65535"),
            ("server.port=65536", "a port from 0 to 65535"),
            ("management.server.port=", "a port from 0 to 65535"),
            ("server.address=host", "an IP address"),
            ("parity-router.client=java", "native"),
            ("parity-router.invalid=drop", "dlq, skip or fail"),
            (
                "spring.cloud.stream.kafka.bindings.input.consumer.startOffset=middle",
                "earliest or latest",
            ),
            (
                "spring.cloud.stream.kafka.binder.autoCreateTopics=yes",
                "true or false",
            ),
            (
                "spring.cloud.stream.kafka.binder.minPartitionCount=0",
                "a number from 1",
            ),
            (
                "spring.cloud.stream.kafka.binder.replicationFactor=0",
                "-1 for the broker's default",
            ),
            (
                "management.endpoint.health.show-details=yes",
                "never, when-authorized or always",
            ),
            ("server.port=${nowhere}", "${nowhere}"),
        ] {
            let name = argument.split_once('=').unwrap().0;
            check_problems(&[&format!("--{argument}")], &[(name, allowed)]);
        }
    }

    #[test]
    fn all_problems_at_once() {
        let arguments = [
            "--server.port=x",
            "--spring.cloud.stream.bindings.input.destination=",
            "--parity-router.invalid=x",
        ];
        assert_eq!(read(&arguments).unwrap_err().len(), 3);
    }

    #[cfg(not(feature = "librdkafka"))]
    #[test]
    fn a_client_that_this_build_has_not() {
        check_problems(
            &["--parity-router.client=librdkafka"],
            &[("parity-router.client", "the default build")],
        );
    }

    #[test]
    fn secrets_are_masked() {
        for secret in [
            "--ssl.key.password=x",
            "--app.token=x",
            "--sasl.jaas.config=x",
            "--my-secret=x",
            "admin-user-credentials=x",
            "--ssl.key=x",
        ] {
            assert!(masked(secret).ends_with("=******"), "{secret}");
        }
        for open in [
            "--server.port=1",
            "--monkey=1",
            "word",
            "--spring.cloud.stream.bindings.input.destination=keys",
        ] {
            assert_eq!(masked(open), open);
        }
    }

    proptest! {
        #[test]
        fn any_list_of_brokers_is_read(list in "[a-c:,/\\[\\]0-9 é]{0,40}") {
            let _ = read(&[&format!("--spring.cloud.stream.kafka.binder.brokers={list}")]);
        }
    }
}
