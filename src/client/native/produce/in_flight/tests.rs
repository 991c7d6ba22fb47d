//! The in_flight against a broker that looks at sequence numbers as Kafka does (`ProducerAppendInfo`, `ProducerStateEntry`), over a connection
//! that is lost at any time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

impl Counted for Vec<u32> {
    fn count(&self) -> i32 {
        i32::try_from(self.len()).unwrap()
    }
}

#[derive(Debug, Clone)]
struct Request {
    turn: Turn,
    records: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Where it is.
    Done(i64),
    OutOfSequence,
    Unidentified,
    /// Not appended, and not for what it is.
    RefusedRecord,
    /// Appended maybe, and yet a failure.
    TimedOut,
    /// For what is in it; the broker names the records, or it does not.
    Poison {
        named: bool,
    },
}

/// What is wrong with the broker for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Before,
    After,
}

#[derive(Debug, Clone)]
struct Known {
    epoch: i16,
    last: i32,
    /// First and last number, and the offset.
    batches: VecDeque<(i32, i32, i64)>,
}

#[derive(Debug, Default)]
struct Broker {
    log: Vec<u32>,
    producers: BTreeMap<i64, Known>,
    poison: BTreeSet<u32>,
    names_poison: bool,
    /// For now it takes poison too.
    is_lenient: bool,
}

impl Broker {
    fn take(&mut self, request: &Request, fault: Fault) -> Answer {
        if fault == Fault::Before {
            return Answer::RefusedRecord;
        }
        let is_poison = |record: &u32| !self.is_lenient && self.poison.contains(record);
        if request.records.iter().any(is_poison) {
            return Answer::Poison {
                named: self.names_poison,
            };
        }
        let (id, epoch) = request.turn.identity;
        let base = request.turn.base_sequence;
        let last = behind(base, request.records.count() - 1);
        let known = self.producers.get(&id);
        let again = known
            .filter(|known| known.epoch == epoch)
            .and_then(|known| {
                let mut batches = known.batches.iter();
                batches.find(|batch| (batch.0, batch.1) == (base, last))
            });
        match known {
            Some(known) if epoch < known.epoch => return Answer::Unidentified,
            Some(known) if epoch > known.epoch && base != 0 => return Answer::OutOfSequence,
            Some(_) if again.is_some() => return Answer::Done(again.unwrap().2),
            Some(known) if epoch == known.epoch && behind(known.last, 1) != base => {
                return Answer::OutOfSequence;
            }
            _ => (),
        }
        let batches = known.filter(|known| known.epoch == epoch);
        let mut batches = batches
            .map(|known| known.batches.clone())
            .unwrap_or_default();
        let offset = i64::try_from(self.log.len()).unwrap();
        batches.push_back((base, last, offset));
        if batches.len() > KNOWN_AGAIN {
            batches.pop_front();
        }
        let known = Known {
            epoch,
            last,
            batches,
        };
        self.producers.insert(id, known);
        self.log.extend(&request.records);
        if fault == Fault::After {
            Answer::TimedOut
        } else {
            Answer::Done(offset)
        }
    }

    /// Stops in order: it knows again what its snapshot has, the last batch of each producer.
    fn restart(&mut self) {
        for known in self.producers.values_mut() {
            known.batches.drain(..known.batches.len() - 1);
        }
    }
}

/// A in_flight and the broker, with what is between them.
struct World {
    in_flight: InFlightBatches<Vec<u32>>,
    waiting: VecDeque<Vec<u32>>,
    next_producer: i64,
    broker: Broker,
    requests: VecDeque<Request>,
    answers: VecDeque<(u64, Answer)>,
    /// Requests of connections that were lost; the broker may come to them yet.
    stale: VecDeque<Request>,
    acknowledged: BTreeSet<u32>,
    refused: BTreeSet<u32>,
    restarts: usize,
}

impl World {
    fn new(bodies: &[usize], limit: usize, start: i32, broker: Broker) -> Self {
        let mut in_flight = InFlightBatches::new(limit, true, true);
        in_flight.first = start;
        let mut next = 0;
        let waiting = bodies.iter().map(|&size| {
            let first = next;
            next += u32::try_from(size).unwrap();
            (first..next).collect()
        });
        Self {
            in_flight,
            waiting: waiting.collect(),
            next_producer: 0,
            broker,
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            stale: VecDeque::new(),
            acknowledged: BTreeSet::new(),
            refused: BTreeSet::new(),
            restarts: 0,
        }
    }

