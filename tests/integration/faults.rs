//! Error codes in the response to every request type. After a retriable error the request is repeated and nothing is lost; a fatal error ends
//! the program with a message and without a commit. `tests/faults` causes such errors on real brokers.
//!
//! The error responses of the embedded broker to FindCoordinator, JoinGroup and SyncGroup have nulls where Kafka allows none. The tests of
//! these requests therefore show that a malformed response is requested again; the unit tests of the native client's group cover the errors.

use std::collections::BTreeSet;

use kafka_protocol::error::ResponseError as E;
use rdkafka::types::{RDKafkaApiKey as Request, RDKafkaRespErr};

use crate::broker::{Broker, DEAD, EVEN, ODD, value_only};
use crate::process::{Router, eventually};

const PARTITIONS: i32 = 2;
/// Records of each of the two lots; half of them are even.
const LOT: usize = 100;

/// Short intervals, so that the requests with the injected errors are sent soon.
const SOON: [&str; 8] = [
    "--spring.cloud.stream.kafka.binder.configuration.retry.backoff.ms=10",
    "--spring.cloud.stream.kafka.binder.configuration.retry.backoff.max.ms=50",
    "--spring.cloud.stream.kafka.binder.configuration.reconnect.backoff.max.ms=50",
    "--spring.cloud.stream.kafka.binder.configuration.metadata.max.age.ms=100",
    "--spring.cloud.stream.kafka.binder.consumerProperties.session.timeout.ms=6000",
    "--spring.cloud.stream.kafka.binder.consumerProperties.heartbeat.interval.ms=100",
    "--parity-router.client=native",
    "--management.endpoint.health.show-details=always",
];

const TRANSACTIONS: &str =
    "--spring.cloud.stream.kafka.binder.transaction.transaction-id-prefix=tx-";

/// Makes the broker answer the next requests of this type with these errors.
fn inject(broker: &Broker, request: Request, errors: &[E]) {
    let errors: Vec<RDKafkaRespErr> = errors
        .iter()
        .map(|error| RDKafkaRespErr::try_from(i32::from(error.code())).unwrap())
        .collect();
    broker.cluster.request_errors(request, &errors);
}

fn start(broker: &Broker, more: &[&str]) -> Router {
    let arguments = SOON.iter().chain(more).map(|&argument| argument.to_owned());
    Router::start(&[broker.arguments(), arguments.collect()].concat())
}

fn write_lot(broker: &Broker, lot: usize) {
    let numbers = lot * LOT..(lot + 1) * LOT;
    // Both partitions get even and odd values.
    let values = numbers.map(|number| format!("{:03}{}", number, number / 2 % 2));
    broker.write_values(values, PARTITIONS);
}

/// Returns the number of routed records by the counters of the router. A request to the broker could receive an error meant for the router.
fn routed(router: &Router) -> usize {
    let (_, body) = router.get("/actuator/health").unwrap();
    let health: serde_json::Value = serde_json::from_str(&body).unwrap();
    let details = &health["components"]["router"]["details"];
    let count = |name| usize::try_from(details[name].as_u64().unwrap()).unwrap();
    count("even") + count("odd")
}

/// Checks that the router recovers from these errors and routes every record, exactly once if `once`. Returns the log.
#[track_caller]
fn recovers(request: Request, errors: &[E], more: &[&str], once: bool) -> String {
    let broker = Broker::start(PARTITIONS);
    write_lot(&broker, 0);
    inject(&broker, request, errors);
    let router = start(&broker, more);
    let wait_for = |count| {
        let enough = || (routed(&router) >= count).then_some(());
        eventually(&format!("{count} records, {request:?}"), enough, || {
            router.log()
        });
    };
    wait_for(LOT);
    broker.cluster.clear_request_errors(request);
    write_lot(&broker, 1);
    wait_for(2 * LOT);
    let log = router.stop();
    let mut count = 0;
    let mut different = BTreeSet::new();
    for topic in [EVEN, ODD] {
        let records = broker.read(topic, LOT);
        count += records.len();
        different.extend(records.into_iter().map(|record| record.value));
    }
    assert_eq!(different.len(), 2 * LOT, "{request:?}: {log}");
    if once {
        assert_eq!(count, 2 * LOT, "{request:?}: {log}");
    }
    assert!(!log.contains("do not add up"), "{request:?}: {log}");
    // The embedded broker does not keep offsets that are committed by transactions.
    if more.is_empty() {
        let committed = broker.committed("group", PARTITIONS);
        let committed = usize::try_from(committed.values().sum::<i64>()).unwrap();
        assert_eq!(committed, 2 * LOT, "{request:?}: {log}");
    }
    log
}

