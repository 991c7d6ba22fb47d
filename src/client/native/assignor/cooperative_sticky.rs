//! The cooperative sticky assignor.
//!
//! The assignment is as balanced as the subscriptions allow, and members keep as many of their partitions as the balance allows. Java's
//! assignor has the same goals but another algorithm, so the two may move different partitions.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::member::{Assignment, Member, SubscribedTopic, empty_assignment, subscribed_topics};

/// Assigns the partitions of the subscribed topics. Leaves out the partitions that another member has to revoke first.
pub(super) fn assign(members: &[Member], partitions: &BTreeMap<String, i32>) -> Assignment {
    // The result must not depend on the order in which the coordinator lists the members.
    let mut sorted: Vec<&Member> = members.iter().collect();
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    let claims = Claims::new(&sorted);
    let mut plan = Plan::new(&sorted, partitions, &claims);
    plan.assign_unowned();
    plan.balance(Movable::Added);
    plan.balance(Movable::All);
    plan.return_to_owners();

    let mut assignment = empty_assignment(&sorted);
    for (member, planned) in plan.members.iter().enumerate() {
        let assigned = planned
            .iter()
            .flat_map(|(&topic, partitions)| {
                let topic = plan.topics[topic].name;
                partitions.iter().map(move |partition| (topic, partition))
            })
            .filter(|partition| claims.is_assignable(*partition, member));
        if let Some(list) = assignment.get_mut(&sorted[member].id) {
            list.extend(assigned.map(|(topic, partition)| (topic.to_owned(), partition)));
        }
    }
    assignment
}

/// The partitions that members claim to own, by topic and partition.
struct Claims<'a>(BTreeMap<(&'a str, i32), Claim>);

struct Claim {
    members: BTreeSet<usize>,
    /// The latest generation in which one of the members got the partition.
    generation: i32,
    /// The member that got it in that generation; `None` if two members claim so.
    owner: Option<usize>,
}

impl<'a> Claims<'a> {
    fn new(members: &[&'a Member]) -> Self {
        let mut claims = BTreeMap::new();
        for (index, member) in members.iter().enumerate() {
            for (topic, partition) in &member.owned {
                let claim = claims
                    .entry((topic.as_str(), *partition))
                    .or_insert_with(|| Claim {
                        members: BTreeSet::new(),
                        generation: member.generation,
                        owner: Some(index),
                    });
                if !claim.members.insert(index) {
                    // The member lists the partition twice.
                } else if member.generation > claim.generation {
                    (claim.generation, claim.owner) = (member.generation, Some(index));
                } else if member.generation == claim.generation && claim.owner != Some(index) {
                    claim.owner = None;
                }
            }
        }
        Self(claims)
    }

    fn owner(&self, partition: (&str, i32)) -> Option<usize> {
        self.0.get(&partition)?.owner
    }

    /// Returns whether the partition can be assigned to the member now, because no other member has to revoke it first. A claim of an older
    /// generation does not count against the owner: the other member revokes the partition by itself.
    fn is_assignable(&self, partition: (&str, i32), member: usize) -> bool {
        self.0.get(&partition).is_none_or(|claim| {
            claim.owner == Some(member) || claim.members.iter().all(|other| *other == member)
        })
    }
}

/// Partitions of one topic that are planned for one member.
#[derive(Default)]
struct Planned {
    /// Partitions that the member already owns.
    kept: Vec<i32>,
    /// Partitions that the member does not own yet.
    added: Vec<i32>,
}

impl Planned {
    fn iter(&self) -> impl Iterator<Item = i32> {
        self.kept.iter().chain(&self.added).copied()
    }
}

/// The assignment under construction. Members and topics are indexes.
struct Plan<'a> {
    claims: &'a Claims<'a>,
    topics: Vec<SubscribedTopic<'a>>,
    /// Partitions of each member by topic, without topics of which the member has none.
    members: Vec<BTreeMap<usize, Planned>>,
    /// Number of partitions of each member.
    loads: Vec<usize>,
}

