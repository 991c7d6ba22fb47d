//! Errors that end the program, and their exit codes. Records that cannot be routed are not errors; see `dead_letter`.

use std::fmt::Write as _;
use std::io;

use crate::client;
pub(crate) use crate::client::report;
use crate::limits::OPEN_FILES;

/// An error that ends the program. `Display` is one lower-case line without the cause; [`report`] adds the causes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Invalid properties: all of them at once, one line each.
    #[error("{}", one_line_each(.0))]
    Config(Vec<Problem>),
    /// The Kafka client failed.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The port of the actuator cannot be bound, or its server ended.
    #[error("actuator on port {port}")]
    Actuator {
        /// The configured port.
        port: u16,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The limit of open files is too low: the program would start, and then could not connect to a broker.
    #[error(
        "the limit of open files is {limit}, at least {OPEN_FILES} are needed; raise it with ulimit -n"
    )]
    OpenFiles {
        /// `RLIMIT_NOFILE`
        limit: u64,
    },
    /// A system call failed.
    #[error("{what}")]
    System {
        /// The operation, as "start a thread".
        what: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A record cannot be routed, and `parity-router.invalid=fail`.
    #[error(
        "{topic}-{partition}: the record at offset {offset} cannot be routed ({reason}), stopping because of parity-router.invalid=fail"
    )]
    Invalid {
        /// Input topic.
        topic: String,
        /// Input partition.
        partition: i32,
        /// Offset of the record.
        offset: i64,
        /// The reason, as in the log and the dead letter.
        reason: &'static str,
    },
    /// The stop deadline passed before these batches were acknowledged. Their offsets are not committed.
    #[error(
        "{thread}: {count} batches were not acknowledged before the stop deadline; their offsets are not committed"
    )]
    Undelivered {
        /// Name of the producer thread.
        thread: &'static str,
        /// Number of batches.
        count: usize,
    },
    /// The validated date pattern cannot be formatted: a bug.
    #[error("the time cannot be formatted")]
    Time,
    /// A thread ended although no stop had been requested.
    #[error("thread {0} ended unexpectedly")]
    Ended(&'static str),
    /// A thread panicked: a bug.
    #[error("thread {0} panicked")]
    Panicked(&'static str),
    /// A thread did not end before the stop deadline.
    #[error("thread {0} did not end before the stop deadline")]
    Deadline(&'static str),
    /// `parity-router probe`: the router is not in the requested state, or did not respond.
    #[error("{0}")]
    Probe(String),
}

impl Error {
    /// Returns the exit code of the process: 2 for the configuration, 1 for everything else.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            _ => 1,
        }
    }
}

/// One problem of the configuration: the property, the origin of its value, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The full name of the property, or of its source if that is the problem, as "SPRING_APPLICATION_JSON".
    pub(crate) property: String,
    /// The origin of the value: "argument --server.port=x", "environment variable SERVER_PORT", …
    pub(crate) origin: String,
    /// The problem, and what is allowed.
    pub(crate) message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}): {}", self.property, self.origin, self.message)
    }
}

fn one_line_each(problems: &[Problem]) -> String {
    let mut text = String::from("configuration");
    for problem in problems {
        // Writing into a String does not fail.
        let _ = write!(text, "\n  {problem}");
    }
    text
}
