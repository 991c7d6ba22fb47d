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

impl TransactionErrorClass {
    /// Returns the class of an error.
    pub(super) fn of(error: ResponseError) -> Self {
        use ResponseError as E;
        match error {
            E::ConcurrentTransactions => Self::Concurrent,
            E::NotCoordinator | E::CoordinatorNotAvailable => Self::Retriable {
                coordinator_moved: true,
            },
            E::CoordinatorLoadInProgress
            | E::RequestTimedOut
            | E::UnknownTopicOrPartition
            | E::OperationNotAttempted
            | E::NotLeaderOrFollower
            | E::NetworkException => Self::Retriable {
                coordinator_moved: false,
            },
            E::TransactionalIdAuthorizationFailed
            | E::GroupAuthorizationFailed
            | E::TopicAuthorizationFailed
            | E::ClusterAuthorizationFailed
            | E::FencedInstanceId
            | E::InvalidGroupId
            | E::UnsupportedVersion
            | E::UnsupportedForMessageFormat => Self::Fatal,
            _ => Self::Abortable,
        }
    }
}

/// Formats an error of a request, as `TxnOffsetCommit orders-0 failed: NOT_COORDINATOR`. `partition` is the one that the error is about.
pub(super) fn error_message(
    request: &str,
    partition: Option<&str>,
    error: ResponseError,
) -> String {
    let name = kafka_name(error);
    match partition {
        Some(partition) => format!("{request} {partition} failed: {name}"),
        None => format!("{request} failed: {name}"),
    }
}

/// Returns the client error for an error that is not retriable: one that aborts the transaction, or one that ends the client.
pub(super) fn transaction_error(
    request: &str,
    partition: Option<&str>,
    error: ResponseError,
) -> Error {
    let reason = error_message(request, partition, error);
    if TransactionErrorClass::of(error) == TransactionErrorClass::Fatal {
        transaction_failure(reason)
    } else {
        Error::Aborted(reason)
    }
}

/// Returns the error that ends the client.
pub(super) fn transaction_failure(reason: String) -> Error {
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
            assert_eq!(Class::of(error), expected, "{error}");
            let error_kind = transaction_error("EndTxn", None, error);
            let is_abort = matches!(error_kind, Error::Aborted(_));
            assert_eq!(is_abort, expected != Class::Fatal, "{error}");
        }
    }

    #[test]
    fn the_message_has_request_partition_and_error() {
        let error = ResponseError::NotCoordinator;
        assert_eq!(
            error_message("TxnOffsetCommit", Some("orders-0"), error),
            "TxnOffsetCommit orders-0 failed: NOT_COORDINATOR"
        );
        assert_eq!(
            error_message("EndTxn", None, error),
            "EndTxn failed: NOT_COORDINATOR"
        );
    }
}
