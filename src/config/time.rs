//! Reads the settings of the time source. No I/O.

use std::time::Duration;

use super::bindings;
use super::kafka_settings::given::KafkaSettings;
use super::kafka_settings::producer;
use super::kind::{self, Kind};
use super::reader::{Given, Reader};
use super::table::{self, DefaultValue, Property};
use super::{Pace, Poller, TimeSettings};
use crate::date_pattern::DatePattern;

/// Reads the settings of the time source.
pub(super) fn time(reader: &mut Reader<'_>, settings: &KafkaSettings) -> TimeSettings {
    TimeSettings {
        output: bindings::output(reader, &table::OUTPUT_DESTINATION, &[]),
        format: date_pattern(reader),
        poller: poller(reader),
        producer: producer::producer_settings(reader, settings, "output"),
    }
}

fn date_pattern(reader: &mut Reader<'_>) -> DatePattern {
    let Some(given) = reader.value(&table::DATE_FORMAT) else {
        return DatePattern::default();
    };
    DatePattern::new(&given.text).unwrap_or_else(|message| {
        reader.problem(&given, message);
        DatePattern::default()
    })
}

fn poller(reader: &mut Reader<'_>) -> Poller {
    for name in table::CRON.names() {
        if let Some(given) = reader.named(name) {
            let message = format!("cron is not supported; allowed: {}", table::CRON.kind);
            reader.problem(&given, message);
        }
    }
    let pace = match reader.given(&table::FIXED_RATE) {
        None => Pace::FixedDelay(delay(reader, &table::FIXED_DELAY)),
        Some(given) => {
            if reader.given(&table::FIXED_DELAY).is_some() {
                reader.problem(
                    &given,
                    "fixed-delay is given as well; allowed: one of the two",
                );
            }
            Pace::FixedRate(reader.duration(&table::FIXED_RATE).unwrap_or_default())
        }
    };
    Poller {
        initial_delay: delay(reader, &table::INITIAL_DELAY),
        pace,
    }
}

/// Reads a duration whose number has another unit in the older spellings.
fn delay(reader: &mut Reader<'_>, property: &Property) -> Duration {
    let given = match (reader.given(property), property.default) {
        (Some(given), _) => given,
        (None, DefaultValue::Text(text)) => Given::by_default(property, text),
        (None, _) => return Duration::ZERO,
    };
    let unit = if given.name.starts_with("trigger.") {
        time_unit(reader, &table::TRIGGER_TIME_UNIT)
    } else if given.name.starts_with("spring.cloud.stream.poller.") {
        time_unit(reader, &table::POLLER_TIME_UNIT)
    } else {
        Duration::from_millis(1)
    };
    let min = match property.kind {
        Kind::Duration { min } => min,
        _ => Duration::ZERO,
    };
    let duration = kind::duration(&given.text, unit);
    duration
        .filter(|duration| kind::is_duration_within(*duration, min))
        .unwrap_or_else(|| {
            reader.not_allowed(&given, property.kind);
            Duration::ZERO
        })
}

/// Reads one of the names in Java's `TimeUnit`.
fn time_unit(reader: &mut Reader<'_>, property: &Property) -> Duration {
    match reader.word(property).as_deref() {
        Some("nanoseconds") => Duration::from_nanos(1),
        Some("microseconds") => Duration::from_micros(1),
        Some("seconds") => Duration::from_secs(1),
        Some("minutes") => Duration::from_secs(60),
        Some("hours") => Duration::from_secs(3_600),
        Some("days") => Duration::from_secs(86_400),
        _ => Duration::from_millis(1),
    }
}
