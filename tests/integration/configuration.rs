//! Sources of properties, as `/actuator/info` shows them for a router that waits for its broker, and warnings and errors at start-up.

use std::fs;

use serde_json::Value;

use crate::process::{Router, command, run, unused_address};

/// Returns `/actuator/info`.
fn info(router: &Router) -> Value {
    let (status, body) = router.get("/actuator/info").unwrap();
    assert_eq!(status, 200);
    serde_json::from_str(&body).unwrap()
}

/// Returns an argument that names a broker to which nothing can connect.
fn no_broker() -> String {
    format!(
        "--spring.cloud.stream.kafka.binder.brokers={}",
        unused_address()
    )
}

#[track_caller]
fn check(info: &Value, pointer: &str, expected: &str) {
    assert_eq!(
        info.pointer(pointer).and_then(Value::as_str),
        Some(expected),
        "{pointer} in {info}"
    );
}

#[test]
fn the_highest_source_wins() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("config")).unwrap();
    let file = "spring.cloud.dataflow.stream.name=file\nspring.cloud.stream.bindings.odd.destination=file\n";
    fs::write(folder.path().join("application.properties"), file).unwrap();
    fs::write(
        folder.path().join("config/application.properties"),
        "spring.cloud.dataflow.stream.name=config\n",
    )
    .unwrap();
    let mut command = command(&[
        &no_broker(),
        "--server.port=0",
        "spring.cloud.stream.bindings.input.destination=argument",
    ]);
    command.current_dir(folder.path());
    command.env(
        "SPRING_CLOUD_STREAM_BINDINGS_INPUT_DESTINATION",
        "environment",
    );
    command.env(
        "SPRING_CLOUD_STREAM_BINDINGS_EVEN_DESTINATION",
        "environment",
    );
    command.env("SPRING_CLOUD_DATAFLOW_STREAM_APP-LABEL", "not.this");
    command.env("SPRING_CLOUD_DATAFLOW_STREAM_APP_LABEL", "label");
    command.env(
        "SPRING_APPLICATION_JSON",
        r#"{"spring":{"cloud":{"stream":{"bindings":{"input":{"destination":"json"}}},"application":{"guid":"${HOSTNAME:none}-${OTHER:1}"}}}}"#,
    );
    command.env("HOSTNAME", "host");
    let router = Router::spawn(&mut command);
    let info = info(&router);
    check(&info, "/router/inputs/input", "argument");
    check(&info, "/router/outputs/even", "environment");
    check(&info, "/router/outputs/odd", "file");
    check(&info, "/router/stream-name", "config");
    check(&info, "/router/app-guid", "host-1");
}

#[test]
fn the_recipes_arguments_and_environment() {
    let mut command = command(&[
        "--spring.cloud.stream.bindings.input.destination=timeDest",
        "--spring.cloud.stream.bindings.even.destination=evenDest",
        "--spring.cloud.stream.bindings.odd.destination=oddDest",
        "--spring.cloud.dataflow.stream.name=timeStampStream",
        "--spring.cloud.dataflow.stream.app.label=python-router",
        "--management.metrics.tags.application=${spring.cloud.dataflow.stream.name:unknown}",
        "--server.port=0",
        "--some.password=hunter2",
    ]);
    let broker = unused_address().to_string();
    command.env(
        "SPRING_CLOUD_STREAM_KAFKA_BINDER_BROKERS",
        format!("PLAINTEXT://{broker}"),
    );
    command.env("SPRING_CLOUD_STREAM_KAFKA_BINDER_ZK_NODES", "zk:2181");
    command.env("SPRING_CLOUD_APPLICATION_GUID", "guid");
    command.env("SPRING_CLOUD_APPLICATION_GROUP", "timeStampStream");
    let router = Router::spawn(&mut command);
    let text = minreq::get(format!("http://127.0.0.1:{}/actuator/info", router.port()))
        .with_header("Accept", "text/plain")
        .send()
        .unwrap();
    let text = text.as_str().unwrap();
    let expected = format!(
        "Properties\n  stream-name=timeStampStream\n  app-name=python-router\n  app-guid=guid\n  app-group=timeStampStream\n  \
         kafka-brokers={broker}\n  kafka-zk=zk:2181\n\nChannels\n  Inputs:\n    input=timeDest\n  Outputs: \n    even=evenDest\n    \
         odd=oddDest\n\nArguments\n  "
    );
    assert!(
        text.starts_with(&expected) && text.ends_with("\n\nEnvironment\n  "),
        "{text}"
    );
    assert!(
        text.contains("--some.password=******") && !text.contains("hunter2"),
        "{text}"
    );
    assert!(
        !router.log().contains("WARN  ") || !router.log().contains("did you mean"),
        "{}",
        router.log()
    );
}

