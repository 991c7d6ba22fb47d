//! The client of our own.

mod admin;
mod cluster;
mod connection;
mod network;
mod protocol;
