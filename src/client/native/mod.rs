//! The client of our own: pure Rust, for every Kafka from 2.1 on. It routes record batches without taking them apart into objects.
//!
//! | file | what it knows |
//! |---|---|
//! | `protocol` | which requests are spoken in which versions, and what an answer must look like |
//! | `connection` | one connection: bytes in and out, never waiting |
//! | `network` | all connections of a thread; the one place that waits |
//! | `cluster` | brokers and leaders |
//! | `admin` | topics that are to be there before records flow |
//! | `coordinator` | the group's coordinator, and its offsets |
//! | `group` | membership by the classic protocol; `assignor` for its leader |
//! | `fetch` | where each partition is read, and how records are lent |
//! | `compression` | the codecs of record batches |
//! | `consumer`, `produce` | the two sides of the seam, which put these together |

mod admin;
mod assignor;
mod cluster;
mod compression;
mod connection;
mod consumer;
mod coordinator;
mod fetch;
mod group;
mod network;
mod protocol;

/// How `parity-router.memory` is shared out. Of sixteen parts a lane has five for batches that are not yet delivered, and one more for
/// what the system has not yet taken of one; two are for answers to fetches, of which one is routed and the other on its way; and two for
/// what belongs to records besides their bytes.
#[derive(Debug, Clone, Copy)]
struct Budget {
    /// Bytes of records in one batch.
    batch_bytes: usize,
    /// Bytes of all answers to fetches.
    fetch_bytes: usize,
}

/// Rounds in flight: as many as a connection has requests in flight at most.
const ROUNDS: usize = 5;

fn budget(memory: usize) -> Budget {
    let part = memory / 16;
    Budget {
        batch_bytes: part,
        fetch_bytes: 2 * part,
    }
}
