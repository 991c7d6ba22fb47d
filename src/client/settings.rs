//! What the Kafka clients are told: connections, the consumer, the producers. Finished values; their defaults are Kafka's own, but where
//! a comment says otherwise. `kafka.rs` reads them, the clients beside `client/mod.rs` work with them.

use std::time::Duration;

/// Names and values for librdkafka, as it takes them.
pub(crate) type Pairs = Vec<(String, String)>;

/// Bytes that everything the router holds may have, where `parity-router.memory` does not say: 16 MB.
pub(crate) const DEFAULT_MEMORY: usize = 16 * 1024 * 1024;

/// `transaction.timeout.ms`, where it is not given.
pub(crate) const DEFAULT_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Where Kafka is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientSettings {
    /// Bootstrap brokers, each `host:port` (an IPv6 host in brackets); at least one.
    pub(crate) brokers: Vec<String>,
    /// Making of missing topics.
    pub(crate) topics: TopicSettings,
    /// How they are connected to and asked.
    pub(crate) connection: ConnectionSettings,
    /// `parity-router.memory`, in bytes: bounds everything the router holds.
    pub(crate) memory: usize,
    /// What was given for all clients, as librdkafka takes it.
    pub(crate) librdkafka: Pairs,
}

/// What is read, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// Input topics; at least one, all different.
    pub(crate) topics: Vec<String>,
    /// Consumer group.
    pub(crate) group: GroupId,
    /// Where a group without a committed offset starts.
    pub(crate) start_offset: StartOffset,
    /// How it is read.
    pub(crate) consumer: ConsumerSettings,
}

/// The consumer group (`spring.cloud.stream.bindings.input.group`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupId {
    /// Offsets are committed under this name.
    Named(String),
    /// Spring's anonymous subscription: from the latest record, nothing is committed.
    Anonymous,
}

/// Where a group without a committed offset starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartOffset {
    /// At the oldest record there is.
    Earliest,
    /// At what comes from now on.
    Latest,
}

/// Making of missing topics, as Spring's Kafka binder does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicSettings {
    /// `spring.cloud.stream.kafka.binder.autoCreateTopics`
    pub(crate) auto_create: bool,
    /// `spring.cloud.stream.kafka.binder.minPartitionCount`, at least 1.
    pub(crate) min_partition_count: i32,
    /// `spring.cloud.stream.kafka.binder.replicationFactor`; -1 means the broker's default.
    pub(crate) replication_factor: i16,
}

/// How brokers are connected to and asked. Of the client `native`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectionSettings {
    /// `client.id`
    pub(crate) client_id: String,
    /// `request.timeout.ms`: how long an answer is waited for.
    pub(crate) request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms` and `socket.connection.setup.timeout.max.ms` (KIP-601); the second is not the shorter one.
    pub(crate) connect_timeout: (Duration, Duration),
    /// `reconnect.backoff.ms` and `reconnect.backoff.max.ms`; the second is not the shorter one.
    pub(crate) reconnect_backoff: (Duration, Duration),
    /// `retry.backoff.ms` and `retry.backoff.max.ms` (KIP-580); the second is not the shorter one.
    pub(crate) retry_backoff: (Duration, Duration),
    /// `metadata.max.age.ms`: how long it is believed which broker leads what.
    pub(crate) metadata_max_age: Duration,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            client_id: "parity-router".to_owned(),
            request_timeout: Duration::from_secs(30),
            connect_timeout: (Duration::from_secs(10), Duration::from_secs(30)),
            reconnect_backoff: (Duration::from_millis(50), Duration::from_secs(1)),
            retry_backoff: (Duration::from_millis(100), Duration::from_secs(1)),
            metadata_max_age: Duration::from_secs(300),
        }
    }
}

/// How the group is taken part in, and how records are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerSettings {
    /// `session.timeout.ms`: a member not heard of for so long is dropped by the group.
    pub(crate) session_timeout: Duration,
    /// `heartbeat.interval.ms`, shorter than the session's timeout.
    pub(crate) heartbeat_interval: Duration,
    /// `max.poll.interval.ms`: how long a rebalance waits for this member.
    pub(crate) rebalance_timeout: Duration,
    /// `partition.assignment.strategy`, the preferred one first; at least one, all different.
    pub(crate) assignors: Vec<AssignorName>,
    /// `group.instance.id`: a static member (KIP-345).
    pub(crate) group_instance_id: Option<String>,
    /// `group.protocol`
    pub(crate) group_protocol: GroupProtocol,
    /// `fetch.max.wait.ms`: how long a broker waits for `fetch_min_bytes`.
    pub(crate) fetch_max_wait: Duration,
    /// `fetch.min.bytes`
    pub(crate) fetch_min_bytes: usize,
    /// `fetch.max.bytes`; none means what the memory allows.
    pub(crate) fetch_max_bytes: Option<usize>,
    /// `max.partition.fetch.bytes`; none means what the memory allows.
    pub(crate) max_partition_fetch_bytes: Option<usize>,
    /// `isolation.level`
    pub(crate) isolation: Isolation,
    /// `check.crcs`
    pub(crate) check_crcs: bool,
    /// `autoRebalanceEnabled=false`: this share of the partitions is read, and there is no group membership.
    pub(crate) manual: Option<InstanceShare>,
    /// What was given, as librdkafka takes it.
    pub(crate) librdkafka: Pairs,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            rebalance_timeout: Duration::from_secs(300),
            assignors: vec![AssignorName::Range, AssignorName::CooperativeSticky],
            group_instance_id: None,
            group_protocol: GroupProtocol::Classic,
            fetch_max_wait: Duration::from_millis(500),
            fetch_min_bytes: 1,
            fetch_max_bytes: None,
            max_partition_fetch_bytes: None,
            isolation: Isolation::ReadCommitted,
            check_crcs: true,
            manual: None,
            librdkafka: Vec::new(),
        }
    }
}

/// How a group's leader shares out partitions (`partition.assignment.strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AssignorName {
    /// Of each topic a range for each member.
    Range,
    /// One after the other over all topics.
    RoundRobin,
    /// Evenly, and what a member has it keeps while the others move (KIP-429).
    CooperativeSticky,
}

