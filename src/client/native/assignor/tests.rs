//! Compares the assignors with Java's assignors on the same groups, checks invariants for generated groups, and compares the encoding with
//! Java's bytes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use super::consumer_protocol::{
    decode_assignment, decode_subscription, encode_assignment, encode_subscription,
};
use super::*;

/// Output of `Assignors.java`, which is in the same directory.
const JAVA: &str = include_str!("../../../../tests/fixtures/assignors/java.txt");

const TOPICS: [&str; 4] = ["alpha", "beta", "gamma", "delta"];

type Topics = BTreeMap<String, i32>;

fn topics_of(text: &str) -> Topics {
    text.split_whitespace()
        .map(|topic| {
            let (name, count) = topic.split_once('=').unwrap();
            (name.to_owned(), count.parse().unwrap())
        })
        .collect()
}

fn list(text: &str) -> Vec<&str> {
    text.split(',').filter(|entry| *entry != "-").collect()
}

fn partitions_of(text: &str) -> Vec<(String, i32)> {
    let mut partitions: Vec<(String, i32)> = list(text)
        .into_iter()
        .map(|partition| {
            let (topic, number) = partition.rsplit_once('-').unwrap();
            (topic.to_owned(), number.parse().unwrap())
        })
        .collect();
    partitions.sort();
    partitions
}

/// Parses a member of the fixture: id, instance id, generation, topics, owned partitions.
fn member_of(text: &str) -> Member {
    let fields: Vec<&str> = text.split_whitespace().collect();
    Member {
        id: fields[0].to_owned(),
        instance_id: Some(fields[1].to_owned()).filter(|id| id != "-"),
        generation: fields[2].parse().unwrap(),
        topics: list(fields[3]).into_iter().map(str::to_owned).collect(),
        owned: partitions_of(fields[4]),
    }
}

fn assignment_of<'a>(members: impl IntoIterator<Item = &'a str>) -> Assignment {
    members
        .into_iter()
        .map(|member| {
            let (id, partitions) = member.split_once(' ').unwrap();
            (id.to_owned(), partitions_of(partitions))
        })
        .collect()
}

/// A group and Java's assignments in consecutive rebalances.
struct Case {
    topics: Topics,
    members: Vec<Member>,
    java: Vec<Assignment>,
}

fn cases(assignor: AssignorName) -> Vec<Case> {
    let lines = JAVA.lines().map(|line| line.split(" | ").collect());
    lines
        .filter(|fields: &Vec<&str>| fields[0] == assignor.name())
        .map(|fields| {
            let mut parts = fields[2..].split(|field| *field == "=>");
            let members = parts.next().unwrap().iter().copied();
            Case {
                topics: topics_of(fields[1]),
                members: members.map(member_of).collect(),
                java: parts
                    .map(|part| assignment_of(part.iter().copied()))
                    .collect(),
            }
        })
        .collect()
}

/// Checks the partitions that each member is assigned.
#[track_caller]
fn check(assignor: AssignorName, topics: &str, members: &[&str], expected: &[&str]) {
    let members: Vec<Member> = members.iter().copied().map(member_of).collect();
    let assignment = assign(assignor, &members, &topics_of(topics));
    assert_eq!(assignment, assignment_of(expected.iter().copied()));
}

#[test]
fn range_and_round_robin_assign_like_java() {
    for assignor in [AssignorName::Range, AssignorName::RoundRobin] {
        let cases = cases(assignor);
        assert_eq!(cases.len(), 40);
        for case in cases {
            let mut members = case.members;
            assert_eq!(assign(assignor, &members, &case.topics), case.java[0]);
            // The order in which the coordinator lists the members does not matter.
            members.reverse();
            assert_eq!(assign(assignor, &members, &case.topics), case.java[0]);
        }
    }
}

