//! `parity-router demo`: the recipe's whole stream in one process. An embedded broker, a time source, the router as it runs in production,
//! and the two loggers, each its own thread.

use std::io::{self, IsTerminal, Write};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use jiff::ZonedDateTime;
use log::LevelFilter;

use crate::cli::DemoSettings;
use crate::client::{
    Batch, Client, Consumer as _, EmbeddedBroker, Librdkafka, NotReady, Producer as _, Record,
    Room, Timestamp,
};
use crate::config::{Config, Group, StartOffset};
use crate::error::Error;
use crate::limits::{ACKNOWLEDGEMENT_POLL, POLL};
use crate::logger;
use crate::offsets::TopicPartition;
use crate::properties::Properties;
use crate::service::Service;
use crate::thread::{self, Event, Stop};
use crate::topics::Topics;

/// The recipe's names.
const STREAM: &str = "timeStampStream";
const TOPICS: [&str; 4] = [
    "timeDest",
    "evenDest",
    "oddDest",
    "error.timeDest.timeStampStream",
];

/// The recipe's time format.
const TIME_FORMAT: &str = "%m/%d/%y %H:%M:%S";

/// Colours of a terminal: green for even, cyan for odd.
const EVEN_COLOUR: &str = "\x1b[32m";
const ODD_COLOUR: &str = "\x1b[36m";

/// Longest wait for the loggers to print what the router has routed, after it has stopped.
const PRINTED_WITHIN: Duration = Duration::from_secs(2);

/// Runs until Ctrl-C, or until so many timestamps as `--count` says are routed and printed.
pub(crate) fn run(settings: &DemoSettings, given: Vec<String>) -> Result<(), Error> {
    let broker = EmbeddedBroker::start(&TOPICS)?;
    let config = config(&broker, given)?;
    let started = Instant::now();
    let service = Service::start(config.clone())?;
    print(
        &format!(
            "actuator: http://127.0.0.1:{}/actuator/health",
            service.port()
        ),
        "",
    );

    let stop = Stop::default();
    let (sent, printed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let events = service.events().clone();
    let mut threads = Vec::new();
    for (name, topic, colour) in [
        ("even-logger", &config.even, EVEN_COLOUR),
        ("odd-logger", &config.odd, ODD_COLOUR),
    ] {
        let config = reader(&config, name, topic);
        let (stop, printed) = (stop.clone(), printed.clone());
        threads.push(thread::spawn(name, events.clone(), move || {
            log(&config, colour, &printed, &stop)
        })?);
    }
    let time = {
        // It ends with the router, not with the loggers: what it would send after that nobody routes.
        let (config, settings, stop, sent) = (
            config,
            settings.clone(),
            service.stop().clone(),
            sent.clone(),
        );
        move || tell_time(&config, &settings, &sent, &stop)
    };
    let time = thread::spawn("time", events.clone(), time)?;
    let end = {
        let (count, printed, stop) = (settings.count, printed.clone(), stop.clone());
        move || {
            while !stop.is_set() && count.is_none_or(|count| printed.load(Relaxed) < count) {
                std::thread::sleep(POLL);
            }
            let _ = events.try_send(Event::StopRequested("all timestamps are routed"));
            Ok(())
        }
    };
    let end = thread::spawn("demo-end", service.events().clone(), end)?;

    let health = service.health().clone();
    let routed = service.run();
    let until = Instant::now() + PRINTED_WITHIN;
    let (even, odd) = (
        health.counters.even.load(Relaxed),
        health.counters.odd.load(Relaxed),
    );
    while routed.is_ok() && printed.load(Relaxed) < even + odd && Instant::now() < until {
        std::thread::sleep(POLL / 10);
    }
    stop.begin(until);
    let threads = [time, end]
        .into_iter()
        .chain(threads)
        .map(thread::Running::join);
    let ended = threads.fold(Ok(()), Result::and);
    let seconds = started.elapsed().as_secs_f64();
    let sent = sent.load(Relaxed);
    let mut summary = format!(
        "{sent} timestamps sent in {seconds:.1} s, {even} routed to evenDest, {odd} to oddDest"
    );
    if sent > even + odd {
        summary.push_str(&format!(", {} not yet", sent - even - odd));
    }
    print(&summary, "");
    routed.and(ended)
}

/// The configuration of the recipe's deployment, by way of the same arguments; what the user gave goes behind, for what they do not fix.
/// Logging begins here.
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
    // Any free port will do where the user wants none in particular.
    arguments.push("--server.port=0".to_owned());
    let properties = Properties::of_arguments(&arguments);
    // The loggers' lines are what is to be seen; of the router's own only what needs somebody.
    logger::init(&properties, LevelFilter::Warn).map_err(|problem| Error::Config(vec![problem]))?;
    let (config, warnings) = Config::read(&properties, &arguments).map_err(Error::Config)?;
    for warning in warnings {
        log::warn!("{warning}");
    }
    Ok(config)
}

