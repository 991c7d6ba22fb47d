//! The cooperative sticky assignor. What it makes is as balanced as the subscriptions allow, and members keep what they have as far as that
//! allows; Java's assignor strives for the same, by another way, and the two need not agree on which partitions move.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Assignment, Member, nothing, topics};

pub(super) fn cooperative(members: &[Member], partitions: &BTreeMap<String, i32>) -> Assignment {
    // A member's place does not depend on the order in which the coordinator tells of them.
    let mut sorted: Vec<&Member> = members.iter().collect();
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    let claims = Claims::of(&sorted);
    let mut plan = Plan::new(&sorted, partitions, &claims);
    plan.place_what_nobody_has();
    plan.balance(Moves::OfFresh);
    plan.balance(Moves::OfAll);
    plan.give_back();

    let mut assignment = nothing(&sorted);
    for (member, held) in plan.held.iter().enumerate() {
        let given = held
            .iter()
            .flat_map(|(topic, held)| {
                let topic = plan.topics[*topic].0;
                held.partitions().map(move |partition| (topic, partition))
            })
            .filter(|partition| claims.may_be_given(*partition, member));
        if let Some(assigned) = assignment.get_mut(&sorted[member].id) {
            assigned.extend(given.map(|(topic, partition)| (topic.to_owned(), partition)));
        }
    }
    assignment
}

/// Who says that a partition is theirs.
struct Claims<'a>(BTreeMap<(&'a str, i32), Claim>);

struct Claim {
    members: BTreeSet<usize>,
    /// The newest generation in which it was given to one of them.
    generation: i32,
    /// Who got it then; none where two say so.
    owner: Option<usize>,
}

