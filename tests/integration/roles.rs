//! The roles `time` and `log`, and the selection of a role.

use std::fs::File;

use crate::broker::{Broker, EVEN, INPUT, Read, value_only};
use crate::process::{Router, begin, command, eventually};

fn brokers(broker: &Broker) -> String {
    format!(
        "--spring.cloud.stream.kafka.binder.brokers={}",
        broker.address()
    )
}

/// Returns the arguments of a time source that writes to the input topic.
fn time(broker: &Broker, more: &[&str]) -> Vec<String> {
    let output = format!("--spring.cloud.stream.bindings.output.destination={INPUT}");
    let mut arguments = vec!["time".to_owned(), brokers(broker), output];
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    arguments
}

/// Returns the arguments of a log sink that reads the input topic.
fn log(broker: &Broker, more: &[&str]) -> Vec<String> {
    let input = format!("--spring.cloud.stream.bindings.input.destination={INPUT}");
    let group = "--spring.cloud.stream.bindings.input.group=group".to_owned();
    let mut arguments = vec!["log".to_owned(), brokers(broker), input, group];
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    arguments
}

/// Returns the texts that a log sink has printed.
fn printed(log: &str, name: &str) -> Vec<String> {
    let mark = format!("[consumer] {name} : ");
    log.lines()
        .filter_map(|line| Some(line.split_once(&mark)?.1.to_owned()))
        .collect()
}

#[test]
fn time_sends_as_springs_time_source_does() {
    let broker = Broker::start(1);
    let source = Router::start(&time(
        &broker,
        &["--spring.integration.poller.fixed-delay=20ms"],
    ));
    source.wait_until_ready();
    let records = broker.read(INPUT, 3);
    let log = source.stop();
    for record in &records {
        let text = String::from_utf8(record.value.clone().unwrap()).unwrap();
        let shape: String = text
            .chars()
            .map(|letter| if letter.is_ascii_digit() { '9' } else { letter })
            .collect();
        assert_eq!(shape, "99/99/99 99:99:99");
        assert!(record.key.is_none() && record.timestamp.is_some());
        let headers = [
            ("contentType", "application/json"),
            (
                "spring_json_header_types",
                r#"{"contentType":"java.lang.String"}"#,
            ),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), Some(value.into())));
        assert_eq!(record.headers, headers);
    }
    // All timestamps were acknowledged before the exit.
    let sent = format!("stopped: {} times sent", broker.len(INPUT));
    assert!(log.contains(&sent), "{sent}\n{log}");
}

#[test]
fn time_waits_for_a_lost_broker_and_loses_nothing() {
    let broker = Broker::start(1);
    let pattern = "--time.date-format=yyyy-MM-dd'T'HH:mm:ss.SSSSSSSSS";
    let source = Router::start(&time(&broker, &["--trigger.fixed-delay=1", pattern]));
    source.wait_until_ready();
    broker.read(INPUT, 1);
    broker.down();
    source.wait_for_status("/actuator/health/readiness", 503);
    source.wait_for_status("/actuator/health/liveness", 200);
    broker.up();
    source.wait_until_ready();
    let log = source.stop();
    let values: Vec<Option<Vec<u8>>> = broker
        .read(INPUT, broker.len(INPUT).try_into().unwrap())
        .into_iter()
        .map(|record| record.value)
        .collect();
    assert!(values.is_sorted(), "out of order");
    let sent = format!("stopped: {} times sent", values.len());
    assert!(log.contains(&sent), "{sent}\n{log}");
}

#[test]
fn log_prints_text_or_hex() {
    let broker = Broker::start(1);
    let records = [
        value_only(b"Even timestamp: 11/24/26 17:56:36"),
        value_only(b"\xff\x00"),
        Read {
            value: None,
            ..value_only(b"")
        },
    ];
    broker.write(&records, 1);
    let sink = Router::start(&log(&broker, &[]));
    sink.wait_for("log-sink : null");
    let first = sink.stop();
    assert_eq!(
        printed(&first, "log-sink"),
        ["Even timestamp: 11/24/26 17:56:36", "ff00", "null"]
    );
    assert!(first.contains(" INFO "), "{first}");
    assert!(
        first.contains("stopped: 3 records in, 3 printed"),
        "{first}"
    );
    assert_eq!(broker.committed("group", 1)[&0], 3);
}

#[test]
fn log_prints_the_expression() {
    let broker = Broker::start(1);
    broker.write(&[value_only(b"1")], 1);
    let name = ["--log.name=mine", "--log.level=warn"];
    let expression = "--log.expression=headers['kafka_receivedTopic'] + ': ' + payload";
    let sink = Router::start(&log(&broker, &[&name[..], &[expression]].concat()));
    sink.wait_for("mine : ");
    let lines = sink.stop();
    assert_eq!(printed(&lines, "mine"), ["timeDest: 1"]);
    assert!(lines.contains(" WARN "), "{lines}");
}

#[test]
fn log_commits_nothing_it_could_not_print() {
    let broker = Broker::start(1);
    broker.write(&[value_only(b"1")], 1);
    // /dev/full rejects every write.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let arguments = log(&broker, &["--server.port=0"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut child = begin(command(&arguments).stdout(full));
    let status = eventually("the end", || child.try_wait().unwrap(), String::new);
    assert_eq!(status.code(), Some(1));
    assert!(broker.committed("group", 1).is_empty());
}

#[test]
fn log_warns_that_it_prints_nothing() {
    let broker = Broker::start(1);
    let sink = Router::start(&log(&broker, &["--log.level=DEBUG"]));
    sink.wait_for("log.level=DEBUG is below logging.level.root, no record will be written");
    sink.stop();
}

/// Data Flow's local platform passes the arguments of a JVM, and everything else in the environment.
#[test]
fn a_role_by_property() {
    let broker = Broker::start(1);
    let json = format!(
        r#"{{"parity-router.role":"time","server.port":"0","spring.cloud.stream.kafka.binder.brokers":"{}",
        "spring.cloud.stream.bindings.output.destination":"{EVEN}"}}"#,
        broker.address()
    );
    let source = Router::spawn(
        command(&["-Xmx64m", "-jar", "parity-time-0.1.0.jar"]).env("SPRING_APPLICATION_JSON", json),
    );
    broker.read(EVEN, 1);
    let (_, info) = source.get("/actuator/info").unwrap();
    assert!(
        info.contains(r#""outputs":{"output":"evenDest"}"#),
        "{info}"
    );
    source.stop();
}
