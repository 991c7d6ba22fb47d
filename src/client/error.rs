//! The errors of a Kafka client.

use std::fmt::Write as _;

/// A failure that ends the client: neither waiting nor a retry would help. `Display` is one lower-case line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// An operation failed.
    #[error("{operation}: {reason}")]
    Kafka {
        /// The operation, as "commit offsets".
        operation: &'static str,
        /// The reason, in Kafka's or the library's words.
        reason: String,
    },
    /// The open transaction cannot be committed. Its records are routed again after a restart from the committed offsets.
    #[error("the transaction is aborted: {0}")]
    Aborted(String),
}

/// Formats an error and its causes on one line, joined by ": ".
pub(crate) fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
