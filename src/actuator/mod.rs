//! Thread `actuator`: the HTTP server for probes, Data Flow and people, with the endpoints of Spring Boot's actuator. It reads `Health`,
//! never changes it, and waits for no other thread.
//!
//! `server` and `connection` do the I/O within limits, `request` and `response` parse and serialize with tiny_http, `endpoints` creates the
//! responses.

mod connection;
mod content_negotiation;
mod endpoints;
mod request;
mod response;
mod server;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::atomic::AtomicBool;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use endpoints::Endpoints;
use request::Request;

use crate::config::{ActuatorSettings, Info};
use crate::error::Error;
use crate::health::Health;

/// Connections that the kernel queues until they are accepted. The short queue also throttles a storm: the kernel drops a SYN that finds it
/// full, and the client repeats it a second later. With 300 clients that reconnect at once, the p99 of a probe is 4 ms at 128 and 55 to
/// 200 ms at 1024 (debug build, two busy cores).
const BACKLOG: i32 = 2 * server::MAX_CONNECTIONS as i32;

/// The actuator's listening socket.
pub(crate) struct Actuator {
    listener: TcpListener,
    port: u16,
    show_details: bool,
}

/// Binds the actuator's port. The caller does so before it connects to Kafka: a port in use ends the program early, and Data Flow's local
/// deployer regards the application as deployed once the port accepts connections.
pub(crate) fn bind(settings: &ActuatorSettings) -> Result<Actuator, Error> {
    let failed = |source| Error::Actuator {
        port: settings.port,
        source,
    };
    let listener = match settings.address {
        Some(address) => listen(SocketAddr::new(address, settings.port)),
        None => listen_everywhere(settings.port),
    }
    .map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    Ok(Actuator {
        listener,
        port,
        show_details: settings.show_details,
    })
}

impl Actuator {
    /// The port that it listens on; with `server.port=0` the system has chosen it.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Serves until `ended` is set, which is noticed within 200 ms, and then writes the responses in progress. Calls `request_stop` when the
    /// response to `POST /shutdown` is written. Fails if the listening socket fails.
    pub(crate) fn run(
        self,
        health: &Health,
        info: &Info,
        request_stop: impl Fn(),
        ended: &AtomicBool,
    ) -> Result<(), Error> {
        let endpoints = Endpoints {
            health,
            info,
            show_details: self.show_details,
        };
        let handler = |request: &Request| {
            let (method, target) = (request.method(), request.target());
            let response = endpoints.respond(method, target, request.accept().as_deref());
            log::debug!("actuator: {method} {target} {}", response.status);
            response
        };
        server::run(&self.listener, &handler, &request_stop, ended).map_err(|source| {
            Error::Actuator {
                port: self.port,
                source,
            }
        })
    }
}

/// Listens on every address of the host: on IPv6 and IPv4 with one socket, or on IPv4 only if the host does not support IPv6.
fn listen_everywhere(port: u16) -> io::Result<TcpListener> {
    listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).or_else(|error| {
        match Errno::from_io_error(&error) {
            Some(Errno::ADDRINUSE | Errno::ACCESS) => Err(error),
            _ => listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
        }
    })
}

/// Does not use `TcpListener::bind`, which leaves it to the host (`net.ipv6.bindv6only`) whether `[::]` accepts IPv4: probes use IPv4.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let socket = rustix::net::socket_with(
        family,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    // After a restart, connections of the previous process may still be in TIME_WAIT.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

#[cfg(test)]
mod tests;
