//! The pipeline: the threads that records pass through, from the consumer to the producers, and the channels between them.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};

#[cfg(feature = "kafka")]
use crate::client::KafkaRust;
#[cfg(feature = "librdkafka")]
use crate::client::Librdkafka;
use crate::client::settings::{ClientSettings, ProducerSettings};
use crate::client::{Client, Native, Topics, Transaction};
use crate::config::{ClientKind, Config, Invalid, Role, RouterSettings};
use crate::consumer::{self, ConsumerChannels};
use crate::destinations;
use crate::error::Error;
use crate::health::Health;
use crate::logger;
use crate::producer::{self, ProducerChannels};
use crate::roles;
use crate::roles::router::Router;
use crate::route::Output;
use crate::thread::{self, Running, Stop, ThreadEvent};

/// Starts the threads of the configured role with the configured client. With a transactional id the router writes in transactions.
pub(super) fn start(
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
        kind => Err(crate::client::Error::Kafka {
            operation: "start",
            reason: format!("this build does not include the client \"{}\"", kind.name()),
        }
        .into()),
    }
}

/// Starts the threads of the configured role with the client `C`.
fn start_pipeline<C: Client>(
    config: &Arc<Config>,
    transactional_id: Option<&str>,
    health: &Arc<Health>,
    stop: &Stop,
    events: &Sender<ThreadEvent>,
) -> Result<Vec<Running>, Error> {
    let (health, stop, client_settings) =
        (health.clone(), stop.clone(), config.client_settings.clone());
    match config.role.clone() {
        Role::Router(settings) => {
            let transaction = settings
                .transaction
                .as_ref()
                .zip(transactional_id)
                .map(|(settings, id)| Arc::new(Transaction::new(id, settings.timeout)));
            start_router::<C>(
                &client_settings,
                *settings,
                transaction,
                &health,
                &stop,
                events,
            )
        }
        Role::Time(settings) => {
            let body =
                move || roles::time::run::<C>(&client_settings, &settings, None, &health, &stop);
            Ok(vec![thread::spawn("time", events.clone(), body)?])
        }
        Role::Log(settings) => {
            if !logger::is_enabled(&settings.name, settings.level) {
                log::warn!(
                    "log.level={} is below logging.level.root, no record will be written",
                    settings.level
                );
            }
            let body = move || {
                let line = |lines: &mut Vec<u8>, text: &str| {
                    logger::append(lines, &settings.name, settings.level, text);
                };
                roles::log::run::<C>(&client_settings, &settings, line, &health, &stop)
            };
            Ok(vec![thread::spawn("consumer", events.clone(), body)?])
        }
    }
}

/// Starts the threads of the router, producers first, so that the consumer never sends to a channel without a receiver.
fn start_router<C: Client>(
    client_settings: &ClientSettings,
    settings: RouterSettings,
    transaction: Option<Arc<Transaction>>,
    health: &Arc<Health>,
    stop: &Stop,
    events: &Sender<ThreadEvent>,
) -> Result<Vec<Running>, Error> {
    let context = Context {
        client_settings: client_settings.clone(),
        topics: Arc::new(destinations::topics(&settings)),
        transaction,
        health: health.clone(),
        stop: stop.clone(),
        events: events.clone(),
    };
    let bounds = C::bounds(client_settings);
    let (to_consumer, delivered) = bounded(bounds.batches());
    let producer = |output, name, producer_settings| {
        let (sender, batches) = bounded(bounds.poll_batches);
        let channels = ProducerChannels {
            output,
            name,
            batches,
            delivered: to_consumer.clone(),
        };
        let running = start_producer::<C>(
            context.clone(),
            channels,
            producer_settings,
            &settings.invalid,
        );
        Ok::<_, Error>((sender, running?))
    };
    let (even, even_thread) = producer(Output::Even, "producer-even", &settings.even_producer)?;
    let (odd, odd_thread) = producer(Output::Odd, "producer-odd", &settings.odd_producer)?;
    // The channel of delivered batches closes when both producers have ended, so this thread must not keep a sender.
    drop(to_consumer);
    let channels = ConsumerChannels {
        even,
        odd,
        delivered,
        bounds,
        is_transactional: context.transaction.is_some(),
    };
    let consumer_thread = start_consumer::<C>(context, channels, settings)?;
    Ok(vec![even_thread, odd_thread, consumer_thread])
}

/// Values that the threads of a router share.
#[derive(Clone)]
struct Context {
    client_settings: ClientSettings,
    topics: Arc<Topics>,
    /// The transaction of a router with exactly once.
    transaction: Option<Arc<Transaction>>,
    health: Arc<Health>,
    stop: Stop,
    events: Sender<ThreadEvent>,
}

/// Starts the producer thread that `channels` names.
fn start_producer<C: Client>(
    context: Context,
    channels: ProducerChannels,
    settings: &ProducerSettings,
    invalid: &Invalid,
) -> Result<Running, Error> {
    let (settings, invalid) = (settings.clone(), invalid.clone());
    let (name, events) = (channels.name, context.events.clone());
    thread::spawn(name, events, move || {
        let producer = C::producer(
            &context.client_settings,
            &settings,
            &context.topics,
            name,
            context.transaction.as_ref(),
        )?;
        producer::run(
            producer,
            &channels,
            &invalid,
            &context.topics,
            &context.health,
            &context.stop,
        )
    })
}

/// Starts the consumer thread of a router.
fn start_consumer<C: Client>(
    context: Context,
    channels: ConsumerChannels,
    settings: RouterSettings,
) -> Result<Running, Error> {
    let events = context.events.clone();
    thread::spawn("consumer", events, move || {
        let (topics, poll_batch_bytes) = (&context.topics, channels.bounds.poll_batch_bytes);
        let consumer = C::consumer(
            &context.client_settings,
            &settings.input,
            topics,
            context.transaction.as_ref(),
        )?;
        let router = Router::new(topics, &settings.invalid, poll_batch_bytes);
        consumer::run(
            consumer,
            channels,
            router,
            &settings.input.group,
            topics,
            &context.health,
            &context.stop,
        )
    })
}

/// Returns the transactional id of this process, or `None` if the role does not write in transactions.
///
/// If something other than this process determines its partitions (a static member, an instance's share), the id is derived from that, so
/// that a successor fences its predecessor. Otherwise each process has an id of its own, as in Kafka Streams, and the generation of the
/// group fences.
pub(super) fn transactional_id(role: &Role) -> Option<String> {
    let Role::Router(router) = role else {
        return None;
    };
    let prefix = &router.transaction.as_ref()?.prefix;
    let consumer = &router.input.consumer;
    Some(
        match (&consumer.manual_assignment, &consumer.group_instance_id) {
            (Some(share), _) => format!("{prefix}{}", share.index),
            (None, Some(instance)) => format!("{prefix}{instance}"),
            (None, None) => format!("{prefix}{:016x}", RandomState::new().hash_one(0)),
        },
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::client::settings::{ConsumerSettings, PartitionShare};
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
            manual_assignment: Some(PartitionShare { index: 3, count: 4 }),
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
