//! Meaning of broker errors for a transaction, shared by the consumer, which ends transactions, and the producers, which add partitions
//! to them.

use std::time::Duration;

use kafka_protocol::error::ResponseError;

use super::error_name::kafka_name;
use crate::client::error::Error;
use crate::client::settings::BackoffRange;

/// First and longest wait after CONCURRENT_TRANSACTIONS: most often the previous transaction completes within a millisecond. Java's producer
/// waits for the longest time at once.
pub(super) const CONCURRENT_BACKOFF: BackoffRange = BackoffRange {
    initial: Duration::from_millis(1),
    max: Duration::from_millis(20),
};

/// Class of an error in a response of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransactionErrorClass {
    /// Error code 0.
    Success,
    /// The previous transaction is not complete yet: send the request again after [`CONCURRENT_BACKOFF`].
    Concurrent,
    /// Send the request again after the back-off.
    Retriable {
        /// Another broker may have become the coordinator.
        coordinator_moved: bool,
    },
    /// The transaction cannot be committed any more: the group has removed this member, another producer uses the transactional id, or
    /// the transaction has timed out.
    Abortable,
    /// Neither a retry nor a restart can help.
    Fatal,
}

/// Returns the class of an error code.
pub(super) fn classify(code: i16) -> TransactionErrorClass {
    use ResponseError as E;
    match ResponseError::try_from_code(code) {
        None => TransactionErrorClass::Success,
        Some(E::ConcurrentTransactions) => TransactionErrorClass::Concurrent,
        Some(E::NotCoordinator | E::CoordinatorNotAvailable) => TransactionErrorClass::Retriable {
            coordinator_moved: true,
        },
        Some(
            E::CoordinatorLoadInProgress
            | E::RequestTimedOut
            | E::UnknownTopicOrPartition
            | E::OperationNotAttempted
            | E::NotLeaderOrFollower
            | E::NetworkException,
        ) => TransactionErrorClass::Retriable {
            coordinator_moved: false,
        },
        Some(
            E::TransactionalIdAuthorizationFailed
            | E::GroupAuthorizationFailed
            | E::TopicAuthorizationFailed
            | E::ClusterAuthorizationFailed
            | E::FencedInstanceId
            | E::InvalidGroupId
            | E::UnsupportedVersion
            | E::UnsupportedForMessageFormat,
        ) => TransactionErrorClass::Fatal,
        Some(_) => TransactionErrorClass::Abortable,
    }
}

/// Formats an error of a request, as `TxnOffsetCommit orders-0 failed: NOT_COORDINATOR`. `partition` is the one that the error is about.
pub(super) fn error_message(request: &str, partition: Option<&str>, code: i16) -> String {
    let name = ResponseError::try_from_code(code)
        .map_or_else(String::new, |error| kafka_name(error).to_string());
    match partition {
        Some(partition) => format!("{request} {partition} failed: {name}"),
        None => format!("{request} failed: {name}"),
    }
}

/// Returns the client error for a code that is not retriable: one that aborts the transaction, or one that ends the client.
pub(super) fn transaction_error(request: &str, partition: Option<&str>, code: i16) -> Error {
    let reason = error_message(request, partition, code);
    if classify(code) == TransactionErrorClass::Fatal {
        fatal_error(reason)
    } else {
        Error::Aborted(reason)
    }
}

/// Returns the error that ends the client.
pub(super) fn fatal_error(reason: String) -> Error {
    Error::Kafka {
        operation: "transaction",
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        use ResponseError as E;
        use TransactionErrorClass as Class;
        let retriable = |coordinator_moved| Class::Retriable { coordinator_moved };
        for (error, expected) in [
            (E::ConcurrentTransactions, Class::Concurrent),
            (E::NotCoordinator, retriable(true)),
            (E::CoordinatorLoadInProgress, retriable(false)),
            (E::IllegalGeneration, Class::Abortable),
            (E::UnknownMemberId, Class::Abortable),
            (E::RebalanceInProgress, Class::Abortable),
            (E::InvalidProducerEpoch, Class::Abortable),
            (E::ProducerFenced, Class::Abortable),
            (E::InvalidTxnState, Class::Abortable),
            (E::Unknown(1000), Class::Abortable),
            (E::FencedInstanceId, Class::Fatal),
            (E::TransactionalIdAuthorizationFailed, Class::Fatal),
        ] {
            assert_eq!(classify(error.code()), expected, "{error}");
            let error_kind = transaction_error("EndTxn", None, error.code());
            let is_abort = matches!(error_kind, Error::Aborted(_));
            assert_eq!(is_abort, expected != Class::Fatal, "{error}");
        }
        assert_eq!(classify(0), Class::Success);
    }

    #[test]
    fn the_message_has_request_partition_and_error() {
        let code = ResponseError::NotCoordinator.code();
        assert_eq!(
            error_message("TxnOffsetCommit", Some("orders-0"), code),
            "TxnOffsetCommit orders-0 failed: NOT_COORDINATOR"
        );
        assert_eq!(
            error_message("EndTxn", None, code),
            "EndTxn failed: NOT_COORDINATOR"
        );
    }
}