impl<'a> Claims<'a> {
    fn of(members: &[&'a Member]) -> Self {
        let mut claims = BTreeMap::new();
        for (place, member) in members.iter().enumerate() {
            for (topic, partition) in &member.owned {
                let claim = claims
                    .entry((topic.as_str(), *partition))
                    .or_insert_with(|| Claim {
                        members: BTreeSet::new(),
                        generation: member.generation,
                        owner: Some(place),
                    });
                if !claim.members.insert(place) {
                    // It says so twice.
                } else if member.generation > claim.generation {
                    (claim.generation, claim.owner) = (member.generation, Some(place));
                } else if member.generation == claim.generation && claim.owner != Some(place) {
                    claim.owner = None;
                }
            }
        }
        Self(claims)
    }

    fn owner(&self, partition: (&str, i32)) -> Option<usize> {
        self.0.get(&partition)?.owner
    }

    /// Whether nobody else has to let go of it first. What a member still has of an older generation it lets go of by itself: its owner
    /// goes on with it.
    fn may_be_given(&self, partition: (&str, i32), member: usize) -> bool {
        self.0.get(&partition).is_none_or(|claim| {
            claim.owner == Some(member) || claim.members.iter().all(|other| *other == member)
        })
    }
}

/// Partitions of one topic that one member is to have: those that it has, and others.
#[derive(Default)]
struct Held {
    kept: Vec<i32>,
    fresh: Vec<i32>,
}

impl Held {
    fn partitions(&self) -> impl Iterator<Item = i32> {
        self.kept.iter().chain(&self.fresh).copied()
    }
}

/// The assignment as it grows. Members and topics are numbers, by their places.
struct Plan<'a> {
    claims: &'a Claims<'a>,
    /// Name, number of partitions, readers.
    topics: Vec<(&'a str, i32, Vec<usize>)>,
    /// What each member holds, by topic; no topic of which it holds nothing.
    held: Vec<BTreeMap<usize, Held>>,
    /// How many partitions each member holds.
    loads: Vec<usize>,
}

impl<'a> Plan<'a> {
    /// Everybody holds what it has and may keep.
    fn new(
        members: &[&'a Member],
        partitions: &'a BTreeMap<String, i32>,
        claims: &'a Claims<'a>,
    ) -> Self {
        let mut plan = Self {
            claims,
            topics: topics(members, partitions),
            held: members.iter().map(|_| BTreeMap::new()).collect(),
            loads: vec![0; members.len()],
        };
        for topic in 0..plan.topics.len() {
            for partition in 0..plan.topics[topic].1 {
                if let Some(owner) = plan.owner(topic, partition) {
                    plan.put(owner, topic, partition);
                }
            }
        }
        plan
    }

    /// Who has the partition and still reads its topic.
    fn owner(&self, topic: usize, partition: i32) -> Option<usize> {
        let (name, _, readers) = &self.topics[topic];
        let owner = self.claims.owner((*name, partition))?;
        readers.binary_search(&owner).ok().map(|_| owner)
    }

    fn put(&mut self, member: usize, topic: usize, partition: i32) {
        let keeps = self.owner(topic, partition) == Some(member);
        let held = self.held[member].entry(topic).or_default();
        if keeps {
            held.kept.push(partition);
        } else {
            held.fresh.push(partition);
        }
        self.loads[member] += 1;
    }

    /// Moves one of a topic's partitions: rather one that the member does not have yet.
    fn shift(&mut self, (from, topic, to): Move) {
        let held = self.held[from].get(&topic);
        if let Some(partition) = held.and_then(|held| held.fresh.last().or(held.kept.last())) {
            self.shift_one(*partition, (from, topic, to));
        }
    }

    fn shift_one(&mut self, partition: i32, (from, topic, to): Move) {
        if let Some(held) = self.held[from].get_mut(&topic) {
            held.fresh.retain(|other| *other != partition);
            held.kept.retain(|other| *other != partition);
            if held.fresh.is_empty() && held.kept.is_empty() {
                self.held[from].remove(&topic);
            }
            self.loads[from] -= 1;
            self.put(to, topic, partition);
        }
    }

    /// Each partition without an owner to the reader that has the least by then.
    fn place_what_nobody_has(&mut self) {
        for topic in 0..self.topics.len() {
            for partition in 0..self.topics[topic].1 {
                if self.owner(topic, partition).is_some() {
                    continue;
                }
                let readers = self.topics[topic].2.iter().copied();
                if let Some(member) = readers.min_by_key(|reader| self.loads[*reader]) {
                    self.put(member, topic, partition);
                }
            }
        }
    }

    /// Moves partitions from members with more to members with less, over others where there is no other way, until nothing is better
    /// balanced by that. No assignment that such moves can make has smaller loads then: as in Harvey, Ladner, Lovász and Tamir,
    /// "Semi-matchings for bipartite graphs and load balancing". So where what the members have can be completed to a balanced
    /// assignment, moving what they do not have yet finds it; that is why a group is at rest after the second round.
    fn balance(&mut self, moves: Moves) {
        loop {
            let mut members: Vec<usize> = (0..self.held.len()).collect();
            members.sort_by_key(|member| Reverse(self.loads[*member]));
            // To one that has at least two less.
            let way = members.into_iter().find_map(|member| {
                let most = self.loads[member].checked_sub(2)?;
                self.way(member, most, moves)
            });
            let Some(way) = way else {
                return;
            };
            for step in way {
                self.shift(step);
            }
        }
    }

    /// Gives members back what they have and lost while it was balanced, where in place of it they can lose what they do not have yet, and
    /// it stays as balanced as it is.
    fn give_back(&mut self) {
        while self.lost().into_iter().any(|lost| self.give_one_back(lost)) {}
    }

    /// What others hold in place of their owners.
    fn lost(&self) -> Vec<(i32, Move)> {
        let mut lost = Vec::new();
        for (member, held) in self.held.iter().enumerate() {
            for (topic, held) in held {
                for partition in &held.fresh {
                    if let Some(owner) = self.owner(*topic, *partition) {
                        lost.push((*partition, (member, *topic, owner)));
                    }
                }
            }
        }
        lost
    }

    fn give_one_back(&mut self, (partition, (member, topic, owner)): (i32, Move)) -> bool {
        self.shift_one(partition, (member, topic, owner));
        let most = self.loads[member];
        if self.loads[owner] <= most + 1 {
            return true;
        }
        if let Some(way) = self.way(owner, most, Moves::OfFresh) {
            for step in way {
                self.shift(step);
            }
            return true;
        }
        self.shift_one(partition, (owner, topic, member));
        false
    }

    /// Moves by which `start` gets one partition less, and one that has at most so many gets one more, the last of them first: to the one
    /// that has the least of all that can be reached, and by the way on which the fewest have to let go of what they have.
    fn way(&self, start: usize, most: usize, moves: Moves) -> Option<Vec<Move>> {
        let least = self.loads.iter().copied().min()?;
        if least > most {
            return None;
        }
        // A search by cost, which is 0 or 1 for each step: what costs nothing comes to the front of the queue, so that all members that
        // can be reached come in the order of their costs.
        let mut member_from: Vec<Option<(usize, usize)>> = vec![None; self.held.len()];
        let mut topic_from: Vec<Option<usize>> = vec![None; self.topics.len()];
        let mut queue = VecDeque::from([(0, Step::Member(start))]);
        let mut best: Option<(usize, usize)> = None;
        while let Some((cost, step)) = queue.pop_front() {
            match step {
                Step::Member(member) => {
                    let load = self.loads[member];
                    if member != start
                        && load <= most
                        && best.is_none_or(|(lowest, _)| load < lowest)
                    {
                        best = Some((load, member));
                        if load == least {
                            break;
                        }
                    }
                    for (topic, held) in &self.held[member] {
                        if topic_from[*topic].is_some() {
                            continue;
                        }
                        if !held.fresh.is_empty() {
                            queue.push_front((cost, Step::Topic(*topic, member)));
                        } else if moves == Moves::OfAll {
                            queue.push_back((cost + 1, Step::Topic(*topic, member)));
                        }
                    }
                }
                Step::Topic(topic, member) => {
                    if topic_from[topic].is_some() {
                        continue;
                    }
                    topic_from[topic] = Some(member);
                    for reader in &self.topics[topic].2 {
                        if *reader != start && member_from[*reader].is_none() {
                            member_from[*reader] = Some((member, topic));
                            queue.push_front((cost, Step::Member(*reader)));
                        }
                    }
                }
            }
        }
        let (_, mut member) = best?;
        let mut way = Vec::new();
        while member != start {
            let (from, topic) = member_from[member]?;
            way.push((from, topic, member));
            member = from;
        }
        Some(way)
    }
}

/// From a member, of a topic, to a member.
type Move = (usize, usize, usize);

/// Which partitions may be moved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moves {
    /// Those that their members do not have yet.
    OfFresh,
    /// All of them.
    OfAll,
}

enum Step {
    Member(usize),
    /// A topic, of which this member holds a partition.
    Topic(usize, usize),
}
