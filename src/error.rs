//! What can end the router, and the exit code each end has. A record that cannot be routed is none of it: see `route`.

use std::fmt::Write as _;
use std::io;

use crate::client;
pub(crate) use crate::client::report;
use crate::limits::OPEN_FILES;

/// A failure that ends the program. `Display` is one lower-case line without its cause; [`report`] adds the causes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Properties that cannot be used: all of them at once, a sentence each.
    #[error("{}", sentences(.0))]
    Config(Vec<Problem>),
    /// The Kafka client failed.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The actuator's port cannot be bound, or its server ended.
    #[error("actuator on port {port}")]
    Actuator {
        /// The port that was asked for.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The system lets the program open too few files: it would begin, and then reach no broker.
    #[error("open files: {limit} are allowed (ulimit -n), and {OPEN_FILES} are needed at least")]
    OpenFiles {
        /// `RLIMIT_NOFILE`
        limit: u64,
    },
    /// The system refused something.
    #[error("{what}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// `parity-router.invalid=fail`, and here is such a record.
    #[error(
        "record at {topic}-{partition}, offset {offset}, cannot be routed ({reason}) and parity-router.invalid=fail"
    )]
    Invalid {
        /// Topic it was read from.
        topic: String,
        /// Partition it was read from.
        partition: i32,
        /// Its offset.
        offset: i64,
        /// Why it cannot be routed.
        reason: &'static str,
    },
    /// The time to stop in was over before these records were acknowledged; their offsets are not committed.
    #[error("{role}: {count} batches not acknowledged at the end; their offsets are not committed")]
    Undelivered {
        /// The thread that had them.
        role: &'static str,
        /// How many batches.
        count: usize,
    },
    /// The date pattern, which was checked, cannot be formatted: a bug.
    #[error("the time cannot be formatted")]
    Time,
    /// A thread ended while nobody had asked it to.
    #[error("thread {0} ended unasked")]
    Ended(&'static str),
    /// A thread panicked: a bug.
    #[error("thread {0} panicked")]
    Panicked(&'static str),
    /// A thread did not end within the time to stop in.
    #[error("thread {0} did not end in time")]
    Deadline(&'static str),
    /// `parity-router probe`: the asked router is not in the state asked for, or did not answer.
    #[error("{0}")]
    Probe(String),
}

impl Error {
    /// The process's exit code: 2 for configuration, 1 for everything else.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            _ => 1,
        }
    }
}

/// One thing wrong with the configuration: what was given, where, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The property's full name, or what stands in for it, as "SPRING_APPLICATION_JSON".
    pub(crate) property: String,
    /// Where the value came from: "argument --server.port=x", "environment variable SERVER_PORT", …
    pub(crate) origin: String,
    /// What is wrong and what is allowed.
    pub(crate) message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}): {}", self.property, self.origin, self.message)
    }
}

fn sentences(problems: &[Problem]) -> String {
    let mut text = String::from("configuration");
    for problem in problems {
        // Writing into a String does not fail.
        let _ = write!(text, "\n  {problem}");
    }
    text
}
