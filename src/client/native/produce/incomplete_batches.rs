//! Batches that the producer has accepted and not yet returned as delivered. No I/O.
//!
//! Record sets are sent from the memory of their batch, so a batch stays here until each of its records is acknowledged or refused.

use std::collections::VecDeque;

use crate::client::Batch;
use crate::client::batch::{RecordLocation, RecordSet, RefusalReason};

/// Adjacent records of one record set: indexes `from` up to but not including `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordRange {
    pub(super) slot: usize,
    pub(super) record_set: usize,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl RecordRange {
    pub(super) fn len(&self) -> usize {
        self.to - self.from
    }
}

/// One record, by its index in a record set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordIndex {
    pub(super) slot: usize,
    pub(super) record_set: usize,
    pub(super) index: usize,
}

#[derive(Debug, Default)]
pub(super) struct IncompleteBatches {
    slots: Vec<Option<IncompleteBatch>>,
    free_slots: Vec<usize>,
    delivered: VecDeque<Batch>,
}

#[derive(Debug)]
struct IncompleteBatch {
    batch: Batch,
    /// Records that are neither acknowledged nor refused.
    pending: usize,
}

impl IncompleteBatches {
    /// Stores a batch and returns its slot. A batch without records is delivered at once.
    pub(super) fn insert(&mut self, batch: Batch) -> usize {
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let pending = batch.len();
        if let Some(free) = self.slots.get_mut(slot) {
            *free = Some(IncompleteBatch { batch, pending });
        }
        if pending == 0 {
            self.deliver(slot);
        }
        slot
    }

    pub(super) fn record_set(&self, slot: usize, index: usize) -> Option<&RecordSet> {
        let incomplete = self.slots.get(slot)?.as_ref()?;
        incomplete.batch.record_sets().get(index)
    }

    /// The broker acknowledged these records.
    pub(super) fn acknowledge(&mut self, ranges: &[RecordRange]) {
        for range in ranges {
            self.complete(range.slot, range.len());
        }
    }

    /// The broker refused these records for good. Records of the same record set must be adjacent.
    pub(super) fn refuse(&mut self, refused: Vec<(RecordIndex, RefusalReason)>) {
        let mut refused = refused.into_iter().peekable();
        while let Some(&(
            RecordIndex {
                slot, record_set, ..
            },
            _,
        )) = refused.peek()
        {
            let mut locations: Vec<RecordLocation> = Vec::new();
            if let Some(Some(incomplete)) = self.slots.get(slot) {
                locations.extend(incomplete.batch.locations(record_set));
            }
            let mut count = 0;
            while let Some((record, reason)) = refused
                .next_if(|(record, _)| (record.slot, record.record_set) == (slot, record_set))
            {
                if let Some(Some(incomplete)) = self.slots.get_mut(slot)
                    && let Some(&location) = locations.get(record.index)
                {
                    incomplete.batch.refuse(location, reason);
                }
                count += 1;
            }
            self.complete(slot, count);
        }
    }

    fn complete(&mut self, slot: usize, records: usize) {
        if let Some(Some(incomplete)) = self.slots.get_mut(slot) {
            incomplete.pending = incomplete.pending.saturating_sub(records);
            if incomplete.pending == 0 {
                self.deliver(slot);
            }
        }
    }

    fn deliver(&mut self, slot: usize) {
        if let Some(incomplete) = self.slots.get_mut(slot).and_then(Option::take) {
            self.delivered.push_back(incomplete.batch);
            self.free_slots.push(slot);
        }
    }

    /// Removes the batch that was delivered first.
    pub(super) fn pop_delivered(&mut self) -> Option<Batch> {
        self.delivered.pop_front()
    }

    pub(super) fn has_delivered(&self) -> bool {
        !self.delivered.is_empty()
    }

    /// Number of batches, including the delivered ones.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free_slots.len() + self.delivered.len()
    }
}
