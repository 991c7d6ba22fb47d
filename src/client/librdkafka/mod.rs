//! The client for everything that Kafka has: librdkafka, by the `rdkafka` crate. It works record by record and hides that in here.

mod admin;
mod consumer;
pub(crate) mod embedded;
mod producer;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use super::{Bounds, Client};
use crate::config::{Cluster, Subscription};
use crate::error::Error;
use crate::limits::BOUNDS;
use crate::topics::Topics;

/// See the module.
#[derive(Debug)]
pub(crate) enum Librdkafka {}

impl Client for Librdkafka {
    type Consumer = consumer::Consumer;
    type Producer = producer::Producer;

    fn bounds(_cluster: &Cluster) -> Bounds {
        BOUNDS
    }

    fn consumer(
        cluster: &Cluster,
        input: &Subscription,
        topics: &Topics,
    ) -> Result<Self::Consumer, Error> {
        consumer::Consumer::new(cluster, input, topics)
    }

    fn producer(
        cluster: &Cluster,
        topics: &Topics,
        name: &'static str,
    ) -> Result<Self::Producer, Error> {
        producer::Producer::new(cluster, topics, name)
    }
}

/// What consumers, producers and the admin client have in common.
fn settings(cluster: &Cluster) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", cluster.brokers.join(","))
        .set("client.id", "parity-router")
        // The default lets ten seconds pass before it looks again whether a broker is back.
        .set("reconnect.backoff.max.ms", "1000")
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

fn failure(operation: &'static str, error: &KafkaError) -> Error {
    Error::Kafka {
        operation,
        reason: error.to_string(),
    }
}
