//! Which sequence number each body on its way to one partition has, and what may be sent next (KIP-98): so that whatever is handle_response or
//! lost, each record is appended once and in order. Pure: no time, no network. The producer has one window for each partition.
//!
//! What it relies on of a broker: of a producer id and epoch it appends only what follows the last sequence number; what is one of the last
//! five batches again, it acknowledges without appending it; of a newer epoch it takes only the number 0, and of an older one nothing. And
//! that of a producer which it does not know it takes any number: so the first body of an epoch goes alone.
//!
//! A broker that was stopped in order knows only the last batch again (its snapshot has no more of a producer). Those before it, where they
//! were appended and the answers were lost, are out of sequence then. So what may have been appended is asked for up to the last one,
//! before numbers begin anew: where one is known again, and its offset leaves just the room for those in front of it, they were appended.

use std::collections::VecDeque;

/// Producer id and epoch.
pub(super) type ProducerIdentity = (i64, i16);

/// What is not idempotent has.
const NO_IDENTITY: ProducerIdentity = (-1, -1);

/// So many bodies a broker knows again.
pub(super) const KNOWN_AGAIN: usize = 5;

/// Something that takes sequence numbers.
pub(super) trait Counted {
    /// How many records; at least 1.
    fn count(&self) -> i32;
}

/// What is to be sent now, and how it is to be stamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// Names the body until it is acknowledged or replaced.
    pub(super) id: u64,
    pub(super) identity: ProducerIdentity,
    pub(super) base_sequence: i32,
}

/// The bodies of one partition that were sent, or come next, in their order.
#[derive(Debug)]
pub(super) struct InFlightBatches<B> {
    entries: VecDeque<Entry<B>>,
    /// Bodies at most between the first that is not acknowledged and the last that was sent.
    limit: usize,
    idempotent: bool,
    /// Numbers may begin anew. Not in a transaction, which has to be aborted instead.
    may_restart: bool,
    identity: Option<ProducerIdentity>,
    /// A producer id that cannot be used any more.
    spent: Option<i64>,
    /// Sequence number of the first entry.
    first: i32,
    /// The offset behind what was acknowledged in front of the first entry, where the broker told.
    end: Option<i64>,
    /// Nothing was acknowledged under this identity yet.
    fresh: bool,
    /// The numbers do not go on as they are.
    broken: Option<Broken>,
    restarted: bool,
    next_id: u64,
}

#[derive(Debug)]
struct Entry<B> {
    id: u64,
    /// None once it is acknowledged: then it only holds its place among the numbers.
    body: Option<B>,
    count: i32,
    base: Option<i32>,
    state: State,
    /// Under this number it may have been appended, or may still be.
    doubtful: bool,
    /// It was surely not appended once.
    refused: bool,
    /// Although it may have been appended, the broker says that it is out of sequence.
    disowned: bool,
    /// Where it was appended, once the broker has told.
    offset: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be sent, for the first time or again.
    Unsent,
    /// Sent; an answer is to come.
    Out,
    Acknowledged,
}

/// Why there must be new numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// A new epoch is enough.
    Epoch,
    /// The broker does not take the producer id.
    Id,
}

/// Whether each entry has the number that it must have.
enum Numbering {
    Good,
    /// Not yet: one that is out has another, and is going to fail.
    Wait,
    Broken,
}

impl<B: Counted> InFlightBatches<B> {
    /// For `limit` bodies, at least 1. What is idempotent has no more of them than a broker knows again.
    pub(super) fn new(limit: usize, idempotent: bool, may_restart: bool) -> Self {
        let limit = if idempotent {
            limit.min(KNOWN_AGAIN)
        } else {
            limit
        };
        Self {
            entries: VecDeque::new(),
            limit,
            idempotent,
            may_restart,
            identity: None,
            spent: None,
            first: 0,
            end: None,
            fresh: true,
            broken: None,
            restarted: false,
            next_id: 0,
        }
    }

    /// Whether it takes another body.
    pub(super) fn has_room(&self) -> bool {
        self.entries.len() < self.limit
    }

    /// Whether everything in it is acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether an answer is to come.
    pub(super) fn is_out(&self) -> bool {
        self.entries.iter().any(|entry| entry.state == State::Out)
    }

    /// Takes a body, behind the others.
    pub(super) fn push(&mut self, body: B) {
        let entry = self.entry(body);
        self.entries.push_back(entry);
    }

    fn entry(&mut self, body: B) -> Entry<B> {
        self.next_id += 1;
        Entry {
            id: self.next_id,
            count: body.count(),
            body: Some(body),
            base: None,
            state: State::Unsent,
            doubtful: false,
            refused: false,
            disowned: false,
            offset: None,
        }
    }

    /// Whether nothing can be sent before [`InFlightBatches::identify`].
    pub(super) fn wants_identity(&self) -> bool {
        self.idempotent && self.identity.is_none() && !self.entries.is_empty()
    }