impl<'a> Plan<'a> {
    /// Creates a plan in which every member keeps what it owns and still subscribes to.
    fn new(
        members: &[&'a Member],
        partitions: &'a BTreeMap<String, i32>,
        claims: &'a Claims<'a>,
    ) -> Self {
        let mut plan = Self {
            claims,
            topics: subscribed_topics(members, partitions),
            members: members.iter().map(|_| BTreeMap::new()).collect(),
            loads: vec![0; members.len()],
        };
        for topic in 0..plan.topics.len() {
            for partition in 0..plan.topics[topic].partitions {
                if let Some(owner) = plan.owner(topic, partition) {
                    plan.add(owner, topic, partition);
                }
            }
        }
        plan
    }

    /// Returns the owner of a partition if it still subscribes to the topic.
    fn owner(&self, topic: usize, partition: i32) -> Option<usize> {
        let topic = &self.topics[topic];
        let owner = self.claims.owner((topic.name, partition))?;
        topic.subscribers.binary_search(&owner).ok().map(|_| owner)
    }

    fn add(&mut self, member: usize, topic: usize, partition: i32) {
        let is_kept = self.owner(topic, partition) == Some(member);
        let planned = self.members[member].entry(topic).or_default();
        if is_kept {
            planned.kept.push(partition);
        } else {
            planned.added.push(partition);
        }
        self.loads[member] += 1;
    }

    /// Moves one partition of a topic, preferably one that the member does not own yet.
    fn apply(&mut self, movement: Move) {
        let planned = self.members[movement.from].get(&movement.topic);
        let partition = planned.and_then(|planned| planned.added.last().or(planned.kept.last()));
        if let Some(&partition) = partition {
            self.move_partition(partition, movement);
        }
    }

    fn move_partition(&mut self, partition: i32, Move { from, topic, to }: Move) {
        if let Some(planned) = self.members[from].get_mut(&topic) {
            planned.added.retain(|other| *other != partition);
            planned.kept.retain(|other| *other != partition);
            if planned.added.is_empty() && planned.kept.is_empty() {
                self.members[from].remove(&topic);
            }
            self.loads[from] -= 1;
            self.add(to, topic, partition);
        }
    }

    /// Assigns each partition without an owner to the subscriber with the lowest load.
    fn assign_unowned(&mut self) {
        for topic in 0..self.topics.len() {
            for partition in 0..self.topics[topic].partitions {
                if self.owner(topic, partition).is_some() {
                    continue;
                }
                let subscribers = self.topics[topic].subscribers.iter().copied();
                if let Some(member) = subscribers.min_by_key(|member| self.loads[*member]) {
                    self.add(member, topic, partition);
                }
            }
        }
    }

    /// Moves partitions from members with a high load to members with a low load, through other members if necessary, until no move
    /// improves the balance.
    ///
    /// The result is optimal among the assignments that such moves can reach: Harvey, Ladner, Lovász and Tamir, "Semi-matchings for
    /// bipartite graphs and load balancing". So if the owned partitions are part of a balanced assignment, moving only the added ones
    /// finds it, which is why a group is stable after the second rebalance.
    fn balance(&mut self, movable: Movable) {
        loop {
            let mut members: Vec<usize> = (0..self.members.len()).collect();
            members.sort_by_key(|member| Reverse(self.loads[*member]));
            let path = members.into_iter().find_map(|member| {
                // A move pays if the other load is lower by at least two.
                let max_load = self.loads[member].checked_sub(2)?;
                self.path(member, max_load, movable)
            });
            let Some(path) = path else {
                return;
            };
            for movement in path {
                self.apply(movement);
            }
        }
    }

    /// Returns partitions to their owners that balancing took away, if the owners can pass on added partitions instead without changing
    /// the balance.
    fn return_to_owners(&mut self) {
        while self
            .taken_from_owners()
            .into_iter()
            .any(|(partition, movement)| self.return_to_owner(partition, movement))
        {}
    }

    /// Returns the partitions planned for other members than their owners, with the moves that would return them.
    fn taken_from_owners(&self) -> Vec<(i32, Move)> {
        let mut taken = Vec::new();
        for (from, planned) in self.members.iter().enumerate() {
            for (&topic, planned) in planned {
                for &partition in &planned.added {
                    if let Some(to) = self.owner(topic, partition) {
                        taken.push((partition, Move { from, topic, to }));
                    }
                }
            }
        }
        taken
    }

    /// Returns one partition to its owner. Undoes the move and returns false if the balance would be worse.
    fn return_to_owner(&mut self, partition: i32, movement: Move) -> bool {
        let Move { from, topic, to } = movement;
        self.move_partition(partition, movement);
        let max_load = self.loads[from];
        if self.loads[to] <= max_load + 1 {
            return true;
        }
        if let Some(path) = self.path(to, max_load, Movable::Added) {
            for movement in path {
                self.apply(movement);
            }
            return true;
        }
        self.move_partition(
            partition,
            Move {
                from: to,
                topic,
                to: from,
            },
        );
        false
    }

    /// Finds moves after which `start` has one partition less and a member whose load is at most `max_load` has one more, in the order in
    /// which they are to be applied. Chooses the reachable member with the lowest load, and the path that moves the fewest owned partitions.
    fn path(&self, start: usize, max_load: usize, movable: Movable) -> Option<Vec<Move>> {
        let lowest = self.loads.iter().copied().min()?;
        if lowest > max_load {
            return None;
        }
        let mut search = Search::new(self, start);
        let mut best: Option<(usize, usize)> = None;
        while let Some(member) = search.next_member(self, movable) {
            let load = self.loads[member];
            if member != start
                && load <= max_load
                && best.is_none_or(|(best_load, _)| load < best_load)
            {
                best = Some((load, member));
                if load == lowest {
                    break;
                }
            }
        }
        let (_, member) = best?;
        search.path_to(member)
    }
}

/// Moves one partition of a topic from a member to another one.
#[derive(Clone, Copy)]
struct Move {
    from: usize,
    topic: usize,
    to: usize,
}

/// Partitions that may be moved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Movable {
    /// Only partitions that their members do not own yet.
    Added,
    All,
}

