//! The in-flight batches against a model of a broker that checks sequence numbers as Kafka does (`ProducerAppendInfo`,
//! `ProducerStateEntry`), over a connection that can be closed at any time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::sequence_numbers::next_sequence;
use super::*;

impl RecordCount for Vec<u32> {
    fn record_count(&self) -> i32 {
        i32::try_from(self.len()).unwrap()
    }
}

#[derive(Debug, Clone)]
struct Request {
    next: NextBatch,
    records: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Response {
    /// With the base offset.
    Acknowledged(i64),
    OutOfSequence,
    IdentityRejected,
    /// Not appended, for a reason that does not lie in the records.
    NotAppended,
    /// An error after which the batch may be appended.
    TimedOut,
    /// An invalid record. `is_named` if the response says which one.
    Invalid {
        is_named: bool,
    },
}

/// Failure of the broker at one request, before or after it appends the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    BeforeAppend,
    AfterAppend,
}

#[derive(Debug, Clone)]
struct ProducerState {
    epoch: i16,
    last_sequence: i32,
    /// First and last sequence number and base offset of the batches that are recognized when they are sent again.
    batches: VecDeque<(i32, i32, i64)>,
}

#[derive(Debug, Default)]
struct Broker {
    log: Vec<u32>,
    producers: BTreeMap<i64, ProducerState>,
    invalid: BTreeSet<u32>,
    names_invalid: bool,
    /// Accepts invalid records for now.
    is_lenient: bool,
}

impl Broker {
    fn append(&mut self, request: &Request, fault: Fault) -> Response {
        if fault == Fault::BeforeAppend {
            return Response::NotAppended;
        }
        let is_invalid = |record: &u32| !self.is_lenient && self.invalid.contains(record);
        if request.records.iter().any(is_invalid) {
            return Response::Invalid {
                is_named: self.names_invalid,
            };
        }
        let (id, epoch) = request.next.identity;
        let base = request.next.base_sequence;
        let last = next_sequence(base, request.records.record_count() - 1);
        let state = self.producers.get(&id);
        let duplicate = state
            .filter(|state| state.epoch == epoch)
            .and_then(|state| {
                let mut batches = state.batches.iter();
                batches.find(|batch| (batch.0, batch.1) == (base, last))
            });
        match state {
            Some(state) if epoch < state.epoch => return Response::IdentityRejected,
            Some(state) if epoch > state.epoch && base != 0 => return Response::OutOfSequence,
            Some(_) if duplicate.is_some() => return Response::Acknowledged(duplicate.unwrap().2),
            Some(state)
                if epoch == state.epoch && next_sequence(state.last_sequence, 1) != base =>
            {
                return Response::OutOfSequence;
            }
            _ => (),
        }
        let batches = state.filter(|state| state.epoch == epoch);
        let mut batches = batches
            .map(|state| state.batches.clone())
            .unwrap_or_default();
        let offset = i64::try_from(self.log.len()).unwrap();
        batches.push_back((base, last, offset));
        if batches.len() > RECOGNIZED_BATCHES {
            batches.pop_front();
        }
        let state = ProducerState {
            epoch,
            last_sequence: last,
            batches,
        };
        self.producers.insert(id, state);
        self.log.extend(&request.records);
        if fault == Fault::AfterAppend {
            Response::TimedOut
        } else {
            Response::Acknowledged(offset)
        }
    }

    /// Restarts cleanly: it recognizes only the last batch of each producer, because its snapshot contains no more.
    fn restart(&mut self) {
        for state in self.producers.values_mut() {
            state.batches.drain(..state.batches.len() - 1);
        }
    }
}

/// The in-flight batches, the broker, and the requests and responses between them.
struct World {
    in_flight: InFlightBatches<Vec<u32>>,
    queued: VecDeque<Vec<u32>>,
    next_producer: i64,
    broker: Broker,
    requests: VecDeque<Request>,
    responses: VecDeque<(u64, Response)>,
    /// Requests of closed connections, which the broker may process later.
    stale: VecDeque<Request>,
    acknowledged: BTreeSet<u32>,
    refused: BTreeSet<u32>,
    restarts: usize,
}

impl World {
    fn new(batches: &[usize], limit: usize, start: i32, broker: Broker) -> Self {
        let mut in_flight = InFlightBatches::new(limit, true, true);
        in_flight.numbers.first = start;
        let mut next = 0;
        let queued = batches.iter().map(|&size| {
            let first = next;
            next += u32::try_from(size).unwrap();
            (first..next).collect()
        });
        Self {
            in_flight,
            queued: queued.collect(),
            next_producer: 0,
            broker,
            requests: VecDeque::new(),
            responses: VecDeque::new(),
            stale: VecDeque::new(),
            acknowledged: BTreeSet::new(),
            refused: BTreeSet::new(),
            restarts: 0,
        }
    }

