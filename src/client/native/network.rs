//! The connections of one thread: opens them, with a back-off where that fails (KIP-144), waits for all of them together, and hands out
//! what has come. The thread's one place that waits for the network.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::connection::{Answer, Connection};
use super::protocol::{self, SupportedRequest, Unreadable};
use crate::client::settings::ConnectionSettings;

/// Whom a connection leads to. A broker is connected to twice where it is the group's coordinator too: a fetch waits at the broker, and
/// what is behind it on its connection waits with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    /// One of the configured brokers, by its place in the list.
    Bootstrap(usize),
    /// A broker by its id.
    Broker(i32),
    /// A broker by its id, as the group's coordinator.
    Coordinator(i32),
}

/// What has come.
#[derive(Debug)]
pub(super) enum NetworkEvent<T> {
    /// An answer.
    Answer(Node, Response<T>),
    /// A connection is over: what was sent over it will not be handle_response; here is what was given along with it.
    Lost(Vec<T>),
}

/// An answer to a request of this tag.
#[derive(Debug)]
pub(super) struct Response<T> {
    /// What was given along with the request.
    pub(super) tag: T,
    version: i16,
    body: Bytes,
}

impl<T> Response<T> {
    /// Reads it as what it is.
    pub(super) fn read<R: SupportedRequest>(&self) -> Result<R::Response, Unreadable> {
        protocol::decode::<R>(&self.body, self.version)
    }

    /// The answer's memory, which all that was read of it shares.
    pub(super) fn into_body(self) -> Bytes {
        self.body
    }
}

/// Whether a peer can be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Now.
    Ready,
    /// Not yet: it is being connected to, or was in vain a moment ago.
    Waiting,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Network<T> {
    settings: ConnectionSettings,
    client_id: StrBytes,
    links: BTreeMap<Node, Link<T>>,
    arrived: VecDeque<NetworkEvent<T>>,
    /// Why the last connection ended, with the broker's address.
    reason: String,
}

#[derive(Debug)]
struct Link<T> {
    address: String,
    connection: Option<Connection<T>>,
    /// Addresses of the name that are still to be tried.
    left: Vec<SocketAddr>,
    /// Failures since it was last ready.
    failures: u32,
    not_before: Option<Instant>,
}

impl<T> Network<T> {
    /// Without connections yet. A producer's name goes behind `client.id`: quotas and a broker's metrics know it by that.
    pub(super) fn new(settings: &ConnectionSettings, name: Option<&str>) -> Self {
        let mut client_id = settings.client_id.clone();
        if let Some(name) = name {
            client_id.extend(["-", name]);
        }
        Self {
            client_id: StrBytes::from_string(client_id),
            settings: settings.clone(),
            links: BTreeMap::new(),
            arrived: VecDeque::new(),
            reason: String::new(),
        }
    }

    /// How brokers are connected to and asked.
    pub(super) fn settings(&self) -> &ConnectionSettings {
        &self.settings
    }

    /// Why the last connection ended; empty where none has.
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether any peer can be sent to.
    pub(super) fn any_ready(&self) -> bool {
        self.links.values().any(Link::is_ready)
    }

    /// Whether the peer can be sent to; begins to connect where that is due.
    pub(super) fn reach(&mut self, peer: Node, address: &str) -> Reach {
        let now = Instant::now();
        let link = self.links.entry(peer).or_insert_with(|| Link {
            address: address.to_owned(),
            connection: None,
            left: Vec::new(),
            failures: 0,
            not_before: None,
        });
        if link.address != address {
            // The broker of this id has moved.
            address.clone_into(&mut link.address);
            link.left.clear();
            link.not_before = None;
            if let Some(connection) = link.connection.take() {
                let tags = connection.into_unanswered();
                self.arrived.push_back(NetworkEvent::Lost(tags));
            }
        }
        if let Some(connection) = &link.connection {
            return if connection.is_ready() {
                Reach::Ready
            } else {
                Reach::Waiting
            };
        }
        if link.not_before.is_none_or(|at| at <= now) {
            link.open(now, &self.settings, &mut self.reason);
        }
        Reach::Waiting
    }

