//! What is known of the cluster: its brokers, and who leads which partition. Asked for again when it proved wrong, and when it is old.

use std::collections::BTreeMap;
use std::time::Instant;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::network::{Network, Node, Reach, backoff};

/// See the module.
#[derive(Debug)]
pub(super) struct Metadata {
    bootstrap: Vec<String>,
    /// `host:port` of each broker, by its id.
    brokers: BTreeMap<i32, String>,
    controller: i32,
    /// Topics that are asked for, with what is known of them.
    topics: BTreeMap<String, Topic>,
    wanted: bool,
    asked: bool,
    answers: u64,
    updated: Option<Instant>,
    /// Answers in a row that left something open.
    failures: u32,
    not_before: Option<Instant>,
}

/// What is known of a topic.
#[derive(Debug, Clone, Default)]
pub(super) struct Topic {
    /// Why nothing is known; none where it is there.
    pub(super) error: Option<ResponseError>,
    /// Its id (KIP-516); nil where the broker does not tell.
    pub(super) id: Uuid,
    /// The leader of each partition; -1 where there is none.
    pub(super) leaders: BTreeMap<i32, i32>,
}

impl Topic {
    /// Whether its partitions are known, from now or from before it could not be asked for.
    pub(super) fn is_known(&self) -> bool {
        !self.leaders.is_empty()
    }

    /// Whether it is there and each of its partitions has a leader.
    pub(super) fn is_led(&self) -> bool {
        self.error.is_none()
            && !self.leaders.is_empty()
            && self.leaders.values().all(|&leader| leader >= 0)
    }
}