impl AssignorName {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Range, Self::RoundRobin, Self::CooperativeSticky];

    /// Its name in the group protocol, which librdkafka uses in its configuration too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The simple name of its class in `org.apache.kafka.clients.consumer`.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Range => "RangeAssignor",
            Self::RoundRobin => "RoundRobinAssignor",
            Self::CooperativeSticky => "CooperativeStickyAssignor",
        }
    }
}

/// How members and the group's coordinator agree (`group.protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupProtocol {
    /// A member assigns; all stop for it.
    Classic,
    /// The broker assigns (KIP-848).
    Consumer,
}

/// Which records are read (`isolation.level`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// What an aborted transaction wrote was never there. The router's default; Kafka's is the other one.
    ReadCommitted,
    /// Everything.
    ReadUncommitted,
}

/// Which partitions an instance reads without a group's help: those whose number, divided by `count`, leaves `index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InstanceShare {
    /// `instanceIndex`, below `count`.
    pub(crate) index: u32,
    /// `instanceCount`, at least 1.
    pub(crate) count: u32,
}

/// How records are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProducerSettings {
    /// `acks`
    pub(crate) acks: Acks,
    /// `linger.ms`: how long a batch waits for more records. Default 0, which was Kafka's before 4.0: records come in batches already.
    pub(crate) linger: Duration,
    /// `compression.type`
    pub(crate) compression: Compression,
    /// `batch.size` in bytes; none means what the memory allows.
    pub(crate) batch_size: Option<usize>,
    /// `max.request.size` in bytes.
    pub(crate) max_request_size: usize,
    /// `max.in.flight.requests.per.connection`, from 1 to 5.
    pub(crate) max_in_flight: usize,
    /// `enable.idempotence`; only with [`Acks::All`].
    pub(crate) idempotent: bool,
    /// What was given, as librdkafka takes it.
    pub(crate) librdkafka: Pairs,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            linger: Duration::ZERO,
            compression: Compression::None,
            batch_size: None,
            max_request_size: 1_048_576,
            max_in_flight: 5,
            idempotent: true,
            librdkafka: Vec::new(),
        }
    }
}

/// Who must have a record before it counts as delivered (`acks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acks {
    /// All in-sync replicas.
    All,
    /// The partition's leader.
    Leader,
}

/// Compression type of record batches (`compression.type`; `org.apache.kafka.common.record.CompressionType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Uncompressed.
    None,
    /// GZIP (RFC 1952).
    Gzip,
    /// Snappy blocks, in the framing of Java's Snappy library or bare.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard (RFC 8878, KIP-110).
    Zstd,
}

impl Compression {
    /// All types, indexed by id.
    pub(crate) const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Returns the type with this id, or `None` if Kafka does not define the id.
    pub(crate) fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// Id in bits 0 to 2 of a record batch's attributes.
    pub(crate) fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Value of `compression.type`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_ids_and_names_are_those_of_kafka() {
        let expected = [
            (0, "none"),
            (1, "gzip"),
            (2, "snappy"),
            (3, "lz4"),
            (4, "zstd"),
        ];
        assert_eq!(
            Compression::ALL.map(|kind| (kind.id(), kind.name())),
            expected
        );
        for kind in Compression::ALL {
            assert_eq!(Compression::from_id(kind.id()), Some(kind));
        }
        assert_eq!(Compression::from_id(5), None);
    }
}
