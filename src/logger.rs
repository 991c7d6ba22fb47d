//! The log: one line per event on standard output, in the format of Spring Boot. Called by all threads.

use std::env;
use std::io::{self, Write};
use std::process;
use std::thread;

use env_logger::{Builder, Target};
use jiff::ZonedDateTime;
use log::{Level, LevelFilter, Record};

use crate::config::table::LOGGING_LEVEL;
use crate::error::Problem;
use crate::properties::Properties;

const LEVEL: &str = LOGGING_LEVEL.name;

/// Starts the logger with the levels of `RUST_LOG`, or else `logging.level.root`, or else `default`.
pub(crate) fn init(properties: &Properties, default: LevelFilter) -> Result<(), Problem> {
    let mut builder = Builder::new();
    builder
        .target(Target::Stdout)
        .format(|out, record| write(out, &ZonedDateTime::now(), record));
    let level = level(properties, default);
    match env::var("RUST_LOG") {
        Ok(filters) if !filters.is_empty() => {
            builder.parse_filters(&filters);
        }
        _ => {
            let root = *level.as_ref().unwrap_or(&default);
            builder.filter_level(root);
            // These crates log each attempt; only their warnings concern an operator.
            for crate_name in ["kafka", "rdkafka"] {
                builder.filter_module(crate_name, root.min(LevelFilter::Warn));
            }
        }
    }
    // This fails only if a logger is already installed.
    let _ = builder.try_init();
    level.map(drop)
}

/// Parses Spring's level names. YAML turns OFF into `false`, and Spring reads `true` as DEBUG.
fn level(properties: &Properties, default: LevelFilter) -> Result<LevelFilter, Problem> {
    let Some(value) = properties.get(LEVEL)? else {
        return Ok(default);
    };
    match value.text.trim().to_ascii_uppercase().as_str() {
        "TRACE" => Ok(LevelFilter::Trace),
        "DEBUG" | "TRUE" => Ok(LevelFilter::Debug),
        "INFO" => Ok(LevelFilter::Info),
        "WARN" => Ok(LevelFilter::Warn),
        "ERROR" | "FATAL" => Ok(LevelFilter::Error),
        "OFF" | "FALSE" => Ok(LevelFilter::Off),
        _ => Err(Problem {
            property: LEVEL.to_owned(),
            origin: value.origin,
            message: format!(
                "{:?} is not allowed; allowed: TRACE, DEBUG, INFO, WARN, ERROR, FATAL or OFF",
                value.text
            ),
        }),
    }
}

/// Returns whether a line of this logger and level is written.
pub(crate) fn is_enabled(name: &str, level: Level) -> bool {
    log::log_enabled!(target: name, level)
}

/// Appends a log line to a buffer if the level is enabled. The log sink writes the buffer itself, so that it can report a failed write.
pub(crate) fn append(lines: &mut Vec<u8>, name: &str, level: Level, text: &str) {
    if is_enabled(name, level) {
        // Writing to a vector does not fail.
        let _ = write(
            lines,
            &ZonedDateTime::now(),
            &Record::builder()
                .target(name)
                .level(level)
                .args(format_args!("{text}"))
                .build(),
        );
    }
}

/// Writes a line as `2026-11-23 17:56:36.241  INFO 1 --- [consumer] parity_router::consumer : …`.
fn write(out: &mut impl Write, now: &ZonedDateTime, record: &Record<'_>) -> io::Result<()> {
    let current = thread::current();
    let message = record.args().to_string();
    // Text from a broker or an argument can contain line breaks, and an event must stay one line.
    let message = if message.contains(char::is_control) {
        message.replace(char::is_control, " ")
    } else {
        message
    };
    writeln!(
        out,
        "{} {:>5} {} --- [{}] {} : {message}",
        now.strftime("%Y-%m-%d %H:%M:%S%.3f"),
        record.level(),
        process::id(),
        current.name().unwrap_or("unnamed"),
        record.target()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    use super::*;

    #[track_caller]
    fn check(level: Level, message: &str, expected: &str) {
        let now: Timestamp = "2026-11-23T17:56:36.241Z".parse().unwrap();
        let now = now.to_zoned_datetime(TimeZone::UTC);
        let mut line = Vec::new();
        write(
            &mut line,
            &now,
            &Record::builder()
                .level(level)
                .target("target")
                .args(format_args!("{message}"))
                .build(),
        )
        .unwrap();
        let line = String::from_utf8(line).unwrap();
        let process = format!(" {} --- [", process::id());
        let (time, rest) = line.split_once(&process).unwrap();
        let (_thread, rest) = rest.split_once("] ").unwrap();
        assert_eq!(format!("{time}|{rest}"), expected);
    }

    #[test]
    fn lines() {
        check(
            Level::Info,
            "started",
            "2026-11-23 17:56:36.241  INFO|target : started\n",
        );
        check(
            Level::Error,
            "a\nb\x1b[31m\r",
            "2026-11-23 17:56:36.241 ERROR|target : a b [31m \n",
        );
    }

    #[test]
    fn levels() {
        let level = |text: &str| {
            let properties = Properties::of_arguments(&[format!("--{LEVEL}={text}")]);
            super::level(&properties, LevelFilter::Info)
        };
        for (text, expected) in [
            ("debug", LevelFilter::Debug),
            ("Fatal", LevelFilter::Error),
            ("false", LevelFilter::Off),
        ] {
            assert_eq!(level(text), Ok(expected));
        }
        assert!(
            level("loud")
                .unwrap_err()
                .to_string()
                .contains("allowed: TRACE")
        );
        assert_eq!(
            super::level(&Properties::default(), LevelFilter::Warn),
            Ok(LevelFilter::Warn)
        );
    }
}
