//! Kafka's own settings: values that are read, warnings and problems, from arguments and environment variables.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use crate::client::settings::*;
use proptest::prelude::*;

use super::table::{CLIENT_ID, DEFINITIONS};
use crate::config::table::AUTO_REBALANCE;
use crate::config::*;
use crate::error::Problem;
use crate::properties::Properties;

/// Bytes in Spring's `MB`.
const MEGABYTE: usize = 1024 * 1024;

const REBALANCE: &str = AUTO_REBALANCE.name;
const BINDER: &str = "spring.cloud.stream.kafka.binder.";
const INPUT: &str = "spring.cloud.stream.kafka.bindings.input.consumer.";

type Read = Result<(Config, Vec<String>), Vec<Problem>>;

/// Reads the configuration. The client is `native` unless the arguments name one: the first of two equal arguments counts.
fn read_all(role: RoleName, arguments: &[String], environment: &[(&str, &str)]) -> Read {
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| format!("--{argument}"))
        .chain(["--parity-router.client=native".to_owned()])
        .collect();
    let environment = environment
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let properties = Properties::read(&arguments, environment, []);
    Config::read(&properties, Some(role), &[])
}

/// Reads the configuration of a router with this client.
fn read(client: ClientKind, arguments: &[&str]) -> Read {
    let mut arguments: Vec<String> = arguments.iter().map(|&text| expand(text)).collect();
    arguments.push(format!("parity-router.client={}", client.name()));
    read_all(RoleName::Router, &arguments, &[])
}

/// Replaces `B` by the binder's prefix and `I` by that of the input.
fn expand(text: &str) -> String {
    match text.split_at(1) {
        ("B", rest) if rest.starts_with('.') => format!("{BINDER}{}", &rest[1..]),
        ("I", rest) if rest.starts_with('.') => format!("{INPUT}{}", &rest[1..]),
        _ => text.to_owned(),
    }
}

fn router(config: &Config) -> &RouterSettings {
    match &config.role {
        Role::Router(settings) => settings,
        role => panic!("{role:?}"),
    }
}

/// Checks a part of the configuration that these arguments result in with the client `native`, without warnings.
#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(
    arguments: &[&str],
    part: impl Fn(&Config) -> T,
    expected: T,
) {
    let (config, warnings) = read(ClientKind::Native, arguments).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(part(&config), expected, "{arguments:?}");
}

#[track_caller]
fn check_consumer(arguments: &[&str], change: impl Fn(&mut ConsumerSettings)) {
    let mut expected = ConsumerSettings::default();
    change(&mut expected);
    let without = |config: &Config| ConsumerSettings {
        librdkafka: Vec::new(),
        ..router(config).input.consumer.clone()
    };
    check(arguments, without, expected);
}

#[track_caller]
fn check_producer(arguments: &[&str], change: impl Fn(&mut ProducerSettings)) {
    let mut expected = ProducerSettings::default();
    change(&mut expected);
    let without = |config: &Config| ProducerSettings {
        librdkafka: Vec::new(),
        ..router(config).even_producer.clone()
    };
    check(arguments, without, expected);
}

#[track_caller]
fn check_connection(arguments: &[&str], change: impl Fn(&mut ConnectionSettings)) {
    let mut expected = ConnectionSettings {
        client_id: CLIENT_ID.to_owned(),
        ..ConnectionSettings::default()
    };
    change(&mut expected);
    check(
        arguments,
        |config| config.client_settings.connection.clone(),
        expected,
    );
}

/// Checks that there is one problem, with this property and this part of a message.
#[track_caller]
fn check_problem(client: ClientKind, arguments: &[&str], property: &str, part: &str) {
    let problems = read(client, arguments).unwrap_err();
    let [problem] = problems.as_slice() else {
        panic!("{problems:?}");
    };
    assert!(
        problem.property == expand(property) && problem.message.contains(part),
        "{problem}"
    );
}

/// Checks that there is one warning, with these parts.
#[track_caller]
fn check_warning(client: ClientKind, arguments: &[&str], parts: &[&str]) {
    let (_, warnings) = read(client, arguments).unwrap();
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:?}");
    };
    for part in parts {
        assert!(warning.contains(&expand(part)), "{part}: {warning}");
    }
}

