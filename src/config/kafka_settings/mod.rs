//! Kafka's own settings, such as `fetch.max.wait.ms`, under the prefixes of Spring's Kafka binder ("Kafka Binder Properties"). No I/O.
//!
//! `table` defines the settings, `prefix` the places where they can be given, and `given` collects the ones that are. `connection`,
//! `consumer` and `producer` read the client's settings from these, `librdkafka` selects what librdkafka gets, and `validate` reports what
//! has no effect and what the client does not support.

mod assignors;
pub(super) mod connection;
pub(super) mod consumer;
pub(super) mod given;
mod instances;
pub(super) mod librdkafka;
pub(super) mod prefix;
pub(super) mod producer;
pub(super) mod table;
// The tests compare all clients, so they need a build that includes all.
#[cfg(all(test, feature = "librdkafka", feature = "kafka"))]
mod tests;
pub(super) mod validate;
