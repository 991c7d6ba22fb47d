//! The topics that a role reads and writes, by index: records name them by a number, and a name is looked up once.

use crate::config::{Invalid, RouterSettings};
use crate::offsets::TopicPartition;

/// Index of a topic that is written, in [`Topics::outputs`].
pub(crate) type Output = u16;

/// Names of the topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Topics {
    /// Topics that are read.
    pub(crate) inputs: Vec<String>,
    /// Topics that are written; by the router even, odd, and with `parity-router.invalid=dlq` a dead-letter topic for each input.
    pub(crate) outputs: Vec<String>,
}

impl Topics {
    /// Index of the even topic in [`Topics::outputs`].
    pub(crate) const EVEN: Output = 0;
    /// Index of the odd topic.
    pub(crate) const ODD: Output = 1;

    /// Those of a router.
    pub(crate) fn new(router: &RouterSettings) -> Self {
        let mut outputs = vec![router.even.clone(), router.odd.clone()];
        if let Invalid::DeadLetter(topics) = &router.invalid {
            outputs.extend_from_slice(topics);
        }
        Self {
            inputs: router.input.topics.clone(),
            outputs,
        }
    }

    /// The dead-letter topic of an input topic; none where there are no dead letters.
    pub(crate) fn dead_letter(&self, input: u16) -> Option<Output> {
        let output = input.checked_add(2)?;
        (usize::from(output) < self.outputs.len()).then_some(output)
    }

    /// Whether that output is a dead-letter topic.
    pub(crate) fn is_dead_letter(output: Output) -> bool {
        output > Self::ODD
    }

    /// Name of an input topic; empty for an index that is none.
    pub(crate) fn input(&self, index: u16) -> &str {
        self.inputs
            .get(usize::from(index))
            .map_or("", String::as_str)
    }

    /// Name of an output topic; empty for an index that is none.
    pub(crate) fn output(&self, index: Output) -> &str {
        self.outputs
            .get(usize::from(index))
            .map_or("", String::as_str)
    }

    /// Partitions of the inputs, for a log line.
    pub(crate) fn partitions(&self, partitions: &[TopicPartition]) -> String {
        let names = partitions
            .iter()
            .map(|place| format!("{}-{}", self.input(place.topic), place.partition));
        let names: Vec<String> = names.collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    }

    /// Every name once, in the order of the flow.
    pub(crate) fn all(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.inputs.iter().chain(&self.outputs) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }
}
