//! Reads the settings of the consumer. No I/O.

use super::assignors::{self, ASSIGNORS};
use super::given::{KafkaSettings, Lookup};
use super::instances;
use super::librdkafka;
use super::prefix::Prefix;
use crate::client::settings::{AssignorName, ConsumerSettings, GroupProtocol, Isolation};
use crate::config::ClientKind;
use crate::config::kind::is_topic_name;
use crate::config::reader::Reader;

const HEARTBEAT: &str = "heartbeat.interval.ms";
const INSTANCE_ID: &str = "group.instance.id";
const PROTOCOL: &str = "group.protocol";
const SESSION_TIMEOUT: &str = "session.timeout.ms";

/// Reads how the binding `input` is consumed.
pub(in crate::config) fn consumer_settings(
    reader: &mut Reader<'_>,
    settings: &KafkaSettings,
) -> ConsumerSettings {
    let given = settings.under(&Prefix::CONSUMER);
    let default = ConsumerSettings::default();
    let consumer = ConsumerSettings {
        session_timeout: given.millis(reader, SESSION_TIMEOUT, default.session_timeout),
        heartbeat_interval: given.millis(reader, HEARTBEAT, default.heartbeat_interval),
        rebalance_timeout: given.millis(reader, "max.poll.interval.ms", default.rebalance_timeout),
        assignors: given
            .parsed(reader, ASSIGNORS, assignors::parse)
            .unwrap_or(default.assignors),
        group_instance_id: given.parsed(reader, INSTANCE_ID, |text| {
            is_topic_name(text).then(|| text.to_owned())
        }),
        group_protocol: match given.word(reader, PROTOCOL).as_deref() {
            Some("classic") => GroupProtocol::Classic,
            Some("consumer") => GroupProtocol::Consumer,
            _ => default.group_protocol,
        },
        fetch_max_wait: given.millis(reader, "fetch.max.wait.ms", default.fetch_max_wait),
        fetch_min_bytes: given
            .number(reader, "fetch.min.bytes")
            .unwrap_or(default.fetch_min_bytes),
        fetch_max_bytes: given.number(reader, "fetch.max.bytes"),
        max_partition_fetch_bytes: given.number(reader, "max.partition.fetch.bytes"),
        isolation: match given.word(reader, "isolation.level").as_deref() {
            Some("read_committed") => Isolation::ReadCommitted,
            Some("read_uncommitted") => Isolation::ReadUncommitted,
            _ => default.isolation,
        },
        check_crcs: given
            .boolean(reader, "check.crcs")
            .unwrap_or(default.check_crcs),
        manual_assignment: instances::share(reader, settings.client),
        librdkafka: librdkafka::pairs(settings, &Prefix::CONSUMER),
    };
    check_heartbeat(reader, given, &consumer);
    if consumer.manual_assignment.is_some() {
        warn_about_group(reader, given);
    } else {
        check_group(reader, given, settings.client, &consumer);
    }
    consumer
}

/// Reads `auto.offset.reset` as a word in lower case.
pub(in crate::config) fn auto_offset_reset(
    reader: &mut Reader<'_>,
    settings: &KafkaSettings,
) -> Option<String> {
    const NAME: &str = "auto.offset.reset";
    let given = settings.under(&Prefix::CONSUMER);
    if let Some(reset) = given.find(NAME).filter(|reset| reset.is("none")) {
        reader.problem(
            reset,
            "with none a group without committed offsets cannot start; allowed: earliest or latest",
        );
        return None;
    }
    given.word(reader, NAME)
}

fn check_heartbeat(reader: &mut Reader<'_>, given: Lookup<'_>, consumer: &ConsumerSettings) {
    if consumer.heartbeat_interval >= consumer.session_timeout
        && let Some(setting) = given
            .find(HEARTBEAT)
            .or_else(|| given.find(SESSION_TIMEOUT))
    {
        let message = format!(
            "{HEARTBEAT} is {:?} and {SESSION_TIMEOUT} is {:?}; allowed: a heartbeat interval shorter than the session timeout",
            consumer.heartbeat_interval, consumer.session_timeout
        );
        reader.problem(setting, message);
    }
}

/// Warns about settings of a group's member, which have no effect without a group.
fn warn_about_group(reader: &mut Reader<'_>, given: Lookup<'_>) {
    for name in [ASSIGNORS, INSTANCE_ID, PROTOCOL] {
        if let Some(setting) = given.find(name) {
            reader.no_effect(
                setting,
                "with autoRebalanceEnabled=false the consumer is not a member of a group",
            );
        }
    }
}

/// Checks settings of a group's member that exclude each other, or that the client does not support.
fn check_group(
    reader: &mut Reader<'_>,
    given: Lookup<'_>,
    client: ClientKind,
    consumer: &ConsumerSettings,
) {
    if consumer.group_protocol == GroupProtocol::Consumer {
        for name in [SESSION_TIMEOUT, HEARTBEAT, ASSIGNORS] {
            if let Some(setting) = given.find(name) {
                let message = format!(
                    "with {PROTOCOL}=consumer the broker decides on {name}; allowed: to leave it out"
                );
                reader.problem(setting, message);
            }
        }
    }
    if let (Some(setting), ClientKind::Kafka) = (given.find(INSTANCE_ID), client) {
        let message = format!(
            "the client kafka does not support group membership; allowed: {}",
            ClientKind::KAFKA_ALTERNATIVES
        );
        reader.problem(setting, message);
    }
    let is_sticky = consumer
        .assignors
        .contains(&AssignorName::CooperativeSticky);
    if let (true, 2.., Some(setting), ClientKind::Librdkafka) = (
        is_sticky,
        consumer.assignors.len(),
        given.find(ASSIGNORS),
        client,
    ) {
        reader.problem(
            setting,
            "the client librdkafka accepts cooperative-sticky only as the single assignor; allowed: cooperative-sticky, a list without it, or parity-router.client=native",
        );
    }
}
