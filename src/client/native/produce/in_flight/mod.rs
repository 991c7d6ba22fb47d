//! In-flight batches of one partition, in the order in which their records must be appended (KIP-98). No I/O, no clock.
//!
//! Decides which batch may be sent next, so that each record is appended once and in order, whatever the broker answers and whichever
//! responses are lost. `sequence_numbers` assigns the numbers by which the broker detects duplicates and gaps.

mod in_flight_batch;
mod sequence_numbers;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub(super) use in_flight_batch::RecordCount;
use in_flight_batch::{BatchState, InFlightBatch};
pub(super) use sequence_numbers::ProducerIdentity;
use sequence_numbers::{Assignment, RECOGNIZED_BATCHES, Restart, SequenceNumbers};

/// Identity of a producer that is not idempotent.
const NO_IDENTITY: ProducerIdentity = (-1, -1);

/// A batch that may be sent now, and the header fields to send it with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NextBatch {
    /// Identifies the batch until it is acknowledged or replaced.
    pub(super) id: u64,
    pub(super) identity: ProducerIdentity,
    pub(super) base_sequence: i32,
}

/// Batches that were sent or may be sent next, oldest first.
#[derive(Debug)]
pub(super) struct InFlightBatches<B> {
    batches: VecDeque<InFlightBatch<B>>,
    /// Maximum number of batches from the first unacknowledged to the last sent one.
    limit: usize,
    is_idempotent: bool,
    numbers: SequenceNumbers,
    last_id: u64,
}

