//! Every bound on what the router holds and how long it waits, in one place, with the arithmetic.

use std::time::Duration;

/// Of the clients that work record by record, records in a round at most: one channel operation for a thousand records is noise beside routing them.
pub(crate) const ROUND_RECORDS: usize = 1024;

/// Bytes of keys and values after which a round takes no more records: a quarter of Kafka's usual 1 MB limit for a record, so that many
/// small records make a full round and a large one goes alone.
pub(crate) const ROUND_BYTES: usize = 256 * 1024;

/// Files, sockets above all, that the system must let the program open: 64 clients of the actuator, and for each of three threads the
/// connections to a handful of brokers. Who has more brokers needs more; the usual limit is 1,024.
pub(crate) const OPEN_FILES: u64 = 96;

/// Longest wait of a thread before it looks at the stop flag and at its client's events.
pub(crate) const POLL: Duration = Duration::from_millis(100);

/// Longest wait of a producer thread for another batch while nothing is on its way: a batch, or the channel's end, wakes it.
pub(crate) const IDLE_POLL: Duration = Duration::from_secs(1);

/// Longest wait of a producer thread for another batch while acknowledgements are outstanding: the client cannot wake it.
pub(crate) const ACKNOWLEDGEMENT_POLL: Duration = Duration::from_millis(1);

/// Time without an acknowledgement after which the time source says that it waits for one.
pub(crate) const UNACKNOWLEDGED_AFTER: Duration = Duration::from_secs(5);

/// Time between commits. At least once promises a second; a poll and the answer come on top.
pub(crate) const COMMIT_INTERVAL: Duration = Duration::from_millis(500);

/// Time between the ends of transactions: Kafka Streams' `commit.interval.ms` with exactly once.
pub(crate) const TRANSACTION_INTERVAL: Duration = Duration::from_millis(100);

/// What an aborted pipeline has for its end, before it is begun anew: the producers have nothing to wait for.
pub(crate) const ABORT_WITHIN: Duration = Duration::from_secs(5);

/// Rest before a pipeline that was aborted is begun anew.
pub(crate) const ABORT_BACKOFF: Duration = Duration::from_millis(500);

/// Time without room for another round after which the consumer pauses its partitions and goes on polling. Pausing throws away what the
/// client has fetched ahead, so short waits do without; the group allows 300 s (`max.poll.interval.ms`) between polls.
pub(crate) const PAUSE_AFTER: Duration = Duration::from_secs(2);

/// Longest wait for deliveries and the commit before revoked partitions are given up. The other members wait as long.
pub(crate) const REVOKE_WITHIN: Duration = Duration::from_secs(10);

/// Back-off of preparing: doubled from the first to the last.
pub(crate) const PREPARE_BACKOFF: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(5));

/// The whole stop, from the request to the exit: below Kubernetes' and Data Flow's 30 s.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(25);

/// Of [`STOP_WITHIN`], what is left when the producers must have drained: time for the last commit.
pub(crate) const COMMIT_WITHIN: Duration = Duration::from_secs(6);

/// Of [`STOP_WITHIN`], what is left when the last commit must be confirmed: time for leaving the group.
pub(crate) const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// Of [`STOP_WITHIN`], what is left when the pipeline must have ended: time for the last answer of the actuator.
pub(crate) const JOIN_WITHIN: Duration = Duration::from_secs(1);
