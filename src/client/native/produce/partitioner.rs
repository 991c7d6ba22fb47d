//! Runs on the producer thread: assigns record sets to partitions. Records with a key go where Kafka's own producer sends the key, the others
//! where the sticky partitioner says.

use std::time::Instant;

use kafka_protocol::error::ResponseError;

use super::in_flight::InFlightBatches;
use super::producer_batch::ProducerBatch;
use super::{Producer, failure};
use crate::client::Error;
use crate::client::OutputTopic;
use crate::client::native::error_name::kafka_name;

impl Producer {
    /// Queues record sets by partition until the queues are full or the metadata of a topic is missing.
    pub(super) fn assign_partitions(&mut self, now: Instant) -> Result<(), Error> {
        while let Some(batch) = self.accumulator.next_unassigned() {
            if !self.assign_partition(batch, now)? {
                break;
            }
            self.accumulator.pop_unassigned();
        }
        Ok(())
    }

    /// Queues a whole record set. Returns false if the metadata of its topic is missing.
    fn assign_partition(&mut self, batch: ProducerBatch, now: Instant) -> Result<bool, Error> {
        let Some((output, is_keyed)) = batch.source(&self.accumulator.incomplete) else {
            return Ok(true);
        };
        let name = self.topics.output(output);
        let topic = self
            .metadata
            .topic(name)
            .filter(|topic| topic.has_partitions());
        let Some(topic) = topic else {
            return self.report_unavailable(output, now).map(|()| false);
        };
        let partitions = i32::try_from(topic.leaders.len()).unwrap_or(i32::MAX);
        if partitions == 1 {
            let only = topic.leaders.keys().next().copied().unwrap_or_default();
            self.enqueue(output, only, batch);
            return Ok(true);
        }
        let settings = self.accumulator.batch_settings;
        let bytes = batch.records(&self.accumulator.incomplete).len();
        let until = now + settings.linger;
        let choice = self
            .sticky_partitioners
            .get_mut(usize::from(output))
            .and_then(|partitioner| {
                partitioner.choose(&topic.leaders, bytes, now, until, settings.merged_size)
            });
        let Some(keyless) = choice else {
            return self.report_unavailable(output, now).map(|()| false);
        };
        if !is_keyed {
            self.enqueue(output, keyless, batch);
            return Ok(true);
        }
        let incomplete = &self.accumulator.incomplete;
        for (partition, batch) in batch.split_by_partition(incomplete, partitions, keyless) {
            self.enqueue(output, partition, batch);
        }
        Ok(true)
    }

    /// Logs why nothing can be sent to a topic, and requests its metadata. Fails if a retry would not help.
    fn report_unavailable(&mut self, output: OutputTopic, now: Instant) -> Result<(), Error> {
        use ResponseError::{InvalidTopicException, TopicAuthorizationFailed};
        let name = self.topics.output(output);
        let Some(topic) = self.metadata.topic(name) else {
            return Ok(());
        };
        let cause = match topic.error {
            Some(error @ (TopicAuthorizationFailed | InvalidTopicException)) => {
                return Err(failure(format!("topic {name}: {}", kafka_name(error))));
            }
            Some(error) => kafka_name(error).to_string(),
            // No broker has answered yet.
            None if topic.leaders.is_empty() => return Ok(()),
            None => "no leader".to_owned(),
        };
        self.metadata.request_update();
        let message = format!("produce to topic {name} failed: {cause}, refreshing metadata");
        self.warn(now, &message);
        Ok(())
    }

    /// Appends a batch to the queue of its partition. Outputs with the same topic share the queue, because a broker counts the sequence
    /// numbers by partition.
    fn enqueue(&mut self, output: OutputTopic, partition: i32, batch: ProducerBatch) {
        let name = self.topics.output(output);
        let first = self.topics.outputs.iter().position(|other| other == name);
        let output = first
            .and_then(|first| OutputTopic::try_from(first).ok())
            .unwrap_or(output);
        self.accumulator.enqueue(output, partition, batch, || {
            let may_restart_numbers = self.transaction_manager.is_none();
            let settings = &self.settings;
            InFlightBatches::new(
                settings.max_in_flight,
                settings.idempotent,
                may_restart_numbers,
            )
        });
    }
}
