//! Thread `consumer` in the role `log`: writes each record to standard output, like Spring's log sink.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::str;
use std::time::Instant;

use crate::client::Topics;
use crate::client::settings::{ClientSettings, GroupId};
use crate::client::{Client, Record};
use crate::config::LogSettings;
use crate::consumer::{self, ConsumerChannels, Handler, PollBatch};
use crate::counters::Outcome;
use crate::error::Error;
use crate::expression::Message;
use crate::health::Health;
use crate::thread::Stop;

/// Bytes of buffered lines after which they are written.
const MAX_BUFFERED: usize = 256 * 1024;

/// Body of the thread. Runs until a stop is requested, or fails. `line` formats the line for the text of a record.
pub(crate) fn run<C: Client>(
    client_settings: &ClientSettings,
    settings: &LogSettings,
    line: impl Fn(&mut Vec<u8>, &str),
    health: &Health,
    stop: &Stop,
) -> Result<(), Error> {
    let topics = Topics {
        inputs: settings.input.topics.clone(),
        outputs: Vec::new(),
    };
    let consumer = C::consumer(client_settings, &settings.input, &topics, None)?;
    let printer = Printer {
        settings,
        topics: &topics,
        health,
        line,
        text: String::new(),
        lines: Vec::new(),
    };
    let group = &settings.input.group;
    consumer::run(
        consumer,
        ConsumerChannels::closed(C::bounds(client_settings)),
        printer,
        group,
        &topics,
        health,
        stop,
    )
}

/// Handler of the role `log`. The lines of a poll batch are written by one system call, before its offsets can be committed.
struct Printer<'a, L> {
    settings: &'a LogSettings,
    topics: &'a Topics,
    health: &'a Health,
    line: L,
    text: String,
    lines: Vec<u8>,
}

impl<L: Fn(&mut Vec<u8>, &str)> Handler for Printer<'_, L> {
    fn handle(
        &mut self,
        record: &Record<'_>,
        _poll_batch: &mut PollBatch,
    ) -> Result<ControlFlow<()>, Error> {
        self.text.clear();
        let message = Received {
            record,
            topics: self.topics,
            group: &self.settings.input.group,
        };
        self.settings.expression.evaluate(&message, &mut self.text);
        (self.line)(&mut self.lines, &self.text);
        Ok(if self.lines.len() >= MAX_BUFFERED {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    fn complete(&mut self, poll_batch: &PollBatch) -> Result<(), Error> {
        // The offsets of records that cannot be written stay uncommitted, so that another instance can print them.
        let mut out = io::stdout();
        out.write_all(&self.lines)
            .and_then(|()| out.flush())
            .map_err(|source| Error::System {
                what: "write to standard output",
                source,
            })?;
        self.lines.clear();
        self.lines.shrink_to(MAX_BUFFERED);
        let now = Instant::now();
        let mut counters = self.health.counters();
        for progress in poll_batch.progress() {
            counters.add_outcome(progress.partition, Outcome::Printed, progress.read, now);
        }
        Ok(())
    }
}

/// A record as a Spring message: its own headers, and those that Spring derives from its other fields
/// (`org.springframework.kafka.support.KafkaHeaders`).
struct Received<'a> {
    record: &'a Record<'a>,
    topics: &'a Topics,
    group: &'a GroupId,
}

impl Message for Received<'_> {
    fn payload(&self) -> Cow<'_, str> {
        self.record.value.map_or(Cow::Borrowed("null"), text_or_hex)
    }

    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        // The last of several headers with one name counts, as with Kafka's `lastHeader`.
        self.headers()
            .into_iter()
            .rev()
            .find_map(|(found, value)| (found == name).then_some(value))
    }

    fn headers(&self) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        let mut headers: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
        for (name, value) in self.record.headers.iter() {
            headers.push((
                String::from_utf8_lossy(name),
                value.map_or("null".into(), text_or_hex),
            ));
        }
        let partition = self.record.partition;
        headers.push((
            "kafka_receivedTopic".into(),
            self.topics.input(partition.topic).into(),
        ));
        headers.push((
            "kafka_receivedPartitionId".into(),
            partition.partition.to_string().into(),
        ));
        headers.push(("kafka_offset".into(), self.record.offset.to_string().into()));
        if let Some(timestamp) = self.record.timestamp {
            headers.push((
                "kafka_receivedTimestamp".into(),
                timestamp.millis().to_string().into(),
            ));
        }
        if let Some(key) = self.record.key {
            headers.push(("kafka_receivedMessageKey".into(), text_or_hex(key)));
        }
        if let GroupId::Named(group) = self.group {
            headers.push(("kafka_groupId".into(), group.as_str().into()));
        }
        headers
    }
}

/// Returns the bytes as text if they are UTF-8 without control characters other than white space, and in hexadecimal otherwise.
fn text_or_hex(bytes: &[u8]) -> Cow<'_, str> {
    let printable = |letter: char| !letter.is_control() || matches!(letter, '\t' | '\n' | '\r');
    match str::from_utf8(bytes) {
        Ok(text) if text.chars().all(printable) => Cow::Borrowed(text),
        _ => {
            let mut hex = String::with_capacity(2 * bytes.len());
            for byte in bytes {
                // Writing to a String does not fail.
                let _ = write!(hex, "{byte:02x}");
            }
            Cow::Owned(hex)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::client::Timestamp;
    use crate::client::records::HeadersBuffer;
    use crate::expression::Expression;
    use crate::topic_partition::TopicPartition;

    #[track_caller]
    fn check(expression: &str, value: Option<&[u8]>, expected: &str) {
        let topics = Topics {
            inputs: vec!["evenDest".to_owned()],
            outputs: Vec::new(),
        };
        let headers = HeadersBuffer::from_pairs(&[("a", b"b"), ("a", b"\0\x01")]);
        let record = Record {
            partition: TopicPartition {
                topic: 0,
                partition: 2,
            },
            offset: 7,
            timestamp: Some(Timestamp::CreateTime(99)),
            key: Some(b"\xff"),
            value,
            headers: headers.headers(),
        };
        let message = Received {
            record: &record,
            topics: &topics,
            group: &GroupId::Named("g".to_owned()),
        };
        let mut text = String::new();
        Expression::parse(expression)
            .unwrap()
            .evaluate(&message, &mut text);
        assert_eq!(text, expected);
    }

    #[test]
    fn payloads() {
        check(
            "payload",
            Some(b"Even timestamp: 11/24/26"),
            "Even timestamp: 11/24/26",
        );
        check("payload", Some("é\tß\n".as_bytes()), "é\tß\n");
        check("payload", Some(b""), "");
        check("payload", Some(b"\xff\x00A"), "ff0041");
        check("payload", Some(b"a\x1b[31m"), "611b5b33316d");
        check("payload", None, "null");
    }

    #[test]
    fn headers() {
        check("headers.a", None, "0001");
        check(
            "headers",
            None,
            "{a=b, a=0001, kafka_receivedTopic=evenDest, kafka_receivedPartitionId=2, kafka_offset=7, \
             kafka_receivedTimestamp=99, kafka_receivedMessageKey=ff, kafka_groupId=g}",
        );
    }
}
