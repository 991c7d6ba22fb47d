//! Threads `producer-even` and `producer-odd`: receive batches from the consumer, send them, and return the delivered ones.
//!
//! Each thread owns its Kafka producer. When the consumer closes the channel, the thread drains the producer and ends.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::client;
use crate::client::Topics;
use crate::client::batch::{RefusalReason, RefusedRecord};
use crate::client::{Batch, Producer, Record};
use crate::config::Invalid;
use crate::counters::Outcome;
use crate::dead_letter;
use crate::destinations;
use crate::error::Error;
use crate::health::Health;
use crate::limits::{ACKNOWLEDGEMENT_POLL, COMMIT_WITHIN, IDLE_POLL, POLL};
use crate::route::Output;
use crate::thread::Stop;
use crate::throttle::{Throttle, WARNING_INTERVAL, more_suppressed};

/// Channels and identity of a producer thread.
pub(crate) struct ProducerChannels {
    /// The output whose records the thread writes.
    pub(crate) output: Output,
    /// Name of the thread.
    pub(crate) name: &'static str,
    /// Batches from the consumer.
    pub(crate) batches: Receiver<Batch>,
    /// Delivered batches to the consumer. The channel holds every batch that can exist, so the two threads never wait for each other.
    pub(crate) delivered: Sender<Batch>,
}

/// Body of the thread. Ends when the consumer closes the channel and everything is acknowledged, at the stop deadline, or with an error.
pub(crate) fn run<P: Producer>(
    mut producer: P,
    channels: &ProducerChannels,
    invalid: &Invalid,
    topics: &Topics,
    health: &Health,
    stop: &Stop,
) -> Result<(), Error> {
    let mut reports = DeliveryReports {
        channels,
        invalid,
        topics,
        health,
        warnings: Throttle::new(WARNING_INTERVAL),
    };
    loop {
        let is_busy = producer.in_flight() > 0;
        if producer.accepts() {
            let wait = if is_busy {
                ACKNOWLEDGEMENT_POLL
            } else {
                IDLE_POLL
            };
            match channels.batches.recv_timeout(wait) {
                Ok(batch) => producer.send(batch)?,
                Err(RecvTimeoutError::Timeout) => (),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            producer.poll(Duration::ZERO)?;
        } else {
            // Only an acknowledgement makes room, and it ends the wait.
            producer.poll(POLL)?;
        }
        reports.take_delivered(&mut producer)?;
    }
    let deadline = stop.deadline_minus(COMMIT_WITHIN);
    while producer.in_flight() > 0 && Instant::now() < deadline {
        producer.poll(ACKNOWLEDGEMENT_POLL)?;
        reports.take_delivered(&mut producer)?;
    }
    match producer.in_flight() {
        0 => Ok(()),
        count => Err(Error::Undelivered {
            thread: channels.name,
            count,
        }),
    }
}

/// Counts delivered batches and returns them to the consumer.
struct DeliveryReports<'a> {
    channels: &'a ProducerChannels,
    invalid: &'a Invalid,
    topics: &'a Topics,
    health: &'a Health,
    warnings: Throttle,
}

impl DeliveryReports<'_> {
    fn take_delivered<P: Producer>(&mut self, producer: &mut P) -> Result<(), Error> {
        while let Some(mut batch) = producer.delivered() {
            self.count(&batch);
            if batch.refused.is_empty() {
                // This fails only if the consumer has ended; then no offset is committed any more.
                let _ = self.channels.delivered.send(batch);
                continue;
            }
            self.handle_refused(&mut batch)?;
            if batch.is_empty() {
                let _ = self.channels.delivered.send(batch);
            } else {
                producer.send(batch)?;
            }
        }
        Ok(())
    }

    /// Treats records that the broker rejects for good like records that cannot be routed: `batch` becomes a batch of dead letters.
    fn handle_refused(&mut self, batch: &mut Batch) -> Result<(), Error> {
        for RefusedRecord { location, reason } in &batch.refused {
            let Some(record) = batch.get(*location) else {
                continue;
            };
            let (input, offset) = (self.topics.partition_name(record.partition), record.offset);
            let output = self.topics.output(record.output);
            let what =
                format!("{input}: topic {output} rejected the record at offset {offset}: {reason}");
            if destinations::is_dead_letter(record.output) || matches!(self.invalid, Invalid::Fail)
            {
                return Err(client::Error::Kafka {
                    operation: "produce",
                    reason: what,
                }
                .into());
            }
            if let Some(suppressed) = self.warnings.admit(Instant::now()) {
                log::warn!("{what}{}", more_suppressed(suppressed));
            }
        }
        if matches!(self.invalid, Invalid::Skip) {
            let now = Instant::now();
            let mut counters = self.health.counters();
            for refused in &batch.refused {
                if let Some(record) = batch.get(refused.location) {
                    counters.add_outcome(record.partition, Outcome::Skipped, 1, now);
                }
            }
        }
        *batch = dead_letters(batch, self.topics);
        Ok(())
    }

    /// Counts the acknowledged records of a batch.
    fn count(&self, batch: &Batch) {
        let now = Instant::now();
        let mut counters = self.health.counters();
        for (partition, output, records) in batch.accepted_counts() {
            let outcome = match self.channels.output {
                _ if destinations::is_dead_letter(output) => Outcome::DeadLettered,
                Output::Even => Outcome::Even,
                Output::Odd => Outcome::Odd,
            };
            counters.add_outcome(partition, outcome, records, now);
        }
    }
}

