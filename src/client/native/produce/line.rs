//! What waits for one partition, and what is on its way there.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::body::Body;
use super::held::Held;
use super::sequence::{Counted, Window};
use crate::client::native::compression::{self, Codec};
use crate::client::native::network::{Peer, backoff};
use crate::client::records::BATCH_HEADER;
use crate::topics::Output;

/// How bodies become batches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) codec: Codec,
    pub(super) linger: Duration,
    /// Bytes of records up to which those that linger are merged; not more than `largest`.
    pub(super) merged: usize,
    /// Bytes of records at most, where it is not a single one.
    pub(super) largest: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) output: Output,
    pub(super) partition: i32,
    waiting: VecDeque<Body>,
    pub(super) window: Window<Body>,
    /// To whom what is out was sent.
    pub(super) peer: Option<Peer>,
    /// Failures since something was acknowledged last.
    failures: u32,
    /// Nothing is sent before.
    pub(super) until: Option<Instant>,
    /// Something failed since the last was sent.
    rests: bool,
}

impl Line {
    pub(super) fn new(output: Output, partition: i32, window: Window<Body>) -> Self {
        Self {
            output,
            partition,
            waiting: VecDeque::new(),
            window,
            peer: None,
            failures: 0,
            until: None,
            rests: false,
        }
    }

    /// Takes a body, behind the others.
    pub(super) fn push(&mut self, body: Body) {
        self.waiting.push_back(body);
    }

    /// Bodies that do not come next yet.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.window.is_empty()
    }

    /// Moves what comes next into the window, as it is to be sent.
    pub(super) fn fill(
        &mut self,
        form: &Form,
        held: &Held,
        now: Instant,
    ) -> Result<(), compression::Error> {
        while self.window.has_room() && self.is_due(form, held, now) {
            let Some(mut body) = self.next(form, held) else {
                break;
            };
            body.compress(form.codec, held)?;
            if body.records(held).len() > form.largest && body.count() > 1 {
                for half in body.halves(held).into_iter().rev() {
                    self.waiting.push_front(half);
                }
            } else {
                self.window.push(body);
            }
        }
        Ok(())
    }

    fn is_due(&self, form: &Form, held: &Held, now: Instant) -> bool {
        let due = self.lingers_until(form).is_none_or(|until| until <= now);
        due || {
            let sizes = self.waiting.iter().map(|body| body.records(held).len());
            sizes.sum::<usize>() >= form.merged
        }
    }

    /// Until when the first that waits does so for others.
    pub(super) fn lingers_until(&self, form: &Form) -> Option<Instant> {
        let first = self.waiting.front()?;
        (!form.linger.is_zero()).then(|| first.since + form.linger)
    }

    /// The first that waits, with those behind it that go into the same batch where they linger.
    fn next(&mut self, form: &Form, held: &Held) -> Option<Body> {
        let first = self.waiting.pop_front()?;
        if form.linger.is_zero() {
            return Some(first);
        }
        let mut size = first.records(held).len();
        let mut bodies = vec![first];
        while let Some(body) = self.waiting.front() {
            size += body.records(held).len();
            if size > form.merged {
                break;
            }
            bodies.extend(self.waiting.pop_front());
        }
        if bodies.len() == 1 {
            return bodies.pop();
        }
        Body::merge(bodies, held)
    }

    /// Something was sent.
    pub(super) fn sent(&mut self, id: u64, peer: Peer) {
        self.window.sent(id);
        self.peer = Some(peer);
        self.until = None;
        self.rests = false;
    }

    /// Something failed: the line rests before it goes on. What fails along with it makes that no longer.
    pub(super) fn rest(&mut self, now: Instant, (first, longest): (Duration, Duration)) {
        if !self.rests {
            self.until = Some(now + backoff(first, longest, self.failures));
            self.failures = self.failures.saturating_add(1);
            self.rests = true;
        }
    }

    /// Something was acknowledged.
    pub(super) fn worked(&mut self) {
        self.failures = 0;
    }
}

/// Bytes of records in a request of so many; the rest is for the request and the batch's header.
pub(super) fn records_within(request: usize, topic: &str) -> usize {
    request.saturating_sub(BATCH_HEADER + 64 + topic.len())
}
