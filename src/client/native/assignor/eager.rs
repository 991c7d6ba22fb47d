//! Assignors of the eager protocol, in which every member revokes all its partitions before a rebalance: range and round robin.
//!
//! This client does not announce racks, and without them Java's `RangeAssignor` assigns as before KIP-881, also for topics with equal
//! partition counts.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::member::{Assignment, Member, empty_assignment, subscribed_topics};

/// Assigns to each subscriber of a topic a contiguous range of its partitions.
pub(super) fn range(members: &[Member], partitions: &BTreeMap<String, i32>) -> Assignment {
    let members = sorted(members);
    let mut assignment = empty_assignment(&members);
    for topic in subscribed_topics(&members, partitions) {
        let count = usize::try_from(topic.partitions).unwrap_or(0);
        let subscribers = topic.subscribers.len();
        let (quota, remainder) = (count / subscribers, count % subscribers);
        let mut numbers = 0..;
        for (index, subscriber) in topic.subscribers.into_iter().enumerate() {
            let length = quota + usize::from(index < remainder);
            let range = numbers.by_ref().take(length);
            add(&mut assignment, members[subscriber], topic.name, range);
        }
    }
    assignment
}

/// Assigns the partitions of all topics to the members in turn.
pub(super) fn round_robin(members: &[Member], partitions: &BTreeMap<String, i32>) -> Assignment {
    let members = sorted(members);
    let mut assignment = empty_assignment(&members);
    let mut turn = 0;
    for topic in subscribed_topics(&members, partitions) {
        for partition in 0..topic.partitions {
            // A member that is not subscribed to the topic loses its turn.
            while topic.subscribers.binary_search(&turn).is_err() {
                turn = (turn + 1) % members.len();
            }
            add(&mut assignment, members[turn], topic.name, [partition]);
            turn = (turn + 1) % members.len();
        }
    }
    assignment
}

fn add(
    assignment: &mut Assignment,
    member: &Member,
    topic: &str,
    partitions: impl IntoIterator<Item = i32>,
) {
    if let Some(assigned) = assignment.get_mut(&member.id) {
        assigned.extend(
            partitions
                .into_iter()
                .map(|partition| (topic.to_owned(), partition)),
        );
    }
}

/// Sorts members like Java's `MemberInfo`: static members first, by instance id, so that they get the same partitions after a restart
/// with a new member id; then the others by member id.
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

/// Compares strings like `String.compareTo`, by UTF-16 code units.
fn java_order(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}
