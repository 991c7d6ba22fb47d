//! Classifies the errors of produce responses by what happens to the batch. Pure.

use kafka_protocol::error::ResponseError;

/// Meaning of an error for the batch that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// The broker has appended the batch already.
    Duplicate,
    /// The batch is sent again after a back-off.
    Retriable {
        /// The broker may have appended the batch, or may still do so.
        is_possibly_appended: bool,
        /// The metadata may be stale: another broker may be the leader.
        needs_metadata: bool,
    },
    /// Batches that precede this one are missing at the broker.
    OutOfSequence,
    /// The broker rejects the producer id or epoch.
    IdentityRejected,
    /// The batch is larger than the topic allows.
    TooLarge,
    /// The batch contains a record that the broker refuses.
    InvalidRecord,
    /// The batch did not arrive as it was sent.
    Corrupt,
    /// The broker will not accept any batch for this topic.
    Fatal,
}

impl ErrorClass {
    /// Returns the class of an error. Unknown errors are retried, so that no record is lost because the broker is newer than this client.
    pub(super) fn of(error: ResponseError) -> Self {
        use ResponseError as E;
        match error {
            E::DuplicateSequenceNumber => Self::Duplicate,
            E::OutOfOrderSequenceNumber => Self::OutOfSequence,
            E::UnknownProducerId
            | E::InvalidProducerEpoch
            | E::InvalidProducerIdMapping
            | E::InvalidTxnState
            | E::TransactionAbortable
            | E::ProducerFenced => Self::IdentityRejected,
            E::MessageTooLarge | E::RecordListTooLarge => Self::TooLarge,
            E::InvalidRecord | E::InvalidTimestamp => Self::InvalidRecord,
            E::CorruptMessage => Self::Corrupt,
            E::TopicAuthorizationFailed
            | E::ClusterAuthorizationFailed
            | E::TransactionalIdAuthorizationFailed
            | E::InvalidTopicException
            | E::UnsupportedVersion
            | E::InvalidRequiredAcks
            | E::UnsupportedForMessageFormat
            | E::UnsupportedCompressionType => Self::Fatal,
            // Only these guarantee that nothing was appended. The others can occur while the leader waits for its followers.
            E::NotEnoughReplicas | E::LeaderNotAvailable | E::ThrottlingQuotaExceeded => {
                Self::Retriable {
                    is_possibly_appended: false,
                    needs_metadata: error == E::LeaderNotAvailable,
                }
            }
            error => Self::Retriable {
                is_possibly_appended: true,
                needs_metadata: matches!(
                    error,
                    E::NotLeaderOrFollower
                        | E::UnknownTopicOrPartition
                        | E::KafkaStorageError
                        | E::ReplicaNotAvailable
                        | E::BrokerNotAvailable
                        | E::FencedLeaderEpoch
                        | E::UnknownLeaderEpoch
                ),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: ResponseError, expected: ErrorClass) {
        assert_eq!(ErrorClass::of(error), expected);
    }

    #[test]
    fn classes() {
        use ResponseError as E;
        let retriable = |is_possibly_appended, needs_metadata| ErrorClass::Retriable {
            is_possibly_appended,
            needs_metadata,
        };
        check(E::DuplicateSequenceNumber, ErrorClass::Duplicate);
        check(E::OutOfOrderSequenceNumber, ErrorClass::OutOfSequence);
        check(E::UnknownProducerId, ErrorClass::IdentityRejected);
        check(E::MessageTooLarge, ErrorClass::TooLarge);
        check(E::InvalidTimestamp, ErrorClass::InvalidRecord);
        check(E::CorruptMessage, ErrorClass::Corrupt);
        check(E::TopicAuthorizationFailed, ErrorClass::Fatal);
        check(E::NotEnoughReplicas, retriable(false, false));
        check(E::NotEnoughReplicasAfterAppend, retriable(true, false));
        check(E::RequestTimedOut, retriable(true, false));
        check(E::NotLeaderOrFollower, retriable(true, true));
        check(E::UnknownTopicOrPartition, retriable(true, true));
        check(E::UnknownServerError, retriable(true, false));
        check(E::Unknown(1000), retriable(true, false));
    }
}
