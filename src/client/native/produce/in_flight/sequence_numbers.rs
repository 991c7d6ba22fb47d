//! Sequence numbers of one partition (KIP-98): assigns them to the in-flight batches and restarts them under a new epoch. No I/O, no clock.
//!
//! A broker appends, per producer id and epoch, only the batch whose base sequence follows the last sequence number that it appended. It
//! acknowledges each of the last five batches again without appending it. It accepts a newer epoch only with base sequence 0, and an older
//! epoch never. From a producer id that it does not know it accepts any base sequence, so the first batch of an epoch is sent alone.
//!
//! A broker that was shut down cleanly recognizes only the last batch of a producer, because its producer snapshot contains no more. If the
//! batches before that one were appended and the responses were lost, it answers OUT_OF_ORDER_SEQUENCE_NUMBER to them. Therefore all
//! possibly appended batches are sent again before the numbers restart: if the broker recognizes a later one, and its base offset leaves
//! exactly the room for the batches in front of it, these were appended.

use std::collections::VecDeque;

use super::in_flight_batch::{BatchState, InFlightBatch};

/// Producer id and epoch.
pub(in crate::client::native::produce) type ProducerIdentity = (i64, i16);

/// Batches per producer id and partition that a broker recognizes when they are sent again.
pub(in crate::client::native::produce) const RECOGNIZED_BATCHES: usize = 5;

#[derive(Debug)]
pub(super) struct SequenceNumbers {
    pub(super) identity: Option<ProducerIdentity>,
    /// Producer id that must not be used again, because the broker rejected it or its epochs are used up.
    retired_producer_id: Option<i64>,
    /// Sequence number that the first in-flight batch must have.
    pub(super) first: i32,
    /// Offset after the last batch that was acknowledged and removed, if the broker returned one.
    end_offset: Option<i64>,
    /// No batch was acknowledged under this identity yet, so only the first one may be sent.
    pub(super) is_first_of_epoch: bool,
    /// The numbers cannot continue as they are.
    needed_restart: Option<Restart>,
    /// False in a transaction, which must be aborted instead.
    may_restart: bool,
    has_restarted: bool,
}

/// The way in which the numbers must restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    NewEpoch,
    /// The broker rejects the producer id.
    NewProducerId,
}

/// Result of [`SequenceNumbers::assign`].
pub(super) enum Assignment {
    /// Each batch has the number that follows its predecessor's.
    Complete,
    /// A batch without a response has another number. The broker will reject it, and then it can be renumbered.
    Pending,
    /// A batch that was or may have been appended has another number.
    Impossible,
}

impl SequenceNumbers {
    pub(super) fn new(may_restart: bool) -> Self {
        Self {
            identity: None,
            retired_producer_id: None,
            first: 0,
            end_offset: None,
            is_first_of_epoch: true,
            needed_restart: None,
            may_restart,
            has_restarted: false,
        }
    }

    /// Sets the identity unless there is one. Returns false if its producer id is retired for this partition.
    pub(super) fn set_identity(&mut self, identity: ProducerIdentity) -> bool {
        if self.retired_producer_id == Some(identity.0) {
            return false;
        }
        if self.identity.is_none() {
            self.identity = Some(identity);
            self.is_first_of_epoch = true;
        }
        true
    }

    pub(super) fn needs_restart(&self) -> bool {
        self.needed_restart.is_some()
    }

    pub(super) fn require_restart(&mut self, restart: Restart) {
        self.needed_restart = Some(restart);
    }

    pub(super) fn cancel_restart(&mut self) {
        self.needed_restart = None;
    }

    /// True if the numbers cannot continue and may not restart.
    pub(super) fn must_abort(&self) -> bool {
        self.needs_restart() && !self.may_restart
    }

    /// True if the numbers restarted, while batches were possibly appended, since the last call.
    pub(super) fn take_restarted(&mut self) -> bool {
        std::mem::take(&mut self.has_restarted)
    }

    /// Numbers the batches that have no number, and renumbers those that need another one and were certainly not appended.
    pub(super) fn assign<B>(&self, batches: &mut VecDeque<InFlightBatch<B>>) -> Assignment {
        let mut next = self.first;
        for batch in batches {
            let fits = batch.base_sequence == Some(next);
            match batch.state {
                _ if fits => (),
                BatchState::Unsent if !batch.is_possibly_appended => {
                    batch.base_sequence = Some(next);
                }
                BatchState::Sent => return Assignment::Pending,
                BatchState::Unsent | BatchState::Acknowledged => return Assignment::Impossible,
            }
            next = next_sequence(next, batch.record_count);
        }
        Assignment::Complete
    }

