//! The output topics of the router: even, odd, and a dead-letter topic for each input topic. No I/O.

use crate::client::{OutputTopic, Topics};
use crate::config::{Invalid, RouterSettings};

/// Index of the even topic.
pub(crate) const EVEN: OutputTopic = 0;

/// Index of the odd topic.
pub(crate) const ODD: OutputTopic = 1;

/// Returns the topics of a router; with `parity-router.invalid=dlq` the dead-letter topics follow the odd topic, in the order of the
/// inputs.
pub(crate) fn topics(router: &RouterSettings) -> Topics {
    let mut outputs = vec![router.even.clone(), router.odd.clone()];
    if let Invalid::DeadLetter(topics) = &router.invalid {
        outputs.extend_from_slice(topics);
    }
    Topics {
        inputs: router.input.topics.clone(),
        outputs,
    }
}

/// Returns the dead-letter topic of an input topic, or `None` if the router does not write dead letters.
pub(crate) fn dead_letter(topics: &Topics, input: u16) -> Option<OutputTopic> {
    let output = input.checked_add(ODD + 1)?;
    (usize::from(output) < topics.outputs.len()).then_some(output)
}

/// Returns whether an output topic is a dead-letter topic.
pub(crate) fn is_dead_letter(output: OutputTopic) -> bool {
    output > ODD
}
