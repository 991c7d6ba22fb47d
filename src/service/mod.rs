//! Composition root: creates the channels, starts the threads, waits for events and stops in order. Runs on the main thread. Start reading
//! here.

mod pipeline;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::process::{Resource, getrlimit};

use crate::actuator;
use crate::client;
use crate::config::{Config, RoleName};
use crate::error::{self, Error};
use crate::health::Health;
use crate::limits::{ABORT_BACKOFF, ABORT_WITHIN, JOIN_WITHIN, OPEN_FILES, STOP_WITHIN};
use crate::signals;
use crate::thread::{self, EVENTS, Running, Stop, ThreadEvent};

/// A thread reports `Ended` slightly before it can be joined; poll at this interval.
const JOIN_POLL: Duration = Duration::from_millis(5);

/// A running role.
pub(crate) struct Service {
    role: RoleName,
    health: Arc<Health>,
    #[cfg(feature = "librdkafka")]
    port: u16,
    events: (Sender<ThreadEvent>, Receiver<ThreadEvent>),
    stop: Stop,
    /// Ends the actuator. It ends last, so that the probes report the progress of a stop.
    actuator_ends: Arc<AtomicBool>,
    actuator: Running,
    signals: (signal_hook::iterator::Handle, Running),
    /// The threads that records pass through.
    pipeline: Vec<Running>,
    config: Arc<Config>,
    /// The transactional id of a router with exactly once. Such a router restarts its pipeline when a transaction is aborted.
    transactional_id: Option<String>,
}

fn check_open_files() -> Result<(), Error> {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < OPEN_FILES => Err(Error::OpenFiles { limit }),
        _ => Ok(()),
    }
}

impl Service {
    /// Starts the threads. The port of the actuator is bound first, so that a port in use is reported before any broker is contacted.
    pub(crate) fn start(config: Config) -> Result<Self, Error> {
        let config = Arc::new(config);
        let health = Arc::new(
            config
                .role
                .input()
                .map_or_else(Health::default, |(input, stall_timeout)| {
                    Health::new(&input.topics, stall_timeout)
                }),
        );
        let events = bounded(EVENTS);
        let actuator_ends = Arc::new(AtomicBool::new(false));
        check_open_files()?;
        let bound = actuator::bind(&config.actuator)?;
        let port = bound.port();
        log::info!("actuator on port {port}");
        let actuator = {
            let (config, health, ends, events) = (
                config.clone(),
                health.clone(),
                actuator_ends.clone(),
                events.0.clone(),
            );
            let request_stop = move || {
                // A full channel already holds a stop request.
                let _ = events.try_send(ThreadEvent::StopRequested("the actuator's shutdown"));
            };
            move || bound.run(&health, &config.info, request_stop, &ends)
        };
        let actuator = thread::spawn("actuator", events.0.clone(), actuator)?;
        let signals = signals::install()?;
        let signals_handle = signals.handle();
        let to_main = events.0.clone();
        let signals = thread::spawn("signals", events.0.clone(), move || {
            signals::run(signals, &to_main);
            Ok(())
        })?;
        let stop = Stop::default();
        let transactional_id = pipeline::transactional_id(&config.role);
        let id = transactional_id.as_deref();
        let pipeline = pipeline::start(&config, id, &health, &stop, &events.0)?;
        Ok(Self {
            role: config.role.name(),
            config,
            transactional_id,
            health,
            #[cfg(feature = "librdkafka")]
            port,
            events,
            stop,
            actuator_ends,
            actuator,
            signals: (signals_handle, signals),
            pipeline,
        })
    }

