//! Aborted transactions of a fetch response (KIP-98): which transactional batches must be skipped. No I/O.
//!
//! The broker lists the producer and the first offset of each aborted transaction that overlaps the fetched records. A transaction ends at
//! its producer's next abort marker.

use std::collections::BTreeSet;

use kafka_protocol::messages::fetch_response::AbortedTransaction;

use crate::client::records::BatchHeader;

/// Aborted transactions of one partition, and how far the walk over its batches has got in them.
#[derive(Default)]
pub(super) struct AbortedTransactions {
    /// Transactions that begin after the walk's offset, in descending order of their first offset.
    upcoming: Vec<AbortedTransaction>,
    /// Ids of the producers that have an aborted transaction at the walk's offset.
    producers: BTreeSet<i64>,
}

impl AbortedTransactions {
    pub(super) fn new(mut transactions: Vec<AbortedTransaction>) -> Self {
        transactions.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self {
            upcoming: transactions,
            producers: BTreeSet::new(),
        }
    }

    /// Returns whether the records of this batch were aborted. Batches must be passed in log order.
    pub(super) fn covers(&mut self, header: &BatchHeader) -> bool {
        if !header.is_transactional() {
            return false;
        }
        self.begin_before(header.next_offset());
        self.producers.contains(&header.producer_id)
    }

    /// Ends the aborted transaction of an abort marker's producer.
    ///
    /// A fetch that starts after all records of the transaction, but before its marker, lists it too. So the transaction begins here at
    /// the latest; otherwise it would cover the producer's next transaction.
    pub(super) fn end(&mut self, marker: &BatchHeader) {
        self.begin_before(marker.next_offset());
        self.producers.remove(&marker.producer_id);
    }

    /// Begins the aborted transactions whose first offset is below `offset`.
    fn begin_before(&mut self, offset: i64) {
        while let Some(begun) = self
            .upcoming
            .pop_if(|transaction| transaction.first_offset < offset)
        {
            self.producers.insert(begun.producer_id.0);
        }
    }
}