/// Returns a batch with the refused records of `batch`, each as it was read and bound for the dead-letter topic of its input topic; it is
/// empty if there is no such topic. A record that was too large gets no headers of a dead letter, which would make it even larger.
fn dead_letters(batch: &mut Batch, topics: &Topics) -> Batch {
    let mut letters = batch.successor();
    for RefusedRecord { location, reason } in batch.take_refused() {
        let Some(record) = batch.input_record(location) else {
            continue;
        };
        let Some(output) = destinations::dead_letter(topics, record.partition.topic) else {
            continue;
        };
        let extended;
        let headers = match &reason {
            RefusalReason::TooLarge => record.headers,
            RefusalReason::Invalid(reason) => {
                extended = dead_letter::headers(&record, topics, reason);
                extended.headers()
            }
        };
        letters.push(output, b"", &Record { headers, ..record });
    }
    letters
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::client::Timestamp;
    use crate::client::records::HeadersBuffer;
    use crate::topic_partition::TopicPartition;

    fn topics(outputs: &[&str]) -> Topics {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Topics {
            inputs: names(&["in"]),
            outputs: names(outputs),
        }
    }

    fn batch(values: &[&str]) -> Batch {
        let mut batch = Batch::new(1 << 20);
        let headers = HeadersBuffer::from_pairs(&[("own", b"1")]);
        for (offset, value) in values.iter().enumerate() {
            let record = Record {
                partition: TopicPartition {
                    topic: 0,
                    partition: 3,
                },
                offset: offset as i64,
                timestamp: Some(Timestamp::CreateTime(1)),
                key: None,
                value: Some(value.as_bytes()),
                headers: headers.headers(),
            };
            batch.push(destinations::EVEN, b"Even timestamp: ", &record);
        }
        batch
    }

    #[test]
    fn refused_records_become_dead_letters() {
        let mut batch = batch(&["2", "4", "6"]);
        let locations: Vec<_> = batch.locations(0).collect();
        batch.refuse(locations[2], RefusalReason::TooLarge);
        batch.refuse(locations[1], RefusalReason::Invalid("bad time".to_owned()));
        let letters = dead_letters(&mut batch, &topics(&["even", "odd", "error.in.group"]));
        let records: Vec<_> = letters
            .locations(0)
            .filter_map(|location| letters.get(location))
            .collect();
        let found: Vec<_> = records
            .iter()
            .map(|record| (record.output, record.offset, record.value))
            .collect();
        assert_eq!(found, [(2, 1, b"4".as_slice()), (2, 2, b"6".as_slice())]);
        let headers: Vec<_> = records[0].headers.iter().collect();
        assert_eq!(headers[0], (b"own".as_slice(), Some(b"1".as_slice())));
        assert!(headers.contains(&(
            b"x-exception-message".as_slice(),
            Some(b"bad time".as_slice())
        )));
        assert_eq!(records[1].headers.len(), 1);
    }

    #[test]
    fn without_a_dead_letter_topic_nothing_is_left() {
        let mut batch = batch(&["2"]);
        let location = batch.locations(0).next().unwrap();
        batch.refuse(location, RefusalReason::TooLarge);
        assert!(dead_letters(&mut batch, &topics(&["even", "odd"])).is_empty());
    }
}
