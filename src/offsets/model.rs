//! Every interleaving of a small world around the tracker: two partitions of two records and one, two outputs, three poll_batches; deliveries in any order
//! or never, commits that are answered late or not at all, partitions that go and come back, a topic that is made anew, a crash. The
//! states are walked through to the last one, each once.

use std::collections::HashSet;
use std::ops::{ControlFlow, Range};

use super::*;

/// An offset of a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Record,
    /// Nothing to deliver: a transaction's marker, a compacted record, or a record that is skipped on purpose.
    Skipped,
}

/// The log of each partition, by offset. With one more record the search takes five times as long and finds nothing more.
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

/// Rounds of a life, those that read something again among them.
const ROUNDS: u64 = 3;

/// Commits that are not answered yet, at most.
const COMMITS: usize = 2;

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

/// A record of a batch: index of its partition, and its offset.
type Place = (usize, usize);

/// A batch on its way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Sent {
    poll_batch: PollBatchId,
    records: Vec<Place>,
}

/// A commit on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Commit {
    offsets: Vec<NextOffset>,
    /// The group's generation that it was begun in; the broker takes it in no other.
    generation: u8,
    /// The broker has taken it; the confirmation is on its way.
    taken: bool,
}

/// What is not the tracker's of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Partition {
    /// The next record that is read; none where the partition is not assigned.
    position: Option<usize>,
    /// What the broker holds as committed.
    committed: usize,
    /// How often each record has reached the output.
    written: [u8; LONGEST],
    /// What is committed is of a topic that is no more.
    stale: bool,
}

impl Partition {
    /// The end of the longest prefix of `log` whose records have all reached the output.
    fn delivered(&self, log: &[Entry]) -> usize {
        let entries = log.iter().zip(self.written);
        entries
            .take_while(|&(entry, times)| *entry == Entry::Skipped || times > 0)
            .count()
    }
}

/// The tracker and the world around it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    tracker: OffsetTracker,
    partitions: [Partition; 2],
    sent: Vec<Sent>,
    commits: Vec<Commit>,
    generation: u8,
    poll_batches: u64,
    /// Something was given up before it was delivered and committed: it may be there twice.
    hurried: bool,
    /// What can happen once in a life; of crash and topic made anew, one.
    crashed: bool,
    revoked: bool,
    remade: bool,
}

impl World {
    fn new() -> Self {
        let partition = Partition {
            position: Some(0),
            committed: 0,
            written: [0; LONGEST],
            stale: false,
        };
        Self {
            tracker: OffsetTracker::default(),
            partitions: [partition; 2],
            sent: Vec::new(),
            commits: Vec::new(),
            generation: 0,
            poll_batches: 0,
            hurried: false,
            crashed: false,
            revoked: false,
            remade: false,
        }
    }

    /// All states that can be the next one.
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

    /// A poll batch of the next offsets of each partition, each record for one of the outputs; the outputs are alike.
    fn dispatches(&self, next: &mut Vec<Self>) {
        if self.poll_batches == ROUNDS {
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
            // With the first record in the second output it would be the same world.
            for ways in (0..2_usize.pow(records)).filter(|ways| ways % 2 == 0) {
                next.push(self.dispatch([of_first, of_second], ways));
            }
        }
    }

    /// How many records are among the next `counts` offsets of the partitions.
    fn records(&self, counts: [usize; 2]) -> u32 {
        let mut records = 0;
        for (index, count) in counts.into_iter().enumerate() {
            let position = self.partitions[index].position.unwrap_or_default();
            records += record_offsets(index, position..position + count).count();
        }
        records as u32
    }

