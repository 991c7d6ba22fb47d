//! Gives the parts of batches to the lines of their partitions.

use std::time::Instant;

use kafka_protocol::error::ResponseError;

use super::in_flight::InFlightBatches;
use super::partition_queue::PartitionQueue;
use super::producer_batch::ProducerBatch;
use super::{Producer, failure};
use crate::client::Error;
use crate::client::OutputTopic;
use crate::client::native::error_name::kafka_name;

impl Producer {
    /// Gives parts to the lines of their partitions, as long as these have not much to send.
    pub(super) fn place(&mut self, now: Instant) -> Result<(), Error> {
        while let Some(&(slot, part, since)) = self.unplaced.front() {
            if self.form.linger.is_zero() && self.waiting() >= self.settings.max_in_flight {
                break;
            }
            if let Some(batch) = ProducerBatch::whole(&self.incomplete, slot, part, since)
                && !self.place_body(batch, now)?
            {
                break;
            }
            self.unplaced.pop_front();
        }
        Ok(())
    }

    /// Whether it could be done: what is needed to know of the topic is known.
    fn place_body(&mut self, whole: ProducerBatch, now: Instant) -> Result<bool, Error> {
        let Some((output, is_keyed)) = whole.source(&self.incomplete) else {
            return Ok(true);
        };
        let name = self.topics.output(output);
        let topic = self
            .metadata
            .topic(name)
            .filter(|topic| topic.has_partitions());
        let Some(topic) = topic else {
            return self.topic_missing(output, now).map(|()| false);
        };
        let partitions = i32::try_from(topic.leaders.len()).unwrap_or(i32::MAX);
        if partitions == 1 {
            let only = topic.leaders.keys().next().copied().unwrap_or_default();
            self.line_up(output, only, whole);
            return Ok(true);
        }
        let room = self.form.merged;
        let bytes = whole.records(&self.incomplete).len();
        let until = now + self.form.linger;
        let choice = self
            .sticky
            .get_mut(usize::from(output))
            .and_then(|sticky| sticky.choose(&topic.leaders, bytes, now, until, room));
        let Some(keyless) = choice else {
            return self.topic_missing(output, now).map(|()| false);
        };
        if !is_keyed {
            self.line_up(output, keyless, whole);
            return Ok(true);
        }
        for (partition, batch) in whole.split(&self.incomplete, partitions, keyless) {
            self.line_up(output, partition, batch);
        }
        Ok(true)
    }

    /// Nothing can be sent to this topic now.
    fn topic_missing(&mut self, output: OutputTopic, now: Instant) -> Result<(), Error> {
        use ResponseError::{InvalidTopicException, TopicAuthorizationFailed};
        let name = self.topics.output(output);
        let Some(topic) = self.metadata.topic(name) else {
            return Ok(());
        };
        let what = match topic.error {
            Some(error @ (TopicAuthorizationFailed | InvalidTopicException)) => {
                return Err(failure(format!("topic {name}: {}", kafka_name(error))));
            }
            Some(error) => format!("topic {name}: {}", kafka_name(error)),
            // The brokers have yet to tell.
            None if topic.leaders.is_empty() => return Ok(()),
            None => format!("topic {name} has no leader"),
        };
        self.metadata.request_update();
        self.warn(now, &what);
        Ok(())
    }

    /// Gives a body to the line of its partition. Topics of the same name have the same lines: the broker counts by partition.
    fn line_up(&mut self, output: OutputTopic, partition: i32, batch: ProducerBatch) {
        let name = self.topics.output(output);
        let first = self.topics.outputs.iter().position(|other| other == name);
        let output = first
            .and_then(|first| OutputTopic::try_from(first).ok())
            .unwrap_or(output);
        let (limit, idempotent) = (self.settings.max_in_flight, self.settings.idempotent);
        let queues = &mut self.queues;
        let number = *self.queue_of.entry((output, partition)).or_insert_with(|| {
            let in_flight = InFlightBatches::new(limit, idempotent, self.transaction.is_none());
            queues.push(PartitionQueue::new(output, partition, in_flight));
            queues.len() - 1
        });
        if let Some(queue) = queues.get_mut(number) {
            queue.push(batch);
        }
    }
}
