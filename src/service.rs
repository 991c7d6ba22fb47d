//! Composition root: makes the channels, starts the threads, waits for an event, stops in order. Read this first.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::process::{Resource, getrlimit};

use crate::actuator;
use crate::client;
#[cfg(feature = "kafka")]
use crate::client::KafkaRust;
#[cfg(feature = "librdkafka")]
use crate::client::Librdkafka;
use crate::client::settings::{ClientSettings, ProducerSettings};
use crate::client::{Batch, Client, Native, Transaction};
use crate::config::{ClientKind, Config, Role, RoleName, RouterSettings};
use crate::consumer::{self, ConsumerChannels};
use crate::destinations;
use crate::error::{self, Error};
use crate::health::Health;
use crate::limits::{ABORT_BACKOFF, ABORT_WITHIN, JOIN_WITHIN, OPEN_FILES, STOP_WITHIN};
use crate::logger;
use crate::producer::{self, ProducerChannels};
use crate::roles;
use crate::roles::router::Router;
use crate::route::Output;
use crate::signals;
use crate::thread::{self, EVENTS, Running, Stop, ThreadEvent};

/// An end is told just before it is one.
const TELL_WITHIN: Duration = Duration::from_millis(5);

/// A role at work.
pub(crate) struct Service {
    role: RoleName,
    health: Arc<Health>,
    #[cfg(feature = "librdkafka")]
    port: u16,
    events: (Sender<ThreadEvent>, Receiver<ThreadEvent>),
    stop: Stop,
    /// The actuator goes last: until then it tells how the stop goes.
    actuator_ends: Arc<AtomicBool>,
    actuator: Running,
    signals: (signal_hook::iterator::Handle, Running),
    /// What records run through.
    pipeline: Vec<Running>,
    config: Arc<Config>,
    /// Of a router with transactions, where its pipeline is begun anew when one is aborted.
    transactional_id: Option<String>,
}

fn check_open_files() -> Result<(), Error> {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < OPEN_FILES => Err(Error::OpenFiles { limit }),
        _ => Ok(()),
    }
}

impl Service {
    /// Starts the threads. The actuator's port is bound first: a port that is taken is told before Kafka is touched.
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
                // Full means that others have asked already.
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
        let transactional_id = transactional_id(&config.role);
        let id = transactional_id.as_deref();
        let pipeline = start(&config, id, &health, &stop, &events.0)?;
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