const MILLIS: fn(u64) -> Duration = Duration::from_millis;

fn backoff(initial: u64, max: u64) -> BackoffRange {
    BackoffRange {
        initial: MILLIS(initial),
        max: MILLIS(max),
    }
}

#[test]
fn defaults_are_kafkas() {
    check_consumer(&[], |_| ());
    check_producer(&[], |_| ());
    check_connection(&[], |_| ());
    check(
        &[],
        |config| config.client_settings.memory,
        16 * 1024 * 1024,
    );
    check(
        &[],
        |config| config.client_settings.librdkafka.clone(),
        Vec::new(),
    );
}

#[test]
fn connections() {
    check_connection(&["B.configuration.client.id=a b"], |settings| {
        settings.client_id = "a b".to_owned();
    });
    check_connection(&["B.configuration.request.timeout.ms= 5 "], |settings| {
        settings.request_timeout = MILLIS(5);
    });
    check_connection(
        &[
            "B.configuration.socket.connection.setup.timeout.ms=1",
            "B.configuration.socket.connection.setup.timeout.max.ms=2",
            "B.configuration.reconnect.backoff.ms=5000",
            "B.configuration.retry.backoff.ms=7",
            "B.configuration.retry.backoff.max.ms=6",
            "B.configuration.metadata.max.age.ms=8",
        ],
        |settings| {
            settings.connect_timeout = backoff(1, 2);
            settings.reconnect_backoff = backoff(5000, 5000);
            settings.retry_backoff = backoff(6, 6);
            settings.metadata_max_age = MILLIS(8);
        },
    );
}

#[test]
fn consumers() {
    check_consumer(
        &[
            "B.configuration.session.timeout.ms=10000",
            "B.configuration.heartbeat.interval.ms=9999",
            "B.configuration.max.poll.interval.ms=1",
            "B.configuration.group.instance.id=router-0",
            "B.configuration.fetch.max.wait.ms=0",
            "B.configuration.fetch.min.bytes=2",
            "B.configuration.fetch.max.bytes=3",
            "B.configuration.max.partition.fetch.bytes=4",
            "B.configuration.isolation.level=READ_UNCOMMITTED",
            "B.configuration.check.crcs=false",
        ],
        |settings| {
            settings.session_timeout = MILLIS(10_000);
            settings.heartbeat_interval = MILLIS(9999);
            settings.rebalance_timeout = MILLIS(1);
            settings.group_instance_id = Some("router-0".to_owned());
            settings.fetch_max_wait = MILLIS(0);
            settings.fetch_min_bytes = 2;
            settings.fetch_max_bytes = Some(3);
            settings.max_partition_fetch_bytes = Some(4);
            settings.isolation = Isolation::ReadUncommitted;
            settings.check_crcs = false;
        },
    );
    check_consumer(&["B.configuration.group.protocol=CONSUMER"], |settings| {
        settings.group_protocol = GroupProtocol::Consumer;
    });
    for (given, assignors) in [
        ("range", vec![AssignorName::Range]),
        (
            "org.apache.kafka.clients.consumer.CooperativeStickyAssignor, \
             org.apache.kafka.clients.consumer.RoundRobinAssignor",
            vec![AssignorName::CooperativeSticky, AssignorName::RoundRobin],
        ),
        (
            "roundrobin,range,roundrobin",
            vec![AssignorName::RoundRobin, AssignorName::Range],
        ),
    ] {
        let given = format!("B.configuration.partition.assignment.strategy={given}");
        check_consumer(&[&given], |settings| settings.assignors = assignors.clone());
    }
    let start = |config: &Config| router(config).input.start_offset;
    let reset = "B.configuration.auto.offset.reset=latest";
    check(&[reset], start, StartOffset::Latest);
    check(
        &[reset, "I.startOffset=earliest"],
        start,
        StartOffset::Earliest,
    );
}