/// Breadth-first search for members that can take over a partition from `start`.
///
/// An edge costs 1 if an owned partition moves and 0 otherwise. Nodes that cost nothing more go to the front of the queue, so that members
/// come in the order of their costs.
struct Search {
    start: usize,
    /// For each reached member, the move by which it gets a partition.
    reached_by: Vec<Option<Move>>,
    is_topic_visited: Vec<bool>,
    queue: VecDeque<(usize, SearchNode)>,
}

enum SearchNode {
    Member(usize),
    /// A topic of which `member` has a partition.
    Topic {
        topic: usize,
        member: usize,
    },
}

impl Search {
    fn new(plan: &Plan<'_>, start: usize) -> Self {
        Self {
            start,
            reached_by: vec![None; plan.members.len()],
            is_topic_visited: vec![false; plan.topics.len()],
            queue: VecDeque::from([(0, SearchNode::Member(start))]),
        }
    }

    /// Returns the next member, and continues the search from it with the next call.
    fn next_member(&mut self, plan: &Plan<'_>, movable: Movable) -> Option<usize> {
        while let Some((cost, node)) = self.queue.pop_front() {
            match node {
                SearchNode::Member(member) => {
                    self.enqueue_topics(plan, movable, (cost, member));
                    return Some(member);
                }
                SearchNode::Topic { topic, member } => {
                    self.enqueue_subscribers(plan, cost, topic, member);
                }
            }
        }
        None
    }

    fn enqueue_topics(
        &mut self,
        plan: &Plan<'_>,
        movable: Movable,
        (cost, member): (usize, usize),
    ) {
        for (&topic, planned) in &plan.members[member] {
            if self.is_topic_visited[topic] {
                continue;
            }
            let node = SearchNode::Topic { topic, member };
            if !planned.added.is_empty() {
                self.queue.push_front((cost, node));
            } else if movable == Movable::All {
                self.queue.push_back((cost + 1, node));
            }
        }
    }

    fn enqueue_subscribers(&mut self, plan: &Plan<'_>, cost: usize, topic: usize, from: usize) {
        if std::mem::replace(&mut self.is_topic_visited[topic], true) {
            return;
        }
        for &to in &plan.topics[topic].subscribers {
            if to != self.start && self.reached_by[to].is_none() {
                self.reached_by[to] = Some(Move { from, topic, to });
                self.queue.push_front((cost, SearchNode::Member(to)));
            }
        }
    }

    /// Returns the moves by which `member` gets a partition, the last one first.
    fn path_to(&self, mut member: usize) -> Option<Vec<Move>> {
        let mut path = Vec::new();
        while member != self.start {
            let movement = self.reached_by[member]?;
            path.push(movement);
            member = movement.from;
        }
        Some(path)
    }
}
