//! Cluster metadata: brokers, topics and partition leaders. Requested again when it proves outdated, and every `metadata.max.age.ms`.

use std::collections::BTreeMap;
use std::time::Instant;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use uuid::Uuid;

use super::backoff::Backoff;
use super::network::{Network, Node};
use super::request::topic_name;

/// Failures in a row of a partition, because its leader is unknown or has moved, before they are logged as a warning. The first ones are
/// normal after a leader election or the creation of a topic: on a busy machine a broker can report a leader that does not know yet that it
/// was elected. With the default back-off, three failures take about 0.7 s.
pub(super) const EXPECTED_LEADER_FAILURES: u32 = 3;

/// The latest metadata, and the state of its updates.
#[derive(Debug)]
pub(super) struct Metadata {
    bootstrap_servers: Vec<String>,
    /// `host:port` of each broker by its node id.
    brokers: BTreeMap<i32, String>,
    controller: i32,
    /// The requested topics and what is known of them.
    topics: BTreeMap<String, Topic>,
    update_requested: bool,
    is_in_flight: bool,
    /// Number of responses so far.
    version: u64,
    updated_at: Option<Instant>,
    /// Counts responses in a row that were incomplete.
    backoff: Backoff,
}

/// Metadata of a topic.
#[derive(Debug, Clone, Default)]
pub(super) struct Topic {
    /// The error of the latest response, `None` if the topic exists.
    pub(super) error: Option<ResponseError>,
    /// Topic id (KIP-516); nil if the broker does not support topic ids.
    pub(super) id: Uuid,
    /// Node id of the leader of each partition, -1 if it has no leader. An error in a later response does not clear them.
    pub(super) leaders: BTreeMap<i32, i32>,
}

impl Topic {
    /// Returns whether the partitions have ever been known.
    pub(super) fn has_partitions(&self) -> bool {
        !self.leaders.is_empty()
    }

    /// Returns whether the topic exists and each of its partitions has a leader.
    pub(super) fn has_leaders(&self) -> bool {
        self.error.is_none()
            && !self.leaders.is_empty()
            && self.leaders.values().all(|&leader| leader >= 0)
    }
}