#[test]
fn producers() {
    check_producer(
        &[
            "B.configuration.linger.ms=5",
            "B.configuration.batch.size=65536",
            "B.configuration.compression.type=zstd",
            "B.configuration.max.request.size=2097152",
            "B.configuration.max.in.flight.requests.per.connection=1",
            "B.configuration.acks=-1",
        ],
        |settings| {
            settings.linger = MILLIS(5);
            settings.batch_size = Some(65_536);
            settings.compression = Compression::Zstd;
            settings.max_request_size = 2_097_152;
            settings.max_in_flight = 1;
        },
    );
    for given in ["B.configuration.acks=1", "B.requiredAcks=1"] {
        check_producer(&[given], |settings| {
            settings.acks = Acks::Leader;
            settings.idempotent = false;
        });
    }
    check_producer(&["B.requiredAcks=1", "B.configuration.acks=all"], |_| ());
    check_producer(&["B.configuration.enable.idempotence=false"], |settings| {
        settings.idempotent = false;
    });
    let own = "spring.cloud.stream.kafka.bindings.even.producer.";
    for name in [
        "compressionType",
        "compression",
        "configuration.compression.type",
    ] {
        check_producer(&[&format!("{own}{name}=lz4")], |settings| {
            settings.compression = Compression::Lz4;
        });
    }
    check_producer(
        &[
            &format!("{own}batchTimeout=7"),
            &format!("{own}bufferSize=8"),
            &format!("{own}sync=true"),
        ],
        |settings| {
            settings.linger = MILLIS(7);
            settings.batch_size = Some(8);
        },
    );
}

#[test]
fn the_narrower_prefix_wins() {
    let wait = |config: &Config| router(config).input.consumer.fetch_max_wait;
    let all = [
        "I.configuration.fetch.max.wait.ms=1",
        "B.consumerProperties.fetch.max.wait.ms=2",
        "B.configuration.fetch.max.wait.ms=3",
    ];
    for (from, millis) in [(0, 1), (1, 2), (2, 3)] {
        check(&all[from..], wait, MILLIS(millis));
    }
    let linger = |config: &Config| {
        let router = router(config);
        (router.even_producer.linger, router.odd_producer.linger)
    };
    let all = [
        "spring.cloud.stream.kafka.bindings.even.producer.configuration.linger.ms=1",
        "spring.cloud.stream.kafka.bindings.even.producer.batchTimeout=2",
        "B.producerProperties.linger.ms=3",
        "B.configuration.linger.ms=4",
    ];
    for (from, even, odd) in [(0, 1, 3), (1, 2, 3), (2, 3, 3), (3, 4, 4)] {
        check(&all[from..], linger, (MILLIS(even), MILLIS(odd)));
    }
}

#[test]
fn the_other_roles() {
    let argument = [format!("{BINDER}configuration.acks=1")];
    let (config, warnings) = read_all(RoleName::Time, &argument, &[]).unwrap();
    let Role::Time(time) = config.role else {
        panic!("{:?}", config.role);
    };
    assert_eq!((time.producer.acks, warnings), (Acks::Leader, Vec::new()));
    let argument = [format!("{INPUT}configuration.fetch.max.wait.ms=1")];
    let (config, _) = read_all(RoleName::Log, &argument, &[]).unwrap();
    let Role::Log(log) = config.role else {
        panic!("{:?}", config.role);
    };
    assert_eq!(log.input.consumer.fetch_max_wait, MILLIS(1));
}

