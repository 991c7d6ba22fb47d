//! The assignors against what Java's made of the same groups, and against what has to hold for every group; the protocol against Java's
//! bytes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use super::protocol::{assignment, parse_assignment, parse_subscription, subscription};
use super::*;

/// See `Assignors.java` beside it.
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

/// A member as a line of the fixture has it: id, instance id, generation, topics, owned partitions.
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

/// A group and what Java made of it, round by round.
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

/// One case, written by hand: topics, members, and what each member gets.
#[track_caller]
fn check(assignor: AssignorName, topics: &str, members: &[&str], expected: &[&str]) {
    let members: Vec<Member> = members.iter().copied().map(member_of).collect();
    let assignment = assign(assignor, &members, &topics_of(topics));
    assert_eq!(assignment, assignment_of(expected.iter().copied()));
}

#[test]
fn range_and_round_robin_are_javas() {
    for assignor in [AssignorName::Range, AssignorName::RoundRobin] {
        let cases = cases(assignor);
        assert_eq!(cases.len(), 40);
        for case in cases {
            let mut members = case.members;
            assert_eq!(assign(assignor, &members, &case.topics), case.java[0]);
            // In whatever order the coordinator tells of them.
            members.reverse();
            assert_eq!(assign(assignor, &members, &case.topics), case.java[0]);
        }
    }
}