#[test]
fn range_assigns_ranges_in_the_order_of_the_members() {
    use AssignorName::Range;
    check(
        Range,
        "a=3 b=3",
        &["m1 - -1 a,b -", "m2 - -1 a,b -"],
        &["m1 a-0,a-1,b-0,b-1", "m2 a-2,b-2"],
    );
    // Static members come first.
    check(
        Range,
        "a=3",
        &["m1 - -1 a -", "m2 z -1 a -", "m3 y -1 a -"],
        &["m1 a-2", "m2 a-1", "m3 a-0"],
    );
    check(
        Range,
        "a=1",
        &["m1 - -1 b -", "m2 - -1 a -"],
        &["m1 -", "m2 a-0"],
    );
    check(Range, "", &["m1 - -1 a -"], &["m1 -"]);
    check(Range, "a=1", &[], &[]);
}

#[test]
fn round_robin_skips_members_that_do_not_subscribe_to_the_topic() {
    check(
        AssignorName::RoundRobin,
        "a=3 b=2",
        &["m1 - -1 a,b -", "m2 - -1 a -"],
        &["m1 a-0,a-2,b-0,b-1", "m2 a-1"],
    );
}

#[test]
fn sticky_moves_as_few_partitions_as_possible() {
    use AssignorName::CooperativeSticky;
    // Without owned partitions, members take turns.
    check(
        CooperativeSticky,
        "a=5",
        &["m1 - -1 a -", "m2 - -1 a -"],
        &["m1 a-0,a-2,a-4", "m2 a-1,a-3"],
    );
    // A member joins: two partitions are revoked, and assigned in the next rebalance.
    check(
        CooperativeSticky,
        "a=6",
        &[
            "m1 - 3 a a-0,a-1,a-2",
            "m2 - 3 a a-3,a-4,a-5",
            "m3 - -1 a -",
        ],
        &["m1 a-0,a-1", "m2 a-3,a-4", "m3 -"],
    );
    check(
        CooperativeSticky,
        "a=6",
        &["m1 - 4 a a-0,a-1", "m2 - 4 a a-3,a-4", "m3 - 4 a -"],
        &["m1 a-0,a-1", "m2 a-3,a-4", "m3 a-2,a-5"],
    );
    // A member leaves: the others keep their partitions.
    check(
        CooperativeSticky,
        "a=4",
        &["m1 - 5 a a-3", "m2 - 5 a a-0"],
        &["m1 a-1,a-3", "m2 a-0,a-2"],
    );
    // Partitions of deleted or unsubscribed topics have no owner.
    check(
        CooperativeSticky,
        "a=1",
        &["m1 - 5 a a-0,a-1,b-0", "m2 - 5 b -"],
        &["m1 a-0", "m2 -"],
    );
}

#[test]
fn sticky_accepts_the_claim_of_the_latest_generation() {
    use AssignorName::CooperativeSticky;
    check(
        CooperativeSticky,
        "a=2",
        &["m1 - 4 a a-0", "m2 - 5 a a-0,a-1"],
        &["m1 -", "m2 a-0"],
    );
    // Two claims of the same generation: the partition is not assigned until both members have revoked it.
    check(
        CooperativeSticky,
        "a=1",
        &["m1 - 5 a a-0", "m2 - 5 a a-0"],
        &["m1 -", "m2 -"],
    );
    // A member that lists a partition twice still owns it.
    check(
        CooperativeSticky,
        "a=1",
        &["m1 - 5 a a-0,a-0", "m2 - 5 a -"],
        &["m1 a-0", "m2 -"],
    );
}

/// m3 can only get a partition of m1's through m2.
#[test]
fn sticky_balances_through_other_members() {
    check(
        AssignorName::CooperativeSticky,
        "a=3 b=1",
        &["m1 - 1 a a-0,a-1,a-2", "m2 - 1 a,b b-0", "m3 - 1 b -"],
        &["m1 a-0,a-1", "m2 -", "m3 -"],
    );
}

/// Returns the members that own exactly their partitions of `assignment` and join again.
fn rejoined(members: &[Member], assignment: &Assignment, generation: i32) -> Vec<Member> {
    let mut members = members.to_vec();
    for member in &mut members {
        member.owned = assignment[&member.id].clone();
        member.generation = generation;
    }
    members
}

