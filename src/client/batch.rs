//! A batch of records on its way from the consumer to a producer: keys and values in one contiguous buffer, so that a record costs
//! one copy and no allocation. It travels back empty-handed once it is delivered, and its buffers are used again.

use std::fmt;

use super::{Headers, Record, Timestamp};
use crate::dead_letter;
use crate::offsets::{Round, TopicPartition};
use crate::topics::{Output, Topics};

/// Routed records of one round, in the order in which they were read.
#[derive(Debug)]
pub(crate) struct Batch<H> {
    /// The round it belongs to.
    pub(crate) round: Round,
    /// Records that the broker refused for good: their index, and why. Filled by the producer.
    pub(crate) refused: Vec<(usize, Refusal)>,
    bytes: Vec<u8>,
    entries: Vec<Entry<H>>,
}

/// Why a record was refused for good.
#[cfg_attr(
    not(feature = "librdkafka"),
    allow(dead_code, reason = "of the two clients only librdkafka needs it")
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is larger than the topic's `max.message.bytes`.
    TooLarge,
    /// Another reason that lies in the record, in the client's words.
    Invalid(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("larger than the topic's max.message.bytes"),
            Self::Invalid(reason) => f.write_str(reason),
        }
    }
}

/// Where a record's parts lie in the buffer, and what is no bytes.
#[derive(Debug)]
struct Entry<H> {
    output: Output,
    origin: Origin,
    headers: Option<H>,
    /// Where its bytes begin: key, then prefix, then value.
    start: usize,
    key: Option<usize>,
    prefix: usize,
    value: usize,
}

/// Where a record was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Topic and partition.
    pub(crate) partition: TopicPartition,
    /// Offset.
    pub(crate) offset: i64,
    /// Time, where the client has it.
    pub(crate) timestamp: Option<Timestamp>,
}

/// A record to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outgoing<'a> {
    /// Topic to write to.
    pub(crate) output: Output,
    /// Where it was read.
    pub(crate) origin: Origin,
    /// Its key, as it was read.
    pub(crate) key: Option<&'a [u8]>,
    /// Its value, prefix included.
    pub(crate) value: &'a [u8],
}

impl<H> Default for Batch<H> {
    fn default() -> Self {
        Self {
            round: 0,
            refused: Vec::new(),
            bytes: Vec::new(),
            entries: Vec::new(),
        }
    }
}

impl<H: Headers> Batch<H> {
    /// Appends a record: `prefix`, then its value, to `output`.
    pub(crate) fn push(&mut self, output: Output, prefix: &[u8], record: Record<'_, H>) {
        let value = record.value.unwrap_or_default();
        let entry = Entry {
            output,
            origin: Origin {
                partition: record.partition,
                offset: record.offset,
                timestamp: record.timestamp,
            },
            headers: record.headers,
            start: self.bytes.len(),
            key: record.key.map(<[u8]>::len),
            prefix: prefix.len(),
            value: value.len(),
        };
        self.bytes.extend_from_slice(record.key.unwrap_or_default());
        self.bytes.extend_from_slice(prefix);
        self.bytes.extend_from_slice(value);
        self.entries.push(entry);
    }

