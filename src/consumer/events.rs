//! Thread `consumer`: handles the events of the client: rebalances, results of commits, availability of the brokers.

use std::time::Instant;

use super::{ConsumerThread, Handler};
use crate::client::{Consumer, ConsumerEvent};
use crate::error::Error;
use crate::limits::REVOKE_WITHIN;
use crate::topic_partition::TopicPartition;

impl<C: Consumer, H: Handler> ConsumerThread<'_, C, H> {
    /// Handles all events that are pending, deferred rebalances first.
    pub(super) fn handle_events(&mut self) -> Result<(), Error> {
        while let Some(event) = self
            .rebalances
            .pop_front()
            .or_else(|| self.consumer.next_event())
        {
            self.handle_event(event)?;
        }
        Ok(())
    }

    pub(super) fn handle_event(&mut self, event: ConsumerEvent) -> Result<(), Error> {
        match event {
            ConsumerEvent::Assigned(partitions) => self.handle_assigned(partitions)?,
            ConsumerEvent::Revoked(partitions) => self.handle_revoked(&partitions)?,
            ConsumerEvent::Lost(partitions) => {
                self.fail_if_transaction_is_open("partitions are lost")?;
                log::warn!(
                    "partitions lost, their records in flight may be routed again by another member"
                );
                self.release(&partitions)?;
            }
            ConsumerEvent::RecordsLost(partition, records) => {
                self.health.counters().add_lost(partition, records);
            }
            ConsumerEvent::Committed(offsets) => self.confirm_commit(&offsets),
            ConsumerEvent::CommitFailed(reason) => self.warn_commit_failed(&reason),
            ConsumerEvent::Unavailable(reason) => {
                log::warn!("no broker is available: {reason}, retrying");
                self.health.set_unavailable(&reason);
            }
            ConsumerEvent::Available => {
                log::info!("a broker is available again");
                self.health.set_available();
            }
        }
        Ok(())
    }

    fn handle_assigned(&mut self, partitions: Vec<TopicPartition>) -> Result<(), Error> {
        log::info!(
            "partitions assigned: {}",
            self.topics.partitions(&partitions)
        );
        self.assigned.extend(partitions);
        self.health.set_assigned(self.assigned.len());
        // An earlier pause does not cover partitions that are assigned later.
        if self.is_paused {
            self.consumer.pause()?;
        }
        Ok(())
    }

    /// Delivers and commits what is in flight, within [`REVOKE_WITHIN`], before the partitions are released to the group.
    fn handle_revoked(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.consumer.pause()?;
        let deadline = Instant::now() + REVOKE_WITHIN;
        self.await_deliveries(deadline)?;
        if !(self.is_transactional && self.tracker.in_flight() > 0) {
            self.await_commit(deadline)?;
        }
        self.fail_if_transaction_is_open("partitions are revoked")?;
        self.release(partitions)
    }

    /// Releases partitions to the group and resumes the others.
    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.consumer.release(partitions)?;
        self.tracker.revoke(partitions);
        self.health.counters().revoke(partitions, Instant::now());
        self.assigned
            .retain(|partition| !partitions.contains(partition));
        self.health.clear_assignment();
        log::info!("partitions revoked: {}", self.topics.partitions(partitions));
        if !self.is_paused {
            self.consumer.resume()?;
        }
        Ok(())
    }
}
