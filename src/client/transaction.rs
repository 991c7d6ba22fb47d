//! State of a transactional producer that a consumer and several producers share: the records and the offsets of their source become
//! visible together or not at all (KIP-98, KIP-447).
//!
//! At most one transaction is open. The consumer commits it once all records of the transaction are delivered. After any failure of the
//! transaction the consumer and the producers fail with [`Error::Aborted`](crate::client::Error::Aborted); they are then recreated and
//! continue from the committed offsets.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Transactional id, producer id and transaction number.
#[derive(Debug)]
pub(crate) struct Transaction {
    /// `transactional.id`
    pub(crate) id: String,
    /// `transaction.timeout.ms`, in milliseconds.
    pub(crate) timeout_ms: i32,
    /// Producer id and epoch; set by the consumer after InitProducerId.
    producer_identity: OnceLock<(i64, i16)>,
    /// Number of the open transaction, or of the next one if none is open.
    number: AtomicU64,
}

impl Transaction {
    /// A transactional producer that has no producer id yet.
    pub(crate) fn new(id: &str, timeout: Duration) -> Self {
        Self {
            id: id.to_owned(),
            timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            producer_identity: OnceLock::new(),
            number: AtomicU64::new(1),
        }
    }

    /// Producer id and epoch; `None` before the consumer has initialized the producer.
    pub(crate) fn producer_identity(&self) -> Option<(i64, i16)> {
        self.producer_identity.get().copied()
    }

    /// Sets producer id and epoch. Later calls have no effect.
    pub(crate) fn set_producer_identity(&self, identity: (i64, i16)) {
        let _ = self.producer_identity.set(identity);
    }

    /// Number of the transaction that records sent now belong to.
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Advances to the next transaction. Call it when the open one has ended and none of its records is in flight.
    pub(crate) fn advance(&self) {
        self.number.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_is_set_once_and_the_number_advances() {
        let transaction = Transaction::new("tx-1", Duration::from_secs(10));
        assert_eq!(
            (transaction.producer_identity(), transaction.timeout_ms),
            (None, 10_000)
        );
        transaction.set_producer_identity((7, 1));
        transaction.set_producer_identity((8, 2));
        let before = transaction.number();
        transaction.advance();
        assert_eq!(
            (transaction.producer_identity(), transaction.number()),
            (Some((7, 1)), before + 1)
        );
    }
}
