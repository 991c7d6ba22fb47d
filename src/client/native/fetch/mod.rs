//! Fetching records: the position of each partition, the requests to the leaders, and the delivery of the records in their responses.
//!
//! Record batches are delivered from the memory that the response arrived in; no record is copied. While the last response of a leader is
//! being delivered, the next fetch is in flight.
//!
//! | file | content |
//! |---|---|
//! | `positions` | offset of the next fetch of each partition, and how it is looked up |
//! | `request` | fetches that are due, one per leader |
//! | `response` | completed fetches, errors of partitions |
//! | `partition_records` | the walk over the record batches of a partition |
//! | `batch_records` | delivery of the records of one batch |
//! | `decompression` | records of a compressed batch |
//! | `aborted_transactions` | batches to skip because their transaction was aborted |

mod aborted_transactions;
mod batch_records;
mod decompression;
mod partition_records;
mod positions;
mod request;
mod response;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;

use super::network::{Network, Node};
use crate::client::settings::ConsumerSettings;
use crate::client::{Error, Polled, Topics};
use crate::throttle::{Throttle, WARNING_INTERVAL};
use crate::topic_partition::{NextOffset, TopicPartition};
#[cfg(any(test, fuzzing))]
pub(super) use partition_records::deliver_all;
use partition_records::{DeliveryEnd, UnreadableBatch};
pub(super) use positions::PositionState;
use positions::Positions;
use response::CompletedFetch;

/// Unreadable batches in a row, after which the consumer fails: another fetch recovers from a transmission error, but not from a corrupt
/// log.
const MAX_UNREADABLE: u32 = 3;

/// Fetches the assigned partitions and delivers their records. Owned by the thread `consumer`.
pub(super) struct Fetcher {
    settings: ConsumerSettings,
    topics: Topics,
    /// Bound in bytes on all fetch responses together: being delivered, waiting and in flight.
    memory: usize,
    pub(super) positions: Positions,
    /// Partitions and offsets of the fetch in flight to each broker, by node id. Its response counts only for the partitions whose position
    /// is still the requested offset.
    in_flight: BTreeMap<i32, Vec<NextOffset>>,
    /// Responses with records, oldest first.
    completed: VecDeque<CompletedFetch>,
    /// The partition that the next requests start with: a broker fills a response from the front.
    first_partition: Option<TopicPartition>,
    pub(super) is_paused: bool,
    /// Buffer for decompressed records.
    window: Vec<u8>,
    warnings: Throttle,
}

impl Fetcher {
    /// `memory` is the bound in bytes on all fetch responses together.
    pub(super) fn new(settings: &ConsumerSettings, topics: &Topics, memory: usize) -> Self {
        Self {
            settings: settings.clone(),
            topics: topics.clone(),
            memory,
            positions: Positions::new(topics),
            in_flight: BTreeMap::new(),
            completed: VecDeque::new(),
            first_partition: None,
            is_paused: false,
            window: Vec::new(),
            warnings: Throttle::new(WARNING_INTERVAL),
        }
    }

    /// Stops fetching partitions and drops their undelivered records.
    pub(super) fn remove(&mut self, partitions: &[TopicPartition]) {
        self.positions.remove(partitions);
        for fetch in &mut self.completed {
            fetch
                .partitions
                .retain(|records| self.positions.get(records.partition).is_some());
        }
    }

    /// See [`Consumer::lags`](crate::client::Consumer::lags).
    pub(super) fn lags(&self) -> Vec<(TopicPartition, u64)> {
        // The position of a partition with completed fetches is where the first of them begins.
        let mut undelivered: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        for records in self.completed.iter().flat_map(|fetch| &fetch.partitions) {
            undelivered.entry(records.partition).or_insert(records.next);
        }
        let positions = self.positions.iter();
        positions
            .map(|(partition, position)| {
                let next = undelivered.get(&partition).copied();
                let lag = position.end.saturating_sub(next.unwrap_or(position.next));
                let is_failing = position.state != PositionState::Fetching || position.failures > 0;
                (partition, lag.max(i64::from(is_failing)).unsigned_abs())
            })
            .collect()
    }

    /// Returns whether a completed fetch can be delivered now.
    pub(super) fn has_records(&self) -> bool {
        !self.is_paused && !self.completed.is_empty()
    }

    /// Delivers completed fetches in log order until `handle` breaks or none is left; skipped offsets are delivered as a position. Returns
    /// the buffers of fully delivered fetches to the connections for reuse.
    pub(super) fn deliver<T>(
        &mut self,
        network: &mut Network<T>,
        handle: &mut impl FnMut(Polled<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if self.is_paused {
            return Ok(());
        }
        while let Some(fetch) = self.completed.front_mut() {
            let Some(records) = fetch.partitions.front_mut() else {
                if let Some(fetch) = self.completed.pop_front() {
                    network.recycle(Node::Broker(fetch.broker), fetch.buffer);
                }
                continue;
            };
            if std::mem::take(&mut records.went_back) {
                // Within a poll, the position of a partition must not go back: these records begin the next one.
                return Ok(());
            }
            let partition = records.partition;
            // The offset after the last record that was delivered.
            let mut reached = records.next;
            let end = records.deliver(self.settings.check_crcs, &mut self.window, &mut |record| {
                reached = record.offset + 1;
                handle(Polled::Record(record))
            });
            let next = records.next;
            if matches!(end, DeliveryEnd::Break) {
                return Ok(());
            }
            let mut flow = ControlFlow::Continue(());
            if next > reached {
                flow = handle(Polled::Position((partition, next)));
            }
            fetch.partitions.pop_front();
            if let DeliveryEnd::Unreadable(batch) = end {
                self.handle_unreadable(network, partition, next, &batch)?;
            } else if let Some(position) = self.positions.get_mut(partition) {
                position.unreadable = 0;
            }
            if flow.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Fetches a partition again from an unreadable batch at `offset` on, or fails if that cannot help.
    fn handle_unreadable<T>(
        &mut self,
        network: &Network<T>,
        partition: TopicPartition,
        offset: i64,
        batch: &UnreadableBatch,
    ) -> Result<(), Error> {
        for fetch in &mut self.completed {
            fetch
                .partitions
                .retain(|records| records.partition != partition);
        }
        let Some(position) = self.positions.get_mut(partition) else {
            return Ok(());
        };
        position.unreadable += 1;
        position.next = offset;
        let reason = &batch.reason;
        if position.unreadable < MAX_UNREADABLE && !batch.is_permanent {
            self.retry_with_warning(network, partition, &format!("at offset {offset}: {reason}"));
            return Ok(());
        }
        let name = self.topics.partition_name(partition);
        Err(Error::Kafka {
            operation: "fetch",
            reason: format!("{name} at offset {offset}: {reason}"),
        })
    }
}