    /// Whether the peer can be sent to now; nothing is begun.
    pub(super) fn is_ready(&self, peer: Node) -> bool {
        self.links.get(&peer).is_some_and(Link::is_ready)
    }

    /// How often in a row it was connected to in vain.
    pub(super) fn failures(&self, peer: Node) -> u32 {
        self.links.get(&peer).map_or(0, |link| link.failures)
    }

    /// Requests that the peer has not handle_response, and bytes that the system has not taken for it.
    pub(super) fn load(&self, peer: Node) -> (usize, usize) {
        let connection = self
            .links
            .get(&peer)
            .and_then(|link| link.connection.as_ref());
        connection.map_or((0, 0), |connection| {
            (connection.disconnected(), connection.unsent())
        })
    }

    /// The newest version of a request that the peer and we speak, where the peer is ready. Else a sentence.
    pub(super) fn version<R: SupportedRequest>(&self, peer: Node) -> Result<i16, String> {
        let Some(link) = self.links.get(&peer) else {
            return Err("not connected".to_owned());
        };
        let Some(connection) = link.connection.as_ref() else {
            return Err(format!("{}: not connected", link.address));
        };
        connection.version::<R>().ok_or_else(|| {
            let ours = R::SPOKEN.iter().map(|&(version, _)| version);
            let (lowest, highest) = (
                ours.clone().min().unwrap_or_default(),
                ours.max().unwrap_or_default(),
            );
            match connection.broker_versions::<R>() {
                Some((from, to)) => format!(
                    "{}: the broker takes {} requests of version {from} to {to}, and the client `native` sends {lowest} to {highest}: \
                     it speaks to Kafka 2.1 and later",
                    link.address,
                    R::NAME
                ),
                None => format!(
                    "{}: the broker does not know {} requests",
                    link.address,
                    R::NAME
                ),
            }
        })
    }

    /// Sends a request to a peer that is ready; one that is not loses it, which is told as for a connection that ends.
    pub(super) fn send<R: SupportedRequest>(&mut self, peer: Node, request: &R, tag: T) {
        self.send_within(peer, request, self.settings.request_timeout, tag);
    }

    /// As [`Network::send`], for an answer that may take longer.
    pub(super) fn send_within<R: SupportedRequest>(
        &mut self,
        peer: Node,
        request: &R,
        within: Duration,
        tag: T,
    ) {
        let until = Instant::now() + within;
        let client_id = self.client_id.clone();
        self.on_connection::<R>(peer, tag, |connection, version, tag| {
            connection.send(request, version, &client_id, until, tag)
        });
    }

    /// As [`Network::send`], the request's body given in pieces, which are for the version that [`Network::version`] tells.
    pub(super) fn send_pieces<R: SupportedRequest>(
        &mut self,
        peer: Node,
        pieces: [&[u8]; 3],
        tag: T,
    ) {
        let until = Instant::now() + self.settings.request_timeout;
        let client_id = self.client_id.clone();
        self.on_connection::<R>(peer, tag, |connection, version, tag| {
            connection.send_pieces::<R>(pieces, version, &client_id, until, tag)
        });
    }

    fn on_connection<R: SupportedRequest>(
        &mut self,
        peer: Node,
        tag: T,
        send: impl FnOnce(&mut Connection<T>, i16, T) -> std::io::Result<()>,
    ) {
        let link = self.links.get_mut(&peer);
        let connection = link.and_then(|link| link.connection.as_mut());
        let Some((connection, version)) = connection
            .and_then(|connection| Some((connection.version::<R>()?, connection)))
            .map(|(version, connection)| (connection, version))
        else {
            self.arrived.push_back(NetworkEvent::Lost(vec![tag]));
            return;
        };
        if let Err(error) = send(connection, version, tag) {
            self.lose(peer, &error.to_string());
        }
    }

