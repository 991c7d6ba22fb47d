//! Runs the program as a user does, against an embedded broker (`MockCluster`) that speaks real Kafka protocol. Real brokers are in
//! `tests/kafka`. Every test has its own broker, topics and free ports, and ends what it started.

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
mod process;
mod roles;
mod routing;
#[cfg(not(feature = "librdkafka"))]
mod small_build;