#[test]
fn spellings() {
    let wait = |(config, warnings): (Config, Vec<String>)| {
        assert_eq!(warnings, Vec::<String>::new());
        router(&config).input.consumer.fetch_max_wait
    };
    for (name, text) in [
        (
            "SPRING_CLOUD_STREAM_KAFKA_BINDER_CONFIGURATION_FETCH_MAX_WAIT_MS",
            "9",
        ),
        (
            "SPRING_CLOUD_STREAM_KAFKA_BINDER_CONSUMERPROPERTIES_FETCH_MAX_WAIT_MS",
            "9",
        ),
        (
            "SPRING_CLOUD_STREAM_KAFKA_BINDER_CONSUMER_PROPERTIES_FETCH_MAX_WAIT_MS",
            "9",
        ),
        (
            "spring.cloud.stream.kafka.bindings.input.consumer.configuration.fetch.max.wait.ms",
            "9",
        ),
        (
            "SPRING_APPLICATION_JSON",
            r#"{"spring.cloud.stream.kafka.binder.configuration":{"fetch.max.wait.ms":9}}"#,
        ),
    ] {
        let read = read_all(RoleName::Router, &[], &[(name, text)]).unwrap();
        assert_eq!(wait(read), MILLIS(9), "{name}");
    }
    for name in [
        "consumer-properties.fetch.max.wait.ms",
        "consumerProperties[fetch.max.wait.ms]",
        "configuration.[fetch.max.wait.ms]",
        "configuration.fetch.wait.max.ms",
    ] {
        let argument = [format!("{BINDER}{name}=9")];
        let read = read_all(RoleName::Router, &argument, &[]).unwrap();
        assert_eq!(wait(read), MILLIS(9), "{name}");
    }
}

#[test]
fn shares_without_a_group() {
    let off = "I.autoRebalanceEnabled=false";
    let own = |which: &str, number: &str| {
        format!("spring.cloud.stream.bindings.input.consumer.{which}={number}")
    };
    let all = |which: &str, number: &str| format!("spring.cloud.stream.{which}={number}");
    let share = |config: &Config| {
        let manual = router(config).input.consumer.manual_assignment;
        manual.map(|share| (share.index, share.count))
    };
    check(&[&all("instanceIndex", "x")], share, None);
    check(&[off], share, Some((0, 1)));
    let (index, count) = (all("instanceIndex", "1"), all("instanceCount", "3"));
    check(&[off, &index, &count], share, Some((1, 3)));
    let given = [off, &own("instanceIndex", "2"), &index, &count];
    check(&given, share, Some((2, 3)));
    let given = [
        off,
        &own("instanceIndex", "-1"),
        &own("instanceCount", "2"),
        &index,
        &count,
    ];
    check(&given, share, Some((1, 2)));
    for (given, property, part) in [
        (
            vec![off, &index],
            "spring.cloud.stream.instanceIndex",
            "1 is not the index of one of 1 instances",
        ),
        (
            vec!["I.autoRebalanceEnabled=no"],
            REBALANCE,
            "true or false",
        ),
    ] {
        check_problem(ClientKind::Native, &given, property, part);
    }
    let bad = own("instanceCount", "0");
    let name = "spring.cloud.stream.bindings.input.consumer.instanceCount";
    check_problem(
        ClientKind::Native,
        &[off, &bad],
        name,
        "-1 for spring.cloud.stream.instanceCount",
    );
    check_warning(
        ClientKind::Native,
        &[off, "B.configuration.group.instance.id=a"],
        &[
            "B.configuration.group.instance.id",
            "not a member of a group",
        ],
    );
    check_problem(
        ClientKind::Kafka,
        &[off],
        REBALANCE,
        "parity-router.client=native can",
    );
}

#[test]
fn sizes() {
    for (given, bytes) in [
        ("4194304", 4 * MEGABYTE),
        ("4194304B", 4 * MEGABYTE),
        ("8192KB", 8 * MEGABYTE),
        ("32mb", 32 * MEGABYTE),
        ("1GB", 1024 * MEGABYTE),
    ] {
        let given = format!("parity-router.memory={given}");
        check(&[&given], |config| config.client_settings.memory, bytes);
    }
    for bad in [
        "",
        "MB",
        "1.5MB",
        "16MiB",
        "3MB",
        "4194303",
        "2GB",
        "-1",
        "99999999999GB",
    ] {
        check_problem(
            ClientKind::Native,
            &[&format!("parity-router.memory={bad}")],
            "parity-router.memory",
            "from 4MB to 1GB",
        );
    }
}