    fn send(&mut self) {
        while self.in_flight.has_room()
            && let Some(body) = self.waiting.pop_front()
        {
            self.in_flight.push(body);
        }
        while self.in_flight.wants_identity() {
            if !self.in_flight.identify((self.next_producer, 0)) {
                self.next_producer += 1;
            }
        }
        let turn = self.in_flight.turn();
        self.restarts += usize::from(self.in_flight.take_restarted());
        if let Some(turn) = turn {
            let records = self.in_flight.batch(turn.id).unwrap().clone();
            self.in_flight.sent(turn.id);
            self.requests.push_back(Request { turn, records });
        }
    }

    fn process(&mut self, fault: Fault) {
        if let Some(request) = self.requests.pop_front() {
            let answer = self.broker.take(&request, fault);
            self.answers.push_back((request.turn.id, answer));
        }
    }

    fn process_stale(&mut self) {
        if let Some(request) = self.stale.pop_front() {
            self.broker.take(&request, Fault::None);
        }
    }

    fn answer(&mut self) {
        let Some((id, answer)) = self.answers.pop_front() else {
            return;
        };
        match answer {
            Answer::Done(offset) => {
                let acknowledged = &mut self.acknowledged;
                self.in_flight
                    .acknowledged(id, Some(offset), |body| acknowledged.extend(body));
            }
            Answer::OutOfSequence => {
                self.in_flight.out_of_sequence(id);
            }
            Answer::Unidentified => {
                self.in_flight.unidentified(id);
            }
            Answer::RefusedRecord => self.in_flight.failed(id, false),
            Answer::TimedOut => self.in_flight.failed(id, true),
            Answer::Poison { named } => {
                let body = self.in_flight.batch(id).unwrap().clone();
                let poison = &self.broker.poison;
                let bodies = if named || body.len() == 1 {
                    let (bad, good): (Vec<u32>, Vec<u32>) =
                        body.into_iter().partition(|record| poison.contains(record));
                    self.refused.extend(bad);
                    vec![good]
                } else {
                    let (first, second) = body.split_at(body.len() / 2);
                    vec![first.to_vec(), second.to_vec()]
                };
                let bodies = bodies.into_iter().filter(|body| !body.is_empty());
                self.in_flight.replace(id, bodies.collect());
            }
        }
    }

    /// The connection is lost: some answers are on their way in vain, and some requests come to the broker late.
    fn lose(&mut self) {
        self.in_flight.interrupted();
        for (id, _) in self.answers.drain(..) {
            self.in_flight.failed(id, true);
        }
        for request in self.requests.drain(..) {
            self.in_flight.failed(request.turn.id, true);
            self.stale.push_back(request);
        }
    }

    /// The broker stops in order and starts again. What it has not come to by then it never will.
    fn restart(&mut self) {
        self.lose();
        self.stale.clear();
        self.broker.restart();
    }

