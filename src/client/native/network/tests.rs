//! Tests of the network against a minimal broker.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

const NODE: Node = Node::Bootstrap(0);
const TIMEOUT: Duration = Duration::from_secs(30);

/// Accepts a connection and answers ApiVersions with an empty list.
fn accept(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut request = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut request).unwrap();
    let correlation_id = &request[4..8];
    stream.write_all(&10_u32.to_be_bytes()).unwrap();
    stream.write_all(correlation_id).unwrap();
    stream.write_all(&[0; 6]).unwrap();
    stream
}

/// Returns a network with one ready connection, and the broker's end of that connection.
fn connected() -> (Network<()>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let broker = std::thread::spawn(move || accept(&listener));
    let mut network = Network::new(&ConnectionSettings::default(), None);
    let deadline = Instant::now() + TIMEOUT;
    while !network.connect(NODE, &address) {
        assert!(Instant::now() < deadline);
        network.poll(deadline);
    }
    (network, broker.join().unwrap())
}

#[test]
fn an_idle_connection_that_the_broker_closes_is_noticed() {
    let (mut network, broker) = connected();
    drop(broker);
    network.poll(Instant::now() + TIMEOUT);
    assert!(
        matches!(network.next_event(), Some(NetworkEvent::Disconnected(tags)) if tags.is_empty()),
        "{}",
        network.last_error()
    );
    assert!(!network.is_ready(NODE));
}

#[test]
fn a_response_without_a_request_closes_the_connection() {
    let (mut network, mut broker) = connected();
    broker.write_all(&[0, 0, 0, 4, 0, 0, 0, 9]).unwrap();
    let deadline = Instant::now() + TIMEOUT;
    while network.is_ready(NODE) {
        assert!(Instant::now() < deadline);
        network.poll(deadline);
    }
    assert!(
        network
            .last_error()
            .ends_with("the broker sent a response without a request")
    );
}

#[test]
fn a_node_that_nobody_connects_to_does_not_shorten_a_wait() {
    let (mut network, _broker) = connected();
    network.disconnect(NODE, "test");
    network.next_event();
    // The end of the back-off ends one poll, and none after it.
    let retry_at = network.nodes[&NODE].backoff.until().unwrap();
    network.poll(retry_at);
    let wait = Duration::from_millis(50);
    let start = Instant::now().max(retry_at);
    network.poll(start + wait);
    assert!(start.elapsed() >= wait);
}