/// Returns the assignments of two consecutive rebalances.
fn rebalance_twice(members: &[Member], topics: &Topics) -> (Assignment, Assignment) {
    let first = assign(AssignorName::CooperativeSticky, members, topics);
    let members = rejoined(members, &first, 100);
    let second = assign(AssignorName::CooperativeSticky, &members, topics);
    (first, second)
}

fn loads(assignment: &Assignment) -> Vec<usize> {
    let mut loads: Vec<usize> = assignment.values().map(Vec::len).collect();
    loads.sort_unstable();
    loads
}

/// Returns a measure of the balance; lower is better.
fn imbalance(assignment: &Assignment) -> usize {
    loads(assignment).iter().map(|load| load * load).sum()
}

fn kept(members: &[Member], assignment: &Assignment) -> usize {
    let owned = members
        .iter()
        .flat_map(|member| member.owned.iter().map(|partition| (&member.id, partition)));
    owned
        .filter(|(id, partition)| assignment[*id].contains(partition))
        .count()
}

fn all_equal(members: &[Member]) -> bool {
    members
        .iter()
        .all(|member| member.topics == members[0].topics)
}

/// If all members have the same subscription, loads and the number of moved partitions equal Java's. Otherwise the balance is better, or it
/// is equal and no more partitions move.
#[test]
fn sticky_is_as_good_as_java() {
    let cases = cases(AssignorName::CooperativeSticky);
    assert_eq!(cases.len(), 60);
    for case in cases {
        let (first, second) = rebalance_twice(&case.members, &case.topics);
        let (ours, javas) = (imbalance(&second), imbalance(&case.java[1]));
        let (kept, java_kept) = (
            kept(&case.members, &first),
            kept(&case.members, &case.java[0]),
        );
        if all_equal(&case.members) {
            assert_eq!(loads(&first), loads(&case.java[0]));
            assert_eq!((ours, kept), (javas, java_kept));
        } else {
            assert!(ours < javas || ours == javas && kept >= java_kept);
        }
    }
}

fn group() -> impl Strategy<Value = (Vec<Member>, Topics)> {
    let partition = (0..TOPICS.len(), 0..6)
        .prop_map(|(topic, partition)| (TOPICS[topic].to_owned(), partition));
    let member = (
        subsequence(TOPICS.to_vec(), 0..=TOPICS.len()),
        vec(partition, 0..8),
        -1..3,
        proptest::option::of("[a-z]{3}"),
    );
    let topics = btree_map(
        proptest::sample::select(&TOPICS[..]),
        0..12,
        0..=TOPICS.len(),
    );
    (vec(member, 1..7), topics).prop_map(|(members, topics)| {
        let members = members.into_iter().enumerate();
        let members = members.map(|(n, (topics, owned, generation, instance_id))| Member {
            id: format!("member-{n}"),
            instance_id: instance_id.map(|id| format!("{id}-{n}")),
            topics: topics.into_iter().map(str::to_owned).collect(),
            owned,
            generation,
        });
        let topics = topics
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count));
        (members.collect(), topics.collect())
    })
}

/// Checks that partitions are assigned at most once, exist, and go to subscribers. Returns the number of assigned partitions.
fn check_valid(members: &[Member], topics: &Topics, assignment: &Assignment) -> usize {
    let mut assigned = BTreeSet::new();
    assert_eq!(assignment.len(), members.len());
    for member in members {
        for partition in &assignment[&member.id] {
            assert!(member.topics.contains(&partition.0));
            assert!(partition.1 >= 0 && partition.1 < topics[&partition.0]);
            assert!(assigned.insert(partition.clone()));
        }
    }
    assigned.len()
}

/// Returns the number of partitions of topics with subscribers.
fn assignable(members: &[Member], topics: &Topics) -> usize {
    let subscribed = topics
        .iter()
        .filter(|(topic, _)| members.iter().any(|member| member.topics.contains(topic)));
    subscribed
        .map(|(_, count)| usize::try_from(*count).unwrap())
        .sum()
}

