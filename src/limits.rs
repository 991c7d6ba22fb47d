//! Bounds of the threads: how long they wait, and what the program needs of the system. Bounds of one module are constants beside their
//! single use; those of the client are in `client::Bounds`.

use std::time::Duration;

/// Lowest limit of open files (`RLIMIT_NOFILE`) that the program starts with: 64 connections of the actuator, and for each of three threads
/// the connections to a handful of brokers. A larger cluster needs more; the usual limit is 1,024.
pub(crate) const OPEN_FILES: u64 = 96;

/// Longest wait of a thread before it checks the stop flag and the events of its client.
pub(crate) const POLL: Duration = Duration::from_millis(100);

/// Longest wait of a producer thread for a batch while nothing is in flight. A batch, or the closing of the channel, wakes it.
pub(crate) const IDLE_POLL: Duration = Duration::from_secs(1);

/// Longest wait of a producer thread for a batch while acknowledgements are outstanding, because the client cannot wake it.
pub(crate) const ACKNOWLEDGEMENT_POLL: Duration = Duration::from_millis(1);

/// Time without an acknowledgement after which the time source logs a warning and becomes unready.
pub(crate) const UNACKNOWLEDGED_AFTER: Duration = Duration::from_secs(5);

/// Time between two commits. At least once promises a commit within a second; a poll and the response come on top of this.
pub(crate) const COMMIT_INTERVAL: Duration = Duration::from_millis(500);

/// Time between the commits of two successive transactions: the `commit.interval.ms` of Kafka Streams with exactly once.
pub(crate) const TRANSACTION_INTERVAL: Duration = Duration::from_millis(100);

/// Longest time for the threads of an aborted transaction to end before they are restarted: the producers do not wait for acknowledgements.
pub(crate) const ABORT_WITHIN: Duration = Duration::from_secs(5);

/// Pause before the threads of an aborted transaction are restarted.
pub(crate) const ABORT_BACKOFF: Duration = Duration::from_millis(500);

/// Time without room for another poll batch after which the consumer pauses its partitions and continues to poll. Pausing discards
/// prefetched records, so shorter waits do without; the group allows 300 s (`max.poll.interval.ms`) between polls.
pub(crate) const PAUSE_AFTER: Duration = Duration::from_secs(2);

/// Longest wait for deliveries and the commit before revoked partitions are released. The other members of the group wait as long.
pub(crate) const REVOKE_WITHIN: Duration = Duration::from_secs(10);

/// First and longest pause between two attempts to reach a broker and the topics at the start; it doubles in between.
pub(crate) const PREPARE_BACKOFF: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(5));

/// Deadline of a stop, from the request to the exit: below the 30 s of Kubernetes and Data Flow.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(25);

/// Part of [`STOP_WITHIN`] that remains when the producers must have drained: the time for the last commit.
pub(crate) const COMMIT_WITHIN: Duration = Duration::from_secs(6);

/// Part of [`STOP_WITHIN`] that remains when the last commit must be confirmed: the time for leaving the group.
pub(crate) const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// Part of [`STOP_WITHIN`] that remains when the pipeline must have ended: the time for the last response of the actuator.
pub(crate) const JOIN_WITHIN: Duration = Duration::from_secs(1);