#[test]
fn problems() {
    for (given, part) in [
        (
            "acks=0",
            "nothing could be known to be delivered; allowed: all, -1 or 1",
        ),
        ("acks=2", "allowed: all, -1 or 1"),
        ("linger.ms=-1", "milliseconds from 0 to 2147483647"),
        ("request.timeout.ms=0", "milliseconds from 1 to 2147483647"),
        ("client.id=", "1 to 32000 bytes"),
        ("session.timeout.ms=soon", "milliseconds from 1"),
        ("fetch.max.bytes=0", "bytes from 1 to 2147483647"),
        ("compression.type=brotli", "none, gzip, snappy, lz4 or zstd"),
        (
            "max.in.flight.requests.per.connection=6",
            "a number from 1 to 5",
        ),
        ("enable.idempotence=yes", "true or false"),
        ("isolation.level=none", "read_committed or read_uncommitted"),
        ("group.protocol=share", "classic or consumer"),
        ("group.instance.id=a/b", "up to 249"),
        ("partition.assignment.strategy=sticky", "cooperative-sticky"),
        ("partition.assignment.strategy=", "cooperative-sticky"),
        ("auto.offset.reset=none", "cannot start"),
        ("auto.offset.reset=smallest", "earliest or latest"),
        (
            "heartbeat.interval.ms=45000",
            "shorter than the session timeout",
        ),
        (
            "session.timeout.ms=3000",
            "shorter than the session timeout",
        ),
        ("transactional.id=t", "transactionIdPrefix"),
        (
            "partitioner.class=P",
            "chooses a record's partition by its key",
        ),
        ("security.protocol=TLS", "allowed: PLAINTEXT"),
    ] {
        let given = format!("B.configuration.{given}");
        let property = given.split_once('=').unwrap().0;
        check_problem(ClientKind::Native, &[&given], property, part);
    }
    check_problem(
        ClientKind::Native,
        &[
            "B.configuration.acks=1",
            "B.configuration.enable.idempotence=true",
        ],
        "B.configuration.enable.idempotence",
        "needs acks=all",
    );
    check_problem(
        ClientKind::Native,
        &[
            "B.configuration.group.protocol=consumer",
            "I.configuration.session.timeout.ms=9000",
        ],
        "I.configuration.session.timeout.ms",
        "the broker decides",
    );
    check_problem(
        ClientKind::Kafka,
        &["B.configuration.group.instance.id=a"],
        "B.configuration.group.instance.id",
        "does not support group membership; allowed: parity-router.client=native",
    );
}

#[test]
fn transactions() {
    const PREFIX: &str = "B.transaction.transactionIdPrefix=tx-";
    let settings = |timeout| {
        Some(TransactionSettings {
            prefix: "tx-".to_owned(),
            timeout,
        })
    };
    let read_settings = |config: &Config| router(config).transaction.clone();
    check(&[], read_settings, None);
    for prefix in [PREFIX, "B.transaction.transaction-id-prefix= tx- "] {
        check(&[prefix], read_settings, settings(MILLIS(10_000)));
    }
    check(
        &[PREFIX, "B.configuration.transaction.timeout.ms=60000"],
        read_settings,
        settings(MILLIS(60_000)),
    );
    for role in [RoleName::Time, RoleName::Log] {
        let (_, warnings) = read_all(role, &[expand(PREFIX)], &[]).unwrap();
        assert!(
            matches!(&warnings[..], [warning] if warning.contains("no transactions")),
            "{warnings:?}"
        );
    }
    let (config, _) = read(ClientKind::Native, &[PREFIX]).unwrap();
    let Role::Router(router) = config.role else {
        panic!("not the router");
    };
    assert_eq!(router.transaction.unwrap().prefix, "tx-");
}