/// The configuration of a logger: a group of its own that reads one topic.
fn reader(config: &Config, group: &str, topic: &str) -> Config {
    Config {
        input: vec![topic.to_owned()],
        group: Group::Named(group.to_owned()),
        start_offset: StartOffset::Earliest,
        ..config.clone()
    }
}

/// Body of the loggers' threads: prints as Spring's log sink does on the recipe's page.
fn log(config: &Config, colour: &str, printed: &AtomicU64, stop: &Stop) -> Result<(), Error> {
    let topics = Topics {
        inputs: config.input.clone(),
        outputs: Vec::new(),
    };
    let mut consumer = Librdkafka::consumer(config, &topics)?;
    while !stop.is_set() {
        match consumer.prepare() {
            Ok(()) => break,
            Err(NotReady::Failed(error)) => return Err(error),
            Err(NotReady::Waiting(reason)) => log::debug!("logger: {reason}"),
        }
    }
    while !stop.is_set() {
        consumer.poll(POLL, |record| {
            let text = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
            let now = ZonedDateTime::now().strftime("%Y-%m-%d %H:%M:%S%.3f");
            print(
                &format!("{now}  INFO {} --- log-sink   : {text}", process::id()),
                colour,
            );
            printed.fetch_add(1, Relaxed);
            Room::Left
        })?;
        // Nothing is committed, and the demo has one of each.
        while consumer.event().is_some() {}
    }
    consumer.close();
    Ok(())
}

/// Body of the time source's thread: so many timestamps a second, until stopped or until there were enough.
fn tell_time(
    config: &Config,
    settings: &DemoSettings,
    sent: &AtomicU64,
    stop: &Stop,
) -> Result<(), Error> {
    let topics = Topics {
        inputs: Vec::new(),
        outputs: config.input.clone(),
    };
    let mut producer = Librdkafka::producer(config, &topics, "time")?;
    let start = Instant::now();
    while !stop.is_set()
        && settings
            .count
            .is_none_or(|count| sent.load(Relaxed) < count)
    {
        let due = start + Duration::from_secs_f64(sent.load(Relaxed) as f64 / settings.rate);
        let wait = due.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait.min(POLL));
            continue;
        }
        let now = ZonedDateTime::now();
        let value = now.strftime(TIME_FORMAT).to_string();
        let record = Record {
            partition: TopicPartition {
                topic: 0,
                partition: 0,
            },
            offset: 0,
            timestamp: Some(Timestamp::CreateTime(now.timestamp().as_millisecond())),
            key: None,
            value: Some(value.as_bytes()),
            headers: None,
        };
        let mut batch = Batch::default();
        batch.push(0, b"", record);
        producer.send(batch)?;
        sent.fetch_add(1, Relaxed);
        while producer.in_flight() > 0 && !stop.is_set() {
            producer.poll(ACKNOWLEDGEMENT_POLL)?;
            while producer.delivered().is_some() {}
        }
    }
    // The end of a thread that nobody asked to stop would end the demo.
    while !stop.is_set() {
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// A line on standard output, coloured where that is a terminal.
fn print(line: &str, colour: &str) {
    let mut out = io::stdout().lock();
    // Who closes standard output does not want to read on.
    let _ = if colour.is_empty() || !out.is_terminal() {
        writeln!(out, "{line}")
    } else {
        writeln!(out, "{colour}{line}\x1b[0m")
    };
}
