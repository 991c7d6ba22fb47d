//! Thread `consumer`: polls records, lets a handler decide where each goes, sends them in batches to the producer threads, and commits the
//! offsets of what they have delivered. It owns the Kafka consumer and the offset tracker, and never waits for a producer without polling
//! the group in between.
//!
//! | file | content |
//! |---|---|
//! | `mod` | the loop of the thread, from preparing to the last commit |
//! | `poll_batch` | the records and positions of one poll |
//! | `dispatch` | polls, dispatches batches, takes delivered ones back |
//! | `events` | rebalances and other events of the client |
//! | `commit` | commits offsets, ends transactions |

mod commit;
mod dispatch;
mod events;
mod poll_batch;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::client;
use crate::client::settings::GroupId;
use crate::client::{Batch, Bounds, Consumer, ConsumerEvent, Record, Topics};
use crate::error::Error;
use crate::health::Health;
use crate::limits::{COMMIT_INTERVAL, COMMIT_WITHIN, LEAVE_WITHIN};
use crate::offsets::OffsetTracker;
use crate::prepare::prepare;
use crate::thread::Stop;
use crate::throttle::{Throttle, WARNING_INTERVAL};
use crate::topic_partition::TopicPartition;
use commit::TransactionState;
use poll_batch::PartitionProgress;
pub(crate) use poll_batch::PollBatch;

/// Channels to the producer threads and back. Dropping the senders makes the producers drain and end.
pub(crate) struct ConsumerChannels {
    /// To `producer-even`.
    pub(crate) even: Sender<Batch>,
    /// To `producer-odd`, which also sends the dead letters: a third producer would cost a small host the memory of another client, for
    /// records that should not occur.
    pub(crate) odd: Sender<Batch>,
    /// Delivered batches of both.
    pub(crate) delivered: Receiver<Batch>,
    /// Bounds on what is in flight.
    pub(crate) bounds: Bounds,
    /// True if outputs and offsets are committed in one transaction.
    pub(crate) is_transactional: bool,
}

impl ConsumerChannels {
    /// Creates channels without producers, for a handler that sends no batches.
    pub(crate) fn closed(bounds: Bounds) -> Self {
        let (even, _) = bounded(0);
        Self {
            odd: even.clone(),
            even,
            delivered: bounded(0).1,
            bounds,
            is_transactional: false,
        }
    }
}

/// The role's part of the thread: decides what becomes of each record.
pub(crate) trait Handler {
    /// Handles a record: adds it to an output of the poll batch, skips it, or keeps it until [`Handler::complete`]. Breaks if the poll
    /// batch is full. An error ends the program.
    fn handle(
        &mut self,
        record: &Record<'_>,
        poll_batch: &mut PollBatch,
    ) -> Result<ControlFlow<()>, Error>;

    /// Completes a poll batch after its last record. When it returns, the offsets of records that are in none of the outputs may be
    /// committed.
    fn complete(&mut self, poll_batch: &PollBatch) -> Result<(), Error>;
}

/// Runs the thread until it is stopped or the client fails.
pub(crate) fn run<C: Consumer>(
    consumer: C,
    channels: ConsumerChannels,
    handler: impl Handler,
    group: &GroupId,
    topics: &Topics,
    health: &Health,
    stop: &Stop,
) -> Result<(), Error> {
    let now = Instant::now();
    let mut thread = ConsumerThread {
        consumer,
        bounds: channels.bounds,
        outputs: Some([channels.even, channels.odd]),
        delivered: channels.delivered,
        spare_batches: Vec::new(),
        spare_progress: Vec::new(),
        tracker: OffsetTracker::default(),
        assigned: Vec::new(),
        has_group: matches!(group, GroupId::Named(_)),
        commit_at: now,
        is_transactional: channels.is_transactional,
        transaction: TransactionState::Open,
        tick_at: now,
        is_stalled: false,
        full_since: None,
        is_paused: false,
        handler,
        topics,
        commit_warnings: Throttle::new(WARNING_INTERVAL),
        rebalances: VecDeque::new(),
        health,
    };
    let result =
        prepare(health, stop, || thread.consumer.prepare()).and_then(|()| thread.run_until(stop));
    let drained = thread.drain(stop, &result);
    result.and(drained)
}

