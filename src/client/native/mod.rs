//! The client of our own: pure Rust, for every Kafka from 2.1 on. It routes record batches without taking them apart into objects.
//!
//! | file | what it knows |
//! |---|---|
//! | `protocol` | which requests are spoken in which versions, and what an answer must look like |
//! | `request` | how the fields of requests are built |
//! | `connection` | one connection: bytes in and out, never waiting |
//! | `response` | how responses are read and decoded |
//! | `backoff` | waits between retries |
//! | `network` | all connections of a thread; the one place that waits |
//! | `metadata` | brokers and leaders |
//! | `admin` | topics that are to be there before records flow |
//! | `coordinator` | the group's coordinator, and its offsets |
//! | `group` | membership by the classic protocol; `assignor` for its leader |
//! | `consumer_group` | membership by the protocol of KIP-848 |
//! | `fetch` | where each partition is read, and how records are lent |
//! | `error_name` | Kafka's names of its error codes |
//! | `compression` | the codecs of record batches |
//! | `transaction` | how a transaction is ended, with its offsets |
//! | `consumer`, `produce` | the two sides of the seam, which put these together |

mod admin;
mod assignor;
mod backoff;
mod compression;
mod connection;
mod consumer;
mod consumer_group;
mod coordinator;
mod error_name;
mod fetch;
mod group;
mod metadata;
mod network;
mod produce;
mod protocol;
mod request;
mod response;
mod transaction;

/// How `parity-router.memory` is shared out. Of sixteen parts a output has five for batches that are not yet delivered, and one more for
/// what the system has not yet taken of one; two are for answers to fetches, of which one is routed and the other on its way; and two for
/// what belongs to records besides their bytes.
#[derive(Debug, Clone, Copy)]
struct Budget {
    /// Bytes of records in one batch.
    batch_bytes: usize,
    /// Bytes of all answers to fetches.
    fetch_bytes: usize,
}

/// A batch at most, whatever the memory: Kafka's usual limit, of topics (`message.max.bytes`) and producers (`max.request.size`).
const LARGEST_BATCH: usize = 1024 * 1024;

/// Of a request with a batch, what is not records: headers, and the topic's name.
const BESIDES: usize = 1024;

/// Rounds in flight: as many as a connection has requests in flight at most.
const ROUNDS: usize = 5;

fn budget(memory: usize) -> Budget {
    let part = memory / 16;
    Budget {
        batch_bytes: part,
        fetch_bytes: 2 * part,
    }
}

use std::sync::Arc;

use super::{Bounds, Client, Transaction};
use crate::client::Error;
use crate::client::Topics;
use crate::client::settings::{ClientSettings, ProducerSettings, Subscription};

/// For `tests/fuzz`: whatever the bytes are, they are read or refused.
#[cfg(fuzzing)]
pub(crate) mod fuzz {
    use bytes::Bytes;

    /// As what a fetch brought.
    pub(crate) fn records(bytes: &[u8]) {
        let _ = super::fetch::walk_all(Bytes::copy_from_slice(bytes));
    }

    /// As the answer to each request.
    pub(crate) fn answers(bytes: &[u8]) {
        super::protocol::read_all(&Bytes::copy_from_slice(bytes));
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) enum Native {}

impl Client for Native {
    type Consumer = consumer::Consumer;
    type Producer = produce::Producer;

    fn bounds(cluster: &ClientSettings) -> Bounds {
        let batch_bytes = budget(cluster.memory).batch_bytes.min(LARGEST_BATCH) - BESIDES;
        Bounds {
            poll_batches: ROUNDS,
            poll_batch_records: usize::MAX,
            // Where both outputs get their share, each batch is nearly full.
            poll_batch_bytes: 2 * batch_bytes - batch_bytes / 4,
            record_set_bytes: batch_bytes,
        }
    }

    fn consumer(
        cluster: &ClientSettings,
        input: &Subscription,
        topics: &Topics,
        transaction: Option<&Arc<Transaction>>,
    ) -> Result<Self::Consumer, Error> {
        Ok(consumer::Consumer::new(cluster, input, topics, transaction))
    }

    fn producer(
        cluster: &ClientSettings,
        settings: &ProducerSettings,
        topics: &Topics,
        name: &'static str,
        transaction: Option<&Arc<Transaction>>,
    ) -> Result<Self::Producer, Error> {
        Ok(produce::Producer::new(
            cluster,
            settings,
            topics,
            name,
            transaction,
        ))
    }
}
