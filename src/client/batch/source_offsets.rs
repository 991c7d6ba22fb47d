//! Origins of the records of a record set: partition, offset and timestamp type of each.

use std::ops::Range;

use crate::topic_partition::TopicPartition;

/// Partition, offset and timestamp type of each record, in the order of the records. Takes four bytes per record: every single record must
/// be identifiable if it is refused, and gaps between offsets can be anywhere.
#[derive(Debug, Default)]
pub(super) struct SourceOffsets {
    runs: Vec<Run>,
    /// Offset of each record minus the `base_offset` of its run.
    deltas: Vec<u32>,
}

/// Consecutive records from one partition with one timestamp type.
#[derive(Debug)]
pub(super) struct Run {
    /// Index of the first record.
    first: usize,
    pub(super) partition: TopicPartition,
    base_offset: i64,
    /// True if the timestamp type is LogAppendTime.
    pub(super) has_append_time: bool,
}

impl SourceOffsets {
    /// Appends a record.
    #[inline(always)]
    pub(super) fn push(&mut self, partition: TopicPartition, offset: i64, has_append_time: bool) {
        if let Some(run) = self.runs.last() {
            let delta = u32::try_from(offset.wrapping_sub(run.base_offset));
            if let Ok(delta) = delta
                && run.partition == partition
                && run.has_append_time == has_append_time
            {
                self.deltas.push(delta);
                return;
            }
        }
        self.runs.push(Run {
            first: self.deltas.len(),
            partition,
            base_offset: offset,
            has_append_time,
        });
        self.deltas.push(0);
    }

    /// Iterates over the runs: the partition and the indexes of the records.
    pub(super) fn runs(&self) -> impl Iterator<Item = (TopicPartition, Range<usize>)> {
        let ends = self.runs.iter().skip(1).map(|run| run.first);
        let ends = ends.chain([self.deltas.len()]);
        self.runs
            .iter()
            .zip(ends)
            .map(|(run, end)| (run.partition, run.first..end))
    }

    /// Returns run and offset of the record at `index`.
    pub(super) fn get(&self, index: usize) -> Option<(&Run, i64)> {
        let run = self.runs.iter().rev().find(|run| run.first <= index)?;
        let delta = self.deltas.get(index).copied()?;
        Some((run, run.base_offset + i64::from(delta)))
    }

    /// Removes all records and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.deltas.clear();
    }
}
