//! What an error of a broker means for the body that it is about. Pure.

use kafka_protocol::error::ResponseError;

/// What becomes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// The broker has it.
    Acknowledged,
    /// It is sent again after a while.
    Again {
        /// It may have been appended nevertheless.
        doubtful: bool,
        /// Another broker may lead the partition by now.
        outdated: bool,
    },
    /// What comes before it is missing.
    OutOfSequence,
    /// The producer id or epoch is none that the broker takes.
    Unidentified,
    /// It is larger than the topic takes.
    TooLarge,
    /// Something in it is not as the topic wants it.
    Invalid,
    /// It did not arrive as it was sent.
    Corrupt,
    /// Nothing that is sent to this topic will be taken.
    Final,
}

/// The verdict on a body. What is not known here is tried again: a record is not given up because a broker is new.
pub(super) fn classify(error: Option<ResponseError>) -> ErrorClass {
    use ResponseError as E;
    let Some(error) = error else {
        return ErrorClass::Acknowledged;
    };
    match error {
        E::DuplicateSequenceNumber => ErrorClass::Acknowledged,
        E::OutOfOrderSequenceNumber => ErrorClass::OutOfSequence,
        E::UnknownProducerId
        | E::InvalidProducerEpoch
        | E::InvalidProducerIdMapping
        | E::InvalidTxnState
        | E::TransactionAbortable
        | E::ProducerFenced => ErrorClass::Unidentified,
        E::MessageTooLarge | E::RecordListTooLarge => ErrorClass::TooLarge,
        E::InvalidRecord | E::InvalidTimestamp => ErrorClass::Invalid,
        E::CorruptMessage => ErrorClass::Corrupt,
        E::TopicAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::TransactionalIdAuthorizationFailed
        | E::InvalidTopicException
        | E::UnsupportedVersion
        | E::InvalidRequiredAcks
        | E::UnsupportedForMessageFormat
        | E::UnsupportedCompressionType => ErrorClass::Final,
        // Of these alone the broker appends nothing for sure; the others can come while it waits for the followers.
        E::NotEnoughReplicas | E::LeaderNotAvailable | E::ThrottlingQuotaExceeded => {
            ErrorClass::Again {
                doubtful: false,
                outdated: error == E::LeaderNotAvailable,
            }
        }
        error => ErrorClass::Again {
            doubtful: true,
            outdated: matches!(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: ResponseError, expected: ErrorClass) {
        assert_eq!(classify(Some(error)), expected);
    }

    #[test]
    fn verdicts() {
        let again = |doubtful, outdated| ErrorClass::Again { doubtful, outdated };
        assert_eq!(classify(None), ErrorClass::Acknowledged);
        check(
            ResponseError::DuplicateSequenceNumber,
            ErrorClass::Acknowledged,
        );
        check(
            ResponseError::OutOfOrderSequenceNumber,
            ErrorClass::OutOfSequence,
        );
        check(ResponseError::UnknownProducerId, ErrorClass::Unidentified);
        check(ResponseError::MessageTooLarge, ErrorClass::TooLarge);
        check(ResponseError::InvalidTimestamp, ErrorClass::Invalid);
        check(ResponseError::CorruptMessage, ErrorClass::Corrupt);
        check(ResponseError::TopicAuthorizationFailed, ErrorClass::Final);
        check(ResponseError::NotEnoughReplicas, again(false, false));
        check(
            ResponseError::NotEnoughReplicasAfterAppend,
            again(true, false),
        );
        check(ResponseError::RequestTimedOut, again(true, false));
        check(ResponseError::NotLeaderOrFollower, again(true, true));
        check(ResponseError::UnknownTopicOrPartition, again(true, true));
        check(ResponseError::UnknownServerError, again(true, false));
        check(ResponseError::Unknown(1000), again(true, false));
    }
}