    fn send(&mut self) {
        while self.in_flight.has_room()
            && let Some(batch) = self.queued.pop_front()
        {
            self.in_flight.push(batch);
        }
        while self.in_flight.needs_identity() {
            if !self.in_flight.set_identity((self.next_producer, 0)) {
                self.next_producer += 1;
            }
        }
        let next = self.in_flight.next_to_send();
        self.restarts += usize::from(self.in_flight.take_restarted());
        if let Some(next) = next {
            let records = self.in_flight.get_mut(next.id).unwrap().clone();
            self.in_flight.mark_sent(next.id);
            self.requests.push_back(Request { next, records });
        }
    }

    fn process(&mut self, fault: Fault) {
        if let Some(request) = self.requests.pop_front() {
            let response = self.broker.append(&request, fault);
            self.responses.push_back((request.next.id, response));
        }
    }

    fn process_stale(&mut self) {
        if let Some(request) = self.stale.pop_front() {
            self.broker.append(&request, Fault::None);
        }
    }

    fn handle_response(&mut self) {
        let Some((id, response)) = self.responses.pop_front() else {
            return;
        };
        match response {
            Response::Acknowledged(offset) => {
                let acknowledged = &mut self.acknowledged;
                self.in_flight
                    .acknowledge(id, Some(offset), |batch| acknowledged.extend(batch));
            }
            Response::OutOfSequence => {
                self.in_flight.mark_out_of_sequence(id);
            }
            Response::IdentityRejected => {
                self.in_flight.mark_identity_rejected(id);
            }
            Response::NotAppended => self.in_flight.mark_failed(id, false),
            Response::TimedOut => self.in_flight.mark_failed(id, true),
            Response::Invalid { is_named } => {
                let batch = self.in_flight.get_mut(id).unwrap().clone();
                let invalid = &self.broker.invalid;
                let batches = if is_named || batch.len() == 1 {
                    let (refused, valid): (Vec<u32>, Vec<u32>) = batch
                        .into_iter()
                        .partition(|record| invalid.contains(record));
                    self.refused.extend(refused);
                    vec![valid]
                } else {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    vec![first.to_vec(), second.to_vec()]
                };
                let batches = batches.into_iter().filter(|batch| !batch.is_empty());
                self.in_flight.replace(id, batches.collect());
            }
        }
    }

    /// Closes the connection: responses on their way are lost, and the broker may still process some of the requests later.
    fn disconnect(&mut self) {
        self.in_flight.connection_closed();
        for (id, _) in self.responses.drain(..) {
            self.in_flight.mark_failed(id, true);
        }
        for request in self.requests.drain(..) {
            self.in_flight.mark_failed(request.next.id, true);
            self.stale.push_back(request);
        }
    }

    /// Restarts the broker cleanly. It never processes the requests that it had not processed before.
    fn restart_broker(&mut self) {
        self.disconnect();
        self.stale.clear();
        self.broker.restart();
    }

    fn step(&mut self, step: u8) {
        match step {
            0..30 => self.send(),
            30..50 => self.process(Fault::None),
            50..56 => self.process(Fault::BeforeAppend),
            56..62 => self.process(Fault::AfterAppend),
            62..90 => self.handle_response(),
            90..94 => self.disconnect(),
            _ => self.process_stale(),
        }
    }

    fn is_done(&self) -> bool {
        self.queued.is_empty() && self.in_flight.is_empty()
    }

    /// Delivers everything that is left, without faults.
    fn finish(&mut self) {
        for _ in 0..10_000 {
            if self.is_done() {
                return;
            }
            self.send();
            self.process(Fault::None);
            self.handle_response();
        }
        panic!("no progress: {:?}", self.in_flight);
    }
}

