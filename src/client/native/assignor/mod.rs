//! Partition assignors of the classic group protocol (`partition.assignment.strategy`), which the group's leader runs, and the encoding of
//! subscriptions and assignments. No I/O.

pub(super) mod consumer_protocol;
mod cooperative_sticky;
mod eager;
mod member;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::client::settings::AssignorName;

pub(super) use member::{Assignment, Member};

/// Assigns the partitions of the subscribed topics to the members with this assignor, like Kafka's Java client. `partitions` has the
/// number of partitions of each existing topic.
///
/// `CooperativeStickyAssignor` balances the load and moves as few partitions as that allows. It does not assign a partition that another
/// member still owns: that member revokes it and joins again, and then it is assigned.
pub(super) fn assign(
    assignor: AssignorName,
    members: &[Member],
    partitions: &BTreeMap<String, i32>,
) -> Assignment {
    let mut assignment = match assignor {
        AssignorName::Range => eager::range(members, partitions),
        AssignorName::RoundRobin => eager::round_robin(members, partitions),
        AssignorName::CooperativeSticky => cooperative_sticky::assign(members, partitions),
    };
    for assigned in assignment.values_mut() {
        assigned.sort_unstable();
    }
    assignment
}
