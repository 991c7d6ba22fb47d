//! Thread `consumer`: reads records, has a handler decide where each goes, hands them in batches to the producer threads, and commits what
//! they have delivered. It owns the consumer and the offset tracker; it never waits for a producer without polling the group in between.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::client;
use crate::client::Topics;
use crate::client::settings::GroupId;
use crate::client::{Batch, Bounds, Consumer, ConsumerEvent, Polled, Record};
use crate::counters::Outcome;
use crate::error::Error;
use crate::health::Health;
use crate::limits::{
    COMMIT_INTERVAL, COMMIT_WITHIN, LEAVE_WITHIN, PAUSE_AFTER, POLL, REVOKE_WITHIN,
    TRANSACTION_INTERVAL,
};
use crate::offsets::OffsetTracker;
use crate::prepare::prepare;
use crate::thread::Stop;
use crate::throttle::{Throttle, WARNING_INTERVAL};
use crate::topic_partition::{NextOffset, TopicPartition};

/// The way to the producer threads, and the way back. Dropping the senders is what tells the producers to drain.
pub(crate) struct ConsumerChannels {
    /// To `producer-even`.
    pub(crate) even: Sender<Batch>,
    /// To `producer-odd`, and with it what is for a dead-letter topic: a third producer would cost a constrained host the memory of a
    /// client for records that should not be there.
    pub(crate) odd: Sender<Batch>,
    /// Delivered batches, from both.
    pub(crate) delivered: Receiver<Batch>,
    /// How much may be on the way.
    pub(crate) bounds: Bounds,
    /// Outputs and offsets are one transaction: a commit ends it.
    pub(crate) is_transactional: bool,
}

impl ConsumerChannels {
    /// For a handler that sends nothing on.
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

/// What is done with the records that are read: where the roles differ.
pub(crate) trait Handler {
    /// Takes a record: into a batch of the poll_batch, or to be done with by the next [`Handler::settle`]. Fails on what ends the program.
    fn take(
        &mut self,
        record: &Record<'_>,
        poll_batch: &mut PollBatch,
    ) -> Result<ControlFlow<()>, Error>;

    /// Called behind the last record of a poll_batch. What is in no batch of it is done when this returns: its offsets may be committed then.
    fn settle(&mut self, poll_batch: &PollBatch) -> Result<(), Error>;
}

/// What one poll brought.
#[derive(Debug)]
pub(crate) struct PollBatch {
    /// What is for `producer-even`.
    pub(crate) even: Batch,
    /// What is for `producer-odd`.
    pub(crate) odd: Batch,
    /// Of each partition once.
    progress: Vec<Progress>,
    records: usize,
}

/// How a poll_batch gets on with a partition.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Which.
    pub(crate) partition: TopicPartition,
    /// Offset of the next record to read after the poll batch: after its last record and the offsets skipped since.
    next: i64,
    /// Records that were read.
    pub(crate) read: u64,
    /// Of them, those that were skipped.
    skipped: u64,
}

impl PollBatch {
    /// How it gets on with each partition.
    pub(crate) fn progress(&self) -> &[Progress] {
        &self.progress
    }

    /// The record that is being taken is for nobody.
    pub(crate) fn skip(&mut self, partition: TopicPartition) {
        self.of(partition).skipped += 1;
    }

    /// Counts a record that the handler has taken; the position of its partition is then the offset after it.
    #[inline]
    fn count(&mut self, record: &Record<'_>) {
        self.records += 1;
        let progress = self.of(record.partition);
        progress.next = record.offset + 1;
        progress.read += 1;
    }

    /// Advances the position of a partition over skipped offsets. It never goes back: a commit below records of this poll batch would
    /// have them routed twice.
    fn advance(&mut self, partition: TopicPartition, next: i64) {
        let progress = self.of(partition);
        progress.next = progress.next.max(next);
    }

