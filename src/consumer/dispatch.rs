//! Thread `consumer`: polls records, dispatches them in batches to the producer threads, and takes delivered batches back.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use super::{ConsumerThread, Handler, PollBatch};
use crate::client;
use crate::client::{Batch, Consumer, Polled};
use crate::counters::Outcome;
use crate::error::Error;
use crate::limits::{PAUSE_AFTER, POLL};

impl<C: Consumer, H: Handler> ConsumerThread<'_, C, H> {
    /// Polls once and dispatches what the handler made of the records.
    pub(super) fn poll_and_dispatch(&mut self) -> Result<(), Error> {
        let (even, odd) = (self.spare_batch(), self.spare_batch());
        let mut poll_batch = PollBatch::new(even, odd, std::mem::take(&mut self.spare_progress));
        let mut failure = None;
        let max_records = self.bounds.poll_batch_records;
        let timeout = if self.is_transactional {
            // Wake up for the end of the transaction, so that its last records become visible soon.
            let until_commit = self.commit_at.saturating_duration_since(Instant::now());
            POLL.min(until_commit)
        } else {
            POLL
        };
        let Self {
            consumer, handler, ..
        } = self;
        let polled = consumer.poll(timeout, |polled| match polled {
            Polled::Record(record) => match handler.handle(&record, &mut poll_batch) {
                Ok(flow) => {
                    poll_batch.count(&record);
                    if poll_batch.records() < max_records {
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
            Polled::Position(position) => {
                poll_batch.advance(position);
                ControlFlow::Continue(())
            }
        });
        self.count_read(&poll_batch);
        self.handler.complete(&poll_batch)?;
        self.dispatch(poll_batch)?;
        polled?;
        failure.map_or(Ok(()), Err)
    }

    fn count_read(&self, poll_batch: &PollBatch) {
        if poll_batch.records() > 0 {
            let now = Instant::now();
            let mut counters = self.health.counters();
            for progress in poll_batch.progress() {
                counters.add_read(progress.partition, progress.read, now);
                let skipped = progress.skipped;
                counters.add_outcome(progress.partition, Outcome::Skipped, skipped, now);
            }
        }
    }

    /// Sends the batches of a poll batch to the producers and tracks its positions.
    fn dispatch(&mut self, poll_batch: PollBatch) -> Result<(), Error> {
        let Some([to_even, to_odd]) = &self.outputs else {
            return Ok(());
        };
        let id = self.tracker.next_poll_batch();
        let mut batches = 0;
        let ([even, odd], positions, progress) = poll_batch.into_parts();
        self.spare_progress = progress;
        for (mut batch, output, thread) in [
            (even, to_even, "producer-even"),
            (odd, to_odd, "producer-odd"),
        ] {
            if batch.is_empty() {
                self.spare_batches.push(batch);
                continue;
            }
            batch.poll_batch = id;
            batches += 1;
            // The channel is never full, since its capacity is the limit of poll batches in flight. It is closed if the producer has ended.
            output.try_send(batch).map_err(|_| Error::Ended(thread))?;
        }
        if !positions.is_empty() {
            self.tracker.dispatch(batches, positions);
        }
        Ok(())
    }

    fn spare_batch(&mut self) -> Batch {
        self.spare_batches
            .pop()
            .unwrap_or_else(|| Batch::new(self.bounds.record_set_bytes))
    }

    /// Takes back all batches that have been delivered. Does not block.
    pub(super) fn take_delivered(&mut self) {
        while let Ok(batch) = self.delivered.try_recv() {
            self.recycle(batch);
        }
    }

    /// Tracks a delivered batch and keeps it for reuse.
    fn recycle(&mut self, mut batch: Batch) {
        self.tracker.deliver(batch.poll_batch);
        batch.clear(self.bounds.record_set_bytes.next_power_of_two());
        self.spare_batches.push(batch);
    }

    /// Waits for a delivery while the limit of poll batches in flight is reached: the producers or their brokers are slower than the input.
    ///
    /// A delivery usually takes milliseconds. If there is none for [`PAUSE_AFTER`], the partitions are paused, and the group is polled.
    pub(super) fn wait_for_delivery(&mut self) -> Result<(), Error> {
        if let Ok(batch) = self.delivered.recv_timeout(POLL) {
            self.recycle(batch);
            return Ok(());
        }
        self.consumer.poll_group()?;
        let full_since = *self.full_since.get_or_insert_with(Instant::now);
        if !self.is_paused && full_since.elapsed() >= PAUSE_AFTER {
            log::warn!(
                "no room for another poll batch for {PAUSE_AFTER:?} with {} in flight, pausing the input",
                self.tracker.in_flight()
            );
            self.consumer.pause()?;
            self.is_paused = true;
        }
        if self.is_paused {
            self.poll_paused(Duration::ZERO)?;
        }
        Ok(())
    }

    /// Polls the group and the client's events while all partitions are paused.
    pub(super) fn poll_paused(&mut self, timeout: Duration) -> Result<(), Error> {
        let mut is_delivered = false;
        self.consumer.poll(timeout, |_| {
            is_delivered = true;
            ControlFlow::Break(())
        })?;
        if is_delivered {
            // The next commit would cover the record although it was not routed, so the thread fails instead.
            return Err(client::Error::Kafka {
                operation: "pause",
                reason: "a paused partition returned a record".to_owned(),
            }
            .into());
        }
        Ok(())
    }

    /// Waits until nothing is in flight, until the producers have ended, or until `deadline`.
    pub(super) fn await_deliveries(&mut self, deadline: Instant) -> Result<(), Error> {
        while self.tracker.in_flight() > 0 || self.outputs.is_none() {
            let poll_deadline = deadline.min(Instant::now() + POLL);
            match self.delivered.recv_deadline(poll_deadline) {
                Ok(batch) => self.recycle(batch),
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {
                    self.consumer.poll_group()?;
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(())
    }
}