impl<B: RecordCount> InFlightBatches<B> {
    /// `limit` is at least 1. With idempotence it is at most the number of batches that a broker recognizes when they are sent again.
    pub(super) fn new(limit: usize, is_idempotent: bool, may_restart_numbers: bool) -> Self {
        let limit = if is_idempotent {
            limit.min(RECOGNIZED_BATCHES)
        } else {
            limit
        };
        Self {
            batches: VecDeque::new(),
            limit,
            is_idempotent,
            numbers: SequenceNumbers::new(may_restart_numbers),
            last_id: 0,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.batches.len() < self.limit
    }

    /// True if all batches are acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// True if a batch is waiting for its response.
    pub(super) fn has_sent(&self) -> bool {
        self.batches
            .iter()
            .any(|batch| batch.state == BatchState::Sent)
    }

    /// Appends a batch after the others.
    pub(super) fn push(&mut self, batch: B) {
        let batch = self.in_flight_batch(batch);
        self.batches.push_back(batch);
    }

    fn in_flight_batch(&mut self, batch: B) -> InFlightBatch<B> {
        self.last_id += 1;
        InFlightBatch::new(self.last_id, batch)
    }

    /// True if nothing can be sent before [`InFlightBatches::set_identity`].
    pub(super) fn needs_identity(&self) -> bool {
        self.is_idempotent && self.numbers.identity.is_none() && !self.batches.is_empty()
    }

    /// Sets producer id and epoch. Returns false if the producer id is retired: the broker rejected it, or its epochs are used up.
    pub(super) fn set_identity(&mut self, identity: ProducerIdentity) -> bool {
        self.numbers.set_identity(identity)
    }

    /// True if the sequence numbers restarted since the last call while batches were possibly appended: these may be duplicated.
    pub(super) fn take_restarted(&mut self) -> bool {
        self.numbers.take_restarted()
    }

    /// True if the sequence numbers cannot continue, and may not restart because a transaction is open.
    pub(super) fn must_abort(&self) -> bool {
        self.numbers.must_abort()
    }

    /// Returns the batch to send next, or `None` if no batch may be sent before a response arrives or an identity is set.
    pub(super) fn next_to_send(&mut self) -> Option<NextBatch> {
        let is_unsent = |batch: &InFlightBatch<B>| batch.state == BatchState::Unsent;
        let first_unsent = self.batches.iter().position(is_unsent)?;
        let is_sent = |batch: &InFlightBatch<B>| batch.state == BatchState::Sent;
        let last_sent = self.batches.iter().rposition(is_sent);
        // A failed batch is sent again before any batch behind it, and after the responses to those that were already sent.
        if last_sent.is_some_and(|last| last > first_unsent) {
            return None;
        }
        if !self.is_idempotent {
            return self.next_batch(first_unsent, NO_IDENTITY);
        }
        let identity = self.numbers.identity?;
        if self.numbers.needs_restart() {
            if let Some(index) = self.numbers.next_to_verify(&self.batches) {
                return self.next_batch(index, identity);
            }
        } else {
            match self.numbers.assign(&mut self.batches) {
                Assignment::Complete => return self.next_batch(first_unsent, identity),
                Assignment::Pending => return None,
                Assignment::Impossible => self.numbers.require_restart(Restart::NewEpoch),
            }
        }
        if last_sent.is_some() || !self.numbers.restart(&mut self.batches) {
            return None;
        }
        self.next_batch(0, self.numbers.identity?)
    }

    fn next_batch(&self, index: usize, identity: ProducerIdentity) -> Option<NextBatch> {
        let limit = if self.is_idempotent && self.numbers.is_first_of_epoch {
            1
        } else {
            self.limit
        };
        let batch = self.batches.get(index).filter(|_| index < limit)?;
        Some(NextBatch {
            id: batch.id,
            identity,
            base_sequence: batch.base_sequence.unwrap_or(-1),
        })
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut B> {
        self.find(id)?.batch.as_mut()
    }

    fn find(&mut self, id: u64) -> Option<&mut InFlightBatch<B>> {
        self.batches.iter_mut().find(|batch| batch.id == id)
    }

    fn index_of(&self, id: u64) -> Option<usize> {
        self.batches.iter().position(|batch| batch.id == id)
    }

    /// The batch was sent as [`InFlightBatches::next_to_send`] returned it.
    pub(super) fn mark_sent(&mut self, id: u64) {
        if let Some(batch) = self.find(id) {
            batch.state = BatchState::Sent;
        }
    }

    /// The broker has appended the batch, now or earlier, at `base_offset` if it returned one. Passes the batch to `complete`, and before it
    /// those in front of it that must have been appended too.
    pub(super) fn acknowledge(
        &mut self,
        id: u64,
        base_offset: Option<i64>,
        mut complete: impl FnMut(B),
    ) {
        let Some(index) = self.index_of(id) else {
            return;
        };
        let mut first = index;
        let numbers = &mut self.numbers;
        if numbers.are_all_before_appended(&self.batches, index, base_offset) {
            numbers.cancel_restart();
            first = 0;
        }
        for batch in self.batches.range_mut(first..=index) {
            batch.state = BatchState::Acknowledged;
            batch.base_offset = base_offset.filter(|_| batch.id == id);
            batch.batch.take().into_iter().for_each(&mut complete);
        }
        numbers.is_first_of_epoch = false;
        self.remove_acknowledged();
    }

    fn remove_acknowledged(&mut self) {
        while let Some(batch) = self.batches.front() {
            if batch.state != BatchState::Acknowledged {
                break;
            }
            self.numbers.advance(batch);
            self.batches.pop_front();
        }
    }

    /// A connection was closed. OUT_OF_ORDER_SEQUENCE_NUMBER that was answered over it does not count any more: the next response may come
    /// from another broker, or from one that restarted and recognizes fewer batches.
    pub(super) fn connection_closed(&mut self) {
        let is_out_of_sequence = |first: &InFlightBatch<B>| first.is_out_of_sequence;
        if self.batches.front().is_some_and(is_out_of_sequence) {
            self.numbers.cancel_restart();
        }
        for batch in &mut self.batches {
            batch.is_out_of_sequence = false;
        }
    }

    /// The batch failed and must be sent again.
    pub(super) fn mark_failed(&mut self, id: u64, is_possibly_appended: bool) {
        if let Some(batch) = self.find(id) {
            batch.state = BatchState::Unsent;
            batch.is_possibly_appended |= is_possibly_appended;
            batch.was_rejected |= !is_possibly_appended;
            batch.is_out_of_sequence = false;
        }
    }

    /// The broker answered OUT_OF_ORDER_SEQUENCE_NUMBER: the records that precede the batch are missing.
    ///
    /// This is expected if a batch in front of it failed. For the first batch it means that the broker has forgotten the batches that it
    /// acknowledged, or that it appended this one: then this function returns true, and the numbers restart unless the broker recognizes a
    /// later batch.
    pub(super) fn mark_out_of_sequence(&mut self, id: u64) -> bool {
        let was_possibly_appended = self
            .find(id)
            .is_some_and(|batch| batch.is_possibly_appended);
        let is_first = self.mark_rejected(id, Restart::NewEpoch);
        if let Some(batch) = self.find(id) {
            batch.is_out_of_sequence = was_possibly_appended;
        }
        is_first
    }

    /// The broker rejects the producer id or epoch. Returns whether the batch is the first one, and the numbers restart.
    pub(super) fn mark_identity_rejected(&mut self, id: u64) -> bool {
        self.mark_rejected(id, Restart::NewProducerId)
    }

    fn mark_rejected(&mut self, id: u64, restart: Restart) -> bool {
        // If the batches that preceded it were refused for good, it does not have its final number yet.
        let first_sequence = self.numbers.first;
        let is_first = self
            .batches
            .front()
            .is_some_and(|batch| batch.id == id && batch.base_sequence == Some(first_sequence));
        if let Some(batch) = self.find(id) {
            batch.state = BatchState::Unsent;
            batch.is_possibly_appended |= is_first;
        }
        if is_first {
            self.numbers.require_restart(restart);
        }
        is_first
    }

    /// The broker refused the batch for good. Inserts `replacements`, which may be empty, in its place.
    pub(super) fn replace(&mut self, id: u64, replacements: Vec<B>) {
        let Some(index) = self.index_of(id) else {
            return;
        };
        let Some(refused) = self.batches.remove(index) else {
            return;
        };
        if refused.is_possibly_appended && !self.numbers.needs_restart() {
            // An earlier request with its numbers may still be appended.
            self.numbers.require_restart(Restart::NewEpoch);
        }
        for batch in replacements.into_iter().rev() {
            let mut batch = self.in_flight_batch(batch);
            batch.is_possibly_appended = refused.is_possibly_appended;
            self.batches.insert(index, batch);
        }
        self.remove_acknowledged();
    }
}
