//! The client `kafka`: pure Rust, on the `kafka` crate.
//!
//! The crate speaks the protocol of Kafka 0.9, which brokers up to 3.9 support. It has no group membership (this consumer reads all partitions
//! and commits offsets under the group id), no headers, no timestamps and no idempotence.
//!
//! Its calls block until the response arrives, up to two minutes on a half-open connection. It keeps failed connections in its pool, so a new
//! `KafkaClient` is created after each error.

mod api_versions;
mod consumer;
mod fetched_records;
mod producer;
mod topics;

use std::sync::Arc;

use ::kafka::client::{GroupOffsetStorage, KafkaClient};
use ::kafka::error::Error as KafkaError;
use kafka_protocol::error::ResponseError;

use super::native::error_name::kafka_name;
use super::{Bounds, Client, RECORD_BY_RECORD, Transaction};
use crate::client::Error;
use crate::client::Topics;
use crate::client::settings::{ClientSettings, ProducerSettings, Subscription};

/// The client `kafka`.
#[derive(Debug)]
pub(crate) enum KafkaRust {}

impl Client for KafkaRust {
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
        Ok(consumer::Consumer::new(settings, input, topics))
    }

    fn producer(
        settings: &ClientSettings,
        _producer: &ProducerSettings,
        topics: &Topics,
        _name: &'static str,
        _transaction: Option<&Arc<Transaction>>,
    ) -> Result<Self::Producer, Error> {
        Ok(producer::Producer::new(settings, topics))
    }
}

/// Creates a client, which connects on first use.
fn new_client(settings: &ClientSettings) -> KafkaClient {
    let mut client = KafkaClient::new(settings.brokers.clone());
    client.set_client_id(settings.connection.client_id.clone());
    client.set_group_offset_storage(Some(GroupOffsetStorage::Kafka));
    client
}

/// Describes an error in Kafka's words instead of the `Debug` forms that the crate prints.
fn describe(error: &KafkaError) -> String {
    match error {
        KafkaError::Kafka(code) => ResponseError::try_from_code(*code as i16).map_or_else(
            || format!("{code:?}"),
            |error| kafka_name(error).to_string(),
        ),
        KafkaError::NoHostReachable => "no broker can be reached".to_owned(),
        KafkaError::UnexpectedEOF => "the broker closed the connection".to_owned(),
        error => error.to_string(),
    }
}
