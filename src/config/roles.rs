//! From raw properties to what the time source and the log sink work with. Pure. Names, old ones too, and defaults are those of Spring's
//! applications: `TimeSupplierProperties`, `IntegrationProperties.Poller`, `LogConsumerProperties`; before them `DefaultPollerProperties`
//! (Spring Cloud Stream 3) and `TriggerProperties` (app starters 1 and 2).

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use log::Level;

use super::read::{APP_LABEL, Bindings, DEFAULT_GROUP, Reader, STREAM_NAME};
use super::{LogSettings, Pace, Poller, Role, TimeSettings};
use crate::client::settings::{GroupId, Subscription};
use crate::date_pattern::DatePattern;
use crate::expression::Expression;
use crate::properties::Value;

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);

/// Spring's default of the pollers.
const SECOND: Duration = Duration::from_secs(1);

/// Bounds of the time between two: less than a millisecond is not for a thread that sleeps, and what is meant to be longer is a mistake.
const SHORTEST: Duration = MILLISECOND;
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// What the official application calls itself (`spring.application.name`), and so its logger.
const LOG_NAME: &str = "log-sink";

impl Reader<'_> {
    pub(super) fn time(&mut self) -> (Role, Bindings, Bindings) {
        let output = self.output("output", &[]);
        let settings = TimeSettings {
            output: output.clone(),
            format: self.understood(
                &["time.date-format", "trigger.date-format"],
                DatePattern::new,
            ),
            poller: self.poller(),
            producer: self.producer_settings("output"),
        };
        (Role::Time(settings), Vec::new(), vec![("output", output)])
    }

    fn poller(&mut self) -> Poller {
        for name in [
            "spring.integration.poller.cron",
            "spring.cloud.stream.poller.cron",
            "trigger.cron",
        ] {
            if let Some(value) = self.given(name) {
                let message = "there is no cron here; allowed: fixed-delay or fixed-rate";
                self.problem(name, &value, message, ());
            }
        }
        let delay = self.delay("fixed-delay", SHORTEST);
        let rate = "spring.integration.poller.fixed-rate";
        let pace = match self.given(rate) {
            None => Pace::FixedDelay(delay.unwrap_or(SECOND)),
            Some(value) => {
                if delay.is_some() {
                    let message = "fixed-delay is given as well; allowed: one of the two";
                    self.problem(rate, &value, message, ());
                }
                let rate = self.duration(rate, &value, MILLISECOND, SHORTEST);
                Pace::FixedRate(rate.unwrap_or(SECOND))
            }
        };
        Poller {
            initial_delay: self
                .delay("initial-delay", Duration::ZERO)
                .unwrap_or_default(),
            pace,
        }
    }

    /// One of the delays, by the highest of its names.
    fn delay(&mut self, which: &str, shortest: Duration) -> Option<Duration> {
        let spellings = [
            ("spring.integration.poller", None, MILLISECOND),
            (
                "spring.cloud.stream.poller",
                Some("spring.cloud.stream.poller.time-unit"),
                MILLISECOND,
            ),
            ("trigger", Some("trigger.time-unit"), SECOND),
        ];
        for (prefix, unit_name, default_unit) in spellings {
            let name = format!("{prefix}.{which}");
            let Some(value) = self.given(&name) else {
                continue;
            };
            let unit = unit_name.map_or(default_unit, |name| self.time_unit(name, default_unit));
            return self.duration(&name, &value, unit, shortest);
        }
        None
    }

    /// A number of units, or a duration as Spring Boot reads it ("Converting Durations").
    pub(super) fn duration(
        &mut self,
        name: &str,
        value: &Value,
        unit: Duration,
        shortest: Duration,
    ) -> Option<Duration> {
        let text = value.text.trim();
        let duration = match text.parse::<u32>() {
            Ok(number) => unit.checked_mul(number),
            Err(_) => text.parse::<Span>().ok().and_then(|span| {
                let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
                Duration::try_from(duration).ok()
            }),
        };
        let range = shortest..=LONGEST;
        if let Some(duration) = duration.filter(|duration| range.contains(duration)) {
            return Some(duration);
        }
        let allowed = format!(
            "milliseconds, or a duration as 500ms, 10s, 5m or PT10S, from {shortest:?} to 366 days"
        );
        self.not_allowed(name, value, &allowed, None)
    }

    /// Java's `TimeUnit`.
    fn time_unit(&mut self, name: &str, default: Duration) -> Duration {
        let Some(value) = self.given(name) else {
            return default;
        };
        match value.text.trim().to_ascii_uppercase().as_str() {
            "NANOSECONDS" => Duration::from_nanos(1),
            "MICROSECONDS" => Duration::from_micros(1),
            "MILLISECONDS" => MILLISECOND,
            "SECONDS" => SECOND,
            "MINUTES" => 60 * SECOND,
            "HOURS" => 3_600 * SECOND,
            "DAYS" => 86_400 * SECOND,
            _ => self.not_allowed(
                name,
                &value,
                "NANOSECONDS, MICROSECONDS, MILLISECONDS, SECONDS, MINUTES, HOURS or DAYS",
                default,
            ),
        }
    }

    pub(super) fn log(&mut self) -> (Role, Bindings, Bindings) {
        let topics = self.inputs();
        let group = self.log_group();
        let start_offset = self.start_offset(&group);
        let shown = topics.join(",");
        let settings = LogSettings {
            input: Subscription {
                topics,
                group,
                start_offset,
                consumer: self.consumer_settings(),
            },
            stall_timeout: self.stall_timeout(),
            name: self.logger_name(),
            level: self.log_level(),
            expression: self.understood(
                &["log.expression", "log.consumer.expression"],
                Expression::parse,
            ),
        };
        (Role::Log(settings), vec![("input", shown)], Vec::new())
    }

    /// By default a group for each application of a stream: two loggers of a stream each print everything, and neither waits when members
    /// of the router's group come and go.
    fn log_group(&mut self) -> GroupId {
        let (stream, label) = (self.text(STREAM_NAME), self.text(APP_LABEL));
        self.group(&match (stream.as_str(), label.as_str()) {
            ("", _) => DEFAULT_GROUP.to_owned(),
            (stream, "") => stream.to_owned(),
            (stream, label) => format!("{stream}.{label}"),
        })
    }

    fn logger_name(&mut self) -> String {
        self.first_given(&["log.name", "log.consumer.name", "spring.application.name"])
            .map(|(_, value)| value.text.trim().to_owned())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| LOG_NAME.to_owned())
    }

    /// Spring Integration's `LoggingHandler.Level`.
    fn log_level(&mut self) -> Level {
        let Some((name, value)) = self.first_given(&["log.level", "log.consumer.level"]) else {
            return Level::Info;
        };
        match value.text.trim().to_ascii_uppercase().as_str() {
            "FATAL" | "ERROR" => Level::Error,
            "WARN" => Level::Warn,
            "INFO" => Level::Info,
            "DEBUG" => Level::Debug,
            "TRACE" => Level::Trace,
            _ => self.not_allowed(
                name,
                &value,
                "FATAL, ERROR, WARN, INFO, DEBUG or TRACE",
                Level::Info,
            ),
        }
    }

    /// The first of these that is given, as `parse` understands it; the default where none is, or where it cannot be understood.
    fn understood<T: Default>(
        &mut self,
        names: &[&'static str],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let Some((name, value)) = self.first_given(names) else {
            return T::default();
        };
        parse(&value.text)
            .unwrap_or_else(|message| self.problem(name, &value, &message, T::default()))
    }

    /// The first of these that is given.
    fn first_given(&mut self, names: &[&'static str]) -> Option<(&'static str, Value)> {
        names
            .iter()
            .find_map(|&name| Some((name, self.given(name)?)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )]

    use super::*;
    use crate::client::settings::StartOffset;
    use crate::config::{Config, RoleName};
    use crate::error::Problem;
    use crate::properties::Properties;

    fn read(role: RoleName, arguments: &[&str]) -> Result<Role, Vec<Problem>> {
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| format!("--{argument}"))
            .collect();
        Config::read(
            &Properties::of_arguments(&arguments),
            Some(role),
            &arguments,
        )
        .map(|(config, warnings)| {
            assert_eq!(warnings, Vec::<String>::new());
            config.role
        })
    }

    fn time(arguments: &[&str]) -> TimeSettings {
        match read(RoleName::Time, arguments).unwrap() {
            Role::Time(settings) => settings,
            role => panic!("{role:?}"),
        }
    }

    fn log(arguments: &[&str]) -> LogSettings {
        match read(RoleName::Log, arguments).unwrap() {
            Role::Log(settings) => settings,
            role => panic!("{role:?}"),
        }
    }

    #[track_caller]
    fn check_problem(role: RoleName, arguments: &[&str], property: &str, part: &str) {
        let problems = read(role, arguments).unwrap_err();
        let [problem] = problems.as_slice() else {
            panic!("{problems:?}");
        };
        assert!(
            problem.property == property && problem.message.contains(part),
            "{problem}"
        );
    }

    #[track_caller]
    fn check_poller(arguments: &[&str], pace: Pace, initial_delay: Duration) {
        assert_eq!(
            time(arguments).poller,
            Poller {
                initial_delay,
                pace
            }
        );
    }

    #[test]
    fn a_role_by_property() {
        for (given, role) in [
            ("time", RoleName::Time),
            ("LOG", RoleName::Log),
            ("router", RoleName::Router),
        ] {
            let arguments = [format!("--parity-router.role={given}")];
            let (config, _) =
                Config::read(&Properties::of_arguments(&arguments), None, &[]).unwrap();
            assert_eq!(config.role.name(), role);
        }
        let arguments = ["--parity-router.role=timer".to_owned()];
        let problems = Config::read(&Properties::of_arguments(&arguments), None, &[]).unwrap_err();
        assert!(
            problems[0].message.contains("allowed: router, time or log"),
            "{problems:?}"
        );
    }

    #[test]
    fn time_defaults() {
        let settings = time(&[]);
        assert_eq!(settings.output, "output");
        assert_eq!(settings.format, DatePattern::default());
        check_poller(&[], Pace::FixedDelay(SECOND), Duration::ZERO);
    }

    #[test]
    fn pollers() {
        let delay = |millis| Pace::FixedDelay(Duration::from_millis(millis));
        for (text, millis) in [
            ("250", 250),
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
            ("PT1.5S", 1_500),
        ] {
            let given = format!("spring.integration.poller.fixed-delay={text}");
            check_poller(&[&given], delay(millis), Duration::ZERO);
        }
        check_poller(
            &[
                "spring.cloud.stream.poller.fixed-delay=200",
                "spring.cloud.stream.poller.initialDelay=30",
            ],
            delay(200),
            Duration::from_millis(30),
        );
        check_poller(
            &[
                "spring.cloud.stream.poller.fixed-delay=2",
                "spring.cloud.stream.poller.time-unit=minutes",
            ],
            delay(120_000),
            Duration::ZERO,
        );
        check_poller(&["trigger.fixedDelay=5"], delay(5_000), Duration::ZERO);
        check_poller(
            &[
                "trigger.fixed-delay=5",
                "trigger.time-unit=MILLISECONDS",
                "trigger.initial-delay=7",
            ],
            delay(5),
            Duration::from_millis(7),
        );
        check_poller(
            &["spring.integration.poller.fixed-rate=20ms"],
            Pace::FixedRate(Duration::from_millis(20)),
            Duration::ZERO,
        );
    }

    #[test]
    fn time_problems() {
        let delay = "spring.integration.poller.fixed-delay";
        for bad in ["0", "-1", "soon", "1mo", "400d", "", "99999999999999"] {
            check_problem(
                RoleName::Time,
                &[&format!("{delay}={bad}")],
                delay,
                "from 1ms to 366 days",
            );
        }
        check_problem(
            RoleName::Time,
            &["trigger.cron=* * * * *"],
            "trigger.cron",
            "allowed: fixed-delay or fixed-rate",
        );
        check_problem(
            RoleName::Time,
            &["trigger.fixed-delay=1", "trigger.time-unit=weeks"],
            "trigger.time-unit",
            "SECONDS",
        );
        check_problem(
            RoleName::Time,
            &[
                "trigger.fixed-delay=1",
                "spring.integration.poller.fixed-rate=1s",
            ],
            "spring.integration.poller.fixed-rate",
            "one of the two",
        );
        check_problem(
            RoleName::Time,
            &["time.date-format=ww"],
            "time.date-format",
            "'w'",
        );
        check_problem(
            RoleName::Time,
            &["spring.cloud.stream.bindings.output.destination="],
            "spring.cloud.stream.bindings.output.destination",
            "an empty destination",
        );
    }

    #[test]
    fn log_defaults_and_spellings() {
        let settings = log(&[
            "spring.cloud.dataflow.stream.name=s",
            "spring.cloud.dataflow.stream.app.label=evenLogger",
        ]);
        assert_eq!(
            settings.input.group,
            GroupId::Named("s.evenLogger".to_owned())
        );
        assert_eq!(settings.input.start_offset, StartOffset::Earliest);
        assert_eq!(
            (settings.name.as_str(), settings.level),
            ("log-sink", Level::Info)
        );
        assert_eq!(settings.expression, Expression::default());
        let settings = log(&[
            "log.consumer.name=a",
            "log.consumer.level=debug",
            "log.consumer.expression=headers",
        ]);
        assert_eq!(
            (settings.name.as_str(), settings.level),
            ("a", Level::Debug)
        );
        assert_eq!(settings.expression, Expression::parse("headers").unwrap());
        assert_eq!(log(&["spring.application.name=app"]).name, "app");
        assert_eq!(
            log(&["log.name=own", "spring.application.name=app"]).name,
            "own"
        );
        assert_eq!(
            log(&["spring.cloud.stream.bindings.input.group="])
                .input
                .group,
            GroupId::Anonymous
        );
    }

    #[test]
    fn log_problems() {
        check_problem(
            RoleName::Log,
            &["log.level=loud"],
            "log.level",
            "FATAL, ERROR, WARN",
        );
        check_problem(
            RoleName::Log,
            &["log.expression=payload.length()"],
            "log.expression",
            "allowed",
        );
    }
}