/// Returns Kafka's name of an error, as `NOT_LEADER_OR_FOLLOWER`.
fn kafka_name(error: E) -> String {
    let mut name = String::new();
    for letter in error.to_string().chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// Checks that each of these errors ends the program with a message that names it, and without a commit.
#[track_caller]
fn ends(request: Request, errors: &[E], more: &[&str]) {
    for error in errors {
        let broker = Broker::start(PARTITIONS);
        write_lot(&broker, 0);
        // Several requests of this type can be in flight; one error is enough.
        inject(&broker, request, &[*error; 3]);
        let mut router = start(&broker, more);
        let status = router.wait();
        let log = router.log();
        broker.cluster.clear_request_errors(request);
        assert_eq!(status.code(), Some(1), "{request:?} {error}: {log}");
        let line = log.lines().rfind(|line| line.contains("ERROR"));
        assert!(
            line.is_some_and(|line| line.contains(&kafka_name(*error))),
            "{request:?} {error}: {log}"
        );
        assert!(
            broker.committed("group", PARTITIONS).is_empty(),
            "{request:?} {error}: {log}"
        );
    }
}

#[test]
fn metadata() {
    let errors = [E::LeaderNotAvailable, E::RequestTimedOut];
    recovers(Request::Metadata, &errors, &[], true);
}

#[test]
fn find_coordinator() {
    let errors = [
        E::CoordinatorNotAvailable,
        E::CoordinatorLoadInProgress,
        E::RequestTimedOut,
        E::UnknownServerError,
    ];
    recovers(Request::FindCoordinator, &errors, &[], true);
}

#[test]
fn join_group() {
    let errors = [
        E::CoordinatorLoadInProgress,
        E::CoordinatorNotAvailable,
        E::NotCoordinator,
        E::RebalanceInProgress,
        E::UnknownMemberId,
        E::UnknownServerError,
    ];
    recovers(Request::JoinGroup, &errors, &[], true);
}

#[test]
fn sync_group() {
    let errors = [
        E::RebalanceInProgress,
        E::UnknownMemberId,
        E::IllegalGeneration,
        E::NotCoordinator,
        E::CoordinatorNotAvailable,
        E::CoordinatorLoadInProgress,
    ];
    recovers(Request::SyncGroup, &errors, &[], true);
}

#[test]
fn heartbeat() {
    let errors = [
        E::NotCoordinator,
        E::CoordinatorNotAvailable,
        E::RebalanceInProgress,
        E::IllegalGeneration,
        E::UnknownMemberId,
    ];
    recovers(Request::Heartbeat, &errors, &[], false);
}

#[test]
fn leave_group() {
    let errors = [E::NotCoordinator, E::UnknownMemberId];
    recovers(Request::LeaveGroup, &errors, &[], true);
}

#[test]
fn offset_fetch() {
    let errors = [
        E::NotCoordinator,
        E::CoordinatorLoadInProgress,
        E::CoordinatorNotAvailable,
    ];
    recovers(Request::OffsetFetch, &errors, &[], true);
    ends(Request::OffsetFetch, &[E::GroupAuthorizationFailed], &[]);
}

#[test]
fn offset_commit() {
    let errors = [
        E::NotCoordinator,
        E::CoordinatorLoadInProgress,
        E::CoordinatorNotAvailable,
        E::RequestTimedOut,
        E::UnknownTopicOrPartition,
        E::RebalanceInProgress,
        E::IllegalGeneration,
        E::UnknownMemberId,
    ];
    recovers(Request::OffsetCommit, &errors, &[], false);
    let errors = [E::GroupAuthorizationFailed, E::TopicAuthorizationFailed];
    ends(Request::OffsetCommit, &errors, &[]);
}

#[test]
fn list_offsets() {
    let errors = [
        E::NotLeaderOrFollower,
        E::UnknownTopicOrPartition,
        E::LeaderNotAvailable,
        E::RequestTimedOut,
        E::UnknownServerError,
    ];
    recovers(Request::ListOffsets, &errors, &[], true);
    ends(Request::ListOffsets, &[E::TopicAuthorizationFailed], &[]);
}

#[test]
fn fetch() {
    let errors = [
        E::NotLeaderOrFollower,
        E::UnknownTopicOrPartition,
        E::LeaderNotAvailable,
        E::FencedLeaderEpoch,
        E::UnknownLeaderEpoch,
        E::ReplicaNotAvailable,
        E::KafkaStorageError,
        E::OffsetNotAvailable,
        E::CorruptMessage,
        E::RequestTimedOut,
        E::UnknownServerError,
    ];
    recovers(Request::Fetch, &errors, &[], true);
    // After OFFSET_OUT_OF_RANGE the router reads from the first retained record.
    recovers(Request::Fetch, &[E::OffsetOutOfRange], &[], false);
    ends(Request::Fetch, &[E::TopicAuthorizationFailed], &[]);
}

#[test]
fn init_producer_id() {
    let errors = [
        E::CoordinatorNotAvailable,
        E::CoordinatorLoadInProgress,
        E::NotCoordinator,
        E::RequestTimedOut,
        E::UnknownServerError,
    ];
    recovers(Request::InitProducerId, &errors, &[], true);
    ends(
        Request::InitProducerId,
        &[E::ClusterAuthorizationFailed],
        &[],
    );
}

#[test]
fn produce() {
    let errors = [
        E::NotLeaderOrFollower,
        E::UnknownTopicOrPartition,
        E::LeaderNotAvailable,
        E::RequestTimedOut,
        E::NotEnoughReplicas,
        E::NotEnoughReplicasAfterAppend,
        E::KafkaStorageError,
        E::NetworkException,
        E::CorruptMessage,
        E::ThrottlingQuotaExceeded,
        E::UnknownServerError,
    ];
    recovers(Request::Produce, &errors, &[], true);
}

/// A moved leader is normal and not logged as a warning the first time; if the new leader is not found, it is.
#[test]
fn leader_moved() {
    let error = E::NotLeaderOrFollower;
    let name = &kafka_name(error);
    for request in [Request::Fetch, Request::Produce] {
        let log = recovers(request, &[error], &[], true);
        assert!(!log.contains(name), "{request:?}: {log}");
        // More errors than requests in flight, so that a repeated request fails as well.
        let log = recovers(request, &[error; 30], &[], true);
        assert!(log.contains(name), "{request:?}: {log}");
    }
}

#[test]
fn produce_fatal() {
    let errors = [
        E::TopicAuthorizationFailed,
        E::ClusterAuthorizationFailed,
        E::InvalidTopicException,
        E::InvalidRequiredAcks,
        E::UnsupportedForMessageFormat,
    ];
    ends(Request::Produce, &errors, &[]);
}

/// A record that the topic rejects because of its content becomes a dead letter with the headers of its origin.
#[test]
fn produce_rejected() {
    for error in [E::MessageTooLarge, E::InvalidRecord, E::InvalidTimestamp] {
        let broker = Broker::start(1);
        broker.write(&[value_only(b"12")], 1);
        inject(&broker, Request::Produce, &[error]);
        let router = start(&broker, &[]);
        let dead = broker.read(DEAD, 1);
        assert_eq!(dead[0].value.as_deref(), Some(&b"12"[..]), "{error}");
        let log = router.stop();
        assert!(
            log.contains("1 records in, 0 even, 0 odd, 1 dead-lettered"),
            "{log}"
        );
        assert_eq!(broker.committed("group", 1), [(0, 1)].into());
    }
}

#[test]
fn transactions() {
    let retriable = [
        E::ConcurrentTransactions,
        E::CoordinatorLoadInProgress,
        E::NotCoordinator,
        E::CoordinatorNotAvailable,
    ];
    for request in [
        Request::AddPartitionsToTxn,
        Request::AddOffsetsToTxn,
        Request::TxnOffsetCommit,
        Request::EndTxn,
    ] {
        recovers(request, &retriable, &[TRANSACTIONS], true);
    }
}

/// A broker reports NOT_ENOUGH_REPLICAS while the coordinator is busy with the transaction (KIP-890). The router logs it only if it persists.
/// With nine error responses for each output partition, one partition gets nine in a row.
#[test]
fn busy_with_the_transaction() {
    for (count, is_told) in [(3, false), (2 * 2 * 9, true)] {
        let errors = vec![E::NotEnoughReplicas; count];
        let log = recovers(Request::Produce, &errors, &[TRANSACTIONS], true);
        assert_eq!(log.contains("NOT_ENOUGH_REPLICAS"), is_told, "{log}");
    }
}

/// Checks that errors of this request abort the transaction and that the router restarts. The embedded broker shows aborted records.
#[track_caller]
fn aborts(request: Request) {
    recovers(request, &[E::InvalidTxnState], &[TRANSACTIONS], false);
    recovers(request, &[E::InvalidProducerEpoch], &[TRANSACTIONS], false);
}

#[test]
fn aborted_at_its_partitions() {
    aborts(Request::AddPartitionsToTxn);
}

#[test]
fn aborted_at_its_group() {
    aborts(Request::AddOffsetsToTxn);
}

#[test]
fn aborted_at_its_end() {
    aborts(Request::EndTxn);
}

#[test]
fn aborted_at_its_offsets() {
    let errors = [E::IllegalGeneration, E::UnknownMemberId];
    recovers(Request::TxnOffsetCommit, &errors, &[TRANSACTIONS], false);
}

#[test]
fn transactions_fatal() {
    let errors = [E::TransactionalIdAuthorizationFailed];
    for request in [
        Request::InitProducerId,
        Request::AddPartitionsToTxn,
        Request::AddOffsetsToTxn,
        Request::TxnOffsetCommit,
        Request::EndTxn,
    ] {
        ends(request, &errors, &[TRANSACTIONS]);
    }
    ends(
        Request::TxnOffsetCommit,
        &[E::GroupAuthorizationFailed],
        &[TRANSACTIONS],
    );
}
