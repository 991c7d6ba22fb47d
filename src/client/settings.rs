//! Settings of the Kafka clients: connections, topics, the consumer and the producers.
//!
//! All values are validated. The defaults are Kafka's own unless a comment says otherwise.

use std::time::Duration;

/// Names and values of librdkafka's own configuration properties.
pub(crate) type LibrdkafkaProperties = Vec<(String, String)>;

/// Default of `transaction.timeout.ms`. Kafka's is 60 s.
pub(crate) const DEFAULT_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Bounds of a delay that doubles with each failure in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BackoffRange {
    /// Delay after the first failure.
    pub(crate) initial: Duration,
    /// Longest delay, at least `initial`.
    pub(crate) max: Duration,
}

/// Settings that the consumer and all producers of a process share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientSettings {
    /// `bootstrap.servers`, each `host:port` (an IPv6 host in brackets); at least one.
    pub(crate) brokers: Vec<String>,
    /// Creation of missing topics.
    pub(crate) topics: TopicSettings,
    /// Connections and requests.
    pub(crate) connection: ConnectionSettings,
    /// Upper bound, in bytes, for the records that the consumer and all producers together keep in memory. Used by `native`.
    pub(crate) memory: usize,
    /// Properties for every librdkafka client of the process.
    pub(crate) librdkafka: LibrdkafkaProperties,
}

/// Topics to read and the consumer group to read them with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// Input topics; at least one, without duplicates.
    pub(crate) topics: Vec<String>,
    /// Consumer group.
    pub(crate) group: GroupId,
    /// Start position of partitions without a committed offset.
    pub(crate) start_offset: StartOffset,
    /// Settings of the consumer.
    pub(crate) consumer: ConsumerSettings,
}

/// Consumer group (`group.id`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupId {
    /// Offsets are committed under this id.
    Named(String),
    /// No group: starts at the end of each partition and commits nothing.
    Anonymous,
}

/// Start position of a partition without a committed offset (`auto.offset.reset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartOffset {
    /// The log start offset.
    Earliest,
    /// The log end offset.
    Latest,
}

/// Creation of missing topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicSettings {
    /// True if missing topics are created.
    pub(crate) auto_create: bool,
    /// Partition count of a created topic, at least 1. An existing topic with fewer partitions causes a warning.
    pub(crate) min_partition_count: i32,
    /// Replication factor of a created topic; -1 is the broker's `default.replication.factor`.
    pub(crate) replication_factor: i16,
}