struct ConsumerThread<'a, C: Consumer, H> {
    consumer: C,
    bounds: Bounds,
    /// To the even and the odd producer; `None` once the producers drain.
    outputs: Option<[Sender<Batch>; 2]>,
    delivered: Receiver<Batch>,
    /// Empty batches for the next poll batches; never more than can be in flight.
    spare_batches: Vec<Batch>,
    /// Empty list for the next poll batch.
    spare_progress: Vec<PartitionProgress>,
    tracker: OffsetTracker,
    assigned: Vec<TopicPartition>,
    /// The group has a name, so offsets are committed.
    has_group: bool,
    commit_at: Instant,
    is_transactional: bool,
    transaction: TransactionState,
    tick_at: Instant,
    /// A stalled partition has been logged.
    is_stalled: bool,
    /// When the limit of poll batches in flight was reached, if it still is.
    full_since: Option<Instant>,
    is_paused: bool,
    handler: H,
    topics: &'a Topics,
    commit_warnings: Throttle,
    /// Rebalances that arrived while the commit of an earlier one was awaited.
    rebalances: VecDeque<ConsumerEvent>,
    health: &'a Health,
}

impl<C: Consumer, H: Handler> ConsumerThread<'_, C, H> {
    fn run_until(&mut self, stop: &Stop) -> Result<(), Error> {
        while !stop.is_set() {
            self.take_delivered();
            self.tick();
            self.commit_if_due()?;
            if self.transaction != TransactionState::Open {
                self.end_transaction()?;
            } else if self.tracker.in_flight() >= self.bounds.poll_batches {
                self.wait_for_delivery()?;
            } else {
                if self.is_paused {
                    self.consumer.resume()?;
                    self.is_paused = false;
                }
                self.full_since = None;
                self.poll_and_dispatch()?;
            }
            self.handle_events()?;
        }
        Ok(())
    }

    /// Updates the lags and checks for stalled partitions, every [`COMMIT_INTERVAL`].
    fn tick(&mut self) {
        let now = Instant::now();
        if now < self.tick_at {
            return;
        }
        self.tick_at = now + COMMIT_INTERVAL;
        for (partition, lag) in self.consumer.lags() {
            self.health.counters().set_lag(partition, lag, now);
        }
        match self.health.stalled(now) {
            Some(reason) if !self.is_stalled => {
                log::warn!("stalled: {reason}");
                self.is_stalled = true;
            }
            None if self.is_stalled => {
                log::info!("all partitions are making progress again");
                self.is_stalled = false;
            }
            _ => (),
        }
    }

    /// Stops: the producers drain, what they have delivered is committed, and the consumer leaves the group. Unless the thread failed, the
    /// record counters must balance then. A transaction that is not fully delivered in time is not committed.
    fn drain(mut self, stop: &Stop, result: &Result<(), Error>) -> Result<(), Error> {
        if matches!(result, Err(Error::Client(client::Error::Aborted(_)))) {
            self.consumer.close();
            return Ok(());
        }
        if !self.assigned.is_empty() {
            self.consumer.pause()?;
        }
        self.outputs = None;
        let delivered = self.await_deliveries(stop.deadline_minus(COMMIT_WITHIN));
        let committed = if self.is_transactional && self.tracker.in_flight() > 0 {
            Ok(())
        } else {
            self.await_commit(stop.deadline_minus(LEAVE_WITHIN))
        };
        self.consumer.close();
        if result.is_ok() && self.tracker.in_flight() == 0 {
            self.health.audit();
        }
        delivered.and(committed)
    }
}
