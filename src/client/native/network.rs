//! TCP connections of one client thread.
//!
//! Opens connections with exponential back-off (KIP-144), polls all of them at once and returns the responses. This is the only place
//! where a client thread blocks on the network.

mod node_connection;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::connection::Connection;
use super::protocol::SupportedRequest;
use super::response::Response;
use crate::client::settings::ConnectionSettings;
use node_connection::NodeConnection;

/// Destination of a connection.
///
/// The group coordinator gets its own connection even if the same broker also leads partitions: a fetch may be parked at the broker for
/// `fetch.max.wait.ms`, and heartbeats queued behind it would be late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    /// Index into `bootstrap.servers`.
    Bootstrap(usize),
    /// Broker by node id.
    Broker(i32),
    /// Coordinator by node id.
    Coordinator(i32),
}

/// Result of polling the connections.
#[derive(Debug)]
pub(super) enum NetworkEvent<T> {
    Response(Node, Response<T>),
    /// A connection was closed. The tags are those of the requests that will get no response.
    Disconnected(Vec<T>),
}

/// The connections of a thread. Each request has a tag of type `T`, which is returned with its response.
#[derive(Debug)]
pub(super) struct Network<T> {
    settings: ConnectionSettings,
    client_id: StrBytes,
    nodes: BTreeMap<Node, NodeConnection<T>>,
    events: VecDeque<NetworkEvent<T>>,
    /// Why the last connection failed, with the address of the node.
    last_error: String,
}

impl<T> Network<T> {
    /// Creates a network without connections. A producer's `name` is appended to `client.id`, because quotas and the metrics of brokers
    /// distinguish clients by it.
    pub(super) fn new(settings: &ConnectionSettings, name: Option<&str>) -> Self {
        let mut client_id = settings.client_id.clone();
        if let Some(name) = name {
            client_id.extend(["-", name]);
        }
        Self {
            client_id: StrBytes::from_string(client_id),
            settings: settings.clone(),
            nodes: BTreeMap::new(),
            events: VecDeque::new(),
            last_error: String::new(),
        }
    }

    /// The settings of the connections.
    pub(super) fn settings(&self) -> &ConnectionSettings {
        &self.settings
    }

    /// Why the last connection failed, with the address of the node; empty if none has failed.
    pub(super) fn last_error(&self) -> &str {
        &self.last_error
    }

    /// Returns whether requests can be sent to any node.
    pub(super) fn any_ready(&self) -> bool {
        self.nodes.values().any(NodeConnection::is_ready)
    }

    /// Returns whether requests can be sent to the node. If it is not connected and its back-off is over, starts to connect.
    pub(super) fn connect(&mut self, node: Node, address: &str) -> bool {
        let connection = self
            .nodes
            .entry(node)
            .or_insert_with(|| NodeConnection::new(address));
        if connection.address != address {
            // The broker with this node id has moved.
            if let Some(old) = connection.change_address(address) {
                self.events
                    .push_back(NetworkEvent::Disconnected(old.into_tags()));
            }
        }
        if connection.connection.is_some() {
            return connection.is_ready();
        }
        if let Err(error) = connection.open(Instant::now(), &self.settings) {
            self.last_error = error;
        }
        false
    }

    /// Returns whether requests can be sent to the node. Unlike [`Network::connect`], never connects.
    pub(super) fn is_ready(&self, node: Node) -> bool {
        self.nodes.get(&node).is_some_and(NodeConnection::is_ready)
    }

    /// Returns the number of failures in a row to connect to the node.
    pub(super) fn connect_failures(&self, node: Node) -> u32 {
        self.nodes
            .get(&node)
            .map_or(0, |connection| connection.backoff.failures())
    }

    /// Returns the number of requests in flight to the node, and of request bytes that are not written to its socket yet.
    pub(super) fn in_flight(&self, node: Node) -> (usize, usize) {
        self.connection(node).map_or((0, 0), |connection| {
            (connection.in_flight(), connection.unsent())
        })
    }

    fn connection(&self, node: Node) -> Option<&Connection<T>> {
        self.nodes.get(&node)?.connection.as_ref()
    }