    /// Ends the connections to configured brokers that nothing is expected from: the brokers behind them are known by their ids.
    pub(super) fn close_bootstrap(&mut self) {
        self.links.retain(|peer, link| {
            let idle = link
                .connection
                .as_ref()
                .is_none_or(|connection| connection.disconnected() == 0);
            !(matches!(peer, Node::Bootstrap(_)) && idle)
        });
    }

    /// Ends a connection that gave what it must not.
    pub(super) fn lose(&mut self, peer: Node, reason: &str) {
        let Some(link) = self.links.get_mut(&peer) else {
            return;
        };
        let Some(connection) = link.connection.take() else {
            return;
        };
        self.reason = format!("{}: {reason}", link.address);
        log::debug!("{peer:?} {}", self.reason);
        link.failed(Instant::now(), &self.settings);
        let tags = connection.into_unanswered();
        self.arrived.push_back(NetworkEvent::Lost(tags));
    }

    /// Gives the memory of a large answer back, for that peer's next one, if nobody else has a part of it.
    pub(super) fn recycle(&mut self, peer: Node, body: Bytes) {
        let Some(room) = body.try_into_mut().ok() else {
            return;
        };
        self.recycle_room(peer, room);
    }

    fn recycle_room(&mut self, peer: Node, room: BytesMut) {
        if let Some(connection) = self
            .links
            .get_mut(&peer)
            .and_then(|link| link.connection.as_mut())
        {
            connection.recycle(room);
        }
    }

    /// The oldest that has come.
    pub(super) fn next(&mut self) -> Option<NetworkEvent<T>> {
        self.arrived.pop_front()
    }

    /// The oldest answer for which `wanted` holds; everything else stays.
    pub(super) fn take(&mut self, wanted: impl Fn(&T) -> bool) -> Option<Option<Response<T>>> {
        let place = self.arrived.iter().position(|arrival| match arrival {
            NetworkEvent::Answer(_, response) => wanted(&response.tag),
            NetworkEvent::Lost(tags) => tags.iter().any(&wanted),
        })?;
        match self.arrived.get_mut(place) {
            Some(NetworkEvent::Lost(tags)) => {
                tags.retain(|tag| !wanted(tag));
                Some(None)
            }
            _ => match self.arrived.remove(place) {
                Some(NetworkEvent::Answer(_, response)) => Some(Some(response)),
                _ => Some(None),
            },
        }
    }

    /// Waits until something has come or `until`, whichever is first, and goes on with all connections.
    pub(super) fn wait(&mut self, until: Instant) {
        if self.arrived.is_empty() {
            self.poll(until);
        }
    }

    /// Sends a request and waits for its answer, no longer than `until`. What else comes stays.
    pub(super) fn call<R: SupportedRequest>(
        &mut self,
        peer: Node,
        request: &R,
        tag: T,
        until: Instant,
    ) -> Result<R::Response, String>
    where
        T: Copy + PartialEq,
    {
        self.version::<R>(peer)?;
        self.send(peer, request, tag);
        loop {
            match self.take(|other| *other == tag) {
                Some(Some(response)) => {
                    return response.read::<R>().map_err(|error| error.to_string());
                }
                Some(None) => return Err(self.reason.clone()),
                None if Instant::now() >= until => {
                    return Err(format!("no answer to {} in time", R::NAME));
                }
                None => self.poll(until),
            }
        }
    }