    /// Returns the index of the next possibly appended batch that was not sent again since the first one was out of sequence.
    pub(super) fn next_to_verify<B>(&self, batches: &VecDeque<InFlightBatch<B>>) -> Option<usize> {
        let mut next = self.first;
        for (index, batch) in batches.iter().enumerate() {
            let is_candidate = batch.is_possibly_appended && batch.base_sequence == Some(next);
            if !is_candidate || (index == 0 && !batch.is_out_of_sequence) {
                return None;
            }
            if batch.state == BatchState::Unsent && !batch.is_out_of_sequence {
                return Some(index);
            }
            next = next_sequence(next, batch.record_count);
        }
        None
    }

    /// Returns whether all batches in front of `index` were appended although the broker answered that they are out of sequence.
    ///
    /// They were if the base offset of the batch at `index` leaves exactly the room for them after the last acknowledged batch. The sequence
    /// numbers alone do not prove it: a broker that forgets the producer between two requests accepts the second one without the first.
    /// If other producers write to the partition, the offsets do not match, and the numbers restart.
    pub(super) fn are_all_before_appended<B>(
        &self,
        batches: &VecDeque<InFlightBatch<B>>,
        index: usize,
        base_offset: Option<i64>,
    ) -> bool {
        let (mut next, mut end_offset) = (self.first, self.end_offset);
        let are_out_of_sequence = batches.range(..index).all(|batch| {
            let fits = batch.base_sequence == Some(next);
            next = next_sequence(next, batch.record_count);
            end_offset = end_offset.map(|end| end + i64::from(batch.record_count));
            fits && batch.is_out_of_sequence && !batch.was_rejected
        });
        let fits = batches.get(index).and_then(|batch| batch.base_sequence) == Some(next);
        index > 0
            && are_out_of_sequence
            && fits
            && base_offset.is_some()
            && base_offset == end_offset
    }

    /// Continues after an acknowledged batch that is removed from the front.
    pub(super) fn advance<B>(&mut self, acknowledged: &InFlightBatch<B>) {
        // The number of the batch itself counts, because the broker continues from there.
        let base_sequence = acknowledged.base_sequence.unwrap_or(self.first);
        self.first = next_sequence(base_sequence, acknowledged.record_count);
        // The maximum: a base offset lower than the previous batch's means that the previous batch was a duplicate, appended last.
        let end_offset = acknowledged
            .base_offset
            .map(|offset| offset + i64::from(acknowledged.record_count));
        self.end_offset = end_offset.max(self.end_offset.filter(|_| end_offset.is_some()));
    }

    /// Restarts the numbers at 0 under the next epoch, or retires the producer id. No batch may be waiting for its response. Returns false
    /// if a restart is not allowed.
    ///
    /// The broker rejects requests of the older epoch that still arrive. A producer that is idempotent without being transactional may
    /// increment its epoch itself, as Java's producer does. Each partition has its own epoch.
    pub(super) fn restart<B>(&mut self, batches: &mut VecDeque<InFlightBatch<B>>) -> bool {
        if !self.may_restart {
            return false;
        }
        let restart = self.needed_restart.take();
        let Some((producer_id, epoch)) = self.identity.take() else {
            return false;
        };
        match epoch.checked_add(1) {
            Some(next) if restart != Some(Restart::NewProducerId) => {
                self.identity = Some((producer_id, next));
            }
            _ => self.retired_producer_id = Some(producer_id),
        }
        batches.retain(|batch| batch.batch.is_some());
        for batch in batches.iter_mut() {
            self.has_restarted |= batch.is_possibly_appended;
            batch.base_sequence = None;
            batch.is_possibly_appended = false;
            batch.was_rejected = false;
            batch.is_out_of_sequence = false;
        }
        self.first = 0;
        self.is_first_of_epoch = true;
        self.assign(batches);
        true
    }
}

/// Returns the sequence number that follows `record_count` records from `sequence` on. 0 follows `i32::MAX`.
pub(super) fn next_sequence(sequence: i32, record_count: i32) -> i32 {
    sequence.wrapping_add(record_count) & i32::MAX
}
