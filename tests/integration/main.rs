//! Runs the program as a user does, on an embedded broker (`MockCluster`) that speaks the Kafka protocol. `tests/kafka` uses real brokers.
//! Every test has its own broker, topics and free ports, and ends what it started.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod actuator;
mod broker;
#[cfg(feature = "kafka")]
mod clients;
mod command_line;
mod configuration;
#[cfg(feature = "librdkafka")]
mod demo;
mod dependencies;
mod faults;
mod guarantees;
mod language;
mod process;
mod roles;
mod routing;
#[cfg(not(feature = "librdkafka"))]
mod small_build;