    fn step(&mut self, step: u8) {
        match step {
            0..30 => self.send(),
            30..50 => self.process(Fault::None),
            50..56 => self.process(Fault::Before),
            56..62 => self.process(Fault::After),
            62..90 => self.answer(),
            90..94 => self.lose(),
            _ => self.process_stale(),
        }
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// Everything works from now on.
    fn finish(&mut self) {
        for _ in 0..10_000 {
            if self.is_done() {
                return;
            }
            self.send();
            self.process(Fault::None);
            self.answer();
        }
        panic!("it does not come to an end: {:?}", self.in_flight);
    }
}

fn world(
    bodies: &[usize],
    limit: usize,
    start: i32,
    poison: &BTreeSet<u32>,
    named: bool,
    steps: &[u8],
) -> World {
    let broker = Broker {
        poison: poison.clone(),
        names_poison: named,
        ..Broker::default()
    };
    let mut world = World::new(bodies, limit, start, broker);
    for &step in steps {
        world.step(step);
    }
    world.finish();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Each record is appended once and in order, whatever is handle_response, lost or late.
    #[test]
    fn each_record_once_and_in_order(
        bodies in prop::collection::vec(1..4_usize, 1..30),
        limit in 1..=7_usize,
        start in prop_oneof![Just(0), i32::MAX - 20..=i32::MAX],
        steps in prop::collection::vec(0..100_u8, 0..400),
    ) {
        let world = world(&bodies, limit, start, &BTreeSet::new(), false, &steps);
        let count = u32::try_from(bodies.iter().sum::<usize>()).unwrap();
        prop_assert_eq!(&world.broker.log, &(0..count).collect::<Vec<u32>>());
        prop_assert_eq!(world.restarts, 0);
        prop_assert_eq!(world.acknowledged.len(), count as usize);
    }

    /// So it is where the broker stops in order and starts again in between, as long as nothing else goes wrong, and nobody else writes.
    #[test]
    fn each_record_once_though_the_broker_restarts(
        bodies in prop::collection::vec(1..4_usize, 1..30),
        limit in 1..=7_usize,
        start in prop_oneof![Just(0), i32::MAX - 20..=i32::MAX],
        steps in prop::collection::vec(0..110_u8, 0..400),
    ) {
        let mut world = World::new(&bodies, limit, start, Broker::default());
        for &step in &steps {
            match step {
                // What is late from before would come to a broker that does not know it again.
                50..62 | 94..100 => (),
                0..94 => world.step(step),
                _ => world.restart(),
            }
        }
        world.finish();
        let count = u32::try_from(bodies.iter().sum::<usize>()).unwrap();
        prop_assert_eq!(&world.broker.log, &(0..count).collect::<Vec<u32>>());
        prop_assert_eq!(world.restarts, 0);
        prop_assert_eq!(world.acknowledged.len(), count as usize);
    }

    /// Records that are refused are those that must be; all others are there, in order, and doubled only where it was said.
    #[test]
    fn what_is_refused_leaves_no_gap(
        bodies in prop::collection::vec(1..6_usize, 1..20),
        limit in 1..=7_usize,
        poison in prop::collection::btree_set(0..60_u32, 0..10),
        named in any::<bool>(),
        steps in prop::collection::vec(0..100_u8, 0..400),
    ) {
        let world = world(&bodies, limit, 0, &poison, named, &steps);
        let count = u32::try_from(bodies.iter().sum::<usize>()).unwrap();
        let bad: BTreeSet<u32> = poison.into_iter().filter(|record| *record < count).collect();
        let good: Vec<u32> = (0..count).filter(|record| !bad.contains(record)).collect();
        prop_assert_eq!(&world.refused, &bad);
        prop_assert_eq!(world.acknowledged.iter().copied().collect::<Vec<u32>>(), good.clone());
        if world.restarts == 0 {
            prop_assert_eq!(&world.broker.log, &good);
        } else {
            let there: BTreeSet<u32> = world.broker.log.iter().copied().collect();
            prop_assert_eq!(there.into_iter().collect::<Vec<u32>>(), good);
        }
    }

    /// A broker that forgets its producers costs no record: at any of its starts, where their last timestamps are too old for it, or once
    /// in between (it looks for such every ten minutes, `producer.id.expiration.check.interval.ms`).
    #[test]
    fn what_is_forgotten_is_not_lost(
        bodies in prop::collection::vec(1..4_usize, 1..20),
        limit in 1..=7_usize,
        at_starts in any::<bool>(),
        steps in prop::collection::vec(0..110_u8, 0..400),
    ) {
        let mut world = World::new(&bodies, limit, 0, Broker::default());
        let mut has_forgotten = false;
        for &step in &steps {
            match step {
                0..100 => world.step(step),
                100..102 => world.restart(),
                102..105 if at_starts => {
                    world.restart();
                    world.broker.producers.clear();
                }
                102..105 if !std::mem::replace(&mut has_forgotten, true) => {
                    world.broker.producers.clear();
                }
                _ => (),
            }
        }
        world.finish();
        let count = bodies.iter().sum::<usize>();
        let there: BTreeSet<u32> = world.broker.log.iter().copied().collect();
        prop_assert_eq!(there.len(), count);
        prop_assert_eq!(world.acknowledged.len(), count);
    }

    /// What a topic takes can change between two attempts.
    #[test]
    fn what_is_refused_at_times_is_not_lost(
        bodies in prop::collection::vec(1..4_usize, 1..20),
        limit in 1..=7_usize,
        poison in prop::collection::btree_set(0..40_u32, 0..10),
        named in any::<bool>(),
        steps in prop::collection::vec(0..110_u8, 0..400),
    ) {
        let broker = Broker {
            poison,
            names_poison: named,
            ..Broker::default()
        };
        let mut world = World::new(&bodies, limit, 0, broker);
        for &step in &steps {
            if step < 100 {
                world.step(step);
            } else {
                world.broker.is_lenient = !world.broker.is_lenient;
            }
        }
        world.finish();
        let there: BTreeSet<u32> = world.broker.log.iter().copied().collect();
        prop_assert!(world.acknowledged.is_subset(&there));
        let settled = world.acknowledged.union(&world.refused).count();
        prop_assert_eq!(settled, bodies.iter().sum::<usize>());
    }
}

fn in_flight(limit: usize, idempotent: bool, bodies: u32) -> InFlightBatches<Vec<u32>> {
    let mut in_flight = InFlightBatches::new(limit, idempotent, true);
    for body in 0..bodies {
        in_flight.push(vec![body]);
    }
    in_flight
}

/// Sends all that may be sent, and gives the names.
fn send(in_flight: &mut InFlightBatches<Vec<u32>>) -> Vec<u64> {
    let turns = std::iter::from_fn(|| {
        let turn = in_flight.turn()?;
        in_flight.sent(turn.id);
        Some(turn.id)
    });
    turns.collect()
}

#[test]
fn without_numbers_what_failed_waits_for_the_others() {
    let mut in_flight = in_flight(5, false, 4);
    assert_eq!(send(&mut in_flight), vec![1, 2, 3, 4]);
    in_flight.failed(2, true);
    assert!(send(&mut in_flight).is_empty());
    let mut bodies = Vec::new();
    in_flight.acknowledged(1, None, |body| bodies.push(body));
    assert_eq!(bodies, vec![vec![0]]);
    in_flight.failed(3, true);
    in_flight.acknowledged(4, None, drop);
    in_flight.push(vec![4]);
    assert_eq!(send(&mut in_flight), vec![2, 3, 5]);
    assert!(!in_flight.take_restarted());
}

#[test]
fn the_first_of_an_epoch_goes_alone() {
    let mut in_flight = in_flight(5, true, 3);
    assert!(in_flight.wants_identity());
    assert!(send(&mut in_flight).is_empty());
    assert!(in_flight.identify((7, 0)));
    assert_eq!(send(&mut in_flight), vec![1]);
    in_flight.acknowledged(1, Some(0), drop);
    assert_eq!(send(&mut in_flight), vec![2, 3]);
    // The first one: the broker has forgotten. The second one only follows from it.
    assert!(in_flight.out_of_sequence(2));
    assert!(!in_flight.out_of_sequence(3));
    let turn = in_flight.turn().unwrap();
    assert_eq!((turn.id, turn.identity, turn.base_sequence), (2, (7, 1), 0));
    assert!(in_flight.take_restarted());
    assert_eq!(send(&mut in_flight), vec![2]);
}

#[test]
fn an_id_that_is_not_taken_is_not_used_again() {
    let mut in_flight = in_flight(5, true, 1);
    in_flight.identify((7, 0));
    send(&mut in_flight);
    assert!(in_flight.unidentified(1));
    assert!(send(&mut in_flight).is_empty());
    assert!(in_flight.wants_identity());
    assert!(!in_flight.identify((7, 0)));
    assert!(in_flight.identify((8, 0)));
    assert_eq!(in_flight.turn().unwrap().identity, (8, 0));
}

#[test]
fn epochs_come_to_an_end() {
    let mut in_flight = in_flight(5, true, 1);
    in_flight.identify((7, i16::MAX));
    send(&mut in_flight);
    assert!(in_flight.out_of_sequence(1));
    assert!(send(&mut in_flight).is_empty());
    assert!(!in_flight.identify((7, 0)));
}

#[test]
fn numbers_wrap() {
    assert_eq!(behind(0, 5), 5);
    assert_eq!(behind(i32::MAX - 1, 1), i32::MAX);
    assert_eq!(behind(i32::MAX, 1), 0);
    assert_eq!(behind(i32::MAX - 1, 5), 3);
}

#[test]
fn behind_what_is_refused_numbers_move_up() {
    let mut in_flight = in_flight(5, true, 4);
    in_flight.identify((7, 0));
    send(&mut in_flight);
    in_flight.acknowledged(1, Some(0), drop);
    assert_eq!(send(&mut in_flight), vec![2, 3, 4]);
    in_flight.replace(2, Vec::new());
    // What is out fails for the gap; until then nothing is sent.
    in_flight.push(vec![4]);
    assert!(send(&mut in_flight).is_empty());
    assert!(!in_flight.out_of_sequence(3));
    assert!(!in_flight.out_of_sequence(4));
    let turn = in_flight.turn().unwrap();
    assert_eq!((turn.id, turn.identity, turn.base_sequence), (3, (7, 0), 1));
    assert_eq!(send(&mut in_flight), vec![3, 4, 5]);
    assert!(!in_flight.take_restarted());
}
