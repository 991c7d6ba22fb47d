//! Helpers that build the fields of Kafka requests.

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;

use crate::client::settings::Isolation;

/// Returns `text` as a string of the Kafka protocol.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Returns `name` as a topic name of the Kafka protocol.
pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// Returns the value of `isolation.level` in Fetch and ListOffsets requests.
pub(super) fn isolation_level(isolation: Isolation) -> i8 {
    match isolation {
        Isolation::ReadUncommitted => 0,
        Isolation::ReadCommitted => 1,
    }
}

/// Groups partitions by topic, as Kafka requests list them, and builds one request element per group with `build`.
///
/// Only adjacent entries of a topic are grouped, because the order of the partitions in a fetch request decides which one the broker
/// serves first. Callers for which the order does not matter sort by topic.
pub(super) fn group_by_topic<K: PartialEq, P, T>(
    partitions: impl IntoIterator<Item = (K, P)>,
    mut build: impl FnMut(K, Vec<P>) -> T,
) -> Vec<T> {
    let mut groups: Vec<(K, Vec<P>)> = Vec::new();
    for (topic, partition) in partitions {
        match groups.last_mut() {
            Some((last, group)) if *last == topic => group.push(partition),
            _ => groups.push((topic, vec![partition])),
        }
    }
    groups
        .into_iter()
        .map(|(topic, group)| build(topic, group))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_adjacent_partitions_of_a_topic_in_their_order() {
        let groups = group_by_topic([("b", 2), ("b", 0), ("a", 1), ("b", 1)], |topic, group| {
            (topic, group)
        });
        assert_eq!(groups, [("b", vec![2, 0]), ("a", vec![1]), ("b", vec![1])]);
        assert_eq!(group_by_topic(Vec::<(u16, i32)>::new(), |_, _| ()), []);
    }
}
