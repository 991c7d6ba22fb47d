//! parity-router: a native router for Spring Cloud Data Flow streams, with the recipe's time source and log sink as further roles.
//!
//! This page is the architecture; `service` is the place to start reading.
//!
//! # Data flow
//!
//! ```text
//!                         ┌── Batch ──▶ producer-even ──▶ even topic
//!  input topics ──▶ consumer
//!                  ▲      └── Batch ──▶ producer-odd ───▶ odd topic, dead-letter topics
//!                  └────── delivered Batch ──────┘
//! ```
//!
//! # Threads
//!
//! | thread | owns | receives | sends |
//! |---|---|---|---|
//! | `main` | join handles | events | the stop flag |
//! | `consumer` | Kafka consumer, offset tracker | delivered batches | batches to the producers |
//! | `producer-even`, `producer-odd` | its Kafka producer | its batches | delivered batches |
//! | `time`, in the role `time` only | its Kafka producer | | |
//! | `actuator` | listening socket and connections | HTTP requests | stop requests |
//! | `signals` | signal iterator | SIGTERM, SIGINT | stop requests; a second signal exits at once |
//!
//! The `native` client works on these threads; librdkafka adds threads of its own. There is no async runtime. The role `time` runs the
//! thread `time` in place of consumer and producers. The role `log` runs the consumer alone, which writes records to standard output.
//!
//! # Life of a record
//!
//! 1. A broker returns record batches; the client checks, decompresses and walks them (`client/native/fetch`).
//! 2. `consumer` polls and gets each record as a borrowed view of the response's bytes.
//! 3. The handler of the role (`roles/router`) applies the rule (`route`) and appends the record to the `Batch` of its output,
//!    in the form in which it goes over the wire (`client/batch`, `client/records`). Nothing here allocates or makes a system call per record.
//! 4. All records of one poll are a *poll batch*: at most one batch for each output. The batches go to the producer threads by channel.
//! 5. `producer-even` or `producer-odd` sends the batch and waits for the acknowledgement of all in-sync replicas (`client/native/produce`).
//! 6. A record that cannot be routed, or that an output topic rejects for good, goes to a dead-letter topic (`dead_letter`).
//! 7. The producer counts the records (`counters`) and returns the batch to the consumer, which reuses its buffers.
//! 8. `offsets` determines up to which offset every record is delivered, and the consumer commits that offset.
//!
//! # Start and stop
//!
//! Start: properties → `config` → logger → actuator port → signals → producers → consumer; ready when partitions are assigned.
//!
//! Stop, with one deadline of 25 s (`limits`): readiness refuses; the consumer drops its senders; the producers drain and drop theirs; the
//! consumer takes the last deliveries, commits and leaves the group; the threads are joined and their errors collected; the actuator ends
//! last. A thread that ends unexpectedly is fatal. Exit codes: 0 stopped on request and drained, 1 failure, 2 configuration, 128+n second
//! signal n.
//!
//! # Exactly once
//!
//! With a transactional id, the consumer and both producers share one transaction (`client/transaction`). The producers add their partitions
//! to it before they send. Every 100 ms the consumer pauses, waits until everything it dispatched is delivered, adds the offsets and commits.
//! One transaction is open at a time. Any failure of it, including the loss of partitions while it is open, ends these three threads with
//! `client::Error::Aborted`, and `service` restarts them from the committed offsets.
//!
//! # Invariants
//!
//! - An offset is committed only when all records below it are acknowledged, dead-lettered or skipped on purpose (`offsets/model` checks all
//!   interleavings of a small model).
//! - `input = even + odd + dead-lettered + skipped + in flight` for each partition (`counters`); after a stop nothing is in flight.
//! - No cycle of waiting threads: the channels hold every batch that can exist.
//! - Memory is bounded by configuration, whatever the topics hold.
//! - A record's payload is never logged.
//! - Raw strings stop at `properties`, a Kafka client's types at `client`, HTTP's types at `actuator`; `route` and `offsets` import none of
//!   them. Modules have no import cycle.
//! - Every queue, buffer, wait, retry and log rate has its bound in `limits`, or as a constant beside its single use.

mod actuator;
mod cli;
mod client;
mod commands;
mod config;
mod consumer;
mod counters;
mod date_pattern;
mod dead_letter;
mod destinations;
mod error;
mod expression;
mod health;
mod limits;
mod logger;
mod offsets;
mod prepare;
mod producer;
mod properties;
mod roles;
mod route;
mod service;
mod signals;
mod thread;
mod throttle;
mod topic_partition;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use log::LevelFilter;

use cli::Command;
use config::{Config, RoleName};
use error::Error;
use properties::Properties;
use service::Service;

/// Runs the program with the arguments and environment of the process. Exit codes: 0 stopped on request and drained, 1 failure, 2
/// configuration.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The only place that prints errors: to the log, or to standard error for errors before the logger starts.
            let text = error::report(&error);
            if matches!(error, Error::Config(_) | Error::Probe(_)) {
                print(&mut io::stderr(), &format!("parity-router: {text}\n"));
            } else {
                log::error!("{text}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// Entry points for the fuzz targets in `tests/fuzz`, in their builds only.
#[cfg(fuzzing)]
pub mod fuzz {
    /// Parses bytes as record batches.
    pub fn records(bytes: &[u8]) {
        crate::client::fuzz::records(bytes);
    }

    /// Parses bytes as a response to each request type.
    pub fn responses(bytes: &[u8]) {
        crate::client::fuzz::responses(bytes);
    }
}

fn run() -> Result<(), Error> {
    let cli = cli::parse(env::args_os().skip(1)).map_err(Error::Config)?;
    match cli.command {
        Command::Help => print(&mut io::stdout(), &cli::help()),
        Command::Version => print(&mut io::stdout(), &format!("{}\n", cli::version())),
        Command::Probe(probe) => {
            let properties = Properties::load(&cli.properties);
            return commands::probe::run(
                &Config::read_actuator(&properties).map_err(Error::Config)?,
                probe,
            );
        }
        Command::Demo(settings) => return commands::demo::run(&settings, cli.properties),
        Command::Run(role) => return serve(role, &cli.properties),
    }
    Ok(())
}

fn serve(role: Option<RoleName>, arguments: &[String]) -> Result<(), Error> {
    let properties = Properties::load(arguments);
    let logging = logger::init(&properties, LevelFilter::Info);
    let program = env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect::<Vec<String>>();
    let (config, warnings) = match (Config::read(&properties, role, &program), logging) {
        (Ok(read), Ok(())) => read,
        (Ok(_), Err(problem)) => return Err(Error::Config(vec![problem])),
        (Err(problems), Ok(())) => return Err(Error::Config(problems)),
        (Err(mut problems), Err(problem)) => {
            problems.push(problem);
            return Err(Error::Config(problems));
        }
    };
    for warning in warnings {
        log::warn!("{warning}");
    }
    Service::start(config)?.run()
}

fn print(out: &mut impl Write, text: &str) {
    // A closed stream has no reader to report the failure to.
    let _ = out.write_all(text.as_bytes());
}
