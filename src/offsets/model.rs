//! Exhaustive model of the offset tracker: a search through every state of a small world around it.
//!
//! The world has two partitions with three records and one skipped offset in total, two outputs, and three poll batches. Deliveries come in
//! any order or never, commits are confirmed late or never, a partition is revoked and assigned again, a topic is recreated, the process
//! crashes. How a position grows within a poll batch is not part of it: the tests of the consumer thread cover that.

use std::collections::HashSet;
use std::ops::{ControlFlow, Range};

use super::*;

/// An offset of a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Record,
    /// An offset with nothing to deliver: a transaction marker, a compacted record, or a record that is skipped on purpose.
    Skipped,
}

/// The log of each partition, by offset. With one more record the search takes seven times as long (100 s instead of 14 s) and finds nothing more.
const LOGS: [&[Entry]; 2] = [
    &[Entry::Record, Entry::Skipped, Entry::Record],
    &[Entry::Record],
];

/// Returns the offsets of a partition's records, by its index, within a range of offsets.
fn record_offsets(index: usize, offsets: Range<usize>) -> impl Iterator<Item = usize> {
    offsets.filter(move |&offset| LOGS[index][offset] == Entry::Record)
}

/// Offsets of the longer log.
const LONGEST: usize = 3;

/// Poll batches until the world ends, including those that read records again.
const MAX_POLL_BATCHES: u64 = 3;

/// Commits in flight.
const MAX_COMMITS: usize = 2;

/// The partitions, by index.
const PARTITIONS: [TopicPartition; 2] = [
    TopicPartition {
        topic: 0,
        partition: 0,
    },
    TopicPartition {
        topic: 0,
        partition: 1,
    },
];

/// A record of a batch: the index of its partition, and its offset.
type RecordId = (usize, usize);

/// A batch in flight.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Sent {
    poll_batch: PollBatchId,
    records: Vec<RecordId>,
}

/// A commit in flight.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Commit {
    offsets: Vec<NextOffset>,
    /// Generation of the group that it was sent in. The coordinator rejects it in any other.
    generation: u8,
    /// The coordinator has written it; the confirmation is in flight.
    is_written: bool,
}

/// A partition as the brokers and the consumer see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Partition {
    /// Next offset to read; `None` if the partition is not assigned.
    position: Option<usize>,
    /// The offset that the coordinator has.
    committed: usize,
    /// Number of times that each record has reached an output.
    written: [u8; LONGEST],
    /// The committed offset is of the topic before it was recreated.
    is_stale: bool,
}

impl Partition {
    /// Returns the end of the longest prefix of `log` whose records have all reached an output.
    fn delivered(&self, log: &[Entry]) -> usize {
        let entries = log.iter().zip(self.written);
        entries
            .take_while(|&(entry, times)| *entry == Entry::Skipped || times > 0)
            .count()
    }
}

/// A state of the tracker and of the world around it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    tracker: OffsetTracker,
    partitions: [Partition; 2],
    sent: Vec<Sent>,
    commits: Vec<Commit>,
    generation: u8,
    poll_batches: u64,
    /// Records were given up before they were delivered and committed, so they may be written twice.
    may_duplicate: bool,
    /// A revocation has happened; there is at most one.
    has_revoked: bool,
    /// A crash has happened; there is at most one, and none together with a recreated topic.
    has_crashed: bool,
    has_recreated: bool,
}

impl World {
    fn new() -> Self {
        let partition = Partition {
            position: Some(0),
            committed: 0,
            written: [0; LONGEST],
            is_stale: false,
        };
        Self {
            tracker: OffsetTracker::default(),
            partitions: [partition; 2],
            sent: Vec::new(),
            commits: Vec::new(),
            generation: 0,
            poll_batches: 0,
            may_duplicate: false,
            has_revoked: false,
            has_crashed: false,
            has_recreated: false,
        }
    }

    /// Returns all possible next states.
    fn next(&self) -> Vec<Self> {
        let mut next = Vec::new();
        self.dispatches(&mut next);
        for index in 0..self.sent.len() {
            let mut world = self.clone();
            let batch = world.sent.remove(index);
            world.write(&batch.records);
            world.tracker.deliver(batch.poll_batch);
            next.push(world);
        }
        self.commits(&mut next);
        self.rebalances(&mut next);
        self.mishaps(&mut next);
        next
    }

