//! The client for everything that Kafka has: librdkafka, by the `rdkafka` crate. It works record by record and hides that in here.

mod admin;
mod consumer;
pub(crate) mod embedded;
mod producer;

use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use super::{Bounds, Client, RECORD_BY_RECORD, Transaction};
use crate::client::Error;
use crate::client::Topics;
use crate::client::settings::{ClientSettings, ProducerSettings, Subscription};

/// See the module.
#[derive(Debug)]
pub(crate) enum Librdkafka {}

impl Client for Librdkafka {
    type Consumer = consumer::Consumer;
    type Producer = producer::Producer;

    fn bounds(_cluster: &ClientSettings) -> Bounds {
        RECORD_BY_RECORD
    }

    fn consumer(
        cluster: &ClientSettings,
        input: &Subscription,
        topics: &Topics,
        _transaction: Option<&Arc<Transaction>>,
    ) -> Result<Self::Consumer, Error> {
        consumer::Consumer::new(cluster, input, topics)
    }

    fn producer(
        cluster: &ClientSettings,
        settings: &ProducerSettings,
        topics: &Topics,
        name: &'static str,
        _transaction: Option<&Arc<Transaction>>,
    ) -> Result<Self::Producer, Error> {
        producer::Producer::new(cluster, settings, topics, name)
    }
}

/// What consumers, producers and the admin client have in common.
fn settings(cluster: &ClientSettings) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings
        .set("client.id", &cluster.connection.client_id)
        // The default lets ten seconds pass before it looks again whether a broker is back.
        .set("reconnect.backoff.max.ms", "1000")
        .extend(cluster.librdkafka.iter().cloned());
    settings
        .set("bootstrap.servers", cluster.brokers.join(","))
        .set_log_level(RDKafkaLogLevel::Info);
    settings
}

/// What librdkafka logs is about single connections and attempts; what matters of it the router says itself, once.
fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            log::error!("librdkafka {facility}: {message}");
        }
        _ => log::debug!("librdkafka {facility}: {message}"),
    }
}

/// Why librdkafka makes no client of these settings; of one that it does not take, which it is.
fn refused(operation: &'static str, error: &KafkaError) -> Error {
    match error {
        // Of the value only what librdkafka says: it may be a secret.
        KafkaError::ClientConfig(_, reason, name, _) => Error::Kafka {
            operation,
            reason: format!(
                "{name}, given among Kafka's own settings, is not taken by librdkafka: {reason}"
            ),
        },
        error => failure(operation, error),
    }
}

fn failure(operation: &'static str, error: &KafkaError) -> Error {
    Error::Kafka {
        operation,
        reason: error.to_string(),
    }
}