    /// Waits until somebody asks for a stop, or until a thread ends unasked; then stops in order.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        let mut failed = Vec::new();
        let unasked = loop {
            match self.events.1.recv() {
                Ok(ThreadEvent::StopRequested(who)) => {
                    log::info!("stopping: {who}");
                    break None;
                }
                Ok(ThreadEvent::Ended(name)) => match self.begin_anew(name) {
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
        self.health.stopping();
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
        // What a thread ended with says more than that it ended.
        if errors.is_empty() {
            errors.extend(unasked);
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
}

impl Service {
    /// Where that thread has ended because a transaction is aborted: ends the pipeline, and begins it anew where the group has committed.
    /// Fails with what ended it where that was something else.
    fn begin_anew(&mut self, ended: &str) -> Result<(), Vec<Error>> {
        let is_of_pipeline = self.pipeline.iter().any(|thread| thread.name == ended);
        let Some(id) = self.transactional_id.clone().filter(|_| is_of_pipeline) else {
            return Err(Vec::new());
        };
        let deadline = Instant::now() + ABORT_WITHIN;
        self.stop.begin(deadline);
        let threads = std::mem::take(&mut self.pipeline);
        while !threads.iter().all(Running::is_finished) && Instant::now() < deadline {
            std::thread::sleep(TELL_WITHIN);
        }
        if let Some(thread) = threads.iter().find(|thread| !thread.is_finished()) {
            return Err(vec![Error::Deadline(thread.name)]);
        }
        let names: Vec<&str> = threads.iter().map(|thread| thread.name).collect();
        let ends = threads.into_iter().filter_map(|thread| thread.join().err());
        let mut errors: Vec<Error> = ends.collect();
        // What the one that is aborted makes of the others.
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
        log::warn!("{aborted}; going on from where the group has committed");
        // The other ends of the pipeline that is no more.
        let told: Vec<ThreadEvent> = self.events.1.try_iter().collect();
        for event in told {
            if !matches!(event, ThreadEvent::Ended(name) if names.contains(&name)) {
                // There is room: it has just been taken out.
                let _ = self.events.0.try_send(event);
            }
        }
        self.health.revoked();
        self.health.counters().roll_back();
        std::thread::sleep(ABORT_BACKOFF);
        self.stop = Stop::default();
        let (config, health) = (&self.config, &self.health);
        self.pipeline = start(config, Some(&id), health, &self.stop, &self.events.0)
            .map_err(|error| vec![error])?;
        Ok(())
    }
}

/// What the demo needs besides.
#[cfg(feature = "librdkafka")]
impl Service {
    /// The actuator's port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Set once the router stops.
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Counters and state.
    pub(crate) fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Where to ask for a stop.
    pub(crate) fn events(&self) -> &Sender<ThreadEvent> {
        &self.events.0
    }
}

/// The threads that records run through, with the client that is configured.
fn start(
    config: &Arc<Config>,
    transactional_id: Option<&str>,
    health: &Arc<Health>,
    stop: &Stop,
    events: &Sender<ThreadEvent>,
) -> Result<Vec<Running>, Error> {
    match config.client {
        ClientKind::Native => {
            start_pipeline::<Native>(config, transactional_id, health, stop, events)
        }
        #[cfg(feature = "librdkafka")]
        ClientKind::Librdkafka => start_pipeline::<Librdkafka>(config, None, health, stop, events),
        #[cfg(feature = "kafka")]
        ClientKind::Kafka => start_pipeline::<KafkaRust>(config, None, health, stop, events),
        #[cfg(not(all(feature = "librdkafka", feature = "kafka")))]
        kind => Err(client::Error::Kafka {
            operation: "start",
            reason: format!("this build does not include the client \"{}\"", kind.name()),
        }
        .into()),
    }
}

/// The threads that records run through.
fn start_pipeline<C: Client>(
    config: &Arc<Config>,
    transactional_id: Option<&str>,
    health: &Arc<Health>,
    stop: &Stop,
    events: &Sender<ThreadEvent>,
) -> Result<Vec<Running>, Error> {
    let (health, stop, cluster) = (health.clone(), stop.clone(), config.cluster.clone());
    match config.role.clone() {
        Role::Router(settings) => {
            let transaction = settings
                .transaction
                .as_ref()
                .zip(transactional_id)
                .map(|(settings, id)| Arc::new(Transaction::new(id, settings.timeout)));
            start_router::<C>(&cluster, *settings, transaction, &health, &stop, events)
        }
        Role::Time(settings) => {
            let body = move || roles::time::run::<C>(&cluster, &settings, None, &health, &stop);
            Ok(vec![thread::spawn("time", events.clone(), body)?])
        }
        Role::Log(settings) => {
            if !logger::is_enabled(&settings.name, settings.level) {
                log::warn!(
                    "log.level={} is below logging.level.root: no record will be printed",
                    settings.level
                );
            }
            let body = move || {
                let line = |lines: &mut Vec<u8>, text: &str| {
                    logger::append(lines, &settings.name, settings.level, text);
                };
                roles::log::run::<C>(&cluster, &settings, line, &health, &stop)
            };
            Ok(vec![thread::spawn("consumer", events.clone(), body)?])
        }
    }
}

/// The router's threads, producers first.
fn start_router<C: Client>(
    cluster: &ClientSettings,
    settings: RouterSettings,
    transaction: Option<Arc<Transaction>>,
    health: &Arc<Health>,
    stop: &Stop,
    events: &Sender<ThreadEvent>,
) -> Result<Vec<Running>, Error> {
    let topics = Arc::new(destinations::topics(&settings));
    let bounds = C::bounds(cluster);
    let (to_consumer, delivered) = bounded(bounds.batches());
    let mut running = Vec::new();
    let mut start_producer = |output: Output,
                              name: &'static str,
                              sending: &ProducerSettings|
     -> Result<Sender<Batch>, Error> {
        let (sender, batches) = bounded(bounds.poll_batches);
        let outlet = ProducerChannels {
            output,
            name,
            batches,
            delivered: to_consumer.clone(),
        };
        let (cluster, invalid) = (cluster.clone(), settings.invalid.clone());
        let sending = sending.clone();
        let (topics, health, stop) = (topics.clone(), health.clone(), stop.clone());
        let transaction = transaction.clone();
        let body = move || {
            let producer = C::producer(&cluster, &sending, &topics, name, transaction.as_ref())?;
            producer::run(producer, &outlet, &invalid, &topics, &health, &stop)
        };
        running.push(thread::spawn(name, events.clone(), body)?);
        Ok(sender)
    };
    let even = start_producer(Output::Even, "producer-even", &settings.even_producer)?;
    let odd = start_producer(Output::Odd, "producer-odd", &settings.odd_producer)?;
    // Else the consumer would wait for a third producer at the end.
    drop(to_consumer);
    let outputs = ConsumerChannels {
        even,
        odd,
        delivered,
        bounds,
        is_transactional: transaction.is_some(),
    };
    let (cluster, health, stop) = (cluster.clone(), health.clone(), stop.clone());
    let body = move || {
        let consumer = C::consumer(&cluster, &settings.input, &topics, transaction.as_ref())?;
        let sorter = Router::new(&topics, &settings.invalid, bounds.poll_batch_bytes);
        consumer::run(
            consumer,
            outputs,
            sorter,
            &settings.input.group,
            &topics,
            &health,
            &stop,
        )
    };
    running.push(thread::spawn("consumer", events.clone(), body)?);
    Ok(running)
}

/// Waits for the threads to end, no longer than `deadline`, and collects what they ended with.
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
        // Hence the short wait besides.
        match events.recv_deadline(deadline.min(Instant::now() + TELL_WITHIN)) {
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

/// Returns the transactional id of this process, or `None` if the role does not write in transactions.
///
/// If something other than this process determines its partitions (a static member, an instance's share), the id is derived from that, so
/// that a successor fences its predecessor. Otherwise each process has an id of its own, as in Kafka Streams, and the generation of the
/// group fences.
fn transactional_id(role: &Role) -> Option<String> {
    let Role::Router(router) = role else {
        return None;
    };
    let prefix = &router.transaction.as_ref()?.prefix;
    let consumer = &router.input.consumer;
    Some(match (&consumer.manual, &consumer.group_instance_id) {
        (Some(share), _) => format!("{prefix}{}", share.index),
        (None, Some(instance)) => format!("{prefix}{instance}"),
        (None, None) => format!("{prefix}{:016x}", RandomState::new().hash_one(0)),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::client::settings::{ConsumerSettings, InstanceShare};
    use crate::config::TransactionSettings;
    use crate::properties::Properties;

    fn id(consumer: ConsumerSettings) -> String {
        let (config, _) = Config::read(&Properties::of_arguments(&[]), None, &[]).unwrap();
        let Role::Router(mut router) = config.role else {
            unreachable!("the default role is the router");
        };
        router.input.consumer = consumer;
        router.transaction = Some(TransactionSettings {
            prefix: "tx-".to_owned(),
            timeout: std::time::Duration::from_secs(10),
        });
        transactional_id(&Role::Router(router)).unwrap()
    }

    #[test]
    fn transactional_ids() {
        let share = ConsumerSettings {
            manual: Some(InstanceShare { index: 3, count: 4 }),
            ..ConsumerSettings::default()
        };
        assert_eq!(id(share), "tx-3");
        let member = ConsumerSettings {
            group_instance_id: Some("pod-1".to_owned()),
            ..ConsumerSettings::default()
        };
        assert_eq!(id(member), "tx-pod-1");
        let (one, other) = (
            id(ConsumerSettings::default()),
            id(ConsumerSettings::default()),
        );
        assert!(one.starts_with("tx-") && one.len() == 19 && one != other);
    }
}