    /// Adds the dispatch of every possible poll batch: any number of the next offsets of each partition, each record for either output.
    fn dispatches(&self, next: &mut Vec<Self>) {
        if self.poll_batches == MAX_POLL_BATCHES {
            return;
        }
        let left = |index: usize| {
            let partition: &Partition = &self.partitions[index];
            partition
                .position
                .map_or(0, |position| LOGS[index].len() - position)
        };
        for (of_first, of_second) in (0..=left(0)).flat_map(|a| (0..=left(1)).map(move |b| (a, b)))
        {
            let count = of_first + of_second;
            if count == 0 {
                continue;
            }
            let records = self.records([of_first, of_second]);
            // The outputs are interchangeable, so the first record is always for the first one.
            for ways in (0..2_usize.pow(records)).filter(|ways| ways % 2 == 0) {
                next.push(self.dispatch([of_first, of_second], ways));
            }
        }
    }

    /// Returns the number of records among the next `counts` offsets of the partitions.
    fn records(&self, counts: [usize; 2]) -> u32 {
        let mut records = 0;
        for (index, count) in counts.into_iter().enumerate() {
            let position = self.partitions[index].position.unwrap_or_default();
            records += record_offsets(index, position..position + count).count();
        }
        records as u32
    }

    /// Dispatches a poll batch of the next `counts` offsets of the partitions. Each bit of `ways` is the output of one record.
    fn dispatch(&self, counts: [usize; 2], mut ways: usize) -> Self {
        let mut world = self.clone();
        let mut outputs = [Vec::new(), Vec::new()];
        let mut positions = Vec::new();
        for (index, count) in counts.into_iter().enumerate() {
            let Some(position) = world.partitions[index].position.filter(|_| count > 0) else {
                continue;
            };
            for offset in record_offsets(index, position..position + count) {
                outputs[ways % 2].push((index, offset));
                ways /= 2;
            }
            world.partitions[index].position = Some(position + count);
            positions.push((PARTITIONS[index], (position + count) as i64));
        }
        let poll_batch = world.tracker.next_poll_batch();
        let batches = outputs.into_iter().filter(|records| !records.is_empty());
        let before = world.sent.len();
        world.sent.extend(batches.map(|records| Sent {
            poll_batch,
            records,
        }));
        let batches = world.sent.len() - before;
        world.sent.sort();
        world.tracker.dispatch(batches, positions);
        world.poll_batches += 1;
        world
    }

    fn write(&mut self, records: &[RecordId]) {
        for &(partition, offset) in records {
            self.partitions[partition].written[offset] += 1;
        }
    }

    /// Adds the steps of commits: one is sent, the coordinator writes the oldest, the oldest is confirmed or fails.
    fn commits(&self, next: &mut Vec<Self>) {
        let offsets = self.tracker.committable();
        if !offsets.is_empty() && self.commits.len() < MAX_COMMITS {
            let mut world = self.clone();
            world.commits.push(Commit {
                offsets,
                generation: self.generation,
                is_written: false,
            });
            next.push(world);
        }
        if let Some(index) = self.commits.iter().position(|commit| !commit.is_written)
            && self.commits[index].generation == self.generation
        {
            let mut world = self.clone();
            world.commits[index].is_written = true;
            for (partition, offset) in self.commits[index].offsets.iter().copied() {
                let partition = &mut world.partitions[partition.partition as usize];
                partition.committed = offset as usize;
                partition.is_stale = false;
            }
            next.push(world);
        }
        if !self.commits.is_empty() {
            let mut world = self.clone();
            let oldest = world.commits.remove(0);
            // A commit that was written can fail too, if its response is lost.
            next.push(world.clone());
            if oldest.is_written {
                world.tracker.confirm(&oldest.offsets);
                next.push(world);
            }
        }
    }

    /// Adds the revocation of a partition, and its return from a member that has read nothing or has routed and committed one more offset.
    fn rebalances(&self, next: &mut Vec<Self>) {
        for (index, partition) in self.partitions.iter().enumerate() {
            if let Some(position) = partition.position {
                if !self.has_revoked {
                    let mut world = self.clone();
                    world.has_revoked = true;
                    world.may_duplicate |= partition.is_stale || position != partition.committed;
                    world.tracker.revoke(&[PARTITIONS[index]]);
                    world.partitions[index].position = None;
                    next.push(world);
                }
                continue;
            }
            let start = partition.start();
            for end in start..=LOGS[index].len().min(start + 1) {
                let mut world = self.clone();
                world.generation += 1;
                for offset in record_offsets(index, start..end) {
                    world.write(&[(index, offset)]);
                }
                let other = &mut world.partitions[index];
                if end > start {
                    other.committed = end;
                    other.is_stale = false;
                }
                other.position = Some(end);
                next.push(world);
            }
        }
    }