    /// Goes on with all connections, and waits before that until one of them can, or `until`.
    pub(super) fn poll(&mut self, until: Instant) {
        let now = Instant::now();
        let dues = self.links.values().filter_map(|link| link.due(now));
        let until = dues.fold(until, Instant::min);
        let open = self
            .links
            .values()
            .filter_map(|link| link.connection.as_ref());
        let mut polled: Vec<PollFd<'_>> = open
            .map(|connection| {
                let mut flags = PollFlags::IN;
                if connection.wants_to_write() {
                    flags |= PollFlags::OUT;
                }
                PollFd::new(connection.stream(), flags)
            })
            .collect();
        let left = Timespec::try_from(until.saturating_duration_since(now)).unwrap_or(Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        });
        // A signal ends it early, and other errors it has none: then it was a short wait.
        let _ = rustix::event::poll(&mut polled, Some(&left));
        let ready = polled.iter().map(|polled| !polled.revents().is_empty());
        let ready: Vec<bool> = ready.collect();
        self.progress(&ready);
    }

    /// Goes on with the connections; `ready` says of each, in their order, whether the system has something to tell of it.
    fn progress(&mut self, ready: &[bool]) {
        let now = Instant::now();
        let Self {
            links,
            arrived,
            client_id,
            settings,
            reason,
        } = self;
        let mut ready = ready.iter();
        for (&peer, link) in links {
            let Some(connection) = link.connection.as_mut() else {
                continue;
            };
            let is_ready = ready.next().copied().unwrap_or_default();
            // A broker parts so from a client that has nothing to say: that is no failure.
            let idle = connection.is_ready() && connection.disconnected() == 0;
            let progress = connection.progress(now, is_ready, client_id, |answer| {
                let Answer { tag, version, body } = answer;
                let response = Response { tag, version, body };
                arrived.push_back(NetworkEvent::Answer(peer, response));
            });
            match progress {
                Ok(()) if connection.is_ready() => {
                    link.failures = 0;
                    link.left.clear();
                }
                Ok(()) => (),
                Err(error) => {
                    *reason = format!("{}: {error}", link.address);
                    log::debug!("{peer:?} {reason}");
                    let tags = link
                        .connection
                        .take()
                        .map(Connection::into_unanswered)
                        .unwrap_or_default();
                    if !idle {
                        link.failed(now, settings);
                    }
                    arrived.push_back(NetworkEvent::Lost(tags));
                }
            }
        }
    }
}

impl<T> Link<T> {
    fn is_ready(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_ready)
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        match &self.connection {
            Some(connection) => connection.due(),
            // Once it may be tried again, that is for who wants to reach it: nothing comes of waiting less.
            None => self.not_before.filter(|at| *at > now),
        }
    }

    /// Tries the next address of the name, which is looked up where all were tried.
    fn open(&mut self, now: Instant, settings: &ConnectionSettings, reason: &mut String) {
        if self.left.is_empty() {
            match self.address.to_socket_addrs() {
                Ok(addresses) => {
                    self.left = addresses.collect();
                    self.left.reverse();
                }
                Err(error) => *reason = format!("{}: {error}", self.address),
            }
        }
        let (first, longest) = settings.connect_timeout;
        let timeout = grown(first, longest, self.failures);
        let opened = self
            .left
            .pop()
            .map(|address| Connection::open(address, now + timeout));
        match opened {
            Some(Ok(connection)) => self.connection = Some(connection),
            Some(Err(error)) => {
                *reason = format!("{}: {error}", self.address);
                self.failed(now, settings);
            }
            None => self.failed(now, settings),
        }
    }

    fn failed(&mut self, now: Instant, settings: &ConnectionSettings) {
        let (first, longest) = settings.reconnect_backoff;
        // Another address of the same name is tried at once.
        self.not_before = self
            .left
            .is_empty()
            .then(|| now + backoff(first, longest, self.failures));
        self.failures = self.failures.saturating_add(1);
    }
}

/// `first`, doubled for each failure before, up to `longest`.
fn grown(first: Duration, longest: Duration, failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures);
    first.saturating_mul(factor).min(longest.max(first))
}

/// As [`grown`], and up to a fifth more or less, so that many clients do not come back at the same moment (KIP-580).
pub(super) fn backoff(first: Duration, longest: Duration, failures: u32) -> Duration {
    let random = RandomState::new().hash_one(failures) % 400;
    grown(first, longest, failures).mul_f64(0.8 + random as f64 / 1000.0)
}

#[cfg(test)]
mod tests;
