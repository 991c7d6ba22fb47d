//! Reads the settings of the router. No I/O.

use super::bindings;
use super::kafka_settings::given::KafkaSettings;
use super::kafka_settings::producer;
use super::reader::Reader;
use super::table::{self, DEFAULT_GROUP};
use super::{ClientKind, Invalid, RouterSettings, TransactionSettings};
use crate::client::settings::{GroupId, Isolation};

/// Reads the settings of the router.
pub(super) fn router(reader: &mut Reader<'_>, settings: &KafkaSettings) -> RouterSettings {
    let stream = reader.text(&table::STREAM_NAME);
    let default_group = if stream.is_empty() {
        DEFAULT_GROUP
    } else {
        &stream
    };
    let input = bindings::subscription(reader, settings, default_group);
    let even = bindings::output(reader, &table::EVEN_DESTINATION, &input.topics);
    let odd = bindings::output(reader, &table::ODD_DESTINATION, &input.topics);
    let invalid: Invalid = bindings::invalid(reader, &input.topics, &[&even, &odd], &input.group);
    let mut router = RouterSettings {
        input,
        stall_timeout: bindings::stall_timeout(reader),
        even,
        odd,
        invalid,
        transaction: None,
        even_producer: producer::producer_settings(reader, settings, "even"),
        odd_producer: producer::producer_settings(reader, settings, "odd"),
    };
    router.transaction = transaction(reader, settings, &router);
    router
}

/// Reads the settings of exactly once. Other settings must not void its guarantee.
fn transaction(
    reader: &mut Reader<'_>,
    settings: &KafkaSettings,
    router: &RouterSettings,
) -> Option<TransactionSettings> {
    let timeout = producer::transaction_timeout(reader, settings);
    let given = reader.given(&table::TRANSACTION_ID_PREFIX)?;
    let prefix = given.trimmed().to_owned();
    let producers = [&router.even_producer, &router.odd_producer];
    let message = if prefix.is_empty() {
        "an empty prefix; allowed: any other text, or to leave it out"
    } else if settings.client != ClientKind::Native {
        "only the client native supports transactions; allowed: parity-router.client=native, or to leave it out"
    } else if router.input.group == GroupId::Anonymous {
        "without a group there are no offsets to commit; allowed: together with spring.cloud.stream.bindings.input.group"
    } else if producers.iter().any(|producer| !producer.idempotent) {
        "transactions need acks=all and enable.idempotence=true, which are the defaults"
    } else if router.input.consumer.isolation == Isolation::ReadUncommitted {
        "exactly once needs isolation.level=read_committed, which is the default"
    } else {
        return Some(TransactionSettings { prefix, timeout });
    };
    reader.problem(&given, message);
    None
}
