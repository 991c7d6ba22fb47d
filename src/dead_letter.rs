//! The headers of a dead letter. Pure. Names and forms are those of Spring's Kafka binder (`KafkaMessageChannelBinder`): texts in UTF-8,
//! the partition as four bytes and offset and time as eight, big-endian. What Spring says of a Java exception (`x-exception-fqcn`,
//! `x-exception-stacktrace`) has no equal here and is left out.

use crate::client::Headers;
use crate::client::batch::Origin;
use crate::topics::Topics;

/// `headers`, and behind them where the record was read and why it could not be routed.
pub(crate) fn headers<H: Headers>(
    headers: Option<H>,
    origin: Origin,
    topics: &Topics,
    reason: &str,
) -> Option<H> {
    let headers = H::and(
        headers,
        "x-original-topic",
        topics.input(origin.partition.topic).as_bytes(),
    );
    let headers = H::and(
        headers,
        "x-original-partition",
        &origin.partition.partition.to_be_bytes(),
    );
    let mut headers = H::and(headers, "x-original-offset", &origin.offset.to_be_bytes());
    if let Some(timestamp) = origin.timestamp {
        headers = H::and(
            headers,
            "x-original-timestamp",
            &timestamp.millis().to_be_bytes(),
        );
        headers = H::and(
            headers,
            "x-original-timestamp-type",
            timestamp.kind().as_bytes(),
        );
    }
    H::and(headers, "x-exception-message", reason.as_bytes())
}
