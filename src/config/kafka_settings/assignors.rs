//! Parses `partition.assignment.strategy`. No I/O.

use crate::client::settings::AssignorName;

/// Kafka's name of the setting.
pub(super) const ASSIGNORS: &str = "partition.assignment.strategy";

/// Parses a list of assignors, given by Kafka's short names or by the names of Java's classes. Returns `None` if one is unknown.
pub(super) fn parse(text: &str) -> Option<Vec<AssignorName>> {
    let mut assignors = Vec::new();
    for name in text.split(',').map(str::trim) {
        let class = name.strip_prefix("org.apache.kafka.clients.consumer.");
        let assignor = AssignorName::ALL.into_iter().find(|assignor| {
            assignor.name() == name || class.is_some_and(|class| assignor.class() == class)
        })?;
        if !assignors.contains(&assignor) {
            assignors.push(assignor);
        }
    }
    Some(assignors)
}