#[test]
fn refused_transactions() {
    const NAME: &str = "B.transaction.transactionIdPrefix";
    const GIVEN: &str = "B.transaction.transactionIdPrefix=tx-";
    let group = "spring.cloud.stream.bindings.input.group=";
    for (client, arguments, part) in [
        (ClientKind::Native, vec![NAME], "an empty prefix"),
        (
            ClientKind::Native,
            vec!["B.transaction.transactionIdPrefix= "],
            "an empty prefix",
        ),
        (
            ClientKind::Librdkafka,
            vec![GIVEN],
            "only the client native",
        ),
        (ClientKind::Kafka, vec![GIVEN], "only the client native"),
        (ClientKind::Native, vec![GIVEN, group], "without a group"),
        (
            ClientKind::Native,
            vec![GIVEN, "B.configuration.acks=1"],
            "need acks=all",
        ),
        (
            ClientKind::Native,
            vec![GIVEN, "B.producerProperties.enable.idempotence=false"],
            "enable.idempotence=true",
        ),
        (
            ClientKind::Native,
            vec![
                GIVEN,
                "spring.cloud.stream.kafka.bindings.odd.producer.configuration.acks=1",
            ],
            "need acks=all",
        ),
        (
            ClientKind::Native,
            vec![GIVEN, "B.configuration.isolation.level=read_uncommitted"],
            "isolation.level=read_committed",
        ),
    ] {
        check_problem(client, &arguments, NAME, part);
    }
}

#[test]
fn security_protocols() {
    let sentence =
        |what: &str, client: &str| format!("{what}: the client {client} supports PLAINTEXT only; ");
    for client in [ClientKind::Native, ClientKind::Kafka] {
        for (given, what) in [
            (
                vec!["B.configuration.security.protocol=sasl_ssl"],
                "SASL_SSL",
            ),
            (
                vec![
                    "B.configuration.sasl.mechanism=PLAIN",
                    "B.configuration.security.protocol=SASL_PLAINTEXT",
                ],
                "SASL_PLAINTEXT",
            ),
            (
                vec!["B.configuration.ssl.truststore.location=/t"],
                "ssl.truststore.location",
            ),
            (
                vec!["I.configuration.sasl.jaas.config=x"],
                "sasl.jaas.config",
            ),
            (vec!["B.jaas.options.username=u"], "a login"),
        ] {
            let property = given.last().unwrap().split_once('=').unwrap().0;
            check_problem(client, &given, property, &sentence(what, client.name()));
        }
    }
    check_consumer(&["B.configuration.security.protocol=plaintext"], |_| ());
}

#[test]
fn warnings() {
    let java = "that have no effect here";
    for (given, parts) in [
        (
            vec!["B.configuration.max.poll.records=1"],
            vec![java, "max.poll.records"],
        ),
        (
            vec![
                "B.configuration.client.rack=a",
                "B.configuration.buffer.memory=1",
            ],
            vec![java, "client.rack (argument", "buffer.memory (argument"],
        ),
        (
            vec!["B.configuration.sesion.timeout.ms=1"],
            vec![
                "the client native does not know",
                "did you mean session.timeout.ms?",
            ],
        ),
        (
            vec!["B.configuration.socket.keepalive.enable=true"],
            vec![
                "the client native does not know",
                "parity-router.client=librdkafka passes it on",
            ],
        ),
        (
            vec!["B.configuration.retries=3"],
            vec!["never gives it up because of time"],
        ),
        (
            vec!["B.configuration.delivery.timeout.ms=3"],
            vec!["never gives it up because of time"],
        ),
        (
            vec!["B.configuration.bootstrap.servers=a"],
            vec!["binder.brokers"],
        ),
        (
            vec!["B.configuration.group.id=a"],
            vec!["bindings.input.group"],
        ),
        (
            vec!["B.configuration.enable.auto.commit=true"],
            vec!["the router commits offsets itself"],
        ),
        (
            vec!["I.configuration.acks=1"],
            vec!["acks is for producers, and this prefix is for consumers"],
        ),
        (
            vec!["I.configuration.client.id=a"],
            vec!["for all connections, to be given as B.configuration.client.id"],
        ),
    ] {
        let parts: Vec<String> = parts
            .iter()
            .map(|part| part.replace("B.", BINDER))
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        check_warning(ClientKind::Native, &given, &parts);
    }
    for silent in [
        "B.configuration.enable.auto.commit=false",
        "B.configuration.key.serializer=org.apache.kafka.common.serialization.ByteArraySerializer",
    ] {
        check_consumer(&[silent], |_| ());
    }
    let kafka = [
        "B.configuration.acks=all",
        "B.configuration.foo=1",
        "I.configuration.auto.offset.reset=latest",
    ];
    check_warning(
        ClientKind::Kafka,
        &kafka,
        &[
            "the client kafka does not read Kafka's own settings",
            "acks (argument",
            "foo (argument",
        ],
    );
    check_warning(
        ClientKind::Kafka,
        &["parity-router.memory=16MB"],
        &["parity-router.client=native"],
    );
}

