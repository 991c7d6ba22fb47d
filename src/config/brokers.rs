//! Reads the list of brokers. No I/O.

use std::net::Ipv6Addr;

use super::reader::Reader;
use super::table;

const ALLOWED: &str = "allowed: [PLAINTEXT://]host[:port], separated by commas";

/// Reads the brokers, each as `host:port`.
pub(super) fn brokers(reader: &mut Reader<'_>) -> Vec<String> {
    let port = reader
        .parsed(&table::DEFAULT_BROKER_PORT)
        .unwrap_or_default();
    let Some(given) = reader.value(&table::BROKERS) else {
        return Vec::new();
    };
    let list = given.trimmed().trim_matches(['\'', '"']);
    let mut brokers = Vec::new();
    for broker in list.split(',').map(str::trim) {
        match parse(broker, port) {
            Ok(broker) => brokers.push(broker),
            Err(message) => reader.problem(&given, message),
        }
    }
    brokers
}

/// Parses `[PLAINTEXT://]host[:port]` into `host:port`. An IPv6 address is accepted with and without brackets, and returned with them.
fn parse(given: &str, default_port: u16) -> Result<String, String> {
    let address = match given.split_once("://") {
        Some((protocol, address)) if protocol.eq_ignore_ascii_case("PLAINTEXT") => address,
        Some((protocol, _)) => {
            return Err(format!(
                "{protocol}:// in {given:?}: a protocol other than PLAINTEXT is set by spring.cloud.stream.kafka.binder.configuration.security.protocol; {ALLOWED}"
            ));
        }
        None => given,
    };
    let (host, port) = split_port(given, address)?;
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    if host.is_empty() || host.chars().any(is_bad) {
        return Err(format!("{given:?} does not name a host; {ALLOWED}"));
    }
    let port = match port {
        None => default_port,
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port != 0 => port,
            _ => return Err(format!("{port:?} in {given:?} is not a port; {ALLOWED}")),
        },
    };
    Ok(format!("{host}:{port}"))
}

/// Splits an address into host and port. The host is not checked unless it is in brackets, and the port is not checked at all.
fn split_port<'a>(given: &str, address: &'a str) -> Result<(String, Option<&'a str>), String> {
    if address.parse::<Ipv6Addr>().is_ok() {
        return Ok((format!("[{address}]"), None));
    }
    let Some(rest) = address.strip_prefix('[') else {
        return Ok(match address.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (address.to_owned(), None),
        });
    };
    let (host, rest) = rest
        .split_once(']')
        .ok_or_else(|| format!("{given:?} has no closing bracket; {ALLOWED}"))?;
    if host.parse::<Ipv6Addr>().is_err() {
        return Err(format!(
            "{host:?} in {given:?} is not an IPv6 address; {ALLOWED}"
        ));
    }
    let port = match rest {
        "" => None,
        rest => Some(
            rest.strip_prefix(':')
                .ok_or_else(|| format!("{rest:?} in {given:?} is not a port; {ALLOWED}"))?,
        ),
    };
    Ok((format!("[{host}]"), port))
}
