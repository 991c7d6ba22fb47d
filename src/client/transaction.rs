//! What the consumer and both producers of a router share that writes in transactions: outputs and offsets become visible together, or not
//! at all (KIP-98, KIP-447). One transaction at a time; the consumer ends it when all that it dispatched in it is delivered. Whatever goes
//! wrong with one ends all three, with [`Error::Aborted`](crate::error::Error::Aborted), and they are begun anew where the group has committed.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::{Subscription, TransactionSettings};

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
    pub(crate) fn new(settings: &TransactionSettings, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            timeout_ms: i32::try_from(settings.timeout.as_millis()).unwrap_or(i32::MAX),
            identity: OnceLock::new(),
            number: AtomicU64::new(1),
        }
    }

    /// The transactional id of this process. Where there is something else than this process that the same partitions are given to, as a
    /// static member or an instance's share, it is named by that: who comes next fences who is still there. Else it is another one for each
    /// process, as Kafka Streams has it, and the group's generation fences.
    pub(crate) fn id(prefix: &str, input: &Subscription) -> String {
        let consumer = &input.consumer;
        match (&consumer.manual, &consumer.group_instance_id) {
            (Some(share), _) => format!("{prefix}{}", share.index),
            (None, Some(instance)) => format!("{prefix}{instance}"),
            (None, None) => format!("{prefix}{:016x}", RandomState::new().hash_one(0)),
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
    use std::time::Duration;

    use super::*;
    use crate::config::{
        ConsumerSettings, DEFAULT_STALL_TIMEOUT, Group, InstanceShare, StartOffset,
    };

    fn id(consumer: ConsumerSettings) -> String {
        let input = Subscription {
            topics: Vec::new(),
            group: Group::Named("g".to_owned()),
            start_offset: StartOffset::Earliest,
            stall_timeout: DEFAULT_STALL_TIMEOUT,
            consumer,
        };
        Transaction::id("tx-", &input)
    }

    #[test]
    fn ids() {
        let share = ConsumerSettings {
            manual: Some(InstanceShare { index: 3, count: 4 }),
            ..ConsumerSettings::default()
        };
        assert_eq!(id(share), "tx-3");
        let member = ConsumerSettings {
            group_instance_id: Some("pod-1".to_owned()),
            ..ConsumerSettings::default()
        };
        assert_eq!(id(member), "tx-pod-1");
        let (one, other) = (
            id(ConsumerSettings::default()),
            id(ConsumerSettings::default()),
        );
        assert!(one.starts_with("tx-") && one.len() == 19 && one != other);
    }

    #[test]
    fn one_after_the_other() {
        let settings = TransactionSettings {
            prefix: "tx-".to_owned(),
            timeout: Duration::from_secs(10),
        };
        let transaction = Transaction::new(&settings, "tx-1");
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