#[test]
fn warnings_are_bounded() {
    let given: Vec<String> = (0..50).map(|n| format!("B.configuration.x{n}=1")).collect();
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    let (_, warnings) = read(ClientKind::Native, &given).unwrap();
    assert_eq!(warnings.len(), 11);
    assert_eq!(
        warnings.last().unwrap(),
        "and 40 more of Kafka's own settings"
    );
}

#[cfg(feature = "librdkafka")]
mod librdkafka {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> LibrdkafkaProperties {
        pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn properties_passed_on() {
        let (config, warnings) = read(
            ClientKind::Librdkafka,
            &[
                "B.configuration.socket.keepalive.enable=true",
                "B.configuration.security.protocol=SASL_PLAINTEXT",
                "B.configuration.sasl.password= p ",
                "B.configuration.client.rack=r",
                "B.configuration.linger.ms=5",
                "B.configuration.acks=all",
                "B.configuration.fetch.max.wait.ms=9",
                "B.consumerProperties.fetch.max.wait.ms=8",
                "I.configuration.queued.min.messages=7",
                "I.configuration.partition.assignment.strategy=org.apache.kafka.clients.consumer.RangeAssignor",
                "spring.cloud.stream.kafka.bindings.odd.producer.configuration.max.request.size=6000",
                "spring.cloud.stream.kafka.bindings.odd.producer.compressionType=gzip",
            ],
        )
        .unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(
            config.client_settings.librdkafka,
            pairs(&[
                ("client.rack", "r"),
                ("sasl.password", " p "),
                ("security.protocol", "SASL_PLAINTEXT"),
                ("socket.keepalive.enable", "true"),
            ])
        );
        let router = router(&config);
        assert_eq!(
            router.input.consumer.librdkafka,
            pairs(&[
                ("partition.assignment.strategy", "range"),
                ("queued.min.messages", "7"),
                ("fetch.wait.max.ms", "8"),
            ])
        );
        assert_eq!(
            router.even_producer.librdkafka,
            pairs(&[("linger.ms", "5")])
        );
        assert_eq!(
            router.odd_producer.librdkafka,
            pairs(&[
                ("message.max.bytes", "6000"),
                ("compression.type", "gzip"),
                ("linger.ms", "5"),
            ])
        );
    }

    #[test]
    fn unsupported_settings() {
        let client = ClientKind::Librdkafka;
        check_problem(
            client,
            &["I.autoRebalanceEnabled=false"],
            REBALANCE,
            "parity-router.client=native can",
        );
        check_problem(
            client,
            &["B.configuration.partition.assignment.strategy=range,cooperative-sticky"],
            "B.configuration.partition.assignment.strategy",
            "only as the single assignor",
        );
        for given in ["B.configuration.sasl.jaas.config=x", "B.jaas.loginModule=x"] {
            let property = given.split_once('=').unwrap().0;
            check_problem(client, &[given], property, "does not support JAAS");
        }
        check_warning(
            client,
            &["B.configuration.socket.connection.setup.timeout.max.ms=30000"],
            &["librdkafka does not have socket.connection.setup.timeout.max.ms"],
        );
        check_warning(
            client,
            &["parity-router.memory=16MB"],
            &["parity-router.client=native"],
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_names_and_values_are_read(name in "[a-z.\\[\\]_é]{0,20}", value in ".{0,12}", known in 0..DEFINITIONS.len()) {
        let known = DEFINITIONS.get(known).map_or("", |known| known.name);
        for client in [ClientKind::Native, ClientKind::Kafka] {
            let _ = read(client, &[
                &format!("B.configuration.{name}={value}"),
                &format!("I.configuration.{known}={value}"),
                &format!("B.jaas{name}={value}"),
            ]);
        }
    }
}
