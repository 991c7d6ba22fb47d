//! What the consumer and both producers of a router share that writes in transactions: outputs and offsets become visible together, or not
//! at all (KIP-98, KIP-447). One transaction at a time; the consumer ends it when all that it dispatched in it is delivered. Whatever goes
//! wrong with one ends all three, with [`Error::Aborted`](crate::client::Error::Aborted), and they are begun anew where the group has committed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub(crate) struct Transaction {
    /// `transactional.id`
    pub(crate) id: String,
    /// `transaction.timeout.ms`, in milliseconds.
    pub(crate) timeout_ms: i32,
    /// Producer id and epoch, once the consumer has them.
    identity: OnceLock<(i64, i16)>,
    /// Counts transactions: the one that is open, or is opened next.
    number: AtomicU64,
}

impl Transaction {
    /// Of a pipeline that has yet to begin.
    pub(crate) fn new(id: &str, timeout: Duration) -> Self {
        Self {
            id: id.to_owned(),
            timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            identity: OnceLock::new(),
            number: AtomicU64::new(1),
        }
    }

    /// Producer id and epoch; none before the consumer has been given them.
    pub(crate) fn identity(&self) -> Option<(i64, i16)> {
        self.identity.get().copied()
    }

    /// The consumer has been given them. They stay as they are.
    pub(crate) fn identify(&self, identity: (i64, i16)) {
        let _ = self.identity.set(identity);
    }

    /// The number of the transaction that what is sent now belongs to.
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// The open one is over. Nothing of it is on its way any more.
    pub(crate) fn next(&self) {
        self.number.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_after_the_other() {
        let transaction = Transaction::new("tx-1", Duration::from_secs(10));
        assert_eq!(
            (transaction.identity(), transaction.timeout_ms),
            (None, 10_000)
        );
        transaction.identify((7, 1));
        transaction.identify((8, 2));
        let before = transaction.number();
        transaction.next();
        assert_eq!(
            (transaction.identity(), transaction.number()),
            (Some((7, 1)), before + 1)
        );
    }
}
