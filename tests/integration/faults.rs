//! Errors that a broker answers with, in every kind of request: what can heal is tried again, and nothing is lost; what cannot ends the
//! program with a sentence, and nothing is committed. (`tests/faults` makes the faults that lead to them, on real brokers.)
//!
//! With an error in them the embedded broker's answers to FindCoordinator, JoinGroup and SyncGroup have nulls where Kafka allows none: what
//! is shown there is that an answer that cannot be read is asked for again. What the errors do is in the unit tests of `native/group.rs`.

use std::collections::BTreeSet;

use kafka_protocol::error::ResponseError as E;
use rdkafka::types::{RDKafkaApiKey as Request, RDKafkaRespErr};

use crate::broker::{Broker, DEAD, EVEN, ODD, value_only};
use crate::process::{Router, eventually};

const PARTITIONS: i32 = 2;
/// Records of each of the two lots, half of them even.
const LOT: usize = 100;

/// Everything comes soon, so that the errors do too.
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

/// What a broker answers with, whichever request it is.
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
    // Both partitions have even and odd ones.
    let values = numbers.map(|number| format!("{:03}{}", number, number / 2 % 2));
    broker.write_values(values, PARTITIONS);
}

/// How many records are routed, by the router's own count: to ask the broker would take errors away that are meant for the router.
fn routed(router: &Router) -> usize {
    let (_, body) = router.get("/actuator/health").unwrap();
    let health: serde_json::Value = serde_json::from_str(&body).unwrap();
    let details = &health["components"]["router"]["details"];
    let count = |name| usize::try_from(details[name].as_u64().unwrap()).unwrap();
    count("even") + count("odd")
}

/// These errors heal. Each record is routed, and once, unless the router has to read again what was routed already. Returns the log.
#[track_caller]
fn heals(request: Request, errors: &[E], more: &[&str], once: bool) -> String {
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
    // The embedded broker forgets what is committed by transactions.
    if more.is_empty() {
        let committed = broker.committed("group", PARTITIONS);
        let committed = usize::try_from(committed.values().sum::<i64>()).unwrap();
        assert_eq!(committed, 2 * LOT, "{request:?}: {log}");
    }
    log
}

/// Each of these errors ends the program with a line that names it, and nothing is committed.
#[track_caller]
fn ends(request: Request, errors: &[E], more: &[&str]) {
    for error in errors {
        let broker = Broker::start(PARTITIONS);
        write_lot(&broker, 0);
        // Commits and heartbeats are of several threads' making: one of them is enough.
        inject(&broker, request, &[*error; 3]);
        let mut router = start(&broker, more);
        let status = router.wait();
        let log = router.log();
        broker.cluster.clear_request_errors(request);
        assert_eq!(status.code(), Some(1), "{request:?} {error}: {log}");
        let line = log.lines().rfind(|line| line.contains("ERROR"));
        assert!(
            line.is_some_and(|line| line.contains(&error.to_string())),
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
    heals(Request::Metadata, &errors, &[], true);
}

#[test]
fn find_coordinator() {
    let errors = [
        E::CoordinatorNotAvailable,
        E::CoordinatorLoadInProgress,
        E::RequestTimedOut,
        E::UnknownServerError,
    ];
    heals(Request::FindCoordinator, &errors, &[], true);
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
    heals(Request::JoinGroup, &errors, &[], true);
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
    heals(Request::SyncGroup, &errors, &[], true);
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
    heals(Request::Heartbeat, &errors, &[], false);
}

#[test]
fn leave_group() {
    let errors = [E::NotCoordinator, E::UnknownMemberId];
    heals(Request::LeaveGroup, &errors, &[], true);
}

#[test]
fn offset_fetch() {
    let errors = [
        E::NotCoordinator,
        E::CoordinatorLoadInProgress,
        E::CoordinatorNotAvailable,
    ];
    heals(Request::OffsetFetch, &errors, &[], true);
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
    heals(Request::OffsetCommit, &errors, &[], false);
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
    heals(Request::ListOffsets, &errors, &[], true);
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
    heals(Request::Fetch, &errors, &[], true);
    // Where retention, as the broker says, has passed, it is read again from the first record.
    heals(Request::Fetch, &[E::OffsetOutOfRange], &[], false);
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
    heals(Request::InitProducerId, &errors, &[], true);
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
    heals(Request::Produce, &errors, &[], true);
}

/// A leader that is not where it was is everyday, once; where it is not found again, that is told.
#[test]
fn leader_moved() {
    let error = E::NotLeaderOrFollower;
    for (request, name) in [
        (Request::Fetch, "NotLeaderOrFollower"),
        (Request::Produce, "NOT_LEADER_OR_FOLLOWER"),
    ] {
        let log = heals(request, &[error], &[], true);
        assert!(!log.contains(name), "{request:?}: {log}");
        // So many that they are not all answers to what was sent at once.
        let log = heals(request, &[error; 30], &[], true);
        assert!(log.contains(name), "{request:?}: {log}");
    }
}

#[test]
fn produce_for_good() {
    let errors = [
        E::TopicAuthorizationFailed,
        E::ClusterAuthorizationFailed,
        E::InvalidTopicException,
        E::InvalidRequiredAcks,
        E::UnsupportedForMessageFormat,
    ];
    ends(Request::Produce, &errors, &[]);
}

/// What a topic refuses because of the record itself is a dead letter, with where it comes from.
#[test]
fn produce_refused() {
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
        heals(request, &retriable, &[TRANSACTIONS], true);
    }
}

/// Where the coordinator is busy with the transaction, the broker says that replicas are missing. That is told only where it stays so: with
/// nine answers for each of the outputs' partitions, one of these gets nine in a row.
#[test]
fn busy_with_the_transaction() {
    for (count, is_told) in [(3, false), (2 * 2 * 9, true)] {
        let errors = vec![E::NotEnoughReplicas; count];
        let log = heals(Request::Produce, &errors, &[TRANSACTIONS], true);
        assert_eq!(log.contains("NotEnoughReplicas"), is_told, "{log}");
    }
}

/// These end the transaction, and it is begun anew. (The embedded broker shows what was aborted.)
#[track_caller]
fn aborts(request: Request) {
    heals(request, &[E::InvalidTxnState], &[TRANSACTIONS], false);
    heals(request, &[E::InvalidProducerEpoch], &[TRANSACTIONS], false);
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
    heals(Request::TxnOffsetCommit, &errors, &[TRANSACTIONS], false);
}

#[test]
fn transactions_for_good() {
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
