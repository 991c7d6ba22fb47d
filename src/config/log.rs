//! Reads the settings of the log sink. No I/O.

use log::Level;

use super::LogSettings;
use super::bindings;
use super::kafka_settings::given::KafkaSettings;
use super::reader::Reader;
use super::table::{self, DEFAULT_GROUP, DEFAULT_LOGGER};
use crate::expression::Expression;

/// Reads the settings of the log sink.
pub(super) fn log(reader: &mut Reader<'_>, settings: &KafkaSettings) -> LogSettings {
    let default_group = default_group(reader);
    LogSettings {
        input: bindings::subscription(reader, settings, &default_group),
        stall_timeout: bindings::stall_timeout(reader),
        name: logger_name(reader),
        level: level(reader),
        expression: expression(reader),
    }
}

/// Each application of a stream has its own group: two loggers of a stream each print everything, and a rebalance of the router's group does
/// not stop them.
fn default_group(reader: &Reader<'_>) -> String {
    let stream = reader.text(&table::STREAM_NAME);
    let label = reader.text(&table::APP_LABEL);
    match (stream.as_str(), label.as_str()) {
        ("", _) => DEFAULT_GROUP.to_owned(),
        (stream, "") => stream.to_owned(),
        (stream, label) => format!("{stream}.{label}"),
    }
}

fn logger_name(reader: &mut Reader<'_>) -> String {
    reader
        .given(&table::LOG_NAME)
        .or_else(|| reader.given(&table::APPLICATION_NAME))
        .map(|given| given.trimmed().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| DEFAULT_LOGGER.to_owned())
}

/// Reads one of the levels in Spring Integration's `LoggingHandler.Level`.
fn level(reader: &mut Reader<'_>) -> Level {
    match reader.word(&table::LOG_LEVEL).as_deref() {
        Some("fatal" | "error") => Level::Error,
        Some("warn") => Level::Warn,
        Some("debug") => Level::Debug,
        Some("trace") => Level::Trace,
        _ => Level::Info,
    }
}

fn expression(reader: &mut Reader<'_>) -> Expression {
    let Some(given) = reader.value(&table::LOG_EXPRESSION) else {
        return Expression::default();
    };
    Expression::parse(&given.text).unwrap_or_else(|message| {
        reader.problem(&given, message);
        Expression::default()
    })
}