#[test]
fn arguments_of_data_flows_local_platform_for_a_jvm() {
    let json = include_str!("../fixtures/spring-application-json.json")
        .replace("\"19548\"", "\"0\"")
        .replace("127.0.0.1:9092", &unused_address().to_string());
    let mut command = command(&[
        "-Xmx64m",
        "-Dfile.encoding=UTF-8",
        "-jar",
        "/somewhere/router-1.0.jar",
    ]);
    let router = Router::spawn(command.env("SPRING_APPLICATION_JSON", json));
    let info = info(&router);
    check(&info, "/router/inputs/input", "timeDest");
    check(
        &info,
        "/router/app-guid",
        "timeStampStream.python-router-v2-0",
    );
    router.stop();
}

#[test]
fn a_near_miss_is_warned_about() {
    let router = Router::start(&[
        no_broker(),
        "--spring.cloud.stream.bindings.input.destnation=x".to_owned(),
    ]);
    let line = router.wait_for("did you mean");
    assert!(
        line.contains(" WARN ")
            && line.contains("did you mean spring.cloud.stream.bindings.input.destination?"),
        "{line}"
    );
}

#[test]
fn settings_without_effect_are_warned_about() {
    let mut command = command(&[
        &no_broker(),
        "--server.port=0",
        "--spring.cloud.stream.kafka.bindings.input.consumer.configuration.max.poll.records=7",
    ]);
    command.env(
        "SPRING_CLOUD_STREAM_KAFKA_BINDER_PRODUCER_PROPERTIES_RETRIES",
        "3",
    );
    let router = Router::spawn(&mut command);
    let line = router.wait_for("settings of Kafka's Java client");
    assert!(
        line.contains(" WARN ")
            && line.contains("that have no effect here: spring.cloud.stream.kafka.bindings.input.consumer.configuration.max.poll.records (argument "),
        "{line}"
    );
    let line = router.wait_for("binder.producerProperties.retries");
    assert!(
        line.contains(" WARN ")
            && line.contains("(environment variable SPRING_CLOUD_STREAM_KAFKA_BINDER_PRODUCER_PROPERTIES_RETRIES) has no effect: ")
            && line.contains("never gives it up because of time"),
        "{line}"
    );
}

#[test]
fn settings_that_the_client_does_not_support_end_it() {
    let output = run(&[
        "--parity-router.client=native",
        "--spring.cloud.stream.kafka.binder.configuration.security.protocol=SASL_SSL",
        "--spring.cloud.stream.kafka.binder.configuration.sasl.jaas.config=hunter2",
        "--spring.cloud.stream.kafka.binder.configuration.acks=0",
    ]);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    for sentence in [
        "spring.cloud.stream.kafka.binder.configuration.acks (argument --spring.cloud.stream.kafka.binder.configuration.acks): with 0 no broker responds",
        "configuration.security.protocol): SASL_SSL: the client native supports PLAINTEXT only",
        "parity-router.client=librdkafka supports SASL/PLAIN, and TLS, SCRAM and Kerberos if it is built with the cargo features ssl and gssapi",
    ] {
        assert!(err.contains(sentence), "{err}");
    }
    assert!(!err.contains("hunter2"), "{err}");
}

#[cfg(feature = "librdkafka")]
#[test]
fn settings_that_librdkafka_refuses_end_it() {
    let mut router = Router::start(&[
        no_broker(),
        "--parity-router.client=librdkafka".to_owned(),
        "--spring.cloud.stream.kafka.binder.consumerProperties.no.such.thing=hunter2".to_owned(),
    ]);
    assert_eq!(router.wait().code(), Some(1));
    let log = router.log();
    assert!(
        log.contains("create the consumer: librdkafka rejects the property no.such.thing: ")
            && !log.contains("hunter2"),
        "{log}"
    );
}

#[test]
fn log_lines_have_springs_form_and_level() {
    let router = Router::start(&[no_broker()]);
    let line = router.wait_for("actuator on port");
    let (time, rest) = line.split_at(23);
    let digits: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(digits, "0000-00-00 00:00:00.000", "{line}");
    assert!(
        rest.starts_with("  INFO ")
            && rest.contains(" --- [main] parity_router::service : actuator on port "),
        "{line}"
    );

    let router = Router::start(&[no_broker(), "--logging.level.root=debug".to_owned()]);
    router.get("/livez");
    router.wait_for(" DEBUG ");
}