impl Metadata {
    /// Creates metadata that knows only the bootstrap servers, and requests an update for `topics`.
    pub(super) fn new<'a>(
        bootstrap_servers: &[String],
        topics: impl Iterator<Item = &'a str>,
    ) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.to_vec(),
            brokers: BTreeMap::new(),
            controller: -1,
            topics: topics
                .map(|topic| (topic.to_owned(), Topic::default()))
                .collect(),
            update_requested: true,
            is_in_flight: false,
            version: 0,
            updated_at: None,
            backoff: Backoff::default(),
        }
    }

    /// Adds topics. If any of them is new, requests an update without a back-off.
    pub(super) fn add_topics<'a>(&mut self, topics: impl Iterator<Item = &'a String>) {
        for topic in topics {
            if !self.topics.contains_key(topic) {
                self.topics.insert(topic.clone(), Topic::default());
                self.update_requested = true;
                self.backoff.end_wait();
            }
        }
    }

    /// Returns the version that will contain all requested topics: the current one if no update is requested or in flight.
    pub(super) fn requested_version(&self) -> u64 {
        self.version + u64::from(self.update_requested) + u64::from(self.is_in_flight)
    }

    /// Returns whether this version, or a later one, has arrived.
    pub(super) fn has_version(&self, version: u64) -> bool {
        self.version >= version
    }

    /// Requests an update, because the metadata proved outdated.
    pub(super) fn request_update(&mut self) {
        self.update_requested = true;
    }

    /// Returns the metadata of a topic, if the topic is one of the requested ones.
    pub(super) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// Returns the name of the topic with this id.
    pub(super) fn topic_with_id(&self, id: Uuid) -> Option<&str> {
        let found = self.topics.iter().find(|(_, topic)| topic.id == id);
        found.map(|(name, _)| name.as_str())
    }

    /// Returns node id and address of the leader of a partition; `None` if it has no leader, or the leader is not known.
    pub(super) fn leader(&self, topic: &str, partition: i32) -> Option<(i32, &str)> {
        let leader = *self.topics.get(topic)?.leaders.get(&partition)?;
        Some((leader, self.address(leader)?))
    }

    /// Returns the address of a broker.
    pub(super) fn address(&self, broker: i32) -> Option<&str> {
        self.brokers.get(&broker).map(String::as_str)
    }

    /// Adds a broker that another response named, such as a coordinator.
    pub(super) fn add_broker(&mut self, broker: i32, host: &str, port: i32) {
        self.brokers.insert(broker, address(host, port));
    }

    /// Returns the controller, which creates topics, if it is known. In KRaft mode any broker is named here and forwards the request.
    pub(super) fn controller(&self) -> Option<(Node, &str)> {
        Some((
            Node::Broker(self.controller),
            self.address(self.controller)?,
        ))
    }

    /// Returns all nodes that a request can be sent to, brokers with known node ids first.
    fn nodes(&self) -> impl Iterator<Item = (Node, &str)> {
        let brokers = self.brokers.iter();
        let brokers = brokers.map(|(&id, address)| (Node::Broker(id), address.as_str()));
        let bootstrap = self.bootstrap_servers.iter().enumerate();
        brokers.chain(bootstrap.map(|(index, address)| (Node::Bootstrap(index), address.as_str())))
    }

    /// Returns a node that is ready. If there is none, starts to connect to the node with the fewest failures; if no known broker can be
    /// connected to, that is a bootstrap server again (KIP-899).
    pub(super) fn connect_any<T>(&self, network: &mut Network<T>) -> Option<Node> {
        if let Some((node, _)) = self.nodes().find(|&(node, _)| network.is_ready(node)) {
            if matches!(node, Node::Broker(_)) {
                network.close_idle_bootstrap();
            }
            return Some(node);
        }
        let (node, address) = self
            .nodes()
            .min_by_key(|&(node, _)| network.connect_failures(node))?;
        network.connect(node, address).then_some(node)
    }

    /// Returns whether no node is connected and connecting to each of them has failed.
    pub(super) fn is_unavailable<T>(&self, network: &Network<T>) -> bool {
        !network.any_ready()
            && self
                .nodes()
                .all(|(node, _)| network.connect_failures(node) > 0)
    }

    /// Returns the number of failures in a row to connect to each node.
    pub(super) fn connect_failures<T>(&self, network: &Network<T>) -> Vec<u32> {
        self.nodes()
            .map(|(node, _)| network.connect_failures(node))
            .collect()
    }

    /// Sends a Metadata request if an update is requested or the metadata is too old, the back-off is over and a node is ready.
    pub(super) fn poll<T>(&mut self, network: &mut Network<T>, tag: T) {
        let now = Instant::now();
        let max_age = network.settings().metadata_max_age;
        let is_old = self.updated_at.is_none_or(|at| now >= at + max_age);
        if self.is_in_flight || self.backoff.is_waiting(now) || !(self.update_requested || is_old) {
            return;
        }
        if let Some(node) = self.connect_any(network) {
            self.is_in_flight = true;
            network.send(node, &self.request(), tag);
        }
    }

    /// Returns when [`Metadata::poll`] has something to send.
    pub(super) fn next_poll<T>(&self, network: &Network<T>) -> Option<Instant> {
        if self.is_in_flight {
            return None;
        }
        if self.update_requested {
            return self.backoff.until();
        }
        self.updated_at
            .map(|at| at + network.settings().metadata_max_age)
    }

    /// Builds the Metadata request.
    pub(super) fn request(&self) -> MetadataRequest {
        let topics = self
            .topics
            .keys()
            .map(|topic| MetadataRequestTopic::default().with_name(Some(topic_name(topic))));
        MetadataRequest::default()
            .with_topics(Some(topics.collect()))
            .with_allow_auto_topic_creation(false)
    }

    /// Handles a Metadata request that gets no response: requests the update again.
    pub(super) fn disconnected(&mut self) {
        self.is_in_flight = false;
        self.update_requested = true;
    }

    /// Handles a Metadata response. If it is incomplete (a topic is missing or a partition has no leader), requests the next update, with a
    /// back-off.
    pub(super) fn handle_response<T>(&mut self, network: &Network<T>, response: &MetadataResponse) {
        self.is_in_flight = false;
        self.version += 1;
        let now = Instant::now();
        if !response.brokers.is_empty() {
            let brokers = response.brokers.iter();
            self.brokers = brokers
                .map(|broker| (broker.node_id.0, address(&broker.host, broker.port)))
                .collect();
        }
        self.controller = response.controller_id.0;
        let mut is_complete = !response.brokers.is_empty();
        for found in &response.topics {
            let Some(topic) = found
                .name
                .as_ref()
                .and_then(|name| self.topics.get_mut(name.as_str()))
            else {
                continue;
            };
            topic.error = ResponseError::try_from_code(found.error_code);
            if topic.error.is_some() {
                is_complete = false;
                continue;
            }
            topic.id = found.topic_id;
            let partitions = found.partitions.iter();
            topic.leaders = partitions
                .map(|partition| (partition.partition_index, partition.leader_id.0))
                .collect();
            is_complete &= topic.has_leaders();
        }
        self.updated_at = Some(now);
        self.update_requested = !is_complete;
        // Back off even after a complete response: a caller that finds this metadata outdated at once would get the same metadata again.
        self.backoff.fail(now, network.settings().retry_backoff);
        if is_complete {
            self.backoff.clear_failures();
        }
    }
}

/// Number of partitions of topics at one time.
#[derive(Debug)]
pub(super) struct PartitionCounts(BTreeMap<String, i32>);

impl PartitionCounts {
    /// Counts the partitions of these topics, as far as the metadata has them.
    pub(super) fn new<'a>(topics: impl Iterator<Item = &'a String>, metadata: &Metadata) -> Self {
        let counts = topics.filter_map(|topic| {
            let partitions = metadata.topic(topic)?.leaders.len();
            Some((topic.clone(), partitions as i32))
        });
        Self(counts.collect())
    }

    /// The number of partitions of each topic.
    pub(super) fn by_topic(&self) -> &BTreeMap<String, i32> {
        &self.0
    }

    /// Returns the first topic whose number of partitions has changed, with the old and the new number.
    pub(super) fn changed(&self, metadata: &Metadata) -> Option<(&str, i32, i32)> {
        self.0.iter().find_map(|(topic, &old)| {
            let known = metadata.topic(topic)?;
            let new = known.leaders.len() as i32;
            (known.error.is_none() && new != old).then_some((topic.as_str(), old, new))
        })
    }
}

fn address(host: &str, port: i32) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
