//! parity-router: a native router for Spring Cloud Data Flow streams, and the time source and log sink around it. This page is the map;
//! `service.rs` is where to begin reading.
//!
//! # The flow
//!
//! ```text
//!                         ┌── Batch ──▶ producer-even ──▶ even topic
//!  input topics ──▶ consumer
//!                  ▲      └── Batch ──▶ producer-odd ───▶ odd topic, dead-letter topics
//!                  └────── delivered Batch ──────┘
//! ```
//!
//! A poll lends records; `sorter` asks `route` where each goes; each output's records of a poll are one batch (a *round* has at most two). A producer hands a
//! batch back when every record of it is acknowledged by all in-sync replicas; `offsets` then knows up to where a partition may be
//! committed.
//!
//! A record is never an object. What is lent is a view of the bytes that a broker sent, and what is routed is written at once as it will go
//! over the wire (`client/records`, `client/batch`): that is all there is on the record's path, and none of it allocates or calls the system.
//!
//! # Threads
//!
//! | thread | owns | receives | sends |
//! |---|---|---|---|
//! | `main` | the join handles | events | the stop flag |
//! | `consumer` | the Kafka consumer, the offset tracker | delivered batches | batches to both producers |
//! | `producer-even`, `producer-odd` | its Kafka producer | its batches | delivered batches |
//! | `time`, in the role of this name | its Kafka producer | | |
//! | `actuator` | the listening socket and its clients | requests | stop requests |
//! | `signals` | the signal iterator | SIGTERM, SIGINT | stop requests; a second one ends the process |
//!
//! The client `native` does its work on these; librdkafka has threads of its own behind them. There is no async runtime anywhere.
//!
//! The same program is the time source (`time` in place of consumer and producers) and the log sink (`consumer` alone: what is read is
//! printed, not sent on). `roles` has what is theirs; everything else, from properties to the stop, is the router's.
//!
//! # Starting and stopping
//!
//! Arguments → properties → `config` → logger → the actuator's port → signals → producers → consumer; ready once the group has assigned
//! partitions. Stopping has one deadline of 25 s (`limits`): readiness refuses; the consumer drops both senders; the producers drain and
//! drop the way back; the consumer takes the last deliveries, commits, leaves the group; everything is joined, every error collected; the
//! actuator goes last.
//!
//! # Exactly once
//!
//! With a transactional id the consumer and both producers share one transaction (`client/transaction`): the producers add their partitions to it
//! before they send, and about every 100 ms the consumer pauses, waits until all that it dispatched is delivered, adds the offsets and ends
//! it. There is one at a time. Whatever goes wrong with it, partitions lost in the middle of it included, ends these three threads with
//! `Error::Aborted`, and `service` begins them anew from where the group has committed.
//!
//! # Invariants
//!
//! - An offset is committed only when all records below it are acknowledged, refused into a dead-letter topic, or skipped on purpose
//!   (`offsets/model` walks through all interleavings of a small world).
//! - `in = even + odd + dead-lettered + skipped + in flight`, per partition (`counters`); at the end nothing is in flight.
//! - No thread waits for another one in a circle: there are never more batches than the channels have room for.
//! - A record's payload is never logged.
//! - Raw strings stop at `properties`, a client's types at `client`, HTTP's at `actuator`; `route` and `offsets` import none.
//! - Every queue, buffer and wait has its bound in `limits`, or as a constant beside the one place that uses it.

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

/// Runs the program with the process's arguments and environment. Exit codes: 0 asked to stop and drained, 1 failure, 2 configuration.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The only place where an error is printed: in the log, and for those before there is one, on standard error.
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

/// What the fuzz targets in `tests/fuzz` call; there only in their builds.
#[cfg(fuzzing)]
pub mod fuzz {
    /// Reads bytes as record batches.
    pub fn records(bytes: &[u8]) {
        crate::client::fuzz::records(bytes);
    }

    /// Reads bytes as a broker's answer to each of the requests.
    pub fn answers(bytes: &[u8]) {
        crate::client::fuzz::answers(bytes);
    }
}

fn run() -> Result<(), Error> {
    let cli = cli::parse(env::args_os().skip(1)).map_err(Error::Config)?;
    match cli.command {
        Command::Help => print(&mut io::stdout(), cli::HELP),
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
    // Whoever closed the stream does not want to read on.
    let _ = out.write_all(text.as_bytes());
}
