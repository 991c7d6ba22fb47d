//! The client `native`: a synchronous Kafka client in pure Rust, for every broker from Kafka 2.1 on. It knows nothing of routing and could
//! be a crate of its own.
//!
//! Record batches are never turned into objects: fetched records are views of the response's bytes, and a routed record is encoded once, in
//! the form that is sent.
//!
//! | file | content |
//! |---|---|
//! | `protocol` | requests and their supported versions; encodes requests and decodes responses |
//! | `response_shape` | checks the structure of a response before it is decoded |
//! | `request` | builds the fields of requests |
//! | `connection` | one connection: requests out, responses in, never blocks |
//! | `response` | reads responses from a connection |
//! | `backoff` | waits between retries |
//! | `network` | all connections of a thread; the only place that blocks |
//! | `metadata` | brokers, and the leaders of partitions |
//! | `admin` | describes and creates topics before records flow |
//! | `coordinator` | finds the coordinator of a group or transactional id; requests about offsets |
//! | `classic_group`, `classic_requests` | membership by the classic group protocol; `assignor` for the leader |
//! | `kip848_group` | membership by the protocol of KIP-848 |
//! | `group_error` | errors that end a membership |
//! | `fetch` | fetches partitions and delivers their records |
//! | `error_name` | Kafka's names of error codes |
//! | `compression` | compression types of record batches |
//! | `transaction_committer` | commits a transaction with its offsets |
//! | `transaction_error` | classes of errors in a transaction |
//! | `consumer`, `produce` | the two sides of the seam, which compose the others |

mod admin;
mod assignor;
mod backoff;
mod classic_group;
mod classic_requests;
mod compression;
mod connection;
mod consumer;
mod coordinator;
pub(super) mod error_name;
mod fetch;
mod group_error;
mod kip848_group;
mod metadata;
mod network;
mod produce;
mod protocol;
mod request;
mod response;
mod response_shape;
mod transaction_committer;
mod transaction_error;

use std::sync::Arc;

use super::{Bounds, Client, Error, Topics, Transaction};
use crate::client::settings::{ClientSettings, ProducerSettings, Subscription};

/// Shares of the client's memory (`ClientSettings::memory`), in sixteenths of it:
///
/// | share | use |
/// |---|---|
/// | 2 x 5 | batches in flight: [`POLL_BATCHES`] for each of two outputs |
/// | 2 x 1 | one batch of each output that the operating system has not fully accepted |
/// | 2 | fetch responses: one of each leader is being delivered, one is in flight |
/// | 2 | what records need besides their bytes |
#[derive(Debug, Clone, Copy)]
struct MemoryBudget {
    /// Bound in bytes on the records of one batch.
    batch_bytes: usize,
    /// Bound in bytes on all fetch responses together.
    fetch_bytes: usize,
}

impl MemoryBudget {
    fn new(memory: usize) -> Self {
        let sixteenth = memory / 16;
        Self {
            batch_bytes: sixteenth.min(MAX_REQUEST_BYTES),
            fetch_bytes: 2 * sixteenth,
        }
    }
}

/// Kafka's default limit for a batch, of topics (`message.max.bytes`) and of producers (`max.request.size`).
const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// Bytes of a produce request besides the records of a batch: headers and the topic name.
const REQUEST_OVERHEAD: usize = 1024;

/// Poll batches in flight; the limit of requests in flight on a connection is the same (`max.in.flight.requests.per.connection`).
const POLL_BATCHES: usize = 5;

/// Entry points of `tests/fuzz`: arbitrary bytes are read or refused, without a panic.
#[cfg(fuzzing)]
pub(crate) mod fuzz {
    use bytes::Bytes;

    /// Reads the bytes as the records of a fetch response.
    pub(crate) fn records(bytes: &[u8]) {
        let _ = super::fetch::deliver_all(Bytes::copy_from_slice(bytes));
    }

    /// Reads the bytes as the response to each request.
    pub(crate) fn responses(bytes: &[u8]) {
        super::protocol::decode_all(&Bytes::copy_from_slice(bytes));
    }
}

/// The client `native`; see the [module](self).
#[derive(Debug)]
pub(crate) enum Native {}

impl Client for Native {
    type Consumer = consumer::Consumer;
    type Producer = produce::Producer;

    fn bounds(settings: &ClientSettings) -> Bounds {
        let batch_bytes = MemoryBudget::new(settings.memory).batch_bytes - REQUEST_OVERHEAD;
        Bounds {
            poll_batches: POLL_BATCHES,
            poll_batch_records: usize::MAX,
            // If the outputs get about equal shares, both batches are nearly full.
            poll_batch_bytes: 2 * batch_bytes - batch_bytes / 4,
            record_set_bytes: batch_bytes,
        }
    }

    fn consumer(
        settings: &ClientSettings,
        input: &Subscription,
        topics: &Topics,
        transaction: Option<&Arc<Transaction>>,
    ) -> Result<Self::Consumer, Error> {
        let consumer = consumer::Consumer::new(settings, input, topics, transaction);
        Ok(consumer)
    }

    fn producer(
        client_settings: &ClientSettings,
        settings: &ProducerSettings,
        topics: &Topics,
        name: &'static str,
        transaction: Option<&Arc<Transaction>>,
    ) -> Result<Self::Producer, Error> {
        Ok(produce::Producer::new(
            client_settings,
            settings,
            topics,
            name,
            transaction,
        ))
    }
}
