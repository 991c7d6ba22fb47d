//! The assignors that begin anew each time: every member lets go of all its partitions first. Without racks, which we tell of none, Java's
//! `RangeAssignor` is what it always was: its rule for topics with equal partitions (KIP-881) gives the same.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Assignment, Member, nothing, topics};

pub(super) fn range(members: &[Member], partitions: &BTreeMap<String, i32>) -> Assignment {
    let members = sorted(members);
    let mut assignment = nothing(&members);
    for (topic, count, readers) in topics(&members, partitions) {
        let count = usize::try_from(count).unwrap_or(0);
        let (each, more) = (count / readers.len(), count % readers.len());
        let mut numbers = 0..;
        for (place, reader) in readers.into_iter().enumerate() {
            let length = each + usize::from(place < more);
            let run = numbers.by_ref().take(length);
            give(&mut assignment, members[reader], topic, run);
        }
    }
    assignment
}

pub(super) fn round_robin(members: &[Member], partitions: &BTreeMap<String, i32>) -> Assignment {
    let members = sorted(members);
    let mut assignment = nothing(&members);
    let mut turn = 0;
    for (topic, count, readers) in topics(&members, partitions) {
        for partition in 0..count {
            // Whoever does not read the topic is passed over, and gets no other one in place of it.
            while readers.binary_search(&turn).is_err() {
                turn = (turn + 1) % members.len();
            }
            give(&mut assignment, members[turn], topic, [partition]);
            turn = (turn + 1) % members.len();
        }
    }
    assignment
}

fn give(
    assignment: &mut Assignment,
    member: &Member,
    topic: &str,
    partitions: impl IntoIterator<Item = i32>,
) {
    if let Some(given) = assignment.get_mut(&member.id) {
        given.extend(
            partitions
                .into_iter()
                .map(|partition| (topic.to_owned(), partition)),
        );
    }
}

/// The members in the order of Java's `MemberInfo`: static members first, by their instance ids, so that they keep their partitions when
/// they come back with another id; then the others by id.
fn sorted(members: &[Member]) -> Vec<&Member> {
    let mut sorted: Vec<&Member> = members.iter().collect();
    sorted.sort_by(|a, b| match (&a.instance_id, &b.instance_id) {
        (Some(a), Some(b)) => java_order(a, b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => java_order(&a.id, &b.id),
    });
    sorted
}

/// `String.compareTo`: by units of UTF-16.
fn java_order(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}
