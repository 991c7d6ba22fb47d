//! Kinds of property values: which texts are allowed, in words for messages and the reference, and as a check. No I/O.

use std::fmt;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// One mebibyte, Spring's and our `MB`.
pub(super) const MEGABYTE: u64 = 1024 * 1024;

/// Largest number of Java's and Kafka's `int`.
pub(super) const MAX_INT: i64 = 2_147_483_647;

/// Longest duration that is accepted; a longer one is a mistake.
const LONGEST_DURATION: Duration = Duration::from_secs(366 * 86_400);

/// In words: a topic name as Kafka accepts it.
pub(super) const TOPIC_CHARACTERS: &str =
    "up to 249 of a-z, A-Z, 0-9, '.', '_' and '-', but not \".\" or \"..\"";

/// Allowed values of a property. `Display` writes them as they appear behind "allowed:" in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// `true` or `false`, in upper or lower case.
    Boolean,
    /// A whole number.
    Number {
        /// The thing that is counted: "a number", "bytes" or "milliseconds".
        unit: &'static str,
        min: i64,
        max: i64,
    },
    /// A whole number, or -1 with a meaning of its own.
    NumberOrMinusOne {
        minus_one: &'static str,
        min: i64,
        max: i64,
    },
    /// One of these words, in upper or lower case.
    Choice(&'static [&'static str]),
    /// A duration in Spring Boot's notation; a plain number is milliseconds.
    Duration { min: Duration },
    /// A size in Spring's `DataSize` notation; a plain number is bytes.
    Size { min: u64, max: u64 },
    /// A format that the property's reader checks, in words.
    Format(&'static str),
}

impl Kind {
    /// Returns whether the text is allowed. `Text` and `Format` allow any: the reader of a `Format` checks it.
    pub(super) fn allows(self, text: &str) -> bool {
        let text = text.trim();
        match self {
            Self::Text | Self::Format(_) => true,
            Self::Boolean => ["true", "false"]
                .iter()
                .any(|word| text.eq_ignore_ascii_case(word)),
            Self::Number { min, max, .. } => text
                .parse::<i64>()
                .is_ok_and(|number| (min..=max).contains(&number)),
            Self::NumberOrMinusOne { min, max, .. } => text
                .parse::<i64>()
                .is_ok_and(|number| number == -1 || (min..=max).contains(&number)),
            // Spring also accepts underscores for the dashes in a word.
            Self::Choice(words) => words.iter().any(|word| {
                text.eq_ignore_ascii_case(word) || text.replace('_', "-").eq_ignore_ascii_case(word)
            }),
            Self::Duration { min } => duration(text, Duration::from_millis(1))
                .is_some_and(|duration| is_duration_within(duration, min)),
            Self::Size { min, max } => {
                data_size(text).is_some_and(|size| (min..=max).contains(&size))
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("any text"),
            Self::Boolean => f.write_str("true or false"),
            Self::Number { unit, min, max } => write!(f, "{unit} from {min} to {max}"),
            Self::NumberOrMinusOne {
                minus_one,
                min,
                max,
            } => write!(f, "-1 for {minus_one}, or a number from {min} to {max}"),
            Self::Choice(words) => f.write_str(&alternatives(words)),
            Self::Duration { min } => write!(
                f,
                "milliseconds or a duration such as 500ms, 10s, 5m or PT10S, from {} to 366 days",
                if min.is_zero() {
                    "0".to_owned()
                } else {
                    format!("{min:?}")
                }
            ),
            Self::Size { min, max } => write!(
                f,
                "bytes or a size such as 16MB, from {} to {}",
                shown_size(*min),
                shown_size(*max)
            ),
            Self::Format(words) => f.write_str(words),
        }
    }
}

fn shown_size(bytes: u64) -> String {
    match bytes / MEGABYTE {
        megabytes if megabytes % 1024 == 0 => format!("{}GB", megabytes / 1024),
        megabytes => format!("{megabytes}MB"),
    }
}

/// Joins words as in "a, b or c".
pub(super) fn alternatives(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
    }
}

/// Returns whether a duration is at least `min` and not absurdly long.
pub(super) fn is_duration_within(duration: Duration, min: Duration) -> bool {
    (min..=LONGEST_DURATION).contains(&duration)
}

/// Parses a number of units, or a duration as Spring Boot does ("Converting Durations"): `500ms`, `10s`, `PT10S`.
pub(super) fn duration(text: &str, unit: Duration) -> Option<Duration> {
    let text = text.trim();
    match text.parse::<u32>() {
        Ok(number) => unit.checked_mul(number),
        Err(_) => {
            let span = text.parse::<Span>().ok()?;
            let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
            Duration::try_from(duration).ok()
        }
    }
}

/// Parses a size in bytes as Spring's `DataSize` does: a number, alone or with a unit of which each is 1,024 of the one before.
pub(super) fn data_size(text: &str) -> Option<u64> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let bytes = match unit.trim_start().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "KB" => 1024,
        "MB" => MEGABYTE,
        "GB" => 1024 * MEGABYTE,
        _ => return None,
    };
    number.checked_mul(bytes)
}

/// Returns whether Kafka accepts the name for a topic (`org.apache.kafka.common.internals.Topic`).
pub(super) fn is_topic_name(name: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=249).contains(&name.len()) && !matches!(name, "." | "..") && name.chars().all(is_legal)
}