    #[inline]
    fn of(&mut self, partition: TopicPartition) -> &mut Progress {
        let is_it = |progress: &Progress| progress.partition == partition;
        let last = self.progress.len().wrapping_sub(1);
        let index = if self.progress.last().is_some_and(is_it) {
            last
        } else {
            self.progress.iter().position(is_it).unwrap_or_else(|| {
                self.progress.push(Progress {
                    partition,
                    next: 0,
                    read: 0,
                    skipped: 0,
                });
                last.wrapping_add(1)
            })
        };
        &mut self.progress[index]
    }
}

/// Body of the thread: until stopped, or until the client gives up.
pub(crate) fn run<C: Consumer>(
    consumer: C,
    outputs: ConsumerChannels,
    handler: impl Handler,
    group: &GroupId,
    topics: &Topics,
    health: &Health,
    stop: &Stop,
) -> Result<(), Error> {
    let now = Instant::now();
    let mut reader = Reader {
        consumer,
        bounds: outputs.bounds,
        outputs: Some([outputs.even, outputs.odd]),
        delivered: outputs.delivered,
        spare: Vec::new(),
        spare_progress: Vec::new(),
        tracker: OffsetTracker::default(),
        assigned: Vec::new(),
        commits: matches!(group, GroupId::Named(_)),
        commit_after: now,
        is_transactional: outputs.is_transactional,
        transaction: Stage::Open,
        tick_after: now,
        stalled: false,
        full_since: None,
        paused: false,
        handler,
        topics,
        commit_warnings: Throttle::new(WARNING_INTERVAL),
        rebalances: VecDeque::new(),
        health,
    };
    let read =
        prepare(health, stop, || reader.consumer.prepare()).and_then(|()| reader.read_until(stop));
    let drained = reader.drain(stop, &read);
    read.and(drained)
}

/// How far the end of a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Records are dispatched.
    Open,
    /// No more are; what was dispatched is being delivered.
    Ending,
    /// Everything is delivered, and the commit under way.
    Committing,
}

struct Reader<'a, C: Consumer, T> {
    consumer: C,
    bounds: Bounds,
    /// To the even and the odd producer; none once they were told to drain.
    outputs: Option<[Sender<Batch>; 2]>,
    delivered: Receiver<Batch>,
    /// Emptied batches, for the next rounds: no more than there are in flight at most.
    spare: Vec<Batch>,
    spare_progress: Vec<Progress>,
    tracker: OffsetTracker,
    assigned: Vec<TopicPartition>,
    commits: bool,
    commit_after: Instant,
    is_transactional: bool,
    transaction: Stage,
    tick_after: Instant,
    /// Some partition does not get on, and that is told.
    stalled: bool,
    /// Since when there has been no room for another poll_batch.
    full_since: Option<Instant>,
    paused: bool,
    handler: T,
    topics: &'a Topics,
    commit_warnings: Throttle,
    /// Rebalances that were told while the last one's commit was waited for.
    rebalances: VecDeque<ConsumerEvent>,
    health: &'a Health,
}

