//! Thread `consumer`: reads records, decides where each goes, hands them in batches to the producer threads, and commits what they have
//! delivered. It owns the consumer and the offset tracker; it never waits for a producer without polling the group in between.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::client::batch::Origin;
use crate::client::{Batch, Consumer, Event, Headers, NotReady, Record, Room};
use crate::config::{Config, Group, Invalid};
use crate::dead_letter;
use crate::error::Error;
use crate::health::Health;
use crate::limits::{
    COMMIT_INTERVAL, COMMIT_WITHIN, LEAVE_WITHIN, PAUSE_AFTER, POLL, PREPARE_BACKOFF,
    REVOKE_WITHIN, ROUND_BYTES, ROUND_RECORDS, ROUNDS, WARNING_INTERVAL,
};
use crate::offsets::{NextOffset, OffsetTracker, TopicPartition};
use crate::route::{self, Lane, Reason, Route};
use crate::thread::Stop;
use crate::throttle::Throttle;
use crate::topics::Topics;

/// The way to the producer threads, and the way back. Dropping the senders is what tells the producers to drain.
pub(crate) struct Lanes<H> {
    /// To `producer-even`.
    pub(crate) even: Sender<Batch<H>>,
    /// To `producer-odd`, and with it what is for a dead-letter topic: a third producer would cost a constrained host the memory of a
    /// client for records that should not be there.
    pub(crate) odd: Sender<Batch<H>>,
    /// Delivered batches, from both.
    pub(crate) delivered: Receiver<Batch<H>>,
}

/// Body of the thread: until stopped, or until the client gives up.
pub(crate) fn run<C: Consumer>(
    consumer: C,
    lanes: Lanes<C::Headers>,
    config: &Config,
    topics: &Topics,
    health: &Health,
    stop: &Stop,
) -> Result<(), Error> {
    let now = Instant::now();
    let mut router = Router {
        consumer,
        lanes: Some([lanes.even, lanes.odd]),
        delivered: lanes.delivered,
        spare: Vec::new(),
        tracker: OffsetTracker::default(),
        assigned: Vec::new(),
        commits: matches!(config.group, Group::Named(_)),
        commit_after: now,
        full_since: None,
        paused: false,
        sorter: Sorter {
            topics,
            invalid: &config.invalid,
            health,
            warnings: Throttle::new(WARNING_INTERVAL),
        },
        commit_warnings: Throttle::new(WARNING_INTERVAL),
        health,
    };
    let routed = router.prepare(stop).and_then(|()| router.route_until(stop));
    let drained = router.drain(stop);
    routed.and(drained)
}

struct Router<'a, C: Consumer> {
    consumer: C,
    /// To the even and the odd producer; none once they were told to drain.
    lanes: Option<[Sender<Batch<C::Headers>>; 2]>,
    delivered: Receiver<Batch<C::Headers>>,
    /// Emptied batches, for the next rounds: no more than there are in flight at most.
    spare: Vec<Batch<C::Headers>>,
    tracker: OffsetTracker,
    assigned: Vec<TopicPartition>,
    commits: bool,
    commit_after: Instant,
    /// Since when there has been no room for another round.
    full_since: Option<Instant>,
    paused: bool,
    sorter: Sorter<'a>,
    commit_warnings: Throttle,
    health: &'a Health,
}