    /// Gives it its identity; says whether it is one that can be used here.
    pub(super) fn identify(&mut self, identity: ProducerIdentity) -> bool {
        if self.spent == Some(identity.0) {
            return false;
        }
        if self.identity.is_none() {
            self.identity = Some(identity);
            self.fresh = true;
        }
        true
    }

    /// Whether numbers were begun anew since this was last asked: what was not acknowledged then may be doubled.
    pub(super) fn take_restarted(&mut self) -> bool {
        std::mem::take(&mut self.restarted)
    }

    /// Whether the numbers do not go on as they are, and may not begin anew.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some() && !self.may_restart
    }

    /// What is to be sent next, if anything may be now.
    pub(super) fn turn(&mut self) -> Option<Turn> {
        let unsent = |entry: &Entry<B>| entry.state == State::Unsent;
        let first = self.entries.iter().position(unsent)?;
        let out = |entry: &Entry<B>| entry.state == State::Out;
        let last_out = self.entries.iter().rposition(out);
        // What failed goes again before what was sent behind it, and when that is handle_response.
        if last_out.is_some_and(|last| last > first) {
            return None;
        }
        if !self.idempotent {
            return self.turn_of(first, NO_IDENTITY);
        }
        let identity = self.identity?;
        if self.broken.is_some() {
            return match self.not_asked() {
                Some(place) => self.turn_of(place, identity),
                None => self.restart(last_out.is_some()),
            };
        }
        match self.number() {
            Numbering::Good => self.turn_of(first, identity),
            Numbering::Wait => None,
            Numbering::Broken => {
                self.broken = Some(Broken::Epoch);
                self.restart(last_out.is_some())
            }
        }
    }

    /// Where the first one is disowned: the next that may have been appended, and that the broker was not asked for since.
    fn not_asked(&self) -> Option<usize> {
        let mut next = self.first;
        for (place, entry) in self.entries.iter().enumerate() {
            let may_be_known = entry.doubtful && entry.base == Some(next);
            if !may_be_known || (place == 0 && !entry.disowned) {
                return None;
            }
            if entry.state == State::Unsent && !entry.disowned {
                return Some(place);
            }
            next = behind(next, entry.count);
        }
        None
    }

    fn turn_of(&self, place: usize, identity: ProducerIdentity) -> Option<Turn> {
        let alone = self.idempotent && self.fresh;
        let limit = if alone { 1 } else { self.limit };
        let entry = self.entries.get(place).filter(|_| place < limit)?;
        Some(Turn {
            id: entry.id,
            identity,
            base_sequence: entry.base.unwrap_or(-1),
        })
    }

    /// Numbers what has no number yet, or has another than it must have and was surely not appended under that one.
    fn number(&mut self) -> Numbering {
        let mut next = self.first;
        for entry in &mut self.entries {
            let fits = entry.base == Some(next);
            match entry.state {
                _ if fits => (),
                State::Unsent if !entry.doubtful => entry.base = Some(next),
                State::Out => return Numbering::Wait,
                State::Unsent | State::Acknowledged => return Numbering::Broken,
            }
            next = behind(next, entry.count);
        }
        Numbering::Good
    }

    /// Begins anew at 0, under the next epoch, once nothing is out. What an older epoch still has on its way the broker refuses then. A
    /// producer that is only idempotent may raise its epoch by itself, as Java's does; each partition has its own.
    fn restart(&mut self, is_out: bool) -> Option<Turn> {
        if is_out || !self.may_restart {
            return None;
        }
        let broken = self.broken.take();
        let (id, epoch) = self.identity.take()?;
        match epoch.checked_add(1) {
            Some(next) if broken != Some(Broken::Id) => self.identity = Some((id, next)),
            _ => self.spent = Some(id),
        }
        self.entries.retain(|entry| entry.body.is_some());
        for entry in &mut self.entries {
            self.restarted |= entry.doubtful;
            entry.base = None;
            entry.doubtful = false;
            entry.refused = false;
            entry.disowned = false;
        }
        self.first = 0;
        self.fresh = true;
        self.number();
        self.turn_of(0, self.identity?)
    }

    /// The body of this name.
    pub(super) fn batch(&mut self, id: u64) -> Option<&mut B> {
        self.find(id)?.body.as_mut()
    }

    fn find(&mut self, id: u64) -> Option<&mut Entry<B>> {
        self.entries.iter_mut().find(|entry| entry.id == id)
    }

    /// It was sent as its turn said.
    pub(super) fn sent(&mut self, id: u64) {
        if let Some(entry) = self.find(id) {
            entry.state = State::Out;
        }
    }

    /// The broker has it, now or since earlier, at this offset, if it says so. Gives the body back, and those in front of it that the broker
    /// must have too.
    pub(super) fn acknowledged(&mut self, id: u64, offset: Option<i64>, mut take: impl FnMut(B)) {
        let Some(place) = self.entries.iter().position(|entry| entry.id == id) else {
            return;
        };
        let has_all = self.has_all_before(place, offset);
        if has_all {
            self.broken = None;
        }
        let first = if has_all { 0 } else { place };
        for entry in self.entries.range_mut(first..=place) {
            entry.state = State::Acknowledged;
            entry.offset = offset.filter(|_| entry.id == id);
            entry.body.take().into_iter().for_each(&mut take);
        }
        self.fresh = false;
        self.settle();
    }

    /// Whether everything in front of an entry that is at this offset was disowned, and must have been appended nevertheless: between what
    /// was acknowledged and the entry there is just the room for it. (Sequence numbers alone do not tell, where a broker forgets a
    /// producer between two requests: it takes the second one without the first. And what others have written in between is as good as
    /// a gap.)
    fn has_all_before(&self, place: usize, offset: Option<i64>) -> bool {
        let (mut number, mut end) = (self.first, self.end);
        let disowned = self.entries.range(..place).all(|entry| {
            let fits = entry.base == Some(number);
            number = behind(number, entry.count);
            end = end.map(|end| end + i64::from(entry.count));
            fits && entry.disowned && !entry.refused
        });
        let fits = self.entries.get(place).and_then(|entry| entry.base) == Some(number);
        place > 0 && disowned && fits && offset.is_some() && offset == end
    }

    /// A connection is over. What was asked over another one may be another broker's answer, or that of one that knows less.
    pub(super) fn interrupted(&mut self) {
        if self.entries.front().is_some_and(|first| first.disowned) {
            self.broken = None;
        }
        for entry in &mut self.entries {
            entry.disowned = false;
        }
    }

    /// Takes what is acknowledged from the front.
    fn settle(&mut self) {
        while let Some(entry) = self.entries.front() {
            if entry.state != State::Acknowledged {
                break;
            }
            // By its own number: the broker goes on from there.
            self.first = behind(entry.base.unwrap_or(self.first), entry.count);
            // The highest: one in front of its predecessor tells that the other was doubled, and is behind both.
            let end = entry.offset.map(|offset| offset + i64::from(entry.count));
            self.end = end.max(self.end.filter(|_| end.is_some()));
            self.entries.pop_front();
        }
    }

    /// It is to be sent again; `doubtful` where it may have been appended nevertheless.
    pub(super) fn failed(&mut self, id: u64, doubtful: bool) {
        if let Some(entry) = self.find(id) {
            entry.state = State::Unsent;
            entry.doubtful |= doubtful;
            entry.refused |= !doubtful;
            entry.disowned = false;
        }
    }

    /// The broker misses what comes before it. That is so where something in front of it failed; of the first one it means that the broker
    /// does not know what it acknowledged, or not any more that it has this one: then this says true, and numbers begin anew, unless a
    /// later one is known again.
    pub(super) fn out_of_sequence(&mut self, id: u64) -> bool {
        let may_be_there = self.find(id).is_some_and(|entry| entry.doubtful);
        let is_first = self.disowned(id, Broken::Epoch);
        if let Some(entry) = self.find(id) {
            entry.disowned = may_be_there;
        }
        is_first
    }

    /// The broker does not take the producer id; as [`InFlightBatches::out_of_sequence`].
    pub(super) fn unidentified(&mut self, id: u64) -> bool {
        self.disowned(id, Broken::Id)
    }

    fn disowned(&mut self, id: u64, broken: Broken) -> bool {
        // Where what was before it was refused for good, it has yet to get its number.
        let first = self.first;
        let is_first = self
            .entries
            .front()
            .is_some_and(|entry| entry.id == id && entry.base == Some(first));
        if let Some(entry) = self.find(id) {
            entry.state = State::Unsent;
            entry.doubtful |= is_first;
        }
        if is_first {
            self.broken = Some(broken);
        }
        is_first
    }

    /// The broker refused it for good: these come in its place, maybe none.
    pub(super) fn replace(&mut self, id: u64, bodies: Vec<B>) {
        let Some(place) = self.entries.iter().position(|entry| entry.id == id) else {
            return;
        };
        let Some(refused) = self.entries.remove(place) else {
            return;
        };
        if refused.doubtful {
            // Something may come under its number yet.
            self.broken = self.broken.or(Some(Broken::Epoch));
        }
        for body in bodies.into_iter().rev() {
            let mut entry = self.entry(body);
            entry.doubtful = refused.doubtful;
            self.entries.insert(place, entry);
        }
        self.settle();
    }
}

/// The number behind so many; behind the highest comes 0.
fn behind(sequence: i32, count: i32) -> i32 {
    sequence.wrapping_add(count) & i32::MAX
}

#[cfg(test)]
mod tests;
