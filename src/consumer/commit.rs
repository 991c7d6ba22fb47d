//! Thread `consumer`: commits the offsets of delivered poll batches, or, with exactly once, the transaction of the offsets and the outputs.

use std::time::Instant;

use super::{ConsumerThread, Handler};
use crate::client;
use crate::client::{Consumer, ConsumerEvent};
use crate::error::Error;
use crate::limits::{COMMIT_INTERVAL, POLL, TRANSACTION_INTERVAL};
use crate::throttle::more_suppressed;
use crate::topic_partition::NextOffset;

/// State of the transaction; always [`TransactionState::Open`] without exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransactionState {
    /// Records are dispatched.
    Open,
    /// Dispatching has stopped; records in flight are being delivered.
    Ending,
    /// Everything is delivered and the commit is in flight.
    Committing,
}

impl<C: Consumer, H: Handler> ConsumerThread<'_, C, H> {
    /// Commits delivered offsets every [`COMMIT_INTERVAL`], or ends the transaction every [`TRANSACTION_INTERVAL`].
    pub(super) fn commit_if_due(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if !self.has_group || now < self.commit_at {
            return Ok(());
        }
        if self.is_transactional {
            if self.transaction == TransactionState::Open {
                self.transaction = TransactionState::Ending;
                if self.has_open_transaction() {
                    self.consumer.prepare_commit()?;
                }
            }
            return Ok(());
        }
        self.commit_at = now + COMMIT_INTERVAL;
        let offsets = self.tracker.committable();
        if !offsets.is_empty() {
            self.consumer.commit(&offsets)?;
        }
        Ok(())
    }

    /// Makes one step towards the end of the transaction: waits for deliveries, then commits, polling the group meanwhile.
    pub(super) fn end_transaction(&mut self) -> Result<(), Error> {
        if self.tracker.in_flight() > 0 {
            return self.wait_for_delivery();
        }
        let offsets = self.tracker.committable();
        if offsets.is_empty() {
            self.transaction = TransactionState::Open;
            self.commit_at = Instant::now() + TRANSACTION_INTERVAL;
            return Ok(());
        }
        if self.transaction == TransactionState::Ending {
            self.transaction = TransactionState::Committing;
            self.consumer.pause()?;
            self.is_paused = true;
            self.consumer.commit(&offsets)?;
        }
        self.poll_paused(POLL)
    }

    /// Returns whether records are dispatched or skipped whose transaction is not committed.
    fn has_open_transaction(&self) -> bool {
        let is_open = self.tracker.in_flight() > 0 || !self.tracker.committable().is_empty();
        self.is_transactional && is_open
    }

    /// Fails if a transaction is open, which aborts it: its outputs of partitions that other members own by then must not become visible.
    pub(super) fn fail_if_transaction_is_open(&self, cause: &str) -> Result<(), Error> {
        if self.has_open_transaction() {
            let reason = format!("{cause} before its records are committed");
            return Err(client::Error::Aborted(reason).into());
        }
        Ok(())
    }

    /// Commits what is delivered and waits for the confirmation until `deadline`. Repeats a commit that fails.
    pub(super) fn await_commit(&mut self, deadline: Instant) -> Result<(), Error> {
        if !self.has_group {
            return Ok(());
        }
        let mut must_commit = true;
        let mut offsets: Vec<NextOffset> = self.tracker.committable();
        let mut is_lost = false;
        while !offsets.is_empty() && !is_lost && Instant::now() < deadline {
            if must_commit {
                self.consumer.commit(&offsets)?;
                must_commit = false;
            }
            self.poll_paused(POLL / 10)?;
            while let Some(event) = self.consumer.next_event() {
                match event {
                    ConsumerEvent::CommitFailed(reason) => {
                        self.warn_commit_failed(&reason);
                        must_commit = true;
                    }
                    // Rebalances are handled after this wait. If partitions are lost, their commit cannot succeed any more.
                    ConsumerEvent::Assigned(_)
                    | ConsumerEvent::Revoked(_)
                    | ConsumerEvent::Lost(_) => {
                        is_lost |= matches!(event, ConsumerEvent::Lost(_));
                        self.rebalances.push_back(event);
                    }
                    event => self.handle_event(event)?,
                }
            }
            offsets = self.tracker.committable();
        }
        if !offsets.is_empty() {
            log::warn!(
                "offsets of delivered records are not committed, the records may be routed again"
            );
        }
        Ok(())
    }

    pub(super) fn confirm_commit(&mut self, offsets: &[NextOffset]) {
        self.tracker.confirm(offsets);
        if self.is_transactional {
            self.health.counters().commit();
        }
    }

    pub(super) fn warn_commit_failed(&mut self, reason: &str) {
        if let Some(suppressed) = self.commit_warnings.admit(Instant::now()) {
            log::warn!(
                "commit failed: {reason}, retrying{}",
                more_suppressed(suppressed)
            );
        }
    }
}
