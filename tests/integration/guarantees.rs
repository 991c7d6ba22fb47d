//! Stops, kills and broker outages: no record is lost, and an orderly stop duplicates none.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::broker::{Broker, EVEN, ODD};
use crate::process::{Router, eventually};

/// Records of a run; all are different and half of them are even.
const RECORDS: usize = 60_000;

fn values() -> impl Iterator<Item = String> {
    (0..RECORDS).map(|number| format!("{number:08}"))
}

/// Returns every written value with the number of times it was routed.
fn routed(broker: &Broker) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (topic, prefix) in [(EVEN, "Even timestamp: "), (ODD, "Odd timestamp:")] {
        let mut different = BTreeMap::new();
        let mut seen = 0;
        let records = broker.read_until(topic, |records| {
            for record in &records[seen..] {
                let value = String::from_utf8(record.value.clone().unwrap()).unwrap();
                *different
                    .entry(value.strip_prefix(prefix).unwrap().to_owned())
                    .or_insert(0) += 1;
            }
            seen = records.len();
            different.len() >= RECORDS / 2
        });
        assert!(records.len() >= RECORDS / 2);
        counts.extend(different);
    }
    counts
}

fn wait_until_some_are_routed(broker: &Broker, router: &Router) {
    eventually(
        "the first routed records",
        || (broker.len(EVEN) > 0).then_some(()),
        || router.log(),
    );
}

#[test]
fn a_stop_under_load_loses_and_duplicates_nothing() {
    let broker = Broker::start(4);
    broker.write_values(values(), 4);
    for _ in 0..2 {
        let before = broker.len(EVEN);
        let router = Router::start(&broker.arguments());
        eventually(
            "records",
            || (broker.len(EVEN) > before || before as usize >= RECORDS / 2).then_some(()),
            || router.log(),
        );
        let asked = Instant::now();
        router.stop();
        assert!(asked.elapsed() < Duration::from_secs(25));
    }
    let router = Router::start(&broker.arguments());
    let counts = routed(&broker);
    assert!(counts.values().all(|&count| count == 1));
    assert_eq!(
        counts.into_keys().collect::<Vec<_>>(),
        values().collect::<Vec<_>>()
    );
    router.stop();
    assert_eq!(
        broker.committed("group", 4).values().sum::<i64>() as usize,
        RECORDS
    );
    assert_eq!((broker.len(EVEN) + broker.len(ODD)) as usize, RECORDS);
}

#[test]
fn a_kill_under_load_loses_nothing() {
    let broker = Broker::start(1);
    broker.write_values(values(), 1);
    let router = Router::start(&broker.arguments());
    wait_until_some_are_routed(&broker, &router);
    router.kill();
    let router = Router::start(&broker.arguments());
    assert_eq!(
        routed(&broker).into_keys().collect::<Vec<_>>(),
        values().collect::<Vec<_>>()
    );
    router.stop();
}

#[test]
fn offsets_are_committed_while_it_runs() {
    let broker = Broker::start(1);
    broker.write_values((0..10).map(|number| number.to_string()), 1);
    let router = Router::start(&broker.arguments());
    broker.read(ODD, 5);
    let committed = || (broker.committed("group", 1) == [(0, 10)].into()).then_some(());
    eventually("the commit", committed, || router.log());
    router.kill();
}

#[test]
fn a_broker_outage_makes_it_unready_but_live() {
    let broker = Broker::start(1);
    let router = Router::start(&broker.arguments());
    router.wait_until_ready();
    broker.down();
    router.wait_for_status("/actuator/health/readiness", 503);
    for path in [
        "/actuator/health",
        "/actuator/health/liveness",
        "/actuator/info",
    ] {
        assert_eq!(router.get(path).unwrap().0, 200, "{path}");
    }
    broker.up();
    router.wait_until_ready();
    broker.write_values(["2".to_owned()].into_iter(), 1);
    broker.read(EVEN, 1);
    router.stop();
}

#[test]
fn records_in_flight_at_a_broker_outage_arrive_once() {
    let broker = Broker::start(1);
    broker
        .cluster
        .broker_round_trip_time(1, Duration::from_millis(50))
        .unwrap();
    broker.write_values(values(), 1);
    let router = Router::start(&broker.arguments());
    wait_until_some_are_routed(&broker, &router);
    broker.down();
    router.wait_for_status("/actuator/health/readiness", 503);
    broker.up();
    broker
        .cluster
        .broker_round_trip_time(1, Duration::ZERO)
        .unwrap();
    let counts = routed(&broker);
    assert_eq!(counts.len(), RECORDS);
    router.stop();
}

#[test]
fn a_second_signal_exits_at_once() {
    let broker = Broker::start(1);
    broker.write_values(values(), 1);
    let mut router = Router::start(&broker.arguments());
    wait_until_some_are_routed(&broker, &router);
    // Without a broker the drain lasts until the stop deadline.
    broker.down();
    router.signal("TERM");
    router.wait_for("stopping: SIGTERM");
    router.signal("TERM");
    assert_eq!(router.wait().code(), Some(143), "{}", router.log());
}

#[test]
fn an_anonymous_router_reads_new_records_and_commits_nothing() {
    let broker = Broker::start(1);
    broker
        .cluster
        .create_topic("error.timeDest.anonymous", 1, 1)
        .unwrap();
    broker.write_values(["2", "4"].into_iter().map(str::to_owned), 1);
    let mut arguments = vec!["--spring.cloud.stream.bindings.input.group=".to_owned()];
    arguments.extend(broker.arguments());
    let router = Router::start(&arguments);
    router.wait_until_ready();
    // The latest offset is looked up after the assignment, so the test writes until a record arrives.
    let write = || {
        broker.write_values(["6".to_owned()].into_iter(), 1);
        (broker.len(EVEN) > 0).then_some(())
    };
    eventually("a record", write, || router.log());
    assert!(
        broker
            .read(EVEN, 1)
            .iter()
            .all(|record| record.value.as_deref() == Some(b"Even timestamp: 6"))
    );
    router.stop();
    assert!(broker.committed("group", 1).is_empty());
}