impl<C: Consumer, T: Handler> Reader<'_, C, T> {
    fn read_until(&mut self, stop: &Stop) -> Result<(), Error> {
        while !stop.is_set() {
            self.take_delivered();
            self.tick();
            self.commit_if_due()?;
            if self.transaction != Stage::Open {
                self.end_transaction()?;
            } else if self.tracker.in_flight() >= self.bounds.poll_batches {
                self.wait_for_room()?;
            } else {
                if self.paused {
                    self.consumer.resume()?;
                    self.paused = false;
                }
                self.full_since = None;
                self.poll_batch()?;
            }
            self.take_events()?;
        }
        Ok(())
    }

    /// One poll_batch: what a poll brings, sorted into a batch for each output.
    fn poll_batch(&mut self) -> Result<(), Error> {
        let mut poll_batch = PollBatch {
            even: self.spare_batch(),
            odd: self.spare_batch(),
            progress: std::mem::take(&mut self.spare_progress),
            records: 0,
        };
        let mut failure = None;
        let most = self.bounds.poll_batch_records;
        let timeout = if self.is_transactional {
            // What was read last is to be seen soon.
            POLL.min(self.commit_after.saturating_duration_since(Instant::now()))
        } else {
            POLL
        };
        let Self {
            consumer, handler, ..
        } = self;
        let polled = consumer.poll(timeout, |polled| match polled {
            Polled::Record(record) => match handler.take(&record, &mut poll_batch) {
                Ok(flow) => {
                    poll_batch.count(&record);
                    if poll_batch.records < most {
                        flow
                    } else {
                        ControlFlow::Break(())
                    }
                }
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            },
            Polled::Position((partition, next)) => {
                poll_batch.advance(partition, next);
                ControlFlow::Continue(())
            }
        });
        self.count(&poll_batch);
        self.handler.settle(&poll_batch)?;
        self.dispatch(poll_batch)?;
        polled?;
        failure.map_or(Ok(()), Err)
    }

    fn count(&self, poll_batch: &PollBatch) {
        if poll_batch.records > 0 {
            let now = Instant::now();
            let mut counters = self.health.counters();
            for progress in &poll_batch.progress {
                let Progress {
                    partition,
                    read,
                    skipped,
                    ..
                } = *progress;
                counters.add_read(partition, read, now);
                counters.add_outcome(partition, Outcome::Skipped, skipped, now);
            }
        }
    }

    fn dispatch(&mut self, mut poll_batch: PollBatch) -> Result<(), Error> {
        let Some([even, odd]) = &self.outputs else {
            return Ok(());
        };
        let number = self.tracker.next_poll_batch();
        let mut batches = 0;
        for (mut batch, output, thread) in [
            (poll_batch.even, even, "producer-even"),
            (poll_batch.odd, odd, "producer-odd"),
        ] {
            if batch.is_empty() {
                self.spare.push(batch);
                continue;
            }
            batch.poll_batch = number;
            batches += 1;
            // There is room: no more rounds are in flight than the channel holds. It fails when the producer has ended.
            output.try_send(batch).map_err(|_| Error::Ended(thread))?;
        }
        if !poll_batch.progress.is_empty() {
            let ends = poll_batch.progress.drain(..);
            let ends = ends.map(|progress| (progress.partition, progress.next));
            self.tracker.dispatch(batches, ends.collect());
        }
        self.spare_progress = poll_batch.progress;
        Ok(())
    }

    fn spare_batch(&mut self) -> Batch {
        self.spare
            .pop()
            .unwrap_or_else(|| Batch::new(self.bounds.record_set_bytes))
    }

    fn take_delivered(&mut self) {
        while let Ok(batch) = self.delivered.try_recv() {
            self.settle(batch);
        }
    }

    fn settle(&mut self, mut batch: Batch) {
        self.tracker.deliver(batch.poll_batch);
        batch.clear(self.bounds.record_set_bytes.next_power_of_two());
        self.spare.push(batch);
    }

    /// All rounds are out: the producers, or the brokers behind them, are slower than the input. Most often a delivery is a matter of
    /// milliseconds; where it takes longer, the partitions are paused and the group is polled on.
    fn wait_for_room(&mut self) -> Result<(), Error> {
        if let Ok(batch) = self.delivered.recv_timeout(POLL) {
            self.settle(batch);
            return Ok(());
        }
        self.consumer.poll_group()?;
        let full_since = *self.full_since.get_or_insert_with(Instant::now);
        if !self.paused && full_since.elapsed() >= PAUSE_AFTER {
            log::warn!(
                "{} rounds in flight and none delivered for {PAUSE_AFTER:?}: the input is paused",
                self.bounds.poll_batches
            );
            self.consumer.pause()?;
            self.paused = true;
        }
        if self.paused {
            self.poll_events(Duration::ZERO)?;
        }
        Ok(())
    }

    /// Serves the group while paused, for so long at most.
    fn poll_events(&mut self, timeout: Duration) -> Result<(), Error> {
        let mut lent = false;
        self.consumer.poll(timeout, |_| {
            lent = true;
            ControlFlow::Break(())
        })?;
        if lent {
            // Passed over, it would be lost with the next commit: rather stop here.
            return Err(client::Error::Kafka {
                operation: "pause",
                reason: "a paused partition returned a record".to_owned(),
            }
            .into());
        }
        Ok(())
    }

    fn take_events(&mut self) -> Result<(), Error> {
        while let Some(event) = self
            .rebalances
            .pop_front()
            .or_else(|| self.consumer.next_event())
        {
            match event {
                ConsumerEvent::Assigned(partitions) => {
                    log::info!(
                        "partitions assigned: {}",
                        self.topics.partitions(&partitions)
                    );
                    self.assigned.extend(partitions);
                    self.health.assigned(self.assigned.len());
                    // A pause does not reach partitions that came after it.
                    if self.paused {
                        self.consumer.pause()?;
                    }
                }
                ConsumerEvent::Revoked(partitions) => {
                    self.consumer.pause()?;
                    let deadline = Instant::now() + REVOKE_WITHIN;
                    self.await_deliveries(deadline)?;
                    if !(self.is_transactional && self.tracker.in_flight() > 0) {
                        self.await_commit(deadline)?;
                    }
                    self.abort_unless_committed("partitions are revoked")?;
                    self.give_up(&partitions)?;
                }
                ConsumerEvent::Lost(partitions) => {
                    self.abort_unless_committed("partitions are lost")?;
                    log::warn!(
                        "partitions lost: what of them is in flight will be routed again by another member"
                    );
                    self.give_up(&partitions)?;
                }
                ConsumerEvent::RecordsLost(partition, records) => {
                    self.health.counters().add_lost(partition, records);
                }
                ConsumerEvent::Committed(offsets) => self.confirm(&offsets),
                ConsumerEvent::CommitFailed(reason) => self.warn_commit(&reason),
                ConsumerEvent::Unavailable(reason) => self.unavailable(&reason),
                ConsumerEvent::Available => self.available(),
            }
        }
        Ok(())
    }

    fn confirm(&mut self, offsets: &[NextOffset]) {
        self.tracker.confirm(offsets);
        if self.is_transactional {
            self.health.counters().commit();
        }
    }

    /// Something of it is dispatched or skipped, and not committed.
    fn has_open_transaction(&self) -> bool {
        let is_open = self.tracker.in_flight() > 0 || !self.tracker.committable().is_empty();
        self.is_transactional && is_open
    }

    /// What an open transaction has of partitions that are not ours any more must never be seen.
    fn abort_unless_committed(&self, why: &str) -> Result<(), Error> {
        if self.has_open_transaction() {
            return Err(
                client::Error::Aborted(format!("{why} before what was sent is committed")).into(),
            );
        }
        Ok(())
    }

    /// Goes on with ending the transaction: what is dispatched is delivered, then committed. Meanwhile the group is served as ever.
    fn end_transaction(&mut self) -> Result<(), Error> {
        if self.tracker.in_flight() > 0 {
            return self.wait_for_room();
        }
        let offsets = self.tracker.committable();
        if offsets.is_empty() {
            self.transaction = Stage::Open;
            self.commit_after = Instant::now() + TRANSACTION_INTERVAL;
            return Ok(());
        }
        if self.transaction == Stage::Ending {
            self.transaction = Stage::Committing;
            self.consumer.pause()?;
            self.paused = true;
            self.consumer.commit(&offsets)?;
        }
        self.poll_events(POLL)
    }

    fn unavailable(&self, reason: &str) {
        log::warn!("no broker answers: {reason}; going on trying");
        self.health.unavailable(reason);
    }

    fn available(&self) {
        log::info!("a broker answers again");
        self.health.available();
    }

    /// Gives partitions back to the group, and goes on with those that are left.
    fn give_up(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.consumer.release(partitions)?;
        self.tracker.revoke(partitions);
        self.health.counters().revoke(partitions, Instant::now());
        self.assigned
            .retain(|partition| !partitions.contains(partition));
        self.health.revoked();
        log::info!("partitions revoked: {}", self.topics.partitions(partitions));
        if !self.paused {
            self.consumer.resume()?;
        }
        Ok(())
    }

    fn warn_commit(&mut self, reason: &str) {
        if let Some(suppressed) = self.commit_warnings.admit(Instant::now()) {
            log::warn!(
                "commit: {reason}; trying again ({suppressed} more like this since the last line)"
            );
        }
    }

    /// What is to be done once in a while.
    fn tick(&mut self) {
        let now = Instant::now();
        if now < self.tick_after {
            return;
        }
        self.tick_after = now + COMMIT_INTERVAL;
        for (partition, lag) in self.consumer.lags() {
            self.health.counters().set_lag(partition, lag, now);
        }
        match self.health.stalled(now) {
            Some(reason) if !self.stalled => {
                log::warn!("stalled: {reason}");
                self.stalled = true;
            }
            None if self.stalled => {
                log::info!("no partition is stalled any more");
                self.stalled = false;
            }
            _ => (),
        }
    }

    fn commit_if_due(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if !self.commits || now < self.commit_after {
            return Ok(());
        }
        if self.is_transactional {
            if self.transaction == Stage::Open {
                self.transaction = Stage::Ending;
                if self.has_open_transaction() {
                    self.consumer.prepare_commit()?;
                }
            }
            return Ok(());
        }
        self.commit_after = now + COMMIT_INTERVAL;
        let offsets = self.tracker.committable();
        if offsets.is_empty() {
            Ok(())
        } else {
            self.consumer.commit(&offsets).map_err(Error::from)
        }
    }

    /// Waits until nothing is in flight, until the producers have ended, or until `deadline`.
    fn await_deliveries(&mut self, deadline: Instant) -> Result<(), Error> {
        while self.tracker.in_flight() > 0 || self.outputs.is_none() {
            match self
                .delivered
                .recv_deadline(deadline.min(Instant::now() + POLL))
            {
                Ok(batch) => self.settle(batch),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {
                    self.consumer.poll_group()?;
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(())
    }

    /// Commits what is delivered and waits for the answer, no longer than `deadline`.
    fn await_commit(&mut self, deadline: Instant) -> Result<(), Error> {
        if !self.commits {
            return Ok(());
        }
        let mut pending = true;
        let mut offsets: Vec<NextOffset> = self.tracker.committable();
        let mut lost = false;
        while !offsets.is_empty() && !lost && Instant::now() < deadline {
            if pending {
                self.consumer.commit(&offsets)?;
                pending = false;
            }
            self.poll_events(POLL / 10)?;
            while let Some(event) = self.consumer.next_event() {
                match event {
                    ConsumerEvent::RecordsLost(partition, records) => {
                        self.health.counters().add_lost(partition, records);
                    }
                    ConsumerEvent::Committed(confirmed) => self.confirm(&confirmed),
                    ConsumerEvent::CommitFailed(reason) => {
                        self.warn_commit(&reason);
                        pending = true;
                    }
                    ConsumerEvent::Unavailable(reason) => self.unavailable(&reason),
                    ConsumerEvent::Available => self.available(),
                    // Their turn is after this wait, which is in vain where partitions are lost.
                    ConsumerEvent::Assigned(_)
                    | ConsumerEvent::Revoked(_)
                    | ConsumerEvent::Lost(_) => {
                        lost |= matches!(event, ConsumerEvent::Lost(_));
                        self.rebalances.push_back(event);
                    }
                }
            }
            offsets = self.tracker.committable();
        }
        if !offsets.is_empty() {
            log::warn!("the last commit is not confirmed: records of it may be routed again");
        }
        Ok(())
    }

    /// The end: the producers drain, their deliveries are committed, the group is left. The records must add up then, unless `read` says that
    /// there was a failure. What a transaction has not delivered in time is not committed.
    fn drain(mut self, stop: &Stop, read: &Result<(), Error>) -> Result<(), Error> {
        if matches!(read, Err(Error::Client(client::Error::Aborted(_)))) {
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
        if read.is_ok() && self.tracker.in_flight() == 0 {
            self.health.audit();
        }
        delivered.and(committed)
    }
}

#[cfg(test)]
mod tests;
