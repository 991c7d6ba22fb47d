//! Records of completed fetches that have not been delivered yet.

use std::ops::ControlFlow;

use ::kafka::client::fetch::Response;

use crate::client::Record;
use crate::client::Topics;
use crate::client::records::Headers;

/// Fetch responses, one per broker, with the position of the next record to deliver.
#[derive(Default)]
pub(super) struct FetchedRecords {
    responses: Vec<Response>,
    /// Indexes of response, topic, partition and message.
    next: (usize, usize, usize, usize),
}

impl FetchedRecords {
    pub(super) fn new(responses: Vec<Response>) -> Self {
        Self {
            responses,
            next: (0, 0, 0, 0),
        }
    }

    /// Returns true if all records have been delivered.
    pub(super) fn is_empty(&self) -> bool {
        self.next.0 >= self.responses.len()
    }

    /// The fetch responses.
    pub(super) fn responses(&self) -> &[Response] {
        &self.responses
    }

    /// Passes records to `handle` until it breaks or all are delivered.
    pub(super) fn deliver(
        &mut self,
        topics: &Topics,
        mut handle: impl FnMut(Record<'_>) -> ControlFlow<()>,
    ) {
        let (mut response, mut topic, mut partition, mut message) = self.next;
        'delivery: while let Some(fetched) = self.responses.get(response) {
            while let Some(fetched_topic) = fetched.topics().get(topic) {
                while let Some(fetched_partition) = fetched_topic.partitions().get(partition) {
                    let number = fetched_partition.partition();
                    let Some(key) = topics.input_partition(fetched_topic.topic(), number) else {
                        (partition, message) = (partition + 1, 0);
                        continue;
                    };
                    let data = fetched_partition.data();
                    let messages = data
                        .as_ref()
                        .map(|data| data.messages())
                        .unwrap_or_default();
                    while let Some(record) = messages.get(message) {
                        message += 1;
                        let record = Record {
                            partition: key,
                            offset: record.offset,
                            timestamp: None,
                            // The crate does not distinguish null from empty, neither for keys nor for values. An empty key counts as null;
                            // an empty value counts as empty, because it must not be lost as a tombstone.
                            key: (!record.key.is_empty()).then_some(record.key),
                            value: Some(record.value),
                            headers: Headers::default(),
                        };
                        if handle(record) == ControlFlow::Break(()) {
                            break 'delivery;
                        }
                    }
                    (partition, message) = (partition + 1, 0);
                }
                (topic, partition) = (topic + 1, 0);
            }
            (response, topic) = (response + 1, 0);
        }
        self.next = (response, topic, partition, message);
        if self.is_empty() {
            self.responses.clear();
        }
    }
}
