//! Members of a group and their assignment.

use std::collections::{BTreeMap, BTreeSet};

/// A member of a group, as described by its subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Member id, assigned by the coordinator.
    pub(crate) id: String,
    /// `group.instance.id` of a static member (KIP-345).
    pub(crate) instance_id: Option<String>,
    /// Subscribed topics.
    pub(crate) topics: Vec<String>,
    /// Partitions that the member owns and prefers to keep.
    pub(crate) owned: Vec<(String, i32)>,
    /// Generation in which `owned` was assigned; -1 if there is none.
    pub(crate) generation: i32,
}

/// Partitions of each member by member id, sorted by topic and partition. Contains all members.
pub(crate) type Assignment = BTreeMap<String, Vec<(String, i32)>>;

/// Returns an assignment without partitions.
pub(super) fn empty_assignment(members: &[&Member]) -> Assignment {
    members
        .iter()
        .map(|member| (member.id.clone(), Vec::new()))
        .collect()
}

/// A topic that exists and has subscribers.
pub(super) struct SubscribedTopic<'a> {
    pub(super) name: &'a str,
    /// Number of partitions.
    pub(super) partitions: i32,
    /// Subscribed members in ascending order, as indexes into the list of members.
    pub(super) subscribers: Vec<usize>,
}

/// Returns the topics that exist and have subscribers, by name. `partitions` has the number of partitions of each topic.
pub(super) fn subscribed_topics<'a>(
    members: &[&'a Member],
    partitions: &'a BTreeMap<String, i32>,
) -> Vec<SubscribedTopic<'a>> {
    let subscriptions: Vec<BTreeSet<&str>> = members
        .iter()
        .map(|member| member.topics.iter().map(String::as_str).collect())
        .collect();
    let mut topics = Vec::new();
    for (name, &partitions) in partitions {
        let subscribers: Vec<usize> = (0..members.len())
            .filter(|member| subscriptions[*member].contains(name.as_str()))
            .collect();
        if !subscribers.is_empty() {
            topics.push(SubscribedTopic {
                name,
                partitions,
                subscribers,
            });
        }
    }
    topics
}
