//! Thread `time` in the role `time`: sends the time at fixed intervals, like Spring's time source. It owns the Kafka producer.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use jiff::ZonedDateTime;

use crate::client;
use crate::client::Topics;
use crate::client::batch::RefusedRecord;
use crate::client::records::HeadersBuffer;
use crate::client::settings::ClientSettings;
use crate::client::{Batch, Client, Producer, Record, Timestamp};
use crate::config::{Pace, TimeSettings};
use crate::error::Error;
use crate::health::Health;
use crate::limits::{ACKNOWLEDGEMENT_POLL, COMMIT_WITHIN, POLL, UNACKNOWLEDGED_AFTER};
use crate::prepare::prepare;
use crate::thread::Stop;
use crate::topic_partition::TopicPartition;

/// Headers of the records of Spring's time source, captured from Spring Boot 3.5 with `spring-time-supplier` 5.1.1.
const HEADERS: [(&str, &[u8]); 2] = [
    ("contentType", b"application/json"),
    (
        "spring_json_header_types",
        br#"{"contentType":"java.lang.String"}"#,
    ),
];

/// Timestamps that wait for the producer while brokers are unavailable; the source stops taking the time at this number.
const MAX_PENDING: usize = 1024;

/// Bytes of encoded timestamps in a batch: below Kafka's usual limit of 1 MB, and more than [`MAX_PENDING`] timestamps ever have.
const PENDING_BYTES: usize = 512 * 1024;

/// Body of the thread. Runs until a stop is requested, or fails. It sends at most `limit` timestamps.
pub(crate) fn run<C: Client>(
    client_settings: &ClientSettings,
    settings: &TimeSettings,
    limit: Option<u64>,
    health: &Health,
    stop: &Stop,
) -> Result<(), Error> {
    let topics = Topics {
        inputs: Vec::new(),
        outputs: vec![settings.output.clone()],
    };
    let producer = C::producer(client_settings, &settings.producer, &topics, "time", None)?;
    send(producer, settings, limit, health, stop)
}

fn send<P: Producer>(
    producer: P,
    settings: &TimeSettings,
    limit: Option<u64>,
    health: &Health,
    stop: &Stop,
) -> Result<(), Error> {
    let mut source = Source {
        producer,
        settings,
        limit,
        health,
        pending: Batch::new(PENDING_BYTES),
        unacknowledged_since: None,
        is_waiting_logged: false,
    };
    health.set_unavailable("no broker has answered yet");
    prepare(health, stop, || source.producer.prepare())?;
    health.set_joined();
    source.run(stop)?;
    source.drain(stop)
}

struct Source<'a, P: Producer> {
    producer: P,
    settings: &'a TimeSettings,
    limit: Option<u64>,
    health: &'a Health,
    /// Timestamps that the producer has no room for yet, at most [`MAX_PENDING`].
    pending: Batch,
    /// Time of the last acknowledgement, or of the first batch sent after that; `None` if nothing is in flight.
    unacknowledged_since: Option<Instant>,
    /// The missing acknowledgements have already been logged.
    is_waiting_logged: bool,
}

