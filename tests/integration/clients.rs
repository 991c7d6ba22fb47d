//! Clients and brokers without a common protocol version: the error message names both.

use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaApiKey;

use crate::process::Router;

/// Returns the log of a router that fails at the start, because the broker supports only these versions of Fetch.
fn log_of_failure(client: &str, fetch: (i16, i16)) -> String {
    let cluster = MockCluster::new(1).unwrap();
    for topic in ["input", "even", "odd", "error.input.parity-router"] {
        cluster.create_topic(topic, 1, 1).unwrap();
    }
    cluster
        .apiversion(RDKafkaApiKey::Fetch, Some(fetch.0), Some(fetch.1))
        .unwrap();
    let mut router = Router::start(&[
        format!("--parity-router.client={client}"),
        format!(
            "--spring.cloud.stream.kafka.binder.brokers={}",
            cluster.bootstrap_servers()
        ),
    ]);
    assert_eq!(router.wait().code(), Some(1), "{}", router.log());
    router.log()
}

#[track_caller]
fn check(client: &str, fetch: (i16, i16), sentence: &str) {
    let log = log_of_failure(client, fetch);
    assert!(log.contains(sentence), "{log}");
}

/// Kafka 4 does not support Fetch version 0.
#[test]
fn the_old_client_and_a_new_broker() {
    check(
        "kafka",
        (4, 11),
        "supports Fetch versions 4 to 11, but the client `kafka` requires version 0, which Kafka 4.0 removed (KIP-896); use the \
         client `native`, or a broker up to Kafka 3.9",
    );
}

/// Kafka 1.1 supports Fetch up to version 7.
#[test]
fn our_client_and_an_old_broker() {
    check(
        "native",
        (0, 7),
        "the broker supports versions 0 to 7 of Fetch requests, but the client `native` sends 10 to 11: use Kafka 2.1 or later",
    );
}