    /// Adds the recreation of the topic, and crashes after which any of the batches in flight have been written.
    fn mishaps(&self, next: &mut Vec<Self>) {
        if !self.has_recreated
            && !self.has_crashed
            && self.sent.is_empty()
            && self.commits.is_empty()
        {
            let mut world = self.clone();
            world.has_recreated = true;
            for partition in &mut world.partitions {
                partition.written = [0; LONGEST];
                partition.is_stale = true;
                // The offset is out of range, so it is reset to the earliest one.
                partition.position = partition.position.map(|_| 0);
            }
            // Otherwise an offset of the old topic would still be committed. The consumer commits all of them before the new topic exists.
            if self.tracker.committable().is_empty() {
                next.push(world);
            }
        }
        if !self.has_crashed && !self.has_recreated {
            for written in 0..1_usize << self.sent.len() {
                let mut world = Self {
                    tracker: OffsetTracker::default(),
                    sent: Vec::new(),
                    commits: Vec::new(),
                    generation: self.generation + 1,
                    may_duplicate: true,
                    has_crashed: true,
                    ..self.clone()
                };
                for (index, batch) in self.sent.iter().enumerate() {
                    if written >> index & 1 == 1 {
                        world.write(&batch.records);
                    }
                }
                for partition in &mut world.partitions {
                    partition.position = Some(partition.start());
                }
                next.push(world);
            }
        }
    }

    /// Checks the invariants of every state. Fails with the one that is violated.
    fn check(&self) -> Result<(), &'static str> {
        for (partition, next) in self.tracker.committable() {
            let index = partition.partition as usize;
            let partition = &self.partitions[index];
            if partition.position.is_none() {
                return Err("a revoked partition would be committed");
            }
            if next as usize > partition.delivered(LOGS[index]) {
                return Err("an undelivered record would be committed");
            }
        }
        for (index, partition) in self.partitions.iter().enumerate() {
            // After a crash, records below the start are never read again.
            if partition.start() > partition.delivered(LOGS[index]) {
                return Err("a crash would lose a record");
            }
            if !self.may_duplicate && partition.written.iter().any(|&times| times > 1) {
                return Err("a record is written twice");
            }
        }
        if self.sent.is_empty() {
            if self.tracker.in_flight() > 0 {
                return Err("everything is delivered, but a poll batch is still in flight");
            }
            // With exactly once, the transaction ends in this state: it would have outputs beyond its offset.
            for (index, partition) in self.partitions.iter().enumerate() {
                let reached = self.tracker.delivered.get(&PARTITIONS[index]);
                let read = partition.position.filter(|&position| position > 0);
                if let (Some(&reached), Some(position)) = (reached, read)
                    && reached as usize != position
                {
                    return Err("a commit would be below a delivered record");
                }
            }
            if self.commits.is_empty() && self.tracker.committable().is_empty() {
                for partition in &self.partitions {
                    // Nothing of a recreated topic can be committed before something of it is read.
                    let is_read = |&position: &usize| !(partition.is_stale && position == 0);
                    let position = partition.position.filter(is_read);
                    if position.is_some_and(|position| position != partition.committed) {
                        return Err("a restart after an orderly stop would duplicate a record");
                    }
                }
            }
        }
        Ok(())
    }
}

impl Partition {
    /// Returns the offset at which a new owner starts: the committed one, or the earliest if that is out of range.
    fn start(&self) -> usize {
        if self.is_stale { 0 } else { self.committed }
    }
}

/// Visits all states depth first and returns their number. Breaks with the path to the first state that violates an invariant, and which.
fn explore() -> ControlFlow<(Vec<World>, &'static str), usize> {
    let mut seen = HashSet::from([World::new()]);
    let mut path: Vec<(World, Vec<World>)> = vec![(World::new(), World::new().next())];
    while let Some((_, next)) = path.last_mut() {
        let Some(world) = next.pop() else {
            path.pop();
            continue;
        };
        if !seen.insert(world.clone()) {
            continue;
        }
        if let Err(violated) = world.check() {
            let mut path: Vec<World> = path.into_iter().map(|(world, _)| world).collect();
            path.push(world);
            return ControlFlow::Break((path, violated));
        }
        let next = world.next();
        path.push((world, next));
    }
    ControlFlow::Continue(seen.len())
}

#[test]
fn no_interleaving_loses_or_duplicates_records() {
    match explore() {
        ControlFlow::Continue(states) => assert!(states > 100_000, "{states} states"),
        ControlFlow::Break((path, violated)) => {
            let path: Vec<String> = path.iter().map(|world| format!("{world:?}")).collect();
            assert!(path.is_empty(), "{violated}:\n{}", path.join("\n"));
        }
    }
}
