//! Reads the bindings: topics, consumer group and dead-letter topics. No I/O.

use std::time::Duration;

use super::Invalid;
use super::kafka_settings::consumer;
use super::kafka_settings::given::KafkaSettings;
use super::kind::{TOPIC_CHARACTERS, is_topic_name};
use super::reader::{Given, Reader};
use super::table::{self, Property};
use crate::client::settings::{GroupId, StartOffset, Subscription};

/// Reads the binding `input`. `default_group` is the consumer group if none is given.
pub(super) fn subscription(
    reader: &mut Reader<'_>,
    settings: &KafkaSettings,
    default_group: &str,
) -> Subscription {
    let topics = inputs(reader);
    let group = group(reader, default_group);
    let start_offset = start_offset(reader, settings, &group);
    Subscription {
        topics,
        group,
        start_offset,
        consumer: consumer::consumer_settings(reader, settings),
    }
}

fn inputs(reader: &mut Reader<'_>) -> Vec<String> {
    let Some(given) = reader.value(&table::INPUT_DESTINATION) else {
        return Vec::new();
    };
    let mut topics: Vec<String> = Vec::new();
    for topic in given.text.split(',').map(str::trim) {
        check_topic(reader, &given, topic);
        if topics.iter().any(|other| other == topic) {
            reader.warn(format!(
                "{} names topic {topic:?} twice; it is read once",
                given.shown()
            ));
        } else {
            topics.push(topic.to_owned());
        }
    }
    topics
}

/// Reads the topic of an output binding. It must not be one of the `inputs`.
pub(super) fn output(reader: &mut Reader<'_>, property: &Property, inputs: &[String]) -> String {
    let Some(given) = reader.value(property) else {
        return String::new();
    };
    let topic = given.trimmed();
    check_topic(reader, &given, topic);
    if inputs.iter().any(|input| input == topic) {
        let message = format!(
            "topic {topic:?} is both an input ({}) and an output, which would route records in a loop; allowed: a topic that is not an input",
            table::INPUT_DESTINATION.name
        );
        reader.problem(&given, message);
    }
    topic.to_owned()
}

fn group(reader: &mut Reader<'_>, default: &str) -> GroupId {
    match reader.given(&table::INPUT_GROUP) {
        None => GroupId::Named(default.to_owned()),
        // Data Flow's stream language writes an empty value as two quotes, with or without a backslash.
        Some(given) if matches!(given.trimmed(), "" | "\"\"" | "\\\"\\\"" | "''") => {
            GroupId::Anonymous
        }
        Some(given) => GroupId::Named(given.trimmed().to_owned()),
    }
}

/// Reads where a group without committed offsets starts: Spring's property, else Kafka's `auto.offset.reset`, else Spring's default, by
/// which a consumer without a group reads only new records.
fn start_offset(reader: &mut Reader<'_>, settings: &KafkaSettings, group: &GroupId) -> StartOffset {
    let word = match reader.is_given(&table::START_OFFSET) {
        true => reader.word(&table::START_OFFSET),
        false => consumer::auto_offset_reset(reader, settings),
    };
    match (word.as_deref(), group) {
        (Some("latest"), _) | (None, GroupId::Anonymous) => StartOffset::Latest,
        (_, _) => StartOffset::Earliest,
    }
}

/// Reads how long a partition may make no progress.
pub(super) fn stall_timeout(reader: &mut Reader<'_>) -> Duration {
    reader.duration(&table::STALL_TIMEOUT).unwrap_or_default()
}

/// Reads what to do with records that cannot be routed. A dead-letter topic must be neither an input nor an output.
pub(super) fn invalid(
    reader: &mut Reader<'_>,
    inputs: &[String],
    outputs: &[&str],
    group: &GroupId,
) -> Invalid {
    match reader.word(&table::INVALID).as_deref() {
        Some("dlq") => (),
        Some("skip") => return Invalid::Skip,
        _ => return Invalid::Fail,
    }
    let is_taken =
        |topic: &str| inputs.iter().any(|input| input == topic) || outputs.contains(&topic);
    if let Some(given) = reader.given(&table::DLQ_NAME) {
        check_dead_letter_topic(reader, &given, is_taken);
        return Invalid::DeadLetter(vec![given.trimmed().to_owned(); inputs.len()]);
    }
    let group = match group {
        GroupId::Named(name) => name,
        GroupId::Anonymous => "anonymous",
    };
    let mut topics = Vec::new();
    for input in inputs {
        let given = Given {
            origin: "default, from destination and group".to_owned(),
            ..Given::by_default(&table::DLQ_NAME, &format!("error.{input}.{group}"))
        };
        // An input that is not a topic name is a problem already.
        if is_topic_name(input) {
            check_dead_letter_topic(reader, &given, is_taken);
        }
        topics.push(given.text);
    }
    Invalid::DeadLetter(topics)
}

fn check_dead_letter_topic(
    reader: &mut Reader<'_>,
    given: &Given,
    is_taken: impl Fn(&str) -> bool,
) {
    let topic = given.trimmed();
    check_topic(reader, given, topic);
    if is_taken(topic) {
        let message = format!(
            "dead-letter topic {topic:?} is also a destination; allowed: a topic of its own"
        );
        reader.problem(given, message);
    }
}

fn check_topic(reader: &mut Reader<'_>, given: &Given, topic: &str) {
    if topic.is_empty() {
        reader.problem(given, "an empty destination; allowed: the name of a topic");
    } else if !is_topic_name(topic) {
        let message = format!("{topic:?} is not a topic name; allowed: {TOPIC_CHARACTERS}");
        reader.problem(given, message);
    }
}
