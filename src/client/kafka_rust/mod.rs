//! The small client: pure Rust, by the `kafka` crate. It has no group membership (one instance reads all partitions; offsets are
//! committed all the same), no headers, no timestamps, no idempotence, and speaks to Kafka up to 3.9.
//!
//! Its calls wait for their answers, up to two minutes where a connection is half dead; a connection that failed once stays in its pool,
//! so after an error a new `KafkaClient` is made.

mod api_versions;
mod consumer;

mod producer;
mod provision;

use std::sync::Arc;

use ::kafka::client::{GroupOffsetStorage, KafkaClient};
use ::kafka::error::Error as KafkaError;

use super::{Bounds, Client, RECORD_BY_RECORD, Transaction};
use crate::client::Error;
use crate::client::Topics;
use crate::client::settings::{ClientSettings, ProducerSettings, Subscription};

/// See the module.
#[derive(Debug)]
pub(crate) enum KafkaRust {}

impl Client for KafkaRust {
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
        Ok(consumer::Consumer::new(cluster, input, topics))
    }

    fn producer(
        cluster: &ClientSettings,
        _settings: &ProducerSettings,
        topics: &Topics,
        _name: &'static str,
        _transaction: Option<&Arc<Transaction>>,
    ) -> Result<Self::Producer, Error> {
        Ok(producer::Producer::new(cluster, topics))
    }
}

/// A client without connections yet.
fn connect(settings: &ClientSettings) -> KafkaClient {
    let mut client = KafkaClient::new(settings.brokers.clone());
    client.set_client_id(settings.connection.client_id.clone());
    client.set_group_offset_storage(Some(GroupOffsetStorage::Kafka));
    client
}

/// What the crate says, without the type names of its `Debug` forms where it can be said in words.
fn words(error: &KafkaError) -> String {
    match error {
        KafkaError::Kafka(code) => format!("{code:?}"),
        KafkaError::NoHostReachable => "no broker can be reached".to_owned(),
        KafkaError::UnexpectedEOF => "the connection was closed".to_owned(),
        error => error.to_string(),
    }
}
