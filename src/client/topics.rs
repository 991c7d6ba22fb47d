//! The topics that a client reads and writes. Records name them by index, so that each name is resolved once.

use crate::topic_partition::TopicPartition;

/// Index of an output topic, in [`Topics::outputs`].
pub(crate) type OutputTopic = u16;

/// Names of the topics of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Topics {
    /// Topics to read, in the order of [`TopicPartition::topic`].
    pub(crate) inputs: Vec<String>,
    /// Topics to write, in the order of [`OutputTopic`].
    pub(crate) outputs: Vec<String>,
}

impl Topics {
    /// Returns the name of an input topic, or an empty string if the index is out of range.
    pub(crate) fn input(&self, index: u16) -> &str {
        self.inputs
            .get(usize::from(index))
            .map_or("", String::as_str)
    }

    /// Returns the name of an output topic, or an empty string if the index is out of range.
    pub(crate) fn output(&self, index: OutputTopic) -> &str {
        self.outputs
            .get(usize::from(index))
            .map_or("", String::as_str)
    }

    /// Returns the partition of an input topic by the topic's name, or `None` if the topic is not an input.
    pub(crate) fn input_partition(&self, topic: &str, partition: i32) -> Option<TopicPartition> {
        let index = self.inputs.iter().position(|input| input == topic)?;
        Some(TopicPartition {
            topic: u16::try_from(index).ok()?,
            partition,
        })
    }

    /// Formats an input partition for a log line, as `orders-0`.
    pub(crate) fn partition_name(&self, partition: TopicPartition) -> String {
        format!("{}-{}", self.input(partition.topic), partition.partition)
    }

    /// Formats input partitions for a log line, as `orders-0, orders-1`.
    pub(crate) fn partitions(&self, partitions: &[TopicPartition]) -> String {
        let names = partitions
            .iter()
            .map(|&partition| self.partition_name(partition));
        let names: Vec<String> = names.collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    }

    /// Returns each topic name once, inputs first.
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
