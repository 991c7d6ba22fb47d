//! The batches that the producer has: each stays until all its records are acknowledged or refused, for they are sent from its memory.

use std::collections::VecDeque;

use crate::client::Batch;
use crate::client::batch::{RecordLocation, RecordSet, RefusalReason};

/// Records of a batch's part that stand one behind the other: from `from` on, up to but not including `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) slot: usize,
    pub(super) part: usize,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Span {
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.to - self.from
    }
}

/// One record: its number in its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Single {
    pub(super) slot: usize,
    pub(super) part: usize,
    pub(super) index: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct IncompleteBatches {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    delivered: VecDeque<Batch>,
}

#[derive(Debug)]
struct Slot {
    batch: Batch,
    /// Records neither acknowledged nor refused yet.
    open: usize,
}

impl IncompleteBatches {
    /// Takes a batch, and gives its slot.
    pub(super) fn take(&mut self, batch: Batch) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let open = batch.len();
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(Slot { batch, open });
        }
        if open == 0 {
            self.settle(slot);
        }
        slot
    }

    /// A part of a batch.
    pub(super) fn part(&self, slot: usize, part: usize) -> Option<&RecordSet> {
        let slot = self.slots.get(slot)?.as_ref()?;
        slot.batch.parts().get(part)
    }

    /// These records are acknowledged.
    pub(super) fn acknowledged(&mut self, spans: &[Span]) {
        for span in spans {
            self.close(span.slot, span.len());
        }
    }

    /// The broker refused these records for good. Those of a part stand together.
    pub(super) fn refuse(&mut self, refused: Vec<(Single, RefusalReason)>) {
        let mut refused = refused.into_iter().peekable();
        while let Some(&(Single { slot, part, .. }, _)) = refused.peek() {
            let mut places: Vec<RecordLocation> = Vec::new();
            if let Some(Some(incomplete)) = self.slots.get(slot) {
                places.extend(incomplete.batch.places(part));
            }
            let mut count = 0;
            while let Some((single, reason)) =
                refused.next_if(|(single, _)| (single.slot, single.part) == (slot, part))
            {
                if let Some(Some(incomplete)) = self.slots.get_mut(slot)
                    && let Some(&place) = places.get(single.index)
                {
                    incomplete.batch.refuse(place, reason);
                }
                count += 1;
            }
            self.close(slot, count);
        }
    }

    fn close(&mut self, slot: usize, count: usize) {
        if let Some(Some(incomplete)) = self.slots.get_mut(slot) {
            incomplete.open = incomplete.open.saturating_sub(count);
            if incomplete.open == 0 {
                self.settle(slot);
            }
        }
    }

    fn settle(&mut self, slot: usize) {
        if let Some(incomplete) = self.slots.get_mut(slot).and_then(Option::take) {
            self.delivered.push_back(incomplete.batch);
            self.free.push(slot);
        }
    }

    /// The oldest that is done with.
    pub(super) fn delivered(&mut self) -> Option<Batch> {
        self.delivered.pop_front()
    }

    /// Whether there is one.
    pub(super) fn has_delivered(&self) -> bool {
        !self.delivered.is_empty()
    }

    /// How many there are, those that are done with included.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len() + self.delivered.len()
    }
}
