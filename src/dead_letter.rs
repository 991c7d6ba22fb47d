//! Headers of a dead letter. No I/O.
//!
//! Names and encodings are those of Spring's Kafka binder (`KafkaMessageChannelBinder`): text in UTF-8, the partition as four bytes, offset
//! and timestamp as eight bytes, big-endian. Spring's headers about a Java exception (`x-exception-fqcn`, `x-exception-stacktrace`) have no
//! counterpart here.

use crate::client::Topics;
use crate::client::batch::Origin;
use crate::client::records::{Headers, HeadersBuffer};

/// Returns `headers` followed by the origin of the record and the reason why it could not be routed.
pub(crate) fn headers(
    headers: Headers<'_>,
    origin: Origin,
    topics: &Topics,
    reason: &str,
) -> HeadersBuffer {
    let more = if origin.timestamp.is_some() { 6 } else { 4 };
    let mut headers = HeadersBuffer::from_headers(headers, more);
    let mut add = |name: &str, value: &[u8]| headers.push(name.as_bytes(), Some(value));
    add(
        "x-original-topic",
        topics.input(origin.partition.topic).as_bytes(),
    );
    add(
        "x-original-partition",
        &origin.partition.partition.to_be_bytes(),
    );
    add("x-original-offset", &origin.offset.to_be_bytes());
    if let Some(timestamp) = origin.timestamp {
        add("x-original-timestamp", &timestamp.millis().to_be_bytes());
        add("x-original-timestamp-type", timestamp.kind().as_bytes());
    }
    add("x-exception-message", reason.as_bytes());
    headers
}
