//! Body of the threads `producer-even` and `producer-odd`: takes batches, sends them, tells the consumer what is delivered. Each owns its
//! Kafka producer. When the consumer closes the channel it drains and ends.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::client::batch::Refused;
use crate::client::{Batch, Producer};
use crate::config::Invalid;
use crate::error::Error;
use crate::health::Health;
use crate::ledger::Fate;
use crate::limits::{ACKNOWLEDGEMENT_POLL, COMMIT_WITHIN, IDLE_POLL, POLL, WARNING_INTERVAL};
use crate::route::Lane;
use crate::thread::Stop;
use crate::throttle::Throttle;
use crate::topics::Topics;

/// What a producer thread works with.
pub(crate) struct Outlet {
    /// Whose records it writes.
    pub(crate) lane: Lane,
    /// The thread's name.
    pub(crate) name: &'static str,
    /// From the consumer.
    pub(crate) batches: Receiver<Batch>,
    /// Back to the consumer. It has room for every batch that can exist, so that the two never wait for each other.
    pub(crate) delivered: Sender<Batch>,
}

/// Body of the thread.
pub(crate) fn run<P: Producer>(
    mut producer: P,
    outlet: &Outlet,
    invalid: &Invalid,
    topics: &Topics,
    health: &Health,
    stop: &Stop,
) -> Result<(), Error> {
    let mut desk = Desk {
        outlet,
        invalid,
        topics,
        health,
        warnings: Throttle::new(WARNING_INTERVAL),
    };
    loop {
        let busy = producer.in_flight() > 0;
        if producer.accepts() {
            let wait = if busy {
                ACKNOWLEDGEMENT_POLL
            } else {
                IDLE_POLL
            };
            match outlet.batches.recv_timeout(wait) {
                Ok(batch) => producer.send(batch)?,
                Err(RecvTimeoutError::Timeout) => (),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            producer.poll(Duration::ZERO)?;
        } else {
            // Nothing but an acknowledgement, which ends the wait, makes room.
            producer.poll(POLL)?;
        }
        desk.take_delivered(&mut producer)?;
    }
    let deadline = stop.deadline_but(COMMIT_WITHIN);
    while producer.in_flight() > 0 && Instant::now() < deadline {
        producer.poll(ACKNOWLEDGEMENT_POLL)?;
        desk.take_delivered(&mut producer)?;
    }
    match producer.in_flight() {
        0 => Ok(()),
        count => Err(Error::Undelivered {
            role: outlet.name,
            count,
        }),
    }
}

/// Where delivered batches are counted and handed back.
struct Desk<'a> {
    outlet: &'a Outlet,
    invalid: &'a Invalid,
    topics: &'a Topics,
    health: &'a Health,
    warnings: Throttle,
}

impl Desk<'_> {
    fn take_delivered<P: Producer>(&mut self, producer: &mut P) -> Result<(), Error> {
        while let Some(mut batch) = producer.delivered() {
            self.count(&batch);
            if batch.refused.is_empty() {
                // Fails only when the consumer has ended: then nobody commits any more.
                let _ = self.outlet.delivered.send(batch);
                continue;
            }
            self.refused(&mut batch)?;
            if batch.is_empty() {
                let _ = self.outlet.delivered.send(batch);
            } else {
                producer.send(batch)?;
            }
        }
        Ok(())
    }

    /// What the broker refuses for good is handled as what cannot be routed: the batch becomes one of dead letters.
    fn refused(&mut self, batch: &mut Batch) -> Result<(), Error> {
        for Refused { place, reason } in &batch.refused {
            let Some(record) = batch.get(*place) else {
                continue;
            };
            let (partition, offset) = (record.origin.partition, record.origin.offset);
            let (input, output) = (
                self.topics.input(partition.topic),
                self.topics.output(record.output),
            );
            let what = format!(
                "{input}-{}, offset {offset}: topic {output} refused the record: {reason}",
                partition.partition
            );
            if Topics::is_dead_letter(record.output) || matches!(self.invalid, Invalid::Fail) {
                return Err(Error::Kafka {
                    operation: "produce",
                    reason: what,
                });
            }
            if let Some(suppressed) = self.warnings.admit(Instant::now()) {
                log::warn!("{what} ({suppressed} more like this since the last line)");
            }
        }
        if matches!(self.invalid, Invalid::Skip) {
            let now = Instant::now();
            let mut ledger = self.health.ledger();
            for refused in &batch.refused {
                if let Some(record) = batch.get(refused.place) {
                    ledger.settle(record.origin.partition, Fate::Skipped, 1, now);
                }
            }
        }
        batch.retarget_refused(self.topics);
        Ok(())
    }

    /// Counts what was acknowledged.
    fn count(&self, batch: &Batch) {
        let now = Instant::now();
        let mut ledger = self.health.ledger();
        for (partition, output, records) in batch.tallies() {
            let fate = match self.outlet.lane {
                _ if Topics::is_dead_letter(output) => Fate::DeadLettered,
                Lane::Even => Fate::Even,
                Lane::Odd => Fate::Odd,
            };
            ledger.settle(partition, fate, records, now);
        }
    }
}
