//! The configuration of each role: defaults, spellings and problems.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use ::log::Level;
use proptest::prelude::*;

use super::*;
use crate::client::settings::{
    ConsumerSettings, GroupId, ProducerSettings, StartOffset, Subscription, TopicSettings,
};
use crate::error::Problem;
use crate::properties::Properties;

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

/// Checks a part of the configuration that these arguments and the recipe's behind them result in.
#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(
    arguments: &[&str],
    part: impl Fn(Config) -> T,
    expected: T,
) {
    let (config, _) = read(&[arguments, &RECIPE].concat()).unwrap();
    assert_eq!(part(config), expected);
}

/// Checks that these arguments and the recipe's result in the expected problems, each given by its property and a part of its message.
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
    assert_eq!(config.client_settings.brokers, ["localhost:9092"]);
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
            stall_timeout: Duration::from_secs(30),
            even_producer: ProducerSettings::default(),
            odd_producer: ProducerSettings::default(),
        }
    );
    assert_eq!(
        config.client_settings.topics,
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
fn arguments_of_a_real_data_flow() {
    let json = include_str!("../../tests/fixtures/spring-application-json.json");
    let properties = Properties::read(
        &[],
        [("SPRING_APPLICATION_JSON".to_owned(), json.to_owned())],
        [],
    );
    let (config, warnings) = Config::read(&properties, None, &[]).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(config.client_settings.brokers, ["127.0.0.1:9092"]);
    assert_eq!(config.actuator.port, 19548);
    assert_eq!(config.info.app_guid, "timeStampStream.python-router-v2-0");
    assert_eq!(
        router(config).input.group,
        GroupId::Named("timeStampStream".to_owned())
    );
}

#[test]
fn destinations_default_to_the_names_of_the_bindings() {
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
    check_problems(&[&input("a b")], &[(name, "is not a topic name")]);
    check_problems(
        &[&input("evenDest")],
        &[(
            "spring.cloud.stream.bindings.even.destination",
            "would route records in a loop",
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
    check_problems(&[&format!("{group}a/b")], &[(dlq, "is not a topic name")]);
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
    let list =
        |list: &[&str]| -> Vec<String> { list.iter().map(|&broker| broker.to_owned()).collect() };
    check(
        &[&brokers("a")],
        |config| config.client_settings.brokers,
        list(&["a:9092"]),
    );
    check(
        &[&brokers("a:1, b:2 ,PLAINTEXT://c,plaintext://d:3")],
        |config| config.client_settings.brokers,
        list(&["a:1", "b:2", "c:9092", "d:3"]),
    );
    check(
        &[&brokers("'a:1,b'")],
        |config| config.client_settings.brokers,
        list(&["a:1", "b:9092"]),
    );
    check(
        &[&brokers("[::1]:1,[::1],::1")],
        |config| config.client_settings.brokers,
        list(&["[::1]:1", "[::1]:9092", "[::1]:9092"]),
    );
    let port = "--spring.cloud.stream.kafka.binder.default-broker-port=7";
    check(
        &[port, &brokers("a,b:8")],
        |config| config.client_settings.brokers,
        list(&["a:7", "b:8"]),
    );
    let name = "spring.cloud.stream.kafka.binder.brokers";
    for (bad, part) in [
        ("", "does not name a host"),
        ("a,", "does not name a host"),
        ("a:x", "is not a port"),
        ("a:0", "is not a port"),
        ("a:99999", "is not a port"),
        ("a:", "is not a port"),
        ("SSL://a", "configuration.security.protocol"),
        ("[::1", "no closing bracket"),
        ("[a]:1", "is not an IPv6 address"),
        ("[::1]x", "is not a port"),
        ("[::1]9092", "is not a port"),
        ("a b", "does not name a host"),
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
fn a_client_that_this_build_does_not_include() {
    check_problems(
        &["--parity-router.client=librdkafka"],
        &[("parity-router.client", "the default build")],
    );
}

fn read_role(role: RoleName, arguments: &[&str]) -> Result<Role, Vec<Problem>> {
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| format!("--{argument}"))
        .collect();
    Config::read(
        &Properties::of_arguments(&arguments),
        Some(role),
        &arguments,
    )
    .map(|(config, warnings)| {
        assert_eq!(warnings, Vec::<String>::new());
        config.role
    })
}

fn time(arguments: &[&str]) -> TimeSettings {
    match read_role(RoleName::Time, arguments).unwrap() {
        Role::Time(settings) => settings,
        role => panic!("{role:?}"),
    }
}

fn log(arguments: &[&str]) -> LogSettings {
    match read_role(RoleName::Log, arguments).unwrap() {
        Role::Log(settings) => settings,
        role => panic!("{role:?}"),
    }
}

#[track_caller]
fn check_role_problem(role: RoleName, arguments: &[&str], property: &str, part: &str) {
    let problems = read_role(role, arguments).unwrap_err();
    let [problem] = problems.as_slice() else {
        panic!("{problems:?}");
    };
    assert!(
        problem.property == property && problem.message.contains(part),
        "{problem}"
    );
}

#[track_caller]
fn check_poller(arguments: &[&str], pace: Pace, initial_delay: Duration) {
    assert_eq!(
        time(arguments).poller,
        Poller {
            initial_delay,
            pace
        }
    );
}

#[test]
fn a_role_by_property() {
    for (given, role) in [
        ("time", RoleName::Time),
        ("LOG", RoleName::Log),
        ("router", RoleName::Router),
    ] {
        let arguments = [format!("--parity-router.role={given}")];
        let (config, _) = Config::read(&Properties::of_arguments(&arguments), None, &[]).unwrap();
        assert_eq!(config.role.name(), role);
    }
    let arguments = ["--parity-router.role=timer".to_owned()];
    let problems = Config::read(&Properties::of_arguments(&arguments), None, &[]).unwrap_err();
    assert!(
        problems[0].message.contains("allowed: router, time or log"),
        "{problems:?}"
    );
}

#[test]
fn time_defaults() {
    let settings = time(&[]);
    assert_eq!(settings.output, "output");
    assert_eq!(settings.format, DatePattern::default());
    check_poller(
        &[],
        Pace::FixedDelay(Duration::from_secs(1)),
        Duration::ZERO,
    );
}

#[test]
fn pollers() {
    let delay = |millis| Pace::FixedDelay(Duration::from_millis(millis));
    for (text, millis) in [
        ("250", 250),
        ("250ms", 250),
        ("10s", 10_000),
        ("5m", 300_000),
        ("1h", 3_600_000),
        ("2d", 172_800_000),
        ("PT1.5S", 1_500),
    ] {
        let given = format!("spring.integration.poller.fixed-delay={text}");
        check_poller(&[&given], delay(millis), Duration::ZERO);
    }
    check_poller(
        &[
            "spring.cloud.stream.poller.fixed-delay=200",
            "spring.cloud.stream.poller.initialDelay=30",
        ],
        delay(200),
        Duration::from_millis(30),
    );
    check_poller(
        &[
            "spring.cloud.stream.poller.fixed-delay=2",
            "spring.cloud.stream.poller.time-unit=minutes",
        ],
        delay(120_000),
        Duration::ZERO,
    );
    check_poller(&["trigger.fixedDelay=5"], delay(5_000), Duration::ZERO);
    check_poller(
        &[
            "trigger.fixed-delay=5",
            "trigger.time-unit=MILLISECONDS",
            "trigger.initial-delay=7",
        ],
        delay(5),
        Duration::from_millis(7),
    );
    check_poller(
        &["spring.integration.poller.fixed-rate=20ms"],
        Pace::FixedRate(Duration::from_millis(20)),
        Duration::ZERO,
    );
}

#[test]
fn time_problems() {
    let delay = "spring.integration.poller.fixed-delay";
    for bad in ["0", "-1", "soon", "1mo", "400d", "", "99999999999999"] {
        check_role_problem(
            RoleName::Time,
            &[&format!("{delay}={bad}")],
            delay,
            "from 1ms to 366 days",
        );
    }
    check_role_problem(
        RoleName::Time,
        &["trigger.cron=* * * * *"],
        "trigger.cron",
        "allowed: fixed-delay or fixed-rate",
    );
    check_role_problem(
        RoleName::Time,
        &["trigger.fixed-delay=1", "trigger.time-unit=weeks"],
        "trigger.time-unit",
        "SECONDS",
    );
    check_role_problem(
        RoleName::Time,
        &[
            "trigger.fixed-delay=1",
            "spring.integration.poller.fixed-rate=1s",
        ],
        "spring.integration.poller.fixed-rate",
        "one of the two",
    );
    check_role_problem(
        RoleName::Time,
        &["time.date-format=ww"],
        "time.date-format",
        "'w'",
    );
    check_role_problem(
        RoleName::Time,
        &["spring.cloud.stream.bindings.output.destination="],
        "spring.cloud.stream.bindings.output.destination",
        "an empty destination",
    );
}

#[test]
fn log_defaults_and_spellings() {
    let settings = log(&[
        "spring.cloud.dataflow.stream.name=s",
        "spring.cloud.dataflow.stream.app.label=evenLogger",
    ]);
    assert_eq!(
        settings.input.group,
        GroupId::Named("s.evenLogger".to_owned())
    );
    assert_eq!(settings.input.start_offset, StartOffset::Earliest);
    assert_eq!(
        (settings.name.as_str(), settings.level),
        ("log-sink", Level::Info)
    );
    assert_eq!(settings.expression, Expression::default());
    let settings = log(&[
        "log.consumer.name=a",
        "log.consumer.level=debug",
        "log.consumer.expression=headers",
    ]);
    assert_eq!(
        (settings.name.as_str(), settings.level),
        ("a", Level::Debug)
    );
    assert_eq!(settings.expression, Expression::parse("headers").unwrap());
    assert_eq!(log(&["spring.application.name=app"]).name, "app");
    assert_eq!(
        log(&["log.name=own", "spring.application.name=app"]).name,
        "own"
    );
    assert_eq!(
        log(&["spring.cloud.stream.bindings.input.group="])
            .input
            .group,
        GroupId::Anonymous
    );
}

#[test]
fn log_problems() {
    check_role_problem(
        RoleName::Log,
        &["log.level=loud"],
        "log.level",
        "FATAL, ERROR, WARN",
    );
    check_role_problem(
        RoleName::Log,
        &["log.expression=payload.length()"],
        "log.expression",
        "allowed",
    );
}

proptest! {
    #[test]
    fn any_list_of_brokers_is_read(list in "[a-c:,/\\[\\]0-9 é]{0,40}") {
        let _ = read(&[&format!("--spring.cloud.stream.kafka.binder.brokers={list}")]);
    }
}