    /// Returns the highest version of a request that both the node and this client support, or an error message.
    pub(super) fn version<R: SupportedRequest>(&self, node: Node) -> Result<i16, String> {
        let Some(NodeConnection {
            address,
            connection,
            ..
        }) = self.nodes.get(&node)
        else {
            return Err("not connected".to_owned());
        };
        let Some(connection) = connection.as_ref() else {
            return Err(format!("{address}: not connected"));
        };
        connection.version::<R>().ok_or_else(|| {
            let request = R::NAME;
            let ours = R::SUPPORTED_VERSIONS.iter().map(|&(version, _)| version);
            let lowest = ours.clone().min().unwrap_or_default();
            let highest = ours.max().unwrap_or_default();
            match connection.broker_versions::<R>() {
                Some((from, to)) => format!(
                    "{address}: the broker supports versions {from} to {to} of {request} requests, but the client `native` sends \
                     {lowest} to {highest}: use Kafka 2.1 or later"
                ),
                None => format!("{address}: the broker does not support {request} requests"),
            }
        })
    }

    /// Sends a request to a node that is ready. If the node is not ready, the request ends with [`NetworkEvent::Disconnected`].
    pub(super) fn send<R: SupportedRequest>(&mut self, node: Node, request: &R, tag: T) {
        self.send_with_timeout(node, request, self.settings.request_timeout, tag);
    }

    /// Sends a request like [`Network::send`], with a timeout other than `request.timeout.ms`.
    pub(super) fn send_with_timeout<R: SupportedRequest>(
        &mut self,
        node: Node,
        request: &R,
        timeout: Duration,
        tag: T,
    ) {
        let deadline = Instant::now() + timeout;
        let client_id = self.client_id.clone();
        self.with_connection::<R>(node, tag, |connection, version, tag| {
            connection.send(request, version, &client_id, deadline, tag)
        });
    }

    /// Sends a request like [`Network::send`], with an encoded body in parts. It has to be encoded for the version that
    /// [`Network::version`] returns.
    pub(super) fn send_encoded<R: SupportedRequest>(
        &mut self,
        node: Node,
        parts: [&[u8]; 3],
        tag: T,
    ) {
        let deadline = Instant::now() + self.settings.request_timeout;
        let client_id = self.client_id.clone();
        self.with_connection::<R>(node, tag, |connection, version, tag| {
            connection.send_encoded::<R>(parts, version, &client_id, deadline, tag)
        });
    }

    fn with_connection<R: SupportedRequest>(
        &mut self,
        node: Node,
        tag: T,
        send: impl FnOnce(&mut Connection<T>, i16, T) -> std::io::Result<()>,
    ) {
        let connection = self.nodes.get_mut(&node);
        let connection = connection.and_then(|connection| connection.connection.as_mut());
        let Some((version, connection)) =
            connection.and_then(|connection| Some((connection.version::<R>()?, connection)))
        else {
            self.events.push_back(NetworkEvent::Disconnected(vec![tag]));
            return;
        };
        if let Err(error) = send(connection, version, tag) {
            self.disconnect(node, &error.to_string());
        }
    }

    /// Closes connections to bootstrap servers that have no request in flight. Called when a broker is connected by its node id.
    pub(super) fn close_idle_bootstrap(&mut self) {
        self.nodes.retain(|node, connection| {
            let in_flight = connection
                .connection
                .as_ref()
                .map_or(0, Connection::in_flight);
            !matches!(node, Node::Bootstrap(_)) || in_flight > 0
        });
    }

    /// Closes the connection to a node, for example because a response cannot be decoded.
    pub(super) fn disconnect(&mut self, node: Node, error: &str) {
        let Some(failed) = self.nodes.get_mut(&node) else {
            return;
        };
        let Some(connection) = failed.connection.take() else {
            return;
        };
        self.last_error = format!("{}: {error}", failed.address);
        log::debug!("disconnected from {node:?} {}", self.last_error);
        failed.failed(Instant::now(), &self.settings);
        self.events
            .push_back(NetworkEvent::Disconnected(connection.into_tags()));
    }

    /// Returns the buffer of a consumed response to the connection for reuse, unless it is still borrowed.
    pub(super) fn recycle(&mut self, node: Node, body: Bytes) {
        let connection = self.nodes.get_mut(&node);
        if let Some(connection) = connection.and_then(|connection| connection.connection.as_mut())
            && let Ok(buffer) = body.try_into_mut()
        {
            connection.recycle(buffer);
        }
    }

