//! The client `librdkafka`, on the `rdkafka` crate: supports what `native` does not, such as TLS, SASL and message formats v0 and v1.
//!
//! librdkafka has its own threads and works record by record; batches are split here and reassembled from the acknowledgements.

mod admin;
mod consumer;
pub(crate) mod embedded;
mod event_callbacks;
mod pending_commit;
mod producer;

use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use super::{Bounds, Client, RECORD_BY_RECORD, Transaction};
use crate::client::Error;
use crate::client::Topics;
use crate::client::settings::{ClientSettings, ProducerSettings, Subscription};

/// The client `librdkafka`.
#[derive(Debug)]
pub(crate) enum Librdkafka {}

impl Client for Librdkafka {
    type Consumer = consumer::Consumer;
    type Producer = producer::Producer;

    fn bounds(_settings: &ClientSettings) -> Bounds {
        RECORD_BY_RECORD
    }

    fn consumer(
        settings: &ClientSettings,
        input: &Subscription,
        topics: &Topics,
        _transaction: Option<&Arc<Transaction>>,
    ) -> Result<Self::Consumer, Error> {
        consumer::Consumer::new(settings, input, topics)
    }

    fn producer(
        settings: &ClientSettings,
        producer: &ProducerSettings,
        topics: &Topics,
        name: &'static str,
        _transaction: Option<&Arc<Transaction>>,
    ) -> Result<Self::Producer, Error> {
        producer::Producer::new(settings, producer, topics, name)
    }
}

/// Configuration that the consumer, the producers and the admin client share.
fn common_config(settings: &ClientSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("client.id", &settings.connection.client_id)
        // With the default of 10 s a broker that is back is noticed too late.
        .set("reconnect.backoff.max.ms", "1000")
        .extend(settings.librdkafka.iter().cloned());
    config
        .set("bootstrap.servers", settings.brokers.join(","))
        .set_log_level(RDKafkaLogLevel::Info);
    config
}

/// Logs a message of librdkafka. Most of them concern single connections and attempts and are logged at debug level, because consumer and producers report
/// what matters themselves.
fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            log::error!("librdkafka {facility}: {message}");
        }
        _ => log::debug!("librdkafka {facility}: {message}"),
    }
}

/// Converts an error of creating a client. Names the property if librdkafka rejects its value; the value can be a secret and is left out.
fn creation_error(operation: &'static str, error: &KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, reason, name, _) => Error::Kafka {
            operation,
            reason: format!("librdkafka rejects the property {name}: {reason}"),
        },
        error => client_error(operation, error),
    }
}

fn client_error(operation: &'static str, error: &KafkaError) -> Error {
    Error::Kafka {
        operation,
        reason: error.to_string(),
    }
}