impl Metadata {
    /// Nothing is known yet but the configured brokers.
    pub(super) fn new<'a>(bootstrap: &[String], topics: impl Iterator<Item = &'a str>) -> Self {
        Self {
            bootstrap: bootstrap.to_vec(),
            brokers: BTreeMap::new(),
            controller: -1,
            topics: topics
                .map(|topic| (topic.to_owned(), Topic::default()))
                .collect(),
            wanted: true,
            asked: false,
            answers: 0,
            updated: None,
            failures: 0,
            not_before: None,
        }
    }

    /// These topics are asked for as well, at once where there are new ones among them.
    pub(super) fn add<'a>(&mut self, topics: impl Iterator<Item = &'a String>) {
        for topic in topics {
            if !self.topics.contains_key(topic) {
                self.topics.insert(topic.clone(), Topic::default());
                self.wanted = true;
                self.not_before = None;
            }
        }
    }

    /// The number of the answer that tells of all topics: the last one, where nothing is wanted since.
    pub(super) fn next_answer(&self) -> u64 {
        self.answers + u64::from(self.wanted) + u64::from(self.asked)
    }

    /// Whether the answer of this number is there.
    pub(super) fn has_answer(&self, number: u64) -> bool {
        self.answers >= number
    }

    /// What is known proved wrong: it is asked for again.
    pub(super) fn outdated(&mut self) {
        self.wanted = true;
    }

    /// A topic that is asked for, as it is known.
    pub(super) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// The topic of this id.
    pub(super) fn topic_of(&self, id: Uuid) -> Option<&str> {
        let found = self.topics.iter().find(|(_, topic)| topic.id == id);
        found.map(|(name, _)| name.as_str())
    }

    /// Who leads a partition, and the address; none where nobody does, or it is not known.
    pub(super) fn leader(&self, topic: &str, partition: i32) -> Option<(i32, &str)> {
        let leader = *self.topics.get(topic)?.leaders.get(&partition)?;
        Some((leader, self.address(leader)?))
    }

    /// The address of a broker.
    pub(super) fn address(&self, broker: i32) -> Option<&str> {
        self.brokers.get(&broker).map(String::as_str)
    }

    /// A broker tells of another one.
    pub(super) fn learn(&mut self, broker: i32, host: &str, port: i32) {
        self.brokers.insert(broker, address(host, port));
    }

    /// The broker that makes topics, as far as one is known; in KRaft each of them passes it on.
    pub(super) fn controller(&self) -> Option<(Node, &str)> {
        Some((
            Node::Broker(self.controller),
            self.address(self.controller)?,
        ))
    }

    /// Every broker that could be asked something, those known by their ids first.
    fn candidates(&self) -> impl Iterator<Item = (Node, &str)> {
        let brokers = self.brokers.iter();
        let brokers = brokers.map(|(&id, address)| (Node::Broker(id), address.as_str()));
        let bootstrap = self.bootstrap.iter().enumerate();
        brokers.chain(bootstrap.map(|(place, address)| (Node::Bootstrap(place), address.as_str())))
    }

    /// A broker that can be asked something now; begins to connect to one where there is none. Where all known ones are away, those that
    /// were configured are tried again (KIP-899).
    pub(super) fn any<T>(&self, network: &mut Network<T>) -> Option<Node> {
        if let Some((peer, _)) = self.candidates().find(|&(peer, _)| network.is_ready(peer)) {
            if matches!(peer, Node::Broker(_)) {
                network.close_bootstrap();
            }
            return Some(peer);
        }
        let (peer, address) = self
            .candidates()
            .min_by_key(|&(peer, _)| network.failures(peer))?;
        (network.reach(peer, address) == Reach::Ready).then_some(peer)
    }

    /// Whether each configured and known broker was connected to in vain, and none is connected now.
    pub(super) fn is_away<T>(&self, network: &Network<T>) -> bool {
        !network.any_ready()
            && self
                .candidates()
                .all(|(peer, _)| network.failures(peer) > 0)
    }

    /// How often in a row each of the candidates was connected to in vain.
    pub(super) fn failures<T>(&self, network: &Network<T>) -> Vec<u32> {
        self.candidates()
            .map(|(peer, _)| network.failures(peer))
            .collect()
    }

    /// Asks for what is wanted, or old, if it is time to and a broker is there.
    pub(super) fn ask<T>(&mut self, network: &mut Network<T>, tag: T) {
        let now = Instant::now();
        let age = network.settings().metadata_max_age;
        let old = self.updated.is_none_or(|at| now >= at + age);
        let soon = self.not_before.is_some_and(|at| now < at);
        if self.asked || soon || !(self.wanted || old) {
            return;
        }
        if let Some(peer) = self.any(network) {
            self.asked = true;
            network.send(peer, &self.request(), tag);
        }
    }

    /// When [`Metadata::ask`] will have something to do, at the latest.
    pub(super) fn due<T>(&self, network: &Network<T>) -> Option<Instant> {
        if self.asked {
            return None;
        }
        let old = self
            .updated
            .map(|at| at + network.settings().metadata_max_age);
        if self.wanted { self.not_before } else { old }
    }

    /// The question.
    pub(super) fn request(&self) -> MetadataRequest {
        let topics = self.topics.keys().map(|topic| {
            let name = TopicName(StrBytes::from_string(topic.clone()));
            MetadataRequestTopic::default().with_name(Some(name))
        });
        MetadataRequest::default()
            .with_topics(Some(topics.collect()))
            .with_allow_auto_topic_creation(false)
    }

    /// The question will not be handle_response.
    pub(super) fn disconnected(&mut self) {
        self.asked = false;
        self.wanted = true;
    }

    /// Takes an answer over. What is left open is asked for again, with a back-off.
    pub(super) fn handle_response<T>(&mut self, network: &Network<T>, answer: &MetadataResponse) {
        self.asked = false;
        self.answers += 1;
        let now = Instant::now();
        if !answer.brokers.is_empty() {
            let brokers = answer.brokers.iter();
            self.brokers = brokers
                .map(|broker| (broker.node_id.0, address(&broker.host, broker.port)))
                .collect();
        }
        self.controller = answer.controller_id.0;
        let mut open = answer.brokers.is_empty();
        for found in &answer.topics {
            let Some(topic) = found
                .name
                .as_ref()
                .and_then(|name| self.topics.get_mut(name.as_str()))
            else {
                continue;
            };
            topic.error = ResponseError::try_from_code(found.error_code);
            if topic.error.is_some() {
                open = true;
                continue;
            }
            topic.id = found.topic_id;
            let partitions = found.partitions.iter();
            topic.leaders = partitions
                .map(|partition| (partition.partition_index, partition.leader_id.0))
                .collect();
            open |= !topic.is_led();
        }
        self.updated = Some(now);
        self.wanted = open;
        let (first, longest) = network.settings().retry_backoff;
        // What is asked for again at once by somebody who has no better answer waits too.
        self.not_before = Some(now + backoff(first, longest, self.failures));
        self.failures = if open {
            self.failures.saturating_add(1)
        } else {
            0
        };
    }
}

fn address(host: &str, port: i32) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