    /// The record at `index`, if there is one.
    pub(crate) fn get(&self, index: usize) -> Option<Outgoing<'_>> {
        self.entries.get(index).map(|entry| self.outgoing(entry))
    }

    /// All records, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Outgoing<'_>> {
        self.entries.iter().map(|entry| self.outgoing(entry))
    }

    /// Takes the headers of the record at `index`: a client moves them into its own record.
    #[cfg_attr(
        not(feature = "librdkafka"),
        allow(dead_code, reason = "of the two clients only librdkafka has headers")
    )]
    pub(crate) fn take_headers(&mut self, index: usize) -> Option<H> {
        self.entries
            .get_mut(index)
            .and_then(|entry| entry.headers.take())
    }

    /// Gives them back: the client could not take the record yet.
    pub(crate) fn put_headers(&mut self, index: usize, headers: Option<H>) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.headers = headers;
        }
    }

    /// Records in it.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Notes that the broker refused the record at `index` for good; its headers come back, for the dead letter.
    pub(crate) fn refuse(&mut self, index: usize, reason: Refusal, headers: Option<H>) {
        self.put_headers(index, headers);
        self.refused.push((index, reason));
    }

    /// Turns the batch into one of its refused records only, each as it was read, and bound for the dead-letter topic of its input topic.
    /// The headers of a dead letter come along where they do not make a record that was too large even larger. Without such a topic
    /// nothing is left.
    pub(crate) fn retarget_refused(&mut self, topics: &Topics) {
        let mut refused = std::mem::take(&mut self.refused);
        refused.sort_by_key(|&(index, _)| index);
        let mut refused = refused.into_iter().peekable();
        let mut index = 0;
        self.entries.retain_mut(|entry| {
            let here = refused.next_if(|&(refused, _)| refused == index);
            index += 1;
            let output = topics.dead_letter(entry.origin.partition.topic);
            let (Some((_, reason)), Some(output)) = (here, output) else {
                return false;
            };
            entry.output = output;
            if let Refusal::Invalid(reason) = reason {
                entry.headers =
                    dead_letter::headers(entry.headers.take(), entry.origin, topics, &reason);
            }
            // Without its prefix the value follows the key again: the key moves up to it.
            let key = entry.start..entry.start + entry.key.unwrap_or_default();
            entry.start += entry.prefix;
            entry.prefix = 0;
            self.bytes.copy_within(key, entry.start);
            true
        });
    }

    /// Empties it, but keeps its buffers for the next round; an outsized one is given back.
    pub(crate) fn clear(&mut self, keep_bytes: usize) {
        self.entries.clear();
        self.refused.clear();
        self.bytes.clear();
        if self.bytes.capacity() > keep_bytes {
            self.bytes.shrink_to(keep_bytes);
        }
    }

    fn outgoing(&self, entry: &Entry<H>) -> Outgoing<'_> {
        let key_end = entry.start + entry.key.unwrap_or_default();
        let end = key_end + entry.prefix + entry.value;
        Outgoing {
            output: entry.output,
            origin: entry.origin,
            key: entry
                .key
                .map(|_| self.bytes.get(entry.start..key_end).unwrap_or_default()),
            value: self.bytes.get(key_end..end).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// Headers as a plain list.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    pub(crate) struct Listed(pub(crate) Vec<(String, Vec<u8>)>);

    impl Headers for Listed {
        fn and(headers: Option<Self>, name: &str, value: &[u8]) -> Option<Self> {
            let mut headers = headers.unwrap_or_default();
            headers.0.push((name.to_owned(), value.to_owned()));
            Some(headers)
        }

        fn each<'a>(&'a self, mut take: impl FnMut(&'a str, Option<&'a [u8]>)) {
            for (name, value) in &self.0 {
                take(name, Some(value));
            }
        }
    }

    fn topics() -> Topics {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Topics {
            inputs: names(&["in"]),
            outputs: names(&["even", "odd", "error.in.group"]),
        }
    }

    fn push(batch: &mut Batch<Listed>, offset: i64, key: Option<&str>, value: &str) {
        let record = Record {
            partition: TopicPartition {
                topic: 0,
                partition: 3,
            },
            offset,
            timestamp: Some(Timestamp::CreateTime(1)),
            key: key.map(str::as_bytes),
            value: Some(value.as_bytes()),
            headers: Listed::and(None, "own", b"1"),
        };
        batch.push(Topics::EVEN, b"Even timestamp: ", record);
    }

    #[track_caller]
    fn check(batch: &Batch<Listed>, expected: &[(Output, Option<&str>, &str)]) {
        let found: Vec<_> = batch
            .iter()
            .map(|record| (record.output, record.key, record.value))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(output, key, value)| (*output, key.map(str::as_bytes), value.as_bytes()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let mut batch = Batch::default();
        push(&mut batch, 1, None, "2");
        push(&mut batch, 2, Some(""), "4");
        push(&mut batch, 3, Some("key"), "6");
        let expected = [
            (0, None, "Even timestamp: 2"),
            (0, Some(""), "Even timestamp: 4"),
            (0, Some("key"), "Even timestamp: 6"),
        ];
        check(&batch, &expected);
        assert_eq!(
            (batch.len(), batch.bytes(), batch.get(3)),
            (3, 3 * 17 + 3, None)
        );
        batch.clear(1 << 20);
        assert!(batch.is_empty());
    }

    #[test]
    fn refused_records_become_dead_letters() {
        let mut batch = Batch::default();
        push(&mut batch, 1, Some("a"), "2");
        push(&mut batch, 2, None, "4");
        push(&mut batch, 3, Some("a longer key than the prefix"), "6");
        push(&mut batch, 4, None, "8");
        let headers = batch.take_headers(2);
        batch.refuse(2, Refusal::TooLarge, headers);
        let headers = batch.take_headers(1);
        batch.refuse(1, Refusal::Invalid("bad time".to_owned()), headers);
        batch.retarget_refused(&topics());
        check(
            &batch,
            &[
                (2, None, "4"),
                (2, Some("a longer key than the prefix"), "6"),
            ],
        );
        assert!(batch.refused.is_empty());
        let headers = batch.take_headers(0).unwrap().0;
        assert_eq!(headers[0], ("own".to_owned(), b"1".to_vec()));
        assert!(headers.contains(&("x-exception-message".to_owned(), b"bad time".to_vec())));
        assert_eq!(batch.take_headers(1).unwrap().0.len(), 1);
    }

    #[test]
    fn without_a_dead_letter_topic_nothing_is_left() {
        let mut batch = Batch::default();
        push(&mut batch, 1, None, "2");
        batch.refuse(0, Refusal::TooLarge, None);
        let mut topics = topics();
        topics.outputs.truncate(2);
        batch.retarget_refused(&topics);
        assert!(batch.is_empty());
    }
}
