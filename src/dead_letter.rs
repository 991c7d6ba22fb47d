//! Headers of a dead letter. No I/O.
//!
//! Names and encodings are those of Spring's Kafka binder (`KafkaMessageChannelBinder`): text in UTF-8, the partition as four bytes, offset
//! and timestamp as eight bytes, big-endian. Spring's headers about a Java exception (`x-exception-fqcn`, `x-exception-stacktrace`) have no
//! counterpart here.

use crate::client::Record;
use crate::client::Topics;
use crate::client::records::HeadersBuffer;

/// Returns the headers of the dead letter of a record: its own, followed by where it was read and the reason why it could not be routed.
pub(crate) fn headers(record: &Record<'_>, topics: &Topics, reason: &str) -> HeadersBuffer {
    let more = if record.timestamp.is_some() { 6 } else { 4 };
    let mut headers = HeadersBuffer::from_headers(record.headers, more);
    let mut add = |name: &str, value: &[u8]| headers.push(name.as_bytes(), Some(value));
    add(
        "x-original-topic",
        topics.input(record.partition.topic).as_bytes(),
    );
    add(
        "x-original-partition",
        &record.partition.partition.to_be_bytes(),
    );
    add("x-original-offset", &record.offset.to_be_bytes());
    if let Some(timestamp) = record.timestamp {
        add("x-original-timestamp", &timestamp.millis().to_be_bytes());
        add("x-original-timestamp-type", timestamp.kind().as_bytes());
    }
    add("x-exception-message", reason.as_bytes());
    headers
}