#[test]
fn range_gives_runs_in_the_order_of_the_members() {
    use AssignorName::Range;
    check(
        Range,
        "a=3 b=3",
        &["m1 - -1 a,b -", "m2 - -1 a,b -"],
        &["m1 a-0,a-1,b-0,b-1", "m2 a-2,b-2"],
    );
    // Static members first.
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
fn round_robin_passes_over_who_does_not_read_a_topic() {
    check(
        AssignorName::RoundRobin,
        "a=3 b=2",
        &["m1 - -1 a,b -", "m2 - -1 a -"],
        &["m1 a-0,a-2,b-0,b-1", "m2 a-1"],
    );
}

#[test]
fn sticky_moves_only_what_it_must() {
    use AssignorName::CooperativeSticky;
    // From nothing: in turn.
    check(
        CooperativeSticky,
        "a=5",
        &["m1 - -1 a -", "m2 - -1 a -"],
        &["m1 a-0,a-2,a-4", "m2 a-1,a-3"],
    );
    // A member comes: two are let go of, and given to nobody yet.
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
    // A member goes: the others keep what they have.
    check(
        CooperativeSticky,
        "a=4",
        &["m1 - 5 a a-3", "m2 - 5 a a-0"],
        &["m1 a-1,a-3", "m2 a-0,a-2"],
    );
    // What is not there any more, or not read any more, is nobody's.
    check(
        CooperativeSticky,
        "a=1",
        &["m1 - 5 a a-0,a-1,b-0", "m2 - 5 b -"],
        &["m1 a-0", "m2 -"],
    );
}

#[test]
fn sticky_settles_claims_by_their_generation() {
    use AssignorName::CooperativeSticky;
    check(
        CooperativeSticky,
        "a=2",
        &["m1 - 4 a a-0", "m2 - 5 a a-0,a-1"],
        &["m1 -", "m2 a-0"],
    );
    // Twice in the same generation: nobody has it until both have let go of it.
    check(
        CooperativeSticky,
        "a=1",
        &["m1 - 5 a a-0", "m2 - 5 a a-0"],
        &["m1 -", "m2 -"],
    );
    // Said twice by one member it is still its own.
    check(
        CooperativeSticky,
        "a=1",
        &["m1 - 5 a a-0,a-0", "m2 - 5 a -"],
        &["m1 a-0", "m2 -"],
    );
}

/// From m1 to m3 there is a way only over m2.
#[test]
fn sticky_balances_over_members_between() {
    check(
        AssignorName::CooperativeSticky,
        "a=3 b=1",
        &["m1 - 1 a a-0,a-1,a-2", "m2 - 1 a,b b-0", "m3 - 1 b -"],
        &["m1 a-0,a-1", "m2 -", "m3 -"],
    );
}

/// What the members have after `assignment`: they let go of the rest, and join again.
fn next(members: &[Member], assignment: &Assignment, generation: i32) -> Vec<Member> {
    let mut members = members.to_vec();
    for member in &mut members {
        member.owned = assignment[&member.id].clone();
        member.generation = generation;
    }
    members
}

/// What comes of a group in two rounds.
fn twice(members: &[Member], topics: &Topics) -> (Assignment, Assignment) {
    let first = assign(AssignorName::CooperativeSticky, members, topics);
    let members = next(members, &first, 100);
    let second = assign(AssignorName::CooperativeSticky, &members, topics);
    (first, second)
}

fn loads(assignment: &Assignment) -> Vec<usize> {
    let mut loads: Vec<usize> = assignment.values().map(Vec::len).collect();
    loads.sort_unstable();
    loads
}

/// The less, the better balanced.
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

/// Where all read the same, the loads and the number of partitions that move are what Java's are; else it is balanced better, or as well
/// with no more partitions moved.
#[test]
fn sticky_is_as_good_as_javas() {
    let cases = cases(AssignorName::CooperativeSticky);
    assert_eq!(cases.len(), 60);
    for case in cases {
        let (first, second) = twice(&case.members, &case.topics);
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

/// Nothing is given twice, nor to one that does not read it, nor what there is not. Gives how many partitions are given.
fn check_valid(members: &[Member], topics: &Topics, assignment: &Assignment) -> usize {
    let mut given = BTreeSet::new();
    assert_eq!(assignment.len(), members.len());
    for member in members {
        for partition in &assignment[&member.id] {
            assert!(member.topics.contains(&partition.0));
            assert!(partition.1 >= 0 && partition.1 < topics[&partition.0]);
            assert!(given.insert(partition.clone()));
        }
    }
    given.len()
}

/// How many partitions there are that anybody reads.
fn readable(members: &[Member], topics: &Topics) -> usize {
    let read = topics
        .iter()
        .filter(|(topic, _)| members.iter().any(|member| member.topics.contains(topic)));
    read.map(|(_, count)| usize::try_from(*count).unwrap())
        .sum()
}

/// Whether no partition can be moved for a better balance, by trying all moves of one.
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
    fn eager_assignors_give_everything_once((members, topics) in group()) {
        for assignor in [AssignorName::Range, AssignorName::RoundRobin] {
            let assignment = assign(assignor, &members, &topics);
            prop_assert_eq!(
                check_valid(&members, &topics, &assignment),
                readable(&members, &topics)
            );
        }
    }

    #[test]
    fn sticky_gives_everything_once_in_two_rounds((members, topics) in group()) {
        let (first, second) = twice(&members, &topics);
        check_valid(&members, &topics, &first);
        prop_assert_eq!(
            check_valid(&members, &topics, &second),
            readable(&members, &topics)
        );
        prop_assert!(no_move_is_better(&members, &second));
        // And then it is at rest.
        let third = next(&members, &second, 101);
        prop_assert_eq!(assign(AssignorName::CooperativeSticky, &third, &topics), second);
    }

    /// Two members never read a partition at the same time: what one still has is given to no other one.
    #[test]
    fn sticky_gives_nobody_what_another_one_has((members, topics) in group()) {
        let assignment = assign(AssignorName::CooperativeSticky, &members, &topics);
        for member in &members {
            for partition in &assignment[&member.id] {
                let others = members.iter().filter(|other| {
                    other.id != member.id && other.owned.contains(partition)
                });
                for other in others {
                    // But for a claim that is out of date.
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
        let (first, second) = twice(&members, &topics);
        let sorted = loads(&second);
        prop_assert!(sorted[sorted.len() - 1] - sorted[0] <= 1);
        // The fewest have to move where the members with the most keep the larger shares.
        let (each, more) = {
            let all = readable(&members, &topics);
            (all / members.len(), all % members.len())
        };
        let mut had: Vec<usize> = members.iter().map(|member| member.owned.len()).collect();
        had.sort_unstable_by(|a, b| b.cmp(a));
        let most: usize = had
            .iter()
            .enumerate()
            .map(|(place, had)| (*had).min(each + usize::from(place < more)))
            .sum();
        prop_assert_eq!(kept(&members, &first), most);
        prop_assert_eq!(kept(&members, &second), most);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let _ = parse_subscription("member", None, &bytes);
        let _ = parse_assignment(&bytes);
    }

    #[test]
    fn altered_bytes_are_read_or_refused(
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
        let _ = parse_subscription("member", None, &bytes);
        let _ = parse_assignment(&bytes);
    }

    #[test]
    fn what_is_written_is_read((members, topics) in group()) {
        for member in members {
            let written = subscription(
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
                parse_subscription(&member.id, instance_id, &written).unwrap(),
                expected
            );
        }
        let partitions: Vec<(String, i32)> = topics.into_iter().collect();
        prop_assert_eq!(parse_assignment(&assignment(&partitions)).unwrap(), partitions);
    }
}

/// What Java wrote: what it is, with its version and how much is in it, and its bytes.
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
fn the_protocol_is_javas() {
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
            assert_eq!(parse_assignment(&bytes).unwrap(), expected, "{name}");
            if version == "3" {
                assert_eq!(assignment(expected), bytes, "{name}");
            }
            continue;
        }
        let read = parse_subscription("m", Some("i"), &bytes).unwrap();
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
        assert_eq!(read, expected, "{name}");
        if name == "subscription 3 full" {
            let written = subscription(AssignorName::CooperativeSticky, &topics, &owned, 7);
            assert_eq!(written, bytes);
        } else if name == "subscription 3 empty" {
            assert_eq!(
                subscription(AssignorName::Range, &topics[1..], &[], -1),
                bytes
            );
        }
    }
}

#[test]
fn a_newer_version_is_read_as_the_newest_known() {
    let mut bytes = subscription(AssignorName::Range, &["a".to_owned()], &[], 5).to_vec();
    bytes[1] = 9;
    bytes.extend_from_slice(b"what is new in it");
    let read = parse_subscription("m", None, &bytes).unwrap();
    assert_eq!(read, member_of("m - 5 a -"));
    let mut bytes = assignment(&partitions_of("a-1")).to_vec();
    bytes[1] = 9;
    bytes.extend_from_slice(b"what is new in it");
    assert_eq!(parse_assignment(&bytes).unwrap(), partitions_of("a-1"));
}

#[test]
fn tells_whose_bytes_are_wrong() {
    let error = parse_subscription("m", None, &[0, 0, 0]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the subscription of the group's member m cannot be read: it is cut off"
    );
    let error = parse_assignment(&[0xff, 0xff]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the assignment of the group's leader cannot be read: its version is below 0"
    );
    // Two thousand million topics, and a name of 250 bytes.
    parse_assignment(&[0, 0, 0x7f, 0xff, 0xff, 0xff]).unwrap_err();
    let mut long = vec![0, 0, 0, 0, 0, 1, 0, 250];
    long.extend_from_slice(&[b'a'; 270]);
    let error = parse_assignment(&long).unwrap_err();
    assert!(error.to_string().ends_with("longer than 249 bytes"));
}
