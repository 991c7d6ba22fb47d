//! Tests of the consumer thread with a scripted consumer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::client::records::Headers;
use crate::client::{NotReady, Polled};
use crate::topic_partition::NextOffset;

const PARTITION: TopicPartition = TopicPartition {
    topic: 0,
    partition: 0,
};

/// An item that a poll delivers of [`PARTITION`].
#[derive(Clone, Copy)]
enum Item {
    /// A record at this offset.
    Record(i64),
    /// This position, after skipped offsets.
    Position(i64),
}

/// A consumer that delivers one element of `polls` in each poll and confirms every commit. It stops the thread after the last poll.
struct ScriptedConsumer {
    polls: VecDeque<Vec<Item>>,
    events: VecDeque<ConsumerEvent>,
    /// Offsets of [`PARTITION`] in the order of their commits.
    commits: Rc<RefCell<Vec<i64>>>,
    stop: Stop,
}

impl Consumer for ScriptedConsumer {
    fn prepare(&mut self) -> Result<(), NotReady> {
        let assigned = ConsumerEvent::Assigned(vec![PARTITION]);
        self.events.push_back(assigned);
        Ok(())
    }

    fn poll(
        &mut self,
        _timeout: Duration,
        mut handle: impl FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<(), client::Error> {
        let Some(items) = self.polls.pop_front() else {
            self.stop.begin(Instant::now() + Duration::from_secs(10));
            return Ok(());
        };
        for item in items {
            let polled = match item {
                Item::Record(offset) => Polled::Record(Record {
                    partition: PARTITION,
                    offset,
                    timestamp: None,
                    key: None,
                    value: None,
                    headers: Headers::default(),
                }),
                Item::Position(next) => Polled::Position((PARTITION, next)),
            };
            assert_eq!(handle(polled), ControlFlow::Continue(()));
        }
        Ok(())
    }

    fn next_event(&mut self) -> Option<ConsumerEvent> {
        self.events.pop_front()
    }

    fn pause(&mut self) -> Result<(), client::Error> {
        Ok(())
    }

    fn resume(&mut self) -> Result<(), client::Error> {
        Ok(())
    }

    fn commit(&mut self, offsets: &[NextOffset]) -> Result<(), client::Error> {
        let nexts = offsets.iter().map(|&(_, next)| next);
        self.commits.borrow_mut().extend(nexts);
        let confirmed = ConsumerEvent::Committed(offsets.to_vec());
        self.events.push_back(confirmed);
        Ok(())
    }

    fn release(&mut self, _partitions: &[TopicPartition]) -> Result<(), client::Error> {
        Ok(())
    }

    fn close(self) {}
}

/// Skips every record, so that nothing has to be delivered before a commit.
struct Skip;

impl Handler for Skip {
    fn handle(
        &mut self,
        record: &Record<'_>,
        poll_batch: &mut PollBatch,
    ) -> Result<ControlFlow<()>, Error> {
        poll_batch.skip(record.partition);
        Ok(ControlFlow::Continue(()))
    }

    fn complete(&mut self, _poll_batch: &PollBatch) -> Result<(), Error> {
        Ok(())
    }
}

/// Runs the thread with these polls and checks that the last commit is `committed`.
#[track_caller]
fn check(polls: &[&[Item]], committed: i64) {
    let stop = Stop::default();
    let commits = Rc::default();
    let consumer = ScriptedConsumer {
        polls: polls.iter().map(|items| items.to_vec()).collect(),
        events: VecDeque::new(),
        commits: Rc::clone(&commits),
        stop: stop.clone(),
    };
    let topics = Topics {
        inputs: vec!["in".to_owned()],
        outputs: Vec::new(),
    };
    let bounds = Bounds {
        poll_batches: 2,
        poll_batch_records: 100,
        poll_batch_bytes: 1000,
        record_set_bytes: 1000,
    };
    run(
        consumer,
        ConsumerChannels::closed(bounds),
        Skip,
        &GroupId::Named("group".to_owned()),
        &topics,
        &Health::new(&topics.inputs, Duration::from_secs(1)),
        &stop,
    )
    .unwrap();
    assert_eq!(commits.borrow().last(), Some(&committed));
}

#[test]
fn the_committed_offset_is_the_position_after_the_last_record() {
    check(&[&[Item::Record(0), Item::Record(1)]], 2);
}

#[test]
fn skipped_offsets_are_committed() {
    check(&[&[Item::Position(5)]], 5);
    check(&[&[Item::Record(0), Item::Position(2)]], 2);
    check(&[&[Item::Record(0)], &[Item::Position(2)]], 2);
}

#[test]
fn skipped_offsets_never_set_the_position_below_records_of_the_same_poll() {
    use Item::{Position, Record};
    // Two fetches of one partition, the first ending in a commit marker at offset 1.
    check(&[&[Record(0), Position(2), Record(2), Record(3)]], 4);
    check(&[&[Record(0), Record(2), Record(3), Position(2)]], 4);
}

#[test]
fn a_position_that_goes_back_between_polls_is_committed() {
    check(&[&[Item::Record(999)], &[Item::Record(4)]], 5);
    check(&[&[Item::Record(999)], &[Item::Position(5)]], 5);
}