impl<C: Consumer> Router<'_, C> {
    /// Waits for a broker and the topics, joins the group.
    fn prepare(&mut self, stop: &Stop) -> Result<(), Error> {
        let (mut back_off, longest) = PREPARE_BACKOFF;
        let mut told = String::new();
        while !stop.is_set() {
            match self.consumer.prepare() {
                Ok(()) => {
                    self.health.available();
                    return Ok(());
                }
                Err(NotReady::Failed(error)) => return Err(error),
                Err(NotReady::Waiting(reason)) => {
                    if reason != told {
                        log::warn!("waiting: {reason}");
                        self.health.unavailable(&reason);
                        told = reason;
                    }
                }
            }
            let until = Instant::now() + back_off;
            while !stop.is_set() && Instant::now() < until {
                std::thread::sleep(POLL.min(until.saturating_duration_since(Instant::now())));
            }
            back_off = longest.min(back_off * 2);
        }
        Ok(())
    }

    fn route_until(&mut self, stop: &Stop) -> Result<(), Error> {
        while !stop.is_set() {
            self.take_delivered();
            self.commit_if_due()?;
            if self.tracker.in_flight() >= ROUNDS {
                self.wait_for_room()?;
            } else {
                if self.paused {
                    self.consumer.resume()?;
                    self.paused = false;
                }
                self.full_since = None;
                self.round()?;
            }
            self.take_events()?;
        }
        Ok(())
    }

    /// One round: what a poll brings, sorted into a batch for each lane.
    fn round(&mut self) -> Result<(), Error> {
        let mut round = Round {
            even: self.spare_batch(),
            odd: self.spare_batch(),
            ends: Vec::new(),
            records: 0,
        };
        let mut failure = None;
        let Self {
            consumer, sorter, ..
        } = self;
        let polled = consumer.poll(POLL, |record| match sorter.sort(record, &mut round) {
            Ok(room) => room,
            Err(error) => {
                failure = Some(error);
                Room::Full
            }
        });
        self.dispatch(round)?;
        polled.and(failure.map_or(Ok(()), Err))
    }

    fn dispatch(&mut self, round: Round<C::Headers>) -> Result<(), Error> {
        let Some([even, odd]) = &self.lanes else {
            return Ok(());
        };
        let number = self.tracker.next_round();
        let mut batches = 0;
        for (mut batch, lane, thread) in [
            (round.even, even, "producer-even"),
            (round.odd, odd, "producer-odd"),
        ] {
            if batch.is_empty() {
                self.spare.push(batch);
                continue;
            }
            batch.round = number;
            batches += 1;
            // There is room: no more rounds are in flight than the channel holds. It fails when the producer has ended.
            lane.try_send(batch).map_err(|_| Error::Ended(thread))?;
        }
        if !round.ends.is_empty() {
            self.tracker.dispatch(batches, round.ends);
        }
        Ok(())
    }

    fn spare_batch(&mut self) -> Batch<C::Headers> {
        self.spare.pop().unwrap_or_default()
    }

    fn take_delivered(&mut self) {
        while let Ok(batch) = self.delivered.try_recv() {
            self.settle(batch);
        }
    }

    fn settle(&mut self, mut batch: Batch<C::Headers>) {
        self.tracker.deliver(batch.round);
        batch.clear(ROUND_BYTES);
        self.spare.push(batch);
    }

    /// All rounds are out: the producers, or the brokers behind them, are slower than the input. Most often a delivery is a matter of
    /// milliseconds; where it takes longer, the partitions are paused and the group is polled on.
    fn wait_for_room(&mut self) -> Result<(), Error> {
        if let Ok(batch) = self.delivered.recv_timeout(POLL) {
            self.settle(batch);
            return Ok(());
        }
        let full_since = *self.full_since.get_or_insert_with(Instant::now);
        if !self.paused && full_since.elapsed() >= PAUSE_AFTER {
            log::warn!(
                "{ROUNDS} rounds in flight and none delivered for {PAUSE_AFTER:?}: the input is paused"
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
            Room::Full
        })?;
        if lent {
            // Passed over, it would be lost with the next commit: rather stop here.
            return Err(Error::Kafka {
                operation: "pause",
                reason: "a paused partition gave a record".to_owned(),
            });
        }
        Ok(())
    }

    fn take_events(&mut self) -> Result<(), Error> {
        while let Some(event) = self.consumer.event() {
            match event {
                Event::Assigned(partitions) => {
                    log::info!("partitions assigned: {}", self.sorter.names(&partitions));
                    self.assigned.extend(partitions);
                    self.health.assigned(self.assigned.len());
                    // A pause does not reach partitions that came after it.
                    if self.paused {
                        self.consumer.pause()?;
                    }
                }
                Event::Revoked(partitions) => {
                    self.consumer.pause()?;
                    let deadline = Instant::now() + REVOKE_WITHIN;
                    self.await_deliveries(deadline);
                    self.await_commit(deadline)?;
                    self.give_up(&partitions)?;
                }
                Event::Lost(partitions) => {
                    log::warn!(
                        "partitions lost: what of them is in flight will be routed again by another member"
                    );
                    self.give_up(&partitions)?;
                }
                Event::Committed(offsets) => self.tracker.confirm(&offsets),
                Event::CommitFailed(reason) => self.warn_commit(&reason),
                Event::Unavailable(reason) => {
                    log::warn!("no broker answers: {reason}; going on trying");
                    self.health.unavailable(&reason);
                }
                Event::Available => {
                    log::info!("a broker answers again");
                    self.health.available();
                }
            }
        }
        Ok(())
    }

    /// Gives partitions back to the group, and goes on with those that are left.
    fn give_up(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.consumer.release(partitions)?;
        self.tracker.revoke(partitions);
        self.assigned
            .retain(|partition| !partitions.contains(partition));
        self.health.revoked();
        log::info!("partitions revoked: {}", self.sorter.names(partitions));
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

    fn commit_if_due(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if !self.commits || now < self.commit_after {
            return Ok(());
        }
        self.commit_after = now + COMMIT_INTERVAL;
        let offsets = self.tracker.committable();
        if offsets.is_empty() {
            Ok(())
        } else {
            self.consumer.commit(&offsets)
        }
    }

    /// Waits until nothing is in flight, until the producers have ended, or until `deadline`.
    fn await_deliveries(&mut self, deadline: Instant) {
        while self.tracker.in_flight() > 0 || self.lanes.is_none() {
            match self.delivered.recv_deadline(deadline) {
                Ok(batch) => self.settle(batch),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// Commits what is delivered and waits for the answer, no longer than `deadline`.
    fn await_commit(&mut self, deadline: Instant) -> Result<(), Error> {
        if !self.commits {
            return Ok(());
        }
        let mut pending = true;
        let mut offsets: Vec<NextOffset> = self.tracker.committable();
        while !offsets.is_empty() && Instant::now() < deadline {
            if pending {
                self.consumer.commit(&offsets)?;
                pending = false;
            }
            self.poll_events(POLL / 10)?;
            while let Some(event) = self.consumer.event() {
                match event {
                    Event::Committed(confirmed) => self.tracker.confirm(&confirmed),
                    Event::CommitFailed(reason) => {
                        self.warn_commit(&reason);
                        pending = true;
                    }
                    // Partitions that go or come during this wait do so without it: the caller gives them up, or is about to end.
                    Event::Assigned(_)
                    | Event::Revoked(_)
                    | Event::Lost(_)
                    | Event::Unavailable(_)
                    | Event::Available => (),
                }
            }
            offsets = self.tracker.committable();
        }
        if !offsets.is_empty() {
            log::warn!("the last commit is not confirmed: records of it may be routed again");
        }
        Ok(())
    }

    /// The end: the producers drain, their deliveries are committed, the group is left.
    fn drain(mut self, stop: &Stop) -> Result<(), Error> {
        if !self.assigned.is_empty() {
            self.consumer.pause()?;
        }
        self.lanes = None;
        self.await_deliveries(stop.deadline_but(COMMIT_WITHIN));
        let committed = self.await_commit(stop.deadline_but(LEAVE_WITHIN));
        self.consumer.close();
        committed
    }
}

/// What one poll brought.
struct Round<H> {
    even: Batch<H>,
    odd: Batch<H>,
    ends: Vec<NextOffset>,
    records: usize,
}

/// Decides where each record goes.
struct Sorter<'a> {
    topics: &'a Topics,
    invalid: &'a Invalid,
    health: &'a Health,
    warnings: Throttle,
}

impl Sorter<'_> {
    fn sort<H: Headers>(
        &mut self,
        record: Record<'_, H>,
        round: &mut Round<H>,
    ) -> Result<Room, Error> {
        let (partition, offset) = (record.partition, record.offset);
        match route::route(record.value) {
            Route::To(Lane::Even) => round.even.push(Topics::EVEN, Lane::Even.prefix(), record),
            Route::To(Lane::Odd) => round.odd.push(Topics::ODD, Lane::Odd.prefix(), record),
            Route::Skip => count(&self.health.counters.skipped),
            Route::Invalid(reason) => self.invalid(reason, record, round)?,
        }
        count(&self.health.counters.input);
        round.records += 1;
        match round.ends.last_mut() {
            Some((last, next)) if *last == partition => *next = offset + 1,
            _ => match round.ends.iter_mut().find(|(other, _)| *other == partition) {
                Some((_, next)) => *next = offset + 1,
                None => round.ends.push((partition, offset + 1)),
            },
        }
        let full =
            round.records >= ROUND_RECORDS || round.even.bytes() + round.odd.bytes() >= ROUND_BYTES;
        Ok(if full { Room::Full } else { Room::Left })
    }

    fn invalid<H: Headers>(
        &mut self,
        reason: Reason,
        mut record: Record<'_, H>,
        round: &mut Round<H>,
    ) -> Result<(), Error> {
        let (partition, offset) = (record.partition, record.offset);
        let topic = self.topics.input(partition.topic);
        let reason = reason.text();
        let what = match self.invalid {
            Invalid::Fail => {
                return Err(Error::Invalid {
                    topic: topic.to_owned(),
                    partition: partition.partition,
                    offset,
                    reason,
                });
            }
            Invalid::Skip => {
                count(&self.health.counters.skipped);
                "skipped"
            }
            Invalid::DeadLetter(_) => {
                let Some(output) = self.topics.dead_letter(partition.topic) else {
                    return Err(Error::Ended("dead letters"));
                };
                let origin = Origin {
                    partition,
                    offset,
                    timestamp: record.timestamp,
                };
                record.headers =
                    dead_letter::headers(record.headers.take(), origin, self.topics, reason);
                round.odd.push(output, b"", record);
                "sent to the dead-letter topic"
            }
        };
        if let Some(suppressed) = self.warnings.admit(Instant::now()) {
            log::warn!(
                "{topic}-{}, offset {offset}: {reason}; {what} ({suppressed} more like this since the last line)",
                partition.partition
            );
        }
        Ok(())
    }

    fn names(&self, partitions: &[TopicPartition]) -> String {
        let names = partitions
            .iter()
            .map(|place| format!("{}-{}", self.topics.input(place.topic), place.partition));
        let names: Vec<String> = names.collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