impl<P: Producer> Source<'_, P> {
    fn run(&mut self, stop: &Stop) -> Result<(), Error> {
        let mut due = Instant::now() + self.settings.poller.initial_delay;
        let mut taken = 0;
        while !stop.is_set() {
            let is_complete = self.limit.is_some_and(|limit| taken >= limit);
            let mut wait = POLL;
            if !is_complete && self.pending.len() < MAX_PENDING {
                if Instant::now() >= due {
                    self.take_time()?;
                    taken += 1;
                    due = match self.settings.poller.pace {
                        Pace::FixedDelay(delay) => Instant::now() + delay,
                        Pace::FixedRate(period) => due + period,
                    };
                }
                wait = wait.min(due.saturating_duration_since(Instant::now()));
            }
            self.send()?;
            self.producer.poll(wait)?;
            self.take_delivered()?;
        }
        Ok(())
    }

    /// Appends the current time to the pending batch.
    fn take_time(&mut self) -> Result<(), Error> {
        let now = ZonedDateTime::now();
        let mut value = String::new();
        self.settings
            .format
            .format(&now, &mut value)
            .map_err(|_| Error::Time)?;
        let headers = HeadersBuffer::from_pairs(&HEADERS);
        let record = Record {
            partition: TopicPartition {
                topic: 0,
                partition: 0,
            },
            offset: 0,
            timestamp: Some(Timestamp::CreateTime(now.timestamp().as_millisecond())),
            key: None,
            value: Some(value.as_bytes()),
            headers: headers.headers(),
        };
        self.pending.push(0, b"", &record);
        Ok(())
    }

    fn send(&mut self) -> Result<(), Error> {
        if !self.pending.is_empty() && self.producer.accepts() {
            self.unacknowledged_since.get_or_insert_with(Instant::now);
            let pending = std::mem::replace(&mut self.pending, Batch::new(PENDING_BYTES));
            self.producer.send(pending)?;
        }
        Ok(())
    }

    /// Counts acknowledged timestamps, and logs a warning if acknowledgements are missing.
    fn take_delivered(&mut self) -> Result<(), Error> {
        while let Some(batch) = self.producer.delivered() {
            if let Some(RefusedRecord { reason, .. }) = batch.refused.first() {
                return Err(client::Error::Kafka {
                    operation: "produce",
                    reason: format!(
                        "topic {} rejected the record: {reason}",
                        self.settings.output
                    ),
                }
                .into());
            }
            self.health.sent.fetch_add(batch.len() as u64, Relaxed);
            self.unacknowledged_since = (self.producer.in_flight() > 0).then(Instant::now);
            if std::mem::take(&mut self.is_waiting_logged) {
                log::info!("topic {}: acknowledging again", self.settings.output);
                self.health.set_available();
            }
        }
        if !self.is_waiting_logged
            && self
                .unacknowledged_since
                .is_some_and(|since| since.elapsed() >= UNACKNOWLEDGED_AFTER)
        {
            let reason = format!(
                "topic {}: nothing acknowledged for {UNACKNOWLEDGED_AFTER:?}",
                self.settings.output
            );
            log::warn!("{reason}, retrying");
            self.health.set_unavailable(&reason);
            self.is_waiting_logged = true;
        }
        Ok(())
    }

    /// Sends the pending timestamps and waits for the acknowledgements until the stop deadline.
    fn drain(&mut self, stop: &Stop) -> Result<(), Error> {
        let deadline = stop.deadline_minus(COMMIT_WITHIN);
        while self.unacknowledged() > 0 && Instant::now() < deadline {
            self.send()?;
            self.producer.poll(ACKNOWLEDGEMENT_POLL)?;
            self.take_delivered()?;
        }
        match self.unacknowledged() {
            0 => Ok(()),
            count => Err(Error::Undelivered {
                thread: "time",
                count,
            }),
        }
    }

    /// Returns the number of unacknowledged batches.
    fn unacknowledged(&self) -> usize {
        self.producer.in_flight() + usize::from(!self.pending.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::NotReady;
    use crate::client::settings::ProducerSettings;
    use crate::config::Poller;
    use crate::date_pattern::DatePattern;

    /// A producer without available brokers: it accepts no batch. It stops the source at the first wait of the full poll time.
    struct Unavailable {
        stop: Stop,
        polls: usize,
    }

    impl Producer for &mut Unavailable {
        fn prepare(&mut self) -> Result<(), NotReady> {
            Ok(())
        }

        fn send(&mut self, _batch: Batch) -> Result<(), client::Error> {
            Err(client::Error::Aborted("a batch was sent".to_owned()))
        }

        fn accepts(&self) -> bool {
            false
        }

        fn poll(&mut self, timeout: Duration) -> Result<(), client::Error> {
            self.polls += 1;
            if timeout == POLL {
                self.stop.begin(Instant::now());
            }
            Ok(())
        }

        fn delivered(&mut self) -> Option<Batch> {
            None
        }

        fn in_flight(&self) -> usize {
            0
        }
    }

    #[test]
    fn pending_timestamps_are_bounded() {
        let settings = TimeSettings {
            output: "timeDest".to_owned(),
            format: DatePattern::default(),
            poller: Poller {
                initial_delay: Duration::ZERO,
                pace: Pace::FixedRate(Duration::from_nanos(1)),
            },
            producer: ProducerSettings::default(),
        };
        let stop = Stop::default();
        let mut producer = Unavailable {
            stop: stop.clone(),
            polls: 0,
        };
        let ended = send(&mut producer, &settings, None, &Health::default(), &stop);
        assert!(
            matches!(ended, Err(Error::Undelivered { count: 1, .. })),
            "{ended:?}"
        );
        // One poll for each pending timestamp, and one that waits.
        assert_eq!(producer.polls, MAX_PENDING + 1);
    }
}
