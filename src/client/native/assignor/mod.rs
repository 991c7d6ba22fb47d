//! Who of a group's members reads which partitions: what the group's leader reckons (`partition.assignment.strategy`), and the bytes in
//! which members and leader tell each other (Kafka's consumer protocol). All of it is pure; the group's coordinator session uses it.

mod eager;
pub(crate) mod protocol;
mod sticky;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::client::settings::AssignorName;

/// A member of a group, as its subscription tells the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// The id that the coordinator gave it.
    pub(crate) id: String,
    /// Its `group.instance.id`, of a static member (KIP-345).
    pub(crate) instance_id: Option<String>,
    /// The topics that it reads.
    pub(crate) topics: Vec<String>,
    /// The partitions that it has, and would like to keep.
    pub(crate) owned: Vec<(String, i32)>,
    /// The group's generation in which it got them; -1 for none.
    pub(crate) generation: i32,
}

/// Each member's partitions, by its id, in the order of topics and partitions. Every member is in it.
pub(crate) type Assignment = BTreeMap<String, Vec<(String, i32)>>;

/// Gives out the partitions of the members' topics as Kafka's Java client does by the assignor of this name. `partitions` has the number of
/// partitions of each topic that there is.
///
/// `CooperativeStickyAssignor` is balanced, with as few partitions moved as that allows, and these not given before the member that has
/// them has let go of them. Members have to join again where they had to let go of something.
pub(crate) fn assign(
    assignor: AssignorName,
    members: &[Member],
    partitions: &BTreeMap<String, i32>,
) -> Assignment {
    let mut assignment = match assignor {
        AssignorName::Range => eager::range(members, partitions),
        AssignorName::RoundRobin => eager::round_robin(members, partitions),
        AssignorName::CooperativeSticky => sticky::cooperative(members, partitions),
    };
    for assigned in assignment.values_mut() {
        assigned.sort_unstable();
    }
    assignment
}

/// An assignment that gives nothing yet.
fn nothing(members: &[&Member]) -> Assignment {
    members
        .iter()
        .map(|member| (member.id.clone(), Vec::new()))
        .collect()
}

/// The topics that there are and somebody reads, each with the number of its partitions and its readers, in the members' order.
fn topics<'a>(
    members: &[&'a Member],
    partitions: &'a BTreeMap<String, i32>,
) -> Vec<(&'a str, i32, Vec<usize>)> {
    let subscriptions: Vec<BTreeSet<&str>> = members
        .iter()
        .map(|member| member.topics.iter().map(String::as_str).collect())
        .collect();
    let mut topics = Vec::new();
    for (topic, count) in partitions {
        let readers: Vec<usize> = (0..members.len())
            .filter(|member| subscriptions[*member].contains(topic.as_str()))
            .collect();
        if !readers.is_empty() {
            topics.push((topic.as_str(), *count, readers));
        }
    }
    topics
}
