//! `parity-router demo`: the recipe's stream in one process, with an embedded broker, the time source, the router as in production, and two
//! log sinks, each on its own thread. Runs on the main thread.

use std::io::{self, IsTerminal, Write};
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use jiff::ZonedDateTime;
use log::{Level, LevelFilter};

use crate::cli::DemoSettings;
use crate::client::settings::{
    ClientSettings, ConsumerSettings, GroupId, ProducerSettings, StartOffset, Subscription,
};
use crate::client::{EmbeddedBroker, Librdkafka};
use crate::config::{Config, LogSettings, Pace, Poller, RoleName, TimeSettings};
use crate::counters::Outcome;
use crate::date_pattern::DatePattern;
use crate::error::Error;
use crate::expression::Expression;
use crate::health::Health;
use crate::limits::POLL;
use crate::logger;
use crate::properties::Properties;
use crate::roles;
use crate::service::Service;
use crate::thread::{self, Running, Stop, ThreadEvent};

/// Names from the recipe.
const STREAM: &str = "timeStampStream";
const TOPICS: [&str; 4] = [
    "timeDest",
    "evenDest",
    "oddDest",
    "error.timeDest.timeStampStream",
];

/// ANSI colours of the two loggers: green for even, cyan for odd.
const EVEN_COLOUR: &str = "\x1b[32m";
const ODD_COLOUR: &str = "\x1b[36m";

/// Stall timeout of the loggers.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait for the loggers to print the routed records after the router has stopped.
const PRINTED_WITHIN: Duration = Duration::from_secs(2);

/// Runs until Ctrl-C, or until `--count` timestamps are routed and printed.
pub(crate) fn run(settings: &DemoSettings, given: Vec<String>) -> Result<(), Error> {
    let broker = EmbeddedBroker::start(&TOPICS)?;
    let config = config(&broker, given)?;
    let client_settings = config.client_settings.clone();
    let started = Instant::now();
    let service = Service::start(config)?;
    let address = format!("http://127.0.0.1:{}/actuator/health", service.port());
    // A closed standard output has no reader to report the failure to.
    let _ = write_line(&mut io::stdout(), &format!("actuator: {address}"), "");

    let loggers = Loggers {
        health: Arc::default(),
        stop: Stop::default(),
        events: service.events().clone(),
    };
    let [input, even, odd, _] = TOPICS;
    let mut threads = vec![
        loggers.start(&client_settings, "even-logger", even, EVEN_COLOUR)?,
        loggers.start(&client_settings, "odd-logger", odd, ODD_COLOUR)?,
    ];
    let source = Arc::new(Health::default());
    // The time source stops with the router, not with the loggers, because nothing routes what it would send later.
    let stop = service.stop().clone();
    threads.push(start_time(
        settings,
        client_settings,
        input,
        &source,
        stop,
        &loggers.events,
    )?);
    threads.push(loggers.start_end(settings.count)?);

    let router = service.health().clone();
    let routed = service.run();
    let until = Instant::now() + PRINTED_WITHIN;
    let total = router.counters().total();
    let (even, odd) = (total.count(Outcome::Even), total.count(Outcome::Odd));
    let printed = || loggers.health.counters().total().count(Outcome::Printed);
    while routed.is_ok() && printed() < even + odd && Instant::now() < until {
        std::thread::sleep(POLL / 10);
    }
    loggers.stop.begin(until);
    let threads = threads.into_iter().map(Running::join);
    let ended = threads.fold(Ok(()), Result::and);
    let summary = summary(source.sent.load(Relaxed), started.elapsed(), even, odd);
    let _ = write_line(&mut io::stdout(), &summary, "");
    routed.and(ended)
}

/// Returns the last line of the demo.
fn summary(sent: u64, elapsed: Duration, even: u64, odd: u64) -> String {
    let seconds = elapsed.as_secs_f64();
    let mut summary = format!(
        "{sent} timestamps sent in {seconds:.1} s, {even} routed to evenDest, {odd} to oddDest"
    );
    if sent > even + odd {
        summary.push_str(&format!(", {} not routed", sent - even - odd));
    }
    summary
}