fn world(
    batches: &[usize],
    limit: usize,
    start: i32,
    invalid: &BTreeSet<u32>,
    names_invalid: bool,
    steps: &[u8],
) -> World {
    let broker = Broker {
        invalid: invalid.clone(),
        names_invalid,
        ..Broker::default()
    };
    let mut world = World::new(batches, limit, start, broker);
    for &step in steps {
        world.step(step);
    }
    world.finish();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Each record is appended once and in order, whatever the broker answers, and whichever responses are lost or late.
    #[test]
    fn appends_each_record_once_and_in_order(
        batches in prop::collection::vec(1..4_usize, 1..30),
        limit in 1..=7_usize,
        start in prop_oneof![Just(0), i32::MAX - 20..=i32::MAX],
        steps in prop::collection::vec(0..100_u8, 0..400),
    ) {
        let world = world(&batches, limit, start, &BTreeSet::new(), false, &steps);
        let count = u32::try_from(batches.iter().sum::<usize>()).unwrap();
        prop_assert_eq!(&world.broker.log, &(0..count).collect::<Vec<u32>>());
        prop_assert_eq!(world.restarts, 0);
        prop_assert_eq!(world.acknowledged.len(), count as usize);
    }

    /// The same holds across clean restarts of the broker, if nothing else fails and no other producer writes.
    #[test]
    fn appends_each_record_once_across_broker_restarts(
        batches in prop::collection::vec(1..4_usize, 1..30),
        limit in 1..=7_usize,
        start in prop_oneof![Just(0), i32::MAX - 20..=i32::MAX],
        steps in prop::collection::vec(0..110_u8, 0..400),
    ) {
        let mut world = World::new(&batches, limit, start, Broker::default());
        for &step in &steps {
            match step {
                // A late request from before the restart would reach a broker that does not recognize it.
                50..62 | 94..100 => (),
                0..94 => world.step(step),
                _ => world.restart_broker(),
            }
        }
        world.finish();
        let count = u32::try_from(batches.iter().sum::<usize>()).unwrap();
        prop_assert_eq!(&world.broker.log, &(0..count).collect::<Vec<u32>>());
        prop_assert_eq!(world.restarts, 0);
        prop_assert_eq!(world.acknowledged.len(), count as usize);
    }

    /// Only invalid records are refused. All others are appended in order, and duplicated only if a restart of the numbers was reported.
    #[test]
    fn refused_records_leave_no_gap(
        batches in prop::collection::vec(1..6_usize, 1..20),
        limit in 1..=7_usize,
        invalid in prop::collection::btree_set(0..60_u32, 0..10),
        names_invalid in any::<bool>(),
        steps in prop::collection::vec(0..100_u8, 0..400),
    ) {
        let world = world(&batches, limit, 0, &invalid, names_invalid, &steps);
        let count = u32::try_from(batches.iter().sum::<usize>()).unwrap();
        let invalid: BTreeSet<u32> = invalid.into_iter().filter(|record| *record < count).collect();
        let valid: Vec<u32> = (0..count).filter(|record| !invalid.contains(record)).collect();
        prop_assert_eq!(&world.refused, &invalid);
        prop_assert_eq!(world.acknowledged.iter().copied().collect::<Vec<u32>>(), valid.clone());
        if world.restarts == 0 {
            prop_assert_eq!(&world.broker.log, &valid);
        } else {
            let appended: BTreeSet<u32> = world.broker.log.iter().copied().collect();
            prop_assert_eq!(appended.into_iter().collect::<Vec<u32>>(), valid);
        }
    }

    /// No record is lost if the broker expires the producer ids: at any of its starts, because their last timestamps are too old, or once
    /// while it runs (it checks every ten minutes, `producer.id.expiration.check.interval.ms`).
    #[test]
    fn expired_producer_ids_lose_no_record(
        batches in prop::collection::vec(1..4_usize, 1..20),
        limit in 1..=7_usize,
        at_starts in any::<bool>(),
        steps in prop::collection::vec(0..110_u8, 0..400),
    ) {
        let mut world = World::new(&batches, limit, 0, Broker::default());
        let mut has_expired = false;
        for &step in &steps {
            match step {
                0..100 => world.step(step),
                100..102 => world.restart_broker(),
                102..105 if at_starts => {
                    world.restart_broker();
                    world.broker.producers.clear();
                }
                102..105 if !std::mem::replace(&mut has_expired, true) => {
                    world.broker.producers.clear();
                }
                _ => (),
            }
        }
        world.finish();
        let count = batches.iter().sum::<usize>();
        let appended: BTreeSet<u32> = world.broker.log.iter().copied().collect();
        prop_assert_eq!(appended.len(), count);
        prop_assert_eq!(world.acknowledged.len(), count);
    }

    /// No record is lost if the topic's rules for records change between two attempts.
    #[test]
    fn changing_rules_lose_no_record(
        batches in prop::collection::vec(1..4_usize, 1..20),
        limit in 1..=7_usize,
        invalid in prop::collection::btree_set(0..40_u32, 0..10),
        names_invalid in any::<bool>(),
        steps in prop::collection::vec(0..110_u8, 0..400),
    ) {
        let broker = Broker {
            invalid,
            names_invalid,
            ..Broker::default()
        };
        let mut world = World::new(&batches, limit, 0, broker);
        for &step in &steps {
            if step < 100 {
                world.step(step);
            } else {
                world.broker.is_lenient = !world.broker.is_lenient;
            }
        }
        world.finish();
        let appended: BTreeSet<u32> = world.broker.log.iter().copied().collect();
        prop_assert!(world.acknowledged.is_subset(&appended));
        let completed = world.acknowledged.union(&world.refused).count();
        prop_assert_eq!(completed, batches.iter().sum::<usize>());
    }
}