    /// A poll batch of `counts` offsets of the partitions; `ways` has one bit for each record: its output.
    fn dispatch(&self, counts: [usize; 2], mut ways: usize) -> Self {
        let mut world = self.clone();
        let mut outputs = [Vec::new(), Vec::new()];
        let mut ends = Vec::new();
        for (index, count) in counts.into_iter().enumerate() {
            let Some(position) = world.partitions[index].position.filter(|_| count > 0) else {
                continue;
            };
            for offset in record_offsets(index, position..position + count) {
                outputs[ways % 2].push((index, offset));
                ways /= 2;
            }
            world.partitions[index].position = Some(position + count);
            ends.push((PARTITIONS[index], (position + count) as i64));
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
        world.tracker.dispatch(batches, ends);
        world.poll_batches += 1;
        world
    }

    fn write(&mut self, records: &[Place]) {
        for &(partition, offset) in records {
            self.partitions[partition].written[offset] += 1;
        }
    }

    /// A commit begins; the broker takes the oldest that it has not; the oldest is confirmed, or fails.
    fn commits(&self, next: &mut Vec<Self>) {
        let offsets = self.tracker.committable();
        if !offsets.is_empty() && self.commits.len() < COMMITS {
            let mut world = self.clone();
            world.commits.push(Commit {
                offsets,
                generation: self.generation,
                taken: false,
            });
            next.push(world);
        }
        if let Some(index) = self.commits.iter().position(|commit| !commit.taken)
            && self.commits[index].generation == self.generation
        {
            let mut world = self.clone();
            world.commits[index].taken = true;
            for (partition, offset) in self.commits[index].offsets.iter().copied() {
                let partition = &mut world.partitions[partition.partition as usize];
                partition.committed = offset as usize;
                partition.stale = false;
            }
            next.push(world);
        }
        if !self.commits.is_empty() {
            let mut world = self.clone();
            let oldest = world.commits.remove(0);
            // That it failed can be said of one that the broker has taken, too: its answer was lost.
            next.push(world.clone());
            if oldest.taken {
                world.tracker.confirm(&oldest.offsets);
                next.push(world);
            }
        }
    }

    /// A partition goes, and comes back from a member that got no further, or has routed and committed another record.
    fn rebalances(&self, next: &mut Vec<Self>) {
        for (index, partition) in self.partitions.iter().enumerate() {
            if let Some(position) = partition.position {
                if !self.revoked {
                    let mut world = self.clone();
                    world.revoked = true;
                    world.hurried |= partition.stale || position != partition.committed;
                    world.tracker.revoke(&[PARTITIONS[index]]);
                    world.partitions[index].position = None;
                    next.push(world);
                }
                continue;
            }
            let start = partition.start();
            for further in start..=LOGS[index].len().min(start + 1) {
                let mut world = self.clone();
                world.generation += 1;
                for offset in record_offsets(index, start..further) {
                    world.write(&[(index, offset)]);
                }
                let other = &mut world.partitions[index];
                if further > start {
                    other.committed = further;
                    other.stale = false;
                }
                other.position = Some(further);
                next.push(world);
            }
        }
    }

    /// The topic is made anew, or the process ends: what it had on its way may have been written or not.
    fn mishaps(&self, next: &mut Vec<Self>) {
        if !self.remade && !self.crashed && self.sent.is_empty() && self.commits.is_empty() {
            let mut world = self.clone();
            world.remade = true;
            for partition in &mut world.partitions {
                partition.written = [0; LONGEST];
                partition.stale = true;
                // Out of range, so that it begins where a new group does.
                partition.position = partition.position.map(|_| 0);
            }
            // Else the next offset of the topic before would still be committed; the reader commits before the new one is there.
            if self.tracker.committable().is_empty() {
                next.push(world);
            }
        }
        if !self.crashed && !self.remade {
            for written in 0..1_usize << self.sent.len() {
                let mut world = Self {
                    tracker: OffsetTracker::default(),
                    sent: Vec::new(),
                    commits: Vec::new(),
                    generation: self.generation + 1,
                    hurried: true,
                    crashed: true,
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

    /// What must be so in every state; else why it is not.
    fn check(&self) -> Result<(), &'static str> {
        for (next, place) in self
            .tracker
            .committable()
            .iter()
            .map(|&(at, next)| (next, at))
        {
            let partition = &self.partitions[place.partition as usize];
            if partition.position.is_none() {
                return Err("a revoked partition would be committed");
            }
            if next as usize > partition.delivered(LOGS[place.partition as usize]) {
                return Err("what is not delivered would be committed");
            }
        }
        for (index, partition) in self.partitions.iter().enumerate() {
            // What a crash now would begin behind is never read again.
            if partition.start() > partition.delivered(LOGS[index]) {
                return Err("a crash would lose a record");
            }
            if !self.hurried && partition.written.iter().any(|&times| times > 1) {
                return Err("a record is there twice");
            }
        }
        if self.sent.is_empty() {
            if self.tracker.in_flight() > 0 {
                return Err("all is delivered, and a poll_batch is still in flight");
            }
            // A transaction that ends now would have outputs beyond the offset that it commits.
            for (index, partition) in self.partitions.iter().enumerate() {
                let reached = self.tracker.delivered.get(&PARTITIONS[index]);
                let read = partition.position.filter(|&position| position > 0);
                if let (Some(&reached), Some(position)) = (reached, read)
                    && reached as usize != position
                {
                    return Err("a commit would be below what is delivered");
                }
            }
            if self.commits.is_empty() && self.tracker.committable().is_empty() {
                for partition in &self.partitions {
                    // Of a topic that was made anew nothing can be committed before something of it is read.
                    let begun = |&position: &usize| !(partition.stale && position == 0);
                    let stopped = partition.position.filter(begun);
                    if stopped.is_some_and(|position| position != partition.committed) {
                        return Err("a stop in order would double a record");
                    }
                }
            }
        }
        Ok(())
    }
}

impl Partition {
    /// Where who is assigned it begins: what is committed of a topic that is no more is out of range.
    fn start(&self) -> usize {
        if self.stale { 0 } else { self.committed }
    }
}

/// Walks through all states; breaks with the way to the first that is not as it must be, and why.
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
        if let Err(why) = world.check() {
            let mut way: Vec<World> = path.into_iter().map(|(world, _)| world).collect();
            way.push(world);
            return ControlFlow::Break((way, why));
        }
        let next = world.next();
        path.push((world, next));
    }
    ControlFlow::Continue(seen.len())
}

#[test]
fn no_interleaving_loses_or_doubles() {
    match explore() {
        ControlFlow::Continue(states) => assert!(states > 100_000, "{states} states"),
        ControlFlow::Break((way, why)) => {
            let way: Vec<String> = way.iter().map(|world| format!("{world:?}")).collect();
            assert!(way.is_empty(), "{why}:\n{}", way.join("\n"));
        }
    }
}
