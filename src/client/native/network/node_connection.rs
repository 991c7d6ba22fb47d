//! The connection to one node: its address, its addresses by DNS, and its back-off (KIP-144).

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Instant;

use crate::client::native::backoff::{Backoff, exponential};
use crate::client::native::connection::Connection;
use crate::client::settings::ConnectionSettings;

/// Connection to a node, or the state of the attempts to connect to it.
#[derive(Debug)]
pub(super) struct NodeConnection<T> {
    /// `host:port`.
    pub(super) address: String,
    pub(super) connection: Option<Connection<T>>,
    /// IP addresses of the host that have not been tried yet; the next one is last.
    untried: Vec<SocketAddr>,
    /// Failures since the connection was last ready, and the wait before the next attempt.
    pub(super) backoff: Backoff,
}

impl<T> NodeConnection<T> {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            connection: None,
            untried: Vec::new(),
            backoff: Backoff::default(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_ready)
    }

    /// Changes the address. Returns the connection to the old one, if there is one.
    pub(super) fn change_address(&mut self, address: &str) -> Option<Connection<T>> {
        address.clone_into(&mut self.address);
        self.untried.clear();
        self.backoff.end_wait();
        self.connection.take()
    }

    /// Returns when the connection fails, or when the node can be connected to again.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        match &self.connection {
            Some(connection) => connection.deadline(),
            // The caller has to connect again after the back-off, so the network need not wake up after that.
            None => self.backoff.until().filter(|until| *until > now),
        }
    }

    /// Starts to connect to the next IP address of the host if the back-off is over. Resolves the host if all its addresses were tried.
    /// Returns an error message if the attempt failed at once.
    pub(super) fn open(
        &mut self,
        now: Instant,
        settings: &ConnectionSettings,
    ) -> Result<(), String> {
        if self.backoff.is_waiting(now) {
            return Ok(());
        }
        let opened = self.open_next(now, settings);
        if opened.is_err() {
            self.failed(now, settings);
        }
        opened.map_err(|error| format!("{}: {error}", self.address))
    }

    fn open_next(&mut self, now: Instant, settings: &ConnectionSettings) -> std::io::Result<()> {
        if self.untried.is_empty() {
            self.untried = self.address.to_socket_addrs()?.collect();
            self.untried.reverse();
        }
        let timeout = exponential(settings.connect_timeout, self.backoff.failures());
        let address = self.untried.pop().ok_or(std::io::ErrorKind::NotFound)?;
        self.connection = Some(Connection::open(address, now + timeout)?);
        Ok(())
    }

    /// Counts a failure. If the host has another IP address, it is tried at once; otherwise the back-off starts.
    pub(super) fn failed(&mut self, now: Instant, settings: &ConnectionSettings) {
        self.backoff.fail(now, settings.reconnect_backoff);
        if !self.untried.is_empty() {
            self.backoff.end_wait();
        }
    }

    /// The connection is ready: forgets the failures before it.
    pub(super) fn succeeded(&mut self) {
        self.backoff.clear_failures();
        self.untried.clear();
    }
}
