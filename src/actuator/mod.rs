//! Thread `actuator`: answers probes, Data Flow and people over HTTP, as Spring Boot's actuator does. It reads `Health`, it never
//! changes it, and it waits for no other thread.
//!
//! `gate` and `connection` hold the sockets within bounds, `http` parses and writes by tiny_http, `reply` knows the answers.

mod connection;
mod content_negotiation;
mod endpoints;
mod gate;
mod request;
mod response;

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
const BACKLOG: i32 = 2 * gate::MAX_CONNECTIONS as i32;

/// A bound actuator that serves nobody yet.
pub(crate) struct Actuator {
    listener: TcpListener,
    port: u16,
    show_details: bool,
}

/// Takes the port, before Kafka is touched: a taken one ends the program early, and Data Flow's connection check succeeds from here on.
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
    /// The port it listens on, also where the system chose it.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Serves until `ended` is set, which it looks at every 200 ms, and then finishes the replies under way. `request_stop` is called
    /// once the reply to `POST /shutdown` is written. Fails when the listening socket is of no use any more.
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
        gate::run(&self.listener, &handler, &request_stop, ended).map_err(|source| {
            Error::Actuator {
                port: self.port,
                source,
            }
        })
    }
}

/// Every address of the host: both families by one socket, or IPv4 alone on a host without IPv6.
fn listen_everywhere(port: u16) -> io::Result<TcpListener> {
    listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).or_else(|error| {
        match Errno::from_io_error(&error) {
            Some(Errno::ADDRINUSE | Errno::ACCESS) => Err(error),
            _ => listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
        }
    })
}

/// Not `TcpListener::bind`: whether `[::]` takes IPv4 too is the host's setting there (`net.ipv6.bindv6only`), and a probe to an IPv4
/// address must not depend on it.
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
    // A restart takes the port though connections of the last run are still in TIME_WAIT.
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
