//! Fetch requests: one per leader that has partitions to fetch. Runs on the thread `consumer`.

use std::collections::BTreeMap;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest};

use super::Fetcher;
use crate::client::native::metadata::Metadata;
use crate::client::native::network::{Network, Node};
use crate::client::native::request::{group_by_topic, isolation_level, topic_name};
use crate::topic_partition::NextOffset;

/// Completed fetches of one broker that may wait to be delivered: the one that is being delivered and the next one.
const COMPLETED_PER_BROKER: usize = 2;

impl Fetcher {
    /// Sends the fetches that are due: one to each leader, unless one is in flight to it or [`COMPLETED_PER_BROKER`] are waiting.
    /// `tag` makes the tag of a request from the broker's node id.
    pub(in crate::client::native) fn send_fetches<T>(
        &mut self,
        network: &mut Network<T>,
        metadata: &mut Metadata,
        tag: impl Fn(i32) -> T,
    ) {
        if self.is_paused {
            return;
        }
        let by_leader = self.due_by_leader(network, metadata);
        let response_bytes = self.response_bytes(by_leader.len());
        for (broker, partitions) in by_leader {
            let completed = self.completed.iter();
            let completed = completed.filter(|fetch| fetch.broker == broker).count();
            if self.in_flight.contains_key(&broker) || completed >= COMPLETED_PER_BROKER {
                continue;
            }
            let Some(address) = metadata.address(broker).map(str::to_owned) else {
                continue;
            };
            let node = Node::Broker(broker);
            if network.connect(node, &address) {
                let request = self.fetch_request(&partitions, response_bytes);
                self.in_flight.insert(broker, partitions);
                network.send(node, &request, tag(broker));
            } else if network.connect_failures(node) > 1 {
                // A first failure may be an idle connection that the broker has closed. After a second one, other brokers will take over
                // its partitions.
                metadata.request_update();
                let reason = network.last_error().to_owned();
                for (partition, _) in partitions {
                    self.retry_with_warning(network, partition, &reason);
                }
            }
        }
    }

    /// Returns the partitions to fetch now by the node id of their leader. Partitions without a known leader wait for new metadata.
    fn due_by_leader<T>(
        &mut self,
        network: &Network<T>,
        metadata: &mut Metadata,
    ) -> BTreeMap<i32, Vec<NextOffset>> {
        let mut by_leader: BTreeMap<i32, Vec<NextOffset>> = BTreeMap::new();
        for (partition, next) in self.positions.take_due_fetches(self.first_partition) {
            let topic = self.topics.input(partition.topic);
            match metadata.leader(topic, partition.partition) {
                Some((leader, _)) => by_leader.entry(leader).or_default().push((partition, next)),
                None => {
                    metadata.request_update();
                    self.positions.retry_later(partition, network);
                }
            }
        }
        by_leader
    }

    /// Returns the bound in bytes on one fetch response. Each leader has two: one is being delivered while the other one is in flight.
    fn response_bytes(&self, leaders: usize) -> usize {
        let share = self.memory / (2 * leaders.max(1));
        self.settings
            .fetch_max_bytes
            .map_or(share, |most| most.min(share))
    }

    fn fetch_request(&self, partitions: &[NextOffset], response_bytes: usize) -> FetchRequest {
        let partition_bytes = self
            .settings
            .max_partition_fetch_bytes
            .map_or(response_bytes, |most| most.min(response_bytes));
        let partitions = partitions.iter().map(|&(partition, next)| {
            let requested = FetchPartition::default()
                .with_partition(partition.partition)
                .with_fetch_offset(next)
                .with_partition_max_bytes(partition_bytes as i32);
            (partition.topic, requested)
        });
        let topics = group_by_topic(partitions, |topic, partitions| {
            FetchTopic::default()
                .with_topic(topic_name(self.topics.input(topic)))
                .with_partitions(partitions)
        });
        FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(self.settings.fetch_max_wait.as_millis() as i32)
            .with_min_bytes(self.settings.fetch_min_bytes as i32)
            .with_max_bytes(response_bytes as i32)
            .with_isolation_level(isolation_level(self.settings.isolation))
            // No fetch session (KIP-227): every request lists all its partitions.
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(topics)
    }
}
