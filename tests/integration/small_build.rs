//! What the small build cannot do it says.

use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaApiKey;

use crate::process::{Router, run};

#[test]
fn a_client_that_it_has_not() {
    let output = run(&["--parity-router.client=librdkafka"]);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("parity-router.client (argument --parity-router.client): this build has not the client librdkafka"), "{err}");
}

#[test]
fn a_demo_that_it_has_not() {
    let output = run(&["demo"]);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(
        err.contains("demo: its embedded broker is in the default build"),
        "{err}"
    );
}

/// The embedded broker takes, as Kafka 4 does, no Fetch of version 0.
#[test]
fn a_broker_that_it_cannot_speak_to() {
    let cluster = MockCluster::new(1).unwrap();
    cluster
        .apiversion(RDKafkaApiKey::Fetch, Some(4), Some(11))
        .unwrap();
    let mut router = Router::start(&[
        "--parity-router.client=kafka".to_owned(),
        format!(
            "--spring.cloud.stream.kafka.binder.brokers={}",
            cluster.bootstrap_servers()
        ),
    ]);
    assert_eq!(router.wait().code(), Some(1));
    let log = router.log();
    assert!(
        log.contains(
            "takes Fetch requests of version 4 to 11, and the client `kafka` sends version 0"
        ),
        "{log}"
    );
    assert!(log.contains("use parity-router.client=librdkafka, which the default build has, or a broker up to Kafka 3.9"), "{log}");
}