/// Connections and requests. Used by `native`, except for `client_id`, which all clients use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectionSettings {
    /// `client.id`; empty by default, as in Kafka.
    pub(crate) client_id: String,
    /// `request.timeout.ms`
    pub(crate) request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms` and `socket.connection.setup.timeout.max.ms` (KIP-601).
    pub(crate) connect_timeout: BackoffRange,
    /// `reconnect.backoff.ms` and `reconnect.backoff.max.ms`
    pub(crate) reconnect_backoff: BackoffRange,
    /// `retry.backoff.ms` and `retry.backoff.max.ms` (KIP-580).
    pub(crate) retry_backoff: BackoffRange,
    /// `metadata.max.age.ms`
    pub(crate) metadata_max_age: Duration,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            client_id: String::new(),
            request_timeout: Duration::from_secs(30),
            connect_timeout: BackoffRange {
                initial: Duration::from_secs(10),
                max: Duration::from_secs(30),
            },
            reconnect_backoff: BackoffRange {
                initial: Duration::from_millis(50),
                max: Duration::from_secs(1),
            },
            retry_backoff: BackoffRange {
                initial: Duration::from_millis(100),
                max: Duration::from_secs(1),
            },
            metadata_max_age: Duration::from_secs(300),
        }
    }
}

/// Group membership and fetching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerSettings {
    /// `session.timeout.ms`
    pub(crate) session_timeout: Duration,
    /// `heartbeat.interval.ms`, shorter than the session timeout.
    pub(crate) heartbeat_interval: Duration,
    /// `max.poll.interval.ms`: how long a rebalance waits for this member to rejoin.
    pub(crate) rebalance_timeout: Duration,
    /// `partition.assignment.strategy`, most preferred first; at least one, without duplicates.
    pub(crate) assignors: Vec<AssignorName>,
    /// `group.instance.id`; makes the consumer a static member (KIP-345).
    pub(crate) group_instance_id: Option<String>,
    /// `group.protocol`
    pub(crate) group_protocol: GroupProtocol,
    /// `fetch.max.wait.ms`
    pub(crate) fetch_max_wait: Duration,
    /// `fetch.min.bytes`
    pub(crate) fetch_min_bytes: usize,
    /// `fetch.max.bytes`; `None` derives it from [`ClientSettings::memory`].
    pub(crate) fetch_max_bytes: Option<usize>,
    /// `max.partition.fetch.bytes`; `None` derives it from [`ClientSettings::memory`].
    pub(crate) max_partition_fetch_bytes: Option<usize>,
    /// `isolation.level`
    pub(crate) isolation: Isolation,
    /// `check.crcs`
    pub(crate) check_crcs: bool,
    /// Partitions to read without group membership (Kafka's `assign()`); `None` subscribes to the topics instead.
    pub(crate) manual_assignment: Option<PartitionShare>,
    /// Properties for librdkafka's consumer.
    pub(crate) librdkafka: LibrdkafkaProperties,
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
            manual_assignment: None,
            librdkafka: Vec::new(),
        }
    }
}

/// Partition assignor of a classic group (`partition.assignment.strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AssignorName {
    /// Assigns each member a contiguous range of the partitions of each topic.
    Range,
    /// Deals the partitions of all topics to the members in turn.
    RoundRobin,
    /// Balances the partitions and moves as few as possible; members keep reading the others during a rebalance (KIP-429).
    CooperativeSticky,
}

impl AssignorName {
    /// All assignors.
    pub(crate) const ALL: [Self; 3] = [Self::Range, Self::RoundRobin, Self::CooperativeSticky];

    /// Name in the group protocol and in librdkafka's configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// Simple name of the Java class in `org.apache.kafka.clients.consumer`.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Range => "RangeAssignor",
            Self::RoundRobin => "RoundRobinAssignor",
            Self::CooperativeSticky => "CooperativeStickyAssignor",
        }
    }
}

/// Rebalance protocol (`group.protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupProtocol {
    /// The group leader computes the assignment; JoinGroup and SyncGroup are barriers for all members.
    Classic,
    /// The coordinator computes the assignment (KIP-848).
    Consumer,
}

/// Isolation level (`isolation.level`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Skips the records of aborted transactions. The default here; Kafka's default is `read_uncommitted`.
    ReadCommitted,
    /// Returns all records.
    ReadUncommitted,
}

/// Share of the partitions that one of several instances reads without a group: those with `partition % count == index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionShare {
    /// Index of the instance, below `count`.
    pub(crate) index: u32,
    /// Number of instances, at least 1.
    pub(crate) count: u32,
}

/// Settings of a producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProducerSettings {
    /// `acks`
    pub(crate) acks: Acks,
    /// `linger.ms`. The default is 0, as in Kafka before 4.0, because records already arrive in batches.
    pub(crate) linger: Duration,
    /// `compression.type`
    pub(crate) compression: Compression,
    /// `batch.size` in bytes; `None` derives it from [`ClientSettings::memory`].
    pub(crate) batch_size: Option<usize>,
    /// `max.request.size` in bytes.
    pub(crate) max_request_size: usize,
    /// `max.in.flight.requests.per.connection`, from 1 to 5.
    pub(crate) max_in_flight: usize,
    /// `enable.idempotence`; requires [`Acks::All`].
    pub(crate) idempotent: bool,
    /// Properties for librdkafka's producer.
    pub(crate) librdkafka: LibrdkafkaProperties,
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

/// Replicas that must have a record before it counts as acknowledged (`acks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acks {
    /// All in-sync replicas.
    All,
    /// Only the partition leader.
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