/// Returns whether no move of a single partition improves the balance.
fn no_move_is_better(members: &[Member], assignment: &Assignment) -> bool {
    members.iter().all(|to| {
        assignment.iter().all(|(_, from)| {
            from.len() < assignment[&to.id].len() + 2
                || !from.iter().any(|(topic, _)| to.topics.contains(topic))
        })
    })
}

proptest! {
    #[test]
    fn eager_assignors_assign_each_partition_once((members, topics) in group()) {
        for assignor in [AssignorName::Range, AssignorName::RoundRobin] {
            let assignment = assign(assignor, &members, &topics);
            prop_assert_eq!(
                check_valid(&members, &topics, &assignment),
                assignable(&members, &topics)
            );
        }
    }

    #[test]
    fn sticky_assigns_each_partition_once_in_two_rebalances((members, topics) in group()) {
        let (first, second) = rebalance_twice(&members, &topics);
        check_valid(&members, &topics, &first);
        prop_assert_eq!(
            check_valid(&members, &topics, &second),
            assignable(&members, &topics)
        );
        prop_assert!(no_move_is_better(&members, &second));
        // The third rebalance changes nothing.
        let third = rejoined(&members, &second, 101);
        prop_assert_eq!(assign(AssignorName::CooperativeSticky, &third, &topics), second);
    }

    /// Two members never read a partition at the same time.
    #[test]
    fn sticky_does_not_assign_a_partition_that_another_member_owns((members, topics) in group()) {
        let assignment = assign(AssignorName::CooperativeSticky, &members, &topics);
        for member in &members {
            for partition in &assignment[&member.id] {
                let others = members.iter().filter(|other| {
                    other.id != member.id && other.owned.contains(partition)
                });
                for other in others {
                    // Except if the other member's claim is outdated.
                    prop_assert!(
                        member.owned.contains(partition) && other.generation < member.generation
                    );
                }
            }
        }
    }

    #[test]
    fn sticky_is_balanced_within_one_and_moves_the_fewest(
        (mut members, topics) in group(),
        topics_of_all in subsequence(TOPICS.to_vec(), 0..=TOPICS.len()),
    ) {
        let mut owned = BTreeSet::new();
        for member in &mut members {
            member.topics = topics_of_all.iter().copied().map(str::to_owned).collect();
            member.owned.retain(|partition| {
                topics_of_all.contains(&partition.0.as_str())
                    && topics.get(&partition.0).is_some_and(|count| partition.1 < *count)
                    && owned.insert(partition.clone())
            });
        }
        let (first, second) = rebalance_twice(&members, &topics);
        let sorted = loads(&second);
        prop_assert!(sorted[sorted.len() - 1] - sorted[0] <= 1);
        // The fewest partitions move if the members with the most partitions get the larger shares.
        let (quota, remainder) = {
            let all = assignable(&members, &topics);
            (all / members.len(), all % members.len())
        };
        let mut owned: Vec<usize> = members.iter().map(|member| member.owned.len()).collect();
        owned.sort_unstable_by(|a, b| b.cmp(a));
        let most: usize = owned
            .iter()
            .enumerate()
            .map(|(index, owned)| (*owned).min(quota + usize::from(index < remainder)))
            .sum();
        prop_assert_eq!(kept(&members, &first), most);
        prop_assert_eq!(kept(&members, &second), most);
    }

    #[test]
    fn arbitrary_bytes_are_decoded_or_rejected(bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode_subscription("member", None, &bytes);
        let _ = decode_assignment(&bytes);
    }

    #[test]
    fn corrupted_bytes_are_decoded_or_rejected(
        line in any::<Index>(),
        at in any::<Index>(),
        value in any::<u8>(),
        length in any::<Index>(),
    ) {
        let samples = samples();
        let mut bytes = samples[line.index(samples.len())].1.clone();
        let at = at.index(bytes.len());
        bytes[at] = value;
        bytes.truncate(length.index(bytes.len() + 1));
        let _ = decode_subscription("member", None, &bytes);
        let _ = decode_assignment(&bytes);
    }

    #[test]
    fn subscriptions_and_assignments_round_trip((members, topics) in group()) {
        for member in members {
            let encoded = encode_subscription(
                AssignorName::CooperativeSticky,
                &member.topics,
                &member.owned,
                member.generation,
            );
            let mut expected = member.clone();
            expected.topics.sort_unstable();
            expected.owned.sort_unstable();
            expected.owned.dedup();
            let instance_id = member.instance_id.as_deref();
            prop_assert_eq!(
                decode_subscription(&member.id, instance_id, &encoded).unwrap(),
                expected
            );
        }
        let partitions: Vec<(String, i32)> = topics.into_iter().collect();
        prop_assert_eq!(decode_assignment(&encode_assignment(&partitions)).unwrap(), partitions);
    }
}