    /// Returns the next event.
    pub(super) fn next_event(&mut self) -> Option<NetworkEvent<T>> {
        self.events.pop_front()
    }

    /// Sends a request and blocks until its response arrives, at most until `deadline`. Other events stay in the queue.
    pub(super) fn call<R: SupportedRequest>(
        &mut self,
        node: Node,
        request: &R,
        tag: T,
        deadline: Instant,
    ) -> Result<R::Response, String>
    where
        T: Copy + PartialEq,
    {
        self.version::<R>(node)?;
        self.send(node, request, tag);
        loop {
            match self.take_event_of(tag) {
                Some(NetworkEvent::Response(_, response)) => {
                    return response.decode::<R>().map_err(|error| error.to_string());
                }
                Some(NetworkEvent::Disconnected(_)) => return Err(self.last_error.clone()),
                None if Instant::now() >= deadline => {
                    return Err(format!("no response to {} in time", R::NAME));
                }
                None => self.poll(deadline),
            }
        }
    }

    /// Removes the event of the request with this tag from the queue.
    fn take_event_of(&mut self, tag: T) -> Option<NetworkEvent<T>>
    where
        T: Copy + PartialEq,
    {
        let index = self.events.iter().position(|event| match event {
            NetworkEvent::Response(_, response) => response.tag == tag,
            NetworkEvent::Disconnected(tags) => tags.contains(&tag),
        })?;
        if let Some(NetworkEvent::Disconnected(tags)) = self.events.get_mut(index) {
            // The event stays for the other requests of that connection.
            tags.retain(|other| *other != tag);
            return Some(NetworkEvent::Disconnected(vec![tag]));
        }
        self.events.remove(index)
    }

    /// Blocks like [`Network::poll`], unless there is an event already.
    pub(super) fn wait(&mut self, deadline: Instant) {
        if self.events.is_empty() {
            self.poll(deadline);
        }
    }

    /// Blocks until a socket is ready, a connection times out, or `deadline`; then reads from and writes to all connections.
    pub(super) fn poll(&mut self, deadline: Instant) {
        let now = Instant::now();
        let deadlines = self.nodes.values().filter_map(|node| node.deadline(now));
        let deadline = deadlines.fold(deadline, Instant::min);
        let open = self
            .nodes
            .values()
            .filter_map(|node| node.connection.as_ref());
        let mut sockets: Vec<PollFd<'_>> = open
            .map(|connection| {
                let mut flags = PollFlags::IN;
                if connection.wants_to_write() {
                    flags |= PollFlags::OUT;
                }
                PollFd::new(connection.stream(), flags)
            })
            .collect();
        let timeout =
            Timespec::try_from(deadline.saturating_duration_since(now)).unwrap_or(Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            });
        // The only error that can occur is EINTR, after which no socket is ready and the caller polls again.
        let _ = rustix::event::poll(&mut sockets, Some(&timeout));
        let ready = sockets.iter().map(|socket| !socket.revents().is_empty());
        let ready: Vec<bool> = ready.collect();
        self.progress(&ready);
    }

    /// Reads from and writes to all connections. `ready` has the result of `poll(2)` for each of them, in the order of the nodes.
    fn progress(&mut self, ready: &[bool]) {
        let now = Instant::now();
        let Self {
            nodes,
            events,
            client_id,
            settings,
            last_error,
        } = self;
        let mut ready = ready.iter();
        for (&node, state) in nodes {
            let Some(connection) = state.connection.as_mut() else {
                continue;
            };
            let is_ready = ready.next().copied().unwrap_or_default();
            // Brokers close idle connections (`connections.max.idle.ms`), so this is not a failure of the node.
            let is_idle = connection.is_ready() && connection.in_flight() == 0;
            let progress = connection.progress(now, is_ready, client_id, |response| {
                events.push_back(NetworkEvent::Response(node, response));
            });
            match progress {
                Ok(()) if connection.is_ready() => state.succeeded(),
                Ok(()) => (),
                Err(error) => {
                    *last_error = format!("{}: {error}", state.address);
                    log::debug!("disconnected from {node:?} {last_error}");
                    let tags = state.connection.take().map(Connection::into_tags);
                    if !is_idle {
                        state.failed(now, settings);
                    }
                    events.push_back(NetworkEvent::Disconnected(tags.unwrap_or_default()));
                }
            }
        }
    }
}