/// Reads the configuration of the recipe's deployment from the same arguments that Data Flow passes, and starts the logger. The arguments of
/// the user follow, so they apply only to other properties.
fn config(broker: &EmbeddedBroker, given: Vec<String>) -> Result<Config, Error> {
    let [input, even, odd, _] = TOPICS;
    let mut arguments = vec![
        format!(
            "--spring.cloud.stream.kafka.binder.brokers={}",
            broker.address()
        ),
        format!("--spring.cloud.stream.bindings.input.destination={input}"),
        format!("--spring.cloud.stream.bindings.even.destination={even}"),
        format!("--spring.cloud.stream.bindings.odd.destination={odd}"),
        format!("--spring.cloud.dataflow.stream.name={STREAM}"),
        "--spring.cloud.dataflow.stream.app.label=python-router".to_owned(),
        "--parity-router.client=librdkafka".to_owned(),
    ];
    arguments.extend(given);
    // The actuator uses any free port unless the user names one.
    arguments.push("--server.port=0".to_owned());
    let properties = Properties::of_arguments(&arguments);
    // The demo shows the lines of the loggers; the router itself logs warnings only.
    logger::init(&properties, LevelFilter::Warn).map_err(|problem| Error::Config(vec![problem]))?;
    let (config, warnings) =
        Config::read(&properties, Some(RoleName::Router), &arguments).map_err(Error::Config)?;
    for warning in warnings {
        log::warn!("{warning}");
    }
    Ok(config)
}

/// The even and the odd logger: the role `log` twice, with the line format of the recipe's page.
struct Loggers {
    /// Counts the records printed by both.
    health: Arc<Health>,
    stop: Stop,
    events: Sender<ThreadEvent>,
}

impl Loggers {
    /// Starts the thread that requests a stop when `count` records are printed.
    fn start_end(&self, count: Option<u64>) -> Result<Running, Error> {
        let (health, stop, events) = (self.health.clone(), self.stop.clone(), self.events.clone());
        thread::spawn("demo-end", self.events.clone(), move || {
            let is_complete = || {
                let printed = health.counters().total().count(Outcome::Printed);
                count.is_some_and(|count| printed >= count)
            };
            while !stop.is_set() && !is_complete() {
                std::thread::sleep(POLL);
            }
            let _ = events.try_send(ThreadEvent::StopRequested("all timestamps are routed"));
            Ok(())
        })
    }

    fn start(
        &self,
        client_settings: &ClientSettings,
        name: &'static str,
        topic: &str,
        colour: &'static str,
    ) -> Result<Running, Error> {
        let settings = LogSettings {
            input: Subscription {
                topics: vec![topic.to_owned()],
                // Each logger runs once and keeps no offsets.
                group: GroupId::Anonymous,
                start_offset: StartOffset::Earliest,
                consumer: ConsumerSettings::default(),
            },
            stall_timeout: STALL_TIMEOUT,
            name: "log-sink".to_owned(),
            level: Level::Info,
            expression: Expression::default(),
        };
        let (client_settings, health, stop) = (
            client_settings.clone(),
            self.health.clone(),
            self.stop.clone(),
        );
        let colour = if io::stdout().is_terminal() {
            colour
        } else {
            ""
        };
        let line = move |lines: &mut Vec<u8>, text: &str| {
            let now = ZonedDateTime::now().strftime("%Y-%m-%d %H:%M:%S%.3f");
            let line = format!("{now}  INFO {} --- log-sink   : {text}", process::id());
            // Writing to a vector does not fail.
            let _ = write_line(lines, &line, colour);
        };
        thread::spawn(name, self.events.clone(), move || {
            roles::log::run::<Librdkafka>(&client_settings, &settings, line, &health, &stop)
        })
    }
}

/// Starts the time source: the role `time` at the rate of the demo.
fn start_time(
    settings: &DemoSettings,
    client_settings: ClientSettings,
    topic: &str,
    health: &Arc<Health>,
    stop: Stop,
    events: &Sender<ThreadEvent>,
) -> Result<Running, Error> {
    let (limit, health) = (settings.count, health.clone());
    let settings = TimeSettings {
        output: topic.to_owned(),
        format: DatePattern::default(),
        poller: Poller {
            initial_delay: Duration::ZERO,
            pace: Pace::FixedRate(Duration::from_secs_f64(1.0 / settings.rate)),
        },
        producer: ProducerSettings::default(),
    };
    thread::spawn("time", events.clone(), move || {
        roles::time::run::<Librdkafka>(&client_settings, &settings, limit, &health, &stop)
    })
}

/// Writes a line, in colour unless `colour` is empty.
fn write_line(out: &mut impl Write, line: &str, colour: &str) -> io::Result<()> {
    if colour.is_empty() {
        writeln!(out, "{line}")
    } else {
        writeln!(out, "{colour}{line}\x1b[0m")
    }
}