    /// Waits for a stop request, or for a thread that ends unexpectedly, and then stops in order.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        let mut failed = Vec::new();
        let unexpected = loop {
            match self.events.1.recv() {
                Ok(ThreadEvent::StopRequested(source)) => {
                    log::info!("stopping: {source}");
                    break None;
                }
                Ok(ThreadEvent::Ended(name)) => match self.restart_pipeline(name) {
                    Ok(()) => (),
                    Err(errors) => {
                        failed = errors;
                        self.health.break_liveness();
                        break Some(Error::Ended(name));
                    }
                },
                // This thread holds a sender itself.
                Err(_) => break Some(Error::Ended("main")),
            }
        };
        let deadline = Instant::now() + STOP_WITHIN;
        self.health.set_stopping();
        self.stop.begin(deadline);
        let Self {
            role,
            health,
            events,
            actuator_ends,
            actuator,
            signals,
            pipeline,
            ..
        } = self;
        let mut errors = failed;
        errors.extend(join(
            pipeline,
            &events.1,
            deadline.checked_sub(JOIN_WITHIN).unwrap_or(deadline),
        ));
        signals.0.close();
        actuator_ends.store(true, Relaxed);
        errors.extend(join(vec![signals.1, actuator], &events.1, deadline));
        log::info!("stopped: {}", health.summary(role));
        // The error of a thread says more than the fact that it ended.
        if errors.is_empty() {
            errors.extend(unexpected);
        }
        let mut errors = errors.into_iter();
        match errors.next() {
            None => Ok(()),
            Some(first) => {
                for other in errors {
                    log::error!("also: {}", error::report(&other));
                }
                Err(first)
            }
        }
    }

    /// Restarts the pipeline from the committed offsets if the thread `ended` because a transaction was aborted. Fails with the errors of
    /// the pipeline if it ended for another reason, and without an error if it cannot be restarted: the router is not transactional, or the
    /// thread is not part of the pipeline.
    fn restart_pipeline(&mut self, ended: &str) -> Result<(), Vec<Error>> {
        let is_of_pipeline = self.pipeline.iter().any(|thread| thread.name == ended);
        let Some(id) = self.transactional_id.clone().filter(|_| is_of_pipeline) else {
            return Err(Vec::new());
        };
        let deadline = Instant::now() + ABORT_WITHIN;
        self.stop.begin(deadline);
        let threads = std::mem::take(&mut self.pipeline);
        while !threads.iter().all(Running::is_finished) && Instant::now() < deadline {
            std::thread::sleep(JOIN_POLL);
        }
        if let Some(thread) = threads.iter().find(|thread| !thread.is_finished()) {
            return Err(vec![Error::Deadline(thread.name)]);
        }
        let names: Vec<&str> = threads.iter().map(|thread| thread.name).collect();
        let ends = threads.into_iter().filter_map(|thread| thread.join().err());
        let mut errors: Vec<Error> = ends.collect();
        // Errors of the other threads that follow from the aborted transaction.
        let is_consequence = |error: &Error| {
            matches!(
                error,
                Error::Client(client::Error::Aborted(_))
                    | Error::Ended(_)
                    | Error::Undelivered { .. }
            )
        };
        let is_aborted = |error: &&Error| matches!(error, Error::Client(client::Error::Aborted(_)));
        let aborted = errors.iter().find(is_aborted);
        let Some(aborted) = aborted.filter(|_| errors.iter().all(is_consequence)) else {
            errors.sort_by_key(is_consequence);
            return Err(errors);
        };
        log::warn!("{aborted}; restarting from the committed offsets");
        // The ends of the other threads of the old pipeline are not unexpected, so their events are dropped.
        let queued: Vec<ThreadEvent> = self.events.1.try_iter().collect();
        for event in queued {
            if !matches!(event, ThreadEvent::Ended(name) if names.contains(&name)) {
                // The channel has room, because the event has just been taken from it.
                let _ = self.events.0.try_send(event);
            }
        }
        self.health.clear_assignment();
        self.health.counters().roll_back();
        std::thread::sleep(ABORT_BACKOFF);
        self.stop = Stop::default();
        let (config, health) = (&self.config, &self.health);
        self.pipeline = pipeline::start(config, Some(&id), health, &self.stop, &self.events.0)
            .map_err(|error| vec![error])?;
        Ok(())
    }
}

/// Access for the demo.
#[cfg(feature = "librdkafka")]
impl Service {
    /// Returns the port of the actuator.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the stop flag of the pipeline.
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Returns the health of the role.
    pub(crate) fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Returns the channel for stop requests.
    pub(crate) fn events(&self) -> &Sender<ThreadEvent> {
        &self.events.0
    }
}

/// Joins the threads until `deadline` and returns their errors, including one for each thread that has not ended by then.
fn join(
    mut threads: Vec<Running>,
    events: &Receiver<ThreadEvent>,
    deadline: Instant,
) -> Vec<Error> {
    let mut errors = Vec::new();
    loop {
        let (ended, running): (Vec<Running>, Vec<Running>) =
            threads.into_iter().partition(Running::is_finished);
        errors.extend(ended.into_iter().filter_map(|thread| thread.join().err()));
        threads = running;
        if threads.is_empty() {
            return errors;
        }
        // The event can arrive before the thread has finished, so also wake up periodically.
        match events.recv_deadline(deadline.min(Instant::now() + JOIN_POLL)) {
            Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                errors.extend(
                    threads
                        .into_iter()
                        .map(|thread| Error::Deadline(thread.name)),
                );
                return errors;
            }
            Ok(_) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => (),
        }
    }
}
