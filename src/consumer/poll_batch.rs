//! One poll batch: the records of one poll, sorted into a batch for each output, and the positions of their partitions. No I/O.

use crate::client::{Batch, Record};
use crate::topic_partition::{NextOffset, TopicPartition};

/// The records and positions of one poll.
#[derive(Debug)]
pub(crate) struct PollBatch {
    /// Records for `producer-even`.
    pub(crate) even: Batch,
    /// Records for `producer-odd`.
    pub(crate) odd: Batch,
    /// Each partition once.
    progress: Vec<PartitionProgress>,
    records: usize,
}

/// The part of a poll batch that concerns one partition.
#[derive(Debug)]
pub(crate) struct PartitionProgress {
    pub(crate) partition: TopicPartition,
    /// The position: offset of the next record to read. It grows with each record and each skipped offset of the poll.
    position: i64,
    /// Records that were read.
    pub(crate) read: u64,
    /// Records of `read` that were skipped.
    pub(super) skipped: u64,
}

impl PollBatch {
    /// Creates a poll batch of empty parts.
    pub(super) fn new(even: Batch, odd: Batch, progress: Vec<PartitionProgress>) -> Self {
        Self {
            even,
            odd,
            progress,
            records: 0,
        }
    }

    /// Returns what was read of each partition.
    pub(crate) fn progress(&self) -> &[PartitionProgress] {
        &self.progress
    }

    /// Counts the record that is being handled as skipped.
    pub(crate) fn skip(&mut self, partition: TopicPartition) {
        self.progress_of(partition).skipped += 1;
    }

    /// Returns the number of records that were handled.
    #[inline]
    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// Counts a handled record and moves the position of its partition to the offset after it.
    #[inline]
    pub(super) fn count(&mut self, record: &Record<'_>) {
        self.records += 1;
        let progress = self.progress_of(record.partition);
        progress.position = record.offset + 1;
        progress.read += 1;
    }

    /// Advances the position of a partition over skipped offsets. It never goes back: a commit below records of this poll batch would have
    /// them routed twice.
    pub(super) fn advance(&mut self, (partition, position): NextOffset) {
        let progress = self.progress_of(partition);
        progress.position = progress.position.max(position);
    }

    /// Splits the poll batch into its batches, its positions, and the emptied list of progress for reuse.
    pub(super) fn into_parts(mut self) -> ([Batch; 2], Vec<NextOffset>, Vec<PartitionProgress>) {
        let progress = self.progress.drain(..);
        let positions = progress.map(|progress| (progress.partition, progress.position));
        let positions = positions.collect();
        ([self.even, self.odd], positions, self.progress)
    }

    #[inline]
    fn progress_of(&mut self, partition: TopicPartition) -> &mut PartitionProgress {
        let is_same = |progress: &PartitionProgress| progress.partition == partition;
        // Most records are of the same partition as the one before.
        let last = self.progress.len().wrapping_sub(1);
        let index = if self.progress.last().is_some_and(is_same) {
            last
        } else {
            self.progress.iter().position(is_same).unwrap_or_else(|| {
                self.progress.push(PartitionProgress {
                    partition,
                    position: 0,
                    read: 0,
                    skipped: 0,
                });
                last.wrapping_add(1)
            })
        };
        &mut self.progress[index]
    }
}
