//! The network against a broker of a few lines.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

const PEER: Node = Node::Bootstrap(0);
const DEADLINE: Duration = Duration::from_secs(30);

/// Takes a connection and tells it that no request is known.
fn greet(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut request = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut request).unwrap();
    let correlation = &request[4..8];
    stream.write_all(&10_u32.to_be_bytes()).unwrap();
    stream.write_all(correlation).unwrap();
    stream.write_all(&[0; 6]).unwrap();
    stream
}

/// A network with a connection that is ready, and the broker's end of it.
fn connected() -> (Network<()>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let broker = std::thread::spawn(move || greet(&listener));
    let mut network = Network::new(&ConnectionSettings::default(), None);
    let until = Instant::now() + DEADLINE;
    while network.reach(PEER, &address) != Reach::Ready {
        assert!(Instant::now() < until);
        network.poll(until);
    }
    (network, broker.join().unwrap())
}

#[test]
fn a_connection_that_is_closed_while_nothing_is_expected_is_noticed() {
    let (mut network, broker) = connected();
    drop(broker);
    network.poll(Instant::now() + DEADLINE);
    assert!(
        matches!(network.next(), Some(NetworkEvent::Lost(tags)) if tags.is_empty()),
        "{}",
        network.reason()
    );
    assert!(!network.is_ready(PEER));
}

#[test]
fn an_answer_to_nothing_ends_the_connection() {
    let (mut network, mut broker) = connected();
    broker.write_all(&[0, 0, 0, 4, 0, 0, 0, 9]).unwrap();
    let until = Instant::now() + DEADLINE;
    while network.is_ready(PEER) {
        assert!(Instant::now() < until);
        network.poll(until);
    }
    assert!(network.reason().ends_with("an answer to nothing"));
}

#[test]
fn what_nobody_wants_to_reach_does_not_shorten_a_wait() {
    let (mut network, _broker) = connected();
    network.lose(PEER, "tried");
    network.next();
    // Until it could be tried again, and then for no reason any more.
    let back_off = network.links[&PEER].not_before.unwrap();
    network.poll(back_off);
    let wait = Duration::from_millis(50);
    let start = Instant::now().max(back_off);
    network.poll(start + wait);
    assert!(start.elapsed() >= wait);
}
