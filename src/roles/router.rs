//! Thread `consumer` in the role `router`: applies the rule to each record and appends it to the batch of its output.

use std::ops::ControlFlow;
use std::time::Instant;

use crate::client::Record;
use crate::client::Topics;
use crate::config::Invalid;
use crate::consumer::{Handler, PollBatch};
use crate::dead_letter;
use crate::destinations;
use crate::error::Error;
use crate::route::{self, Output, Reason, Route};
use crate::throttle::{Throttle, WARNING_INTERVAL, more_suppressed};

/// Handler of the role `router`.
pub(crate) struct Router<'a> {
    topics: &'a Topics,
    invalid: &'a Invalid,
    poll_batch_bytes: usize,
    warnings: Throttle,
}

impl<'a> Router<'a> {
    /// Creates the handler. A poll batch ends when the encoded records of both outputs have `poll_batch_bytes`.
    pub(crate) fn new(topics: &'a Topics, invalid: &'a Invalid, poll_batch_bytes: usize) -> Self {
        Self {
            topics,
            invalid,
            poll_batch_bytes,
            warnings: Throttle::new(WARNING_INTERVAL),
        }
    }
}

impl Handler for Router<'_> {
    #[inline]
    fn handle(
        &mut self,
        record: &Record<'_>,
        poll_batch: &mut PollBatch,
    ) -> Result<ControlFlow<()>, Error> {
        match route::route(record.value) {
            Route::To(Output::Even) => {
                poll_batch
                    .even
                    .push(destinations::EVEN, Output::Even.prefix(), record)
            }
            Route::To(Output::Odd) => {
                poll_batch
                    .odd
                    .push(destinations::ODD, Output::Odd.prefix(), record)
            }
            Route::Skip => poll_batch.skip(record.partition),
            Route::Invalid(reason) => self.invalid(reason, record, poll_batch)?,
        }
        let is_full = poll_batch.even.bytes() + poll_batch.odd.bytes() >= self.poll_batch_bytes;
        Ok(if is_full {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    fn complete(&mut self, _poll_batch: &PollBatch) -> Result<(), Error> {
        // The producer threads count the records when they are delivered.
        Ok(())
    }
}

impl Router<'_> {
    #[cold]
    fn invalid(
        &mut self,
        reason: Reason,
        record: &Record<'_>,
        poll_batch: &mut PollBatch,
    ) -> Result<(), Error> {
        let (partition, offset) = (record.partition, record.offset);
        let topic = self.topics.input(partition.topic);
        let reason = reason.text();
        let action = match self.invalid {
            Invalid::Fail => {
                return Err(Error::Invalid {
                    topic: topic.to_owned(),
                    partition: partition.partition,
                    offset,
                    reason,
                });
            }
            Invalid::Skip => {
                poll_batch.skip(partition);
                "skipping it"
            }
            Invalid::DeadLetter(_) => {
                let Some(output) = destinations::dead_letter(self.topics, partition.topic) else {
                    return Err(crate::client::Error::Kafka {
                        operation: "produce",
                        reason: format!("no dead-letter topic is configured for {topic}"),
                    }
                    .into());
                };
                let headers = dead_letter::headers(record, self.topics, reason);
                let letter = Record {
                    headers: headers.headers(),
                    ..*record
                };
                poll_batch.odd.push(output, b"", &letter);
                "sending it to the dead-letter topic"
            }
        };
        if let Some(suppressed) = self.warnings.admit(Instant::now()) {
            log::warn!(
                "{}: cannot route the record at offset {offset}: {reason}, {action}{}",
                self.topics.partition_name(partition),
                more_suppressed(suppressed)
            );
        }
        Ok(())
    }
}