fn in_flight(limit: usize, is_idempotent: bool, batches: u32) -> InFlightBatches<Vec<u32>> {
    let mut in_flight = InFlightBatches::new(limit, is_idempotent, true);
    for batch in 0..batches {
        in_flight.push(vec![batch]);
    }
    in_flight
}

/// Sends all batches that may be sent and returns their ids.
fn send(in_flight: &mut InFlightBatches<Vec<u32>>) -> Vec<u64> {
    let batches = std::iter::from_fn(|| {
        let next = in_flight.next_to_send()?;
        in_flight.mark_sent(next.id);
        Some(next.id)
    });
    batches.collect()
}

#[test]
fn without_idempotence_a_failed_batch_waits_for_the_later_responses() {
    let mut in_flight = in_flight(5, false, 4);
    assert_eq!(send(&mut in_flight), vec![1, 2, 3, 4]);
    in_flight.mark_failed(2, true);
    assert!(send(&mut in_flight).is_empty());
    let mut batches = Vec::new();
    in_flight.acknowledge(1, None, |batch| batches.push(batch));
    assert_eq!(batches, vec![vec![0]]);
    in_flight.mark_failed(3, true);
    in_flight.acknowledge(4, None, drop);
    in_flight.push(vec![4]);
    assert_eq!(send(&mut in_flight), vec![2, 3, 5]);
    assert!(!in_flight.take_restarted());
}

#[test]
fn the_first_batch_of_an_epoch_is_sent_alone() {
    let mut in_flight = in_flight(5, true, 3);
    assert!(in_flight.needs_identity());
    assert!(send(&mut in_flight).is_empty());
    assert!(in_flight.set_identity((7, 0)));
    assert_eq!(send(&mut in_flight), vec![1]);
    in_flight.acknowledge(1, Some(0), drop);
    assert_eq!(send(&mut in_flight), vec![2, 3]);
    // The broker has forgotten the producer: it rejects the first batch, and the second one only because the first is missing.
    assert!(in_flight.mark_out_of_sequence(2));
    assert!(!in_flight.mark_out_of_sequence(3));
    let next = in_flight.next_to_send().unwrap();
    assert_eq!((next.id, next.identity, next.base_sequence), (2, (7, 1), 0));
    assert!(in_flight.take_restarted());
    assert_eq!(send(&mut in_flight), vec![2]);
}

#[test]
fn a_rejected_producer_id_is_not_used_again() {
    let mut in_flight = in_flight(5, true, 1);
    in_flight.set_identity((7, 0));
    send(&mut in_flight);
    assert!(in_flight.mark_identity_rejected(1));
    assert!(send(&mut in_flight).is_empty());
    assert!(in_flight.needs_identity());
    assert!(!in_flight.set_identity((7, 0)));
    assert!(in_flight.set_identity((8, 0)));
    assert_eq!(in_flight.next_to_send().unwrap().identity, (8, 0));
}

#[test]
fn a_producer_id_without_epochs_left_is_retired() {
    let mut in_flight = in_flight(5, true, 1);
    in_flight.set_identity((7, i16::MAX));
    send(&mut in_flight);
    assert!(in_flight.mark_out_of_sequence(1));
    assert!(send(&mut in_flight).is_empty());
    assert!(!in_flight.set_identity((7, 0)));
}

#[test]
fn sequence_numbers_wrap() {
    assert_eq!(next_sequence(0, 5), 5);
    assert_eq!(next_sequence(i32::MAX - 1, 1), i32::MAX);
    assert_eq!(next_sequence(i32::MAX, 1), 0);
    assert_eq!(next_sequence(i32::MAX - 1, 5), 3);
}

#[test]
fn batches_behind_a_refused_one_are_renumbered() {
    let mut in_flight = in_flight(5, true, 4);
    in_flight.set_identity((7, 0));
    send(&mut in_flight);
    in_flight.acknowledge(1, Some(0), drop);
    assert_eq!(send(&mut in_flight), vec![2, 3, 4]);
    in_flight.replace(2, Vec::new());
    // The sent batches fail because of the gap; nothing is sent before.
    in_flight.push(vec![4]);
    assert!(send(&mut in_flight).is_empty());
    assert!(!in_flight.mark_out_of_sequence(3));
    assert!(!in_flight.mark_out_of_sequence(4));
    let next = in_flight.next_to_send().unwrap();
    assert_eq!((next.id, next.identity, next.base_sequence), (3, (7, 0), 1));
    assert_eq!(send(&mut in_flight), vec![3, 4, 5]);
    assert!(!in_flight.take_restarted());
}