/// Returns Java's encodings, each with its name: type, version, and `full` or `empty`.
fn samples() -> Vec<(String, Vec<u8>)> {
    let lines = JAVA.lines().filter(|line| !line.contains('|'));
    lines
        .map(|line| {
            let (name, hex) = line.rsplit_once(' ').unwrap();
            let bytes = (0..hex.len()).step_by(2);
            let bytes = bytes.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            (name.to_owned(), bytes.collect())
        })
        .collect()
}

#[test]
fn the_encoding_equals_javas() {
    let owned = partitions_of("alpha-2,beta-0,beta-1");
    let topics = ["beta", "alpha"].map(str::to_owned);
    let samples = samples();
    assert_eq!(samples.len(), 16);
    for (name, bytes) in samples {
        let version = name.split(' ').nth(1).unwrap();
        if name.starts_with("assignment") {
            let expected = if name.ends_with("full") {
                owned.as_slice()
            } else {
                &[]
            };
            assert_eq!(decode_assignment(&bytes).unwrap(), expected, "{name}");
            if version == "3" {
                assert_eq!(encode_assignment(expected), bytes, "{name}");
            }
            continue;
        }
        let decoded = decode_subscription("m", Some("i"), &bytes).unwrap();
        let expected = if name.ends_with("full") {
            let owned = if version == "0" {
                "-"
            } else {
                "alpha-2,beta-0,beta-1"
            };
            member_of(&format!("m i 7 alpha,beta {owned}"))
        } else {
            member_of("m i -1 alpha -")
        };
        assert_eq!(decoded, expected, "{name}");
        if name == "subscription 3 full" {
            let encoded = encode_subscription(AssignorName::CooperativeSticky, &topics, &owned, 7);
            assert_eq!(encoded, bytes);
        } else if name == "subscription 3 empty" {
            assert_eq!(
                encode_subscription(AssignorName::Range, &topics[1..], &[], -1),
                bytes
            );
        }
    }
}

#[test]
fn a_later_version_is_decoded_as_the_latest_known_one() {
    let mut bytes = encode_subscription(AssignorName::Range, &["a".to_owned()], &[], 5).to_vec();
    bytes[1] = 9;
    bytes.extend_from_slice(b"a field of that version");
    let decoded = decode_subscription("m", None, &bytes).unwrap();
    assert_eq!(decoded, member_of("m - 5 a -"));
    let mut bytes = encode_assignment(&partitions_of("a-1")).to_vec();
    bytes[1] = 9;
    bytes.extend_from_slice(b"a field of that version");
    assert_eq!(decode_assignment(&bytes).unwrap(), partitions_of("a-1"));
}

#[test]
fn the_error_names_the_sender() {
    let error = decode_subscription("m", None, &[0, 0, 0]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the subscription of group member m is invalid: it is truncated"
    );
    let error = decode_assignment(&[0xff, 0xff]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the assignment from the group leader is invalid: its version is negative"
    );
    // The count says 2^31 - 1 topics.
    decode_assignment(&[0, 0, 0x7f, 0xff, 0xff, 0xff]).unwrap_err();
    let mut long = vec![0, 0, 0, 0, 0, 1, 0, 250];
    long.extend_from_slice(&[b'a'; 270]);
    let error = decode_assignment(&long).unwrap_err();
    assert!(error.to_string().ends_with("longer than 249 bytes"));
}
