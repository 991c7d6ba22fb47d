//! The prefixes under which Kafka's own settings can be given. No I/O.

use super::table::{self, Scope};
use crate::properties::{dotted, undotted};

/// A prefix of Spring's Kafka binder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    /// All clients.
    Binder,
    /// All consumers.
    Consumers,
    /// All producers.
    Producers,
    /// The consumer of the binding `input`.
    Input,
    /// The producer of an output binding.
    Output(&'static str),
}

impl Prefix {
    /// The prefixes of all roles.
    const ALL: [Self; 7] = [
        Self::Binder,
        Self::Consumers,
        Self::Producers,
        Self::Input,
        Self::Output("even"),
        Self::Output("odd"),
        Self::Output("output"),
    ];

    /// The prefixes that apply to every connection.
    pub(super) const CONNECTION: [Self; 1] = [Self::Binder];

    /// The prefixes that apply to the consumer, in the order of their priority.
    pub(super) const CONSUMER: [Self; 3] = [Self::Input, Self::Consumers, Self::Binder];

    /// Returns the prefixes that apply to the producer of a binding, in the order of their priority.
    pub(super) fn of_producer(binding: &'static str) -> [Self; 3] {
        [Self::Output(binding), Self::Producers, Self::Binder]
    }

    /// Returns the prefix without the dot behind it.
    pub(super) fn text(self) -> String {
        match self {
            Self::Binder => "spring.cloud.stream.kafka.binder.configuration".to_owned(),
            Self::Consumers => "spring.cloud.stream.kafka.binder.consumerProperties".to_owned(),
            Self::Producers => "spring.cloud.stream.kafka.binder.producerProperties".to_owned(),
            Self::Input => {
                "spring.cloud.stream.kafka.bindings.input.consumer.configuration".to_owned()
            }
            Self::Output(binding) => {
                format!("spring.cloud.stream.kafka.bindings.{binding}.producer.configuration")
            }
        }
    }

    pub(super) fn scope(self) -> Scope {
        match self {
            Self::Binder => Scope::All,
            Self::Consumers | Self::Input => Scope::Consumers,
            Self::Producers | Self::Output(_) => Scope::Producers,
        }
    }

    /// Returns Kafka's name of the setting that a property gives under this prefix, or `None` if the property has another prefix. The name
    /// is separated by a dot, or in brackets, as Spring writes the key of a map; in an environment variable also by an underscore.
    pub(super) fn setting_in(self, property: &str, is_variable: bool) -> Option<String> {
        let (canonical, separators): (fn(&str) -> String, &[char]) = if is_variable {
            (undotted, &['.', '_', '['])
        } else {
            (dotted, &['.', '['])
        };
        let wanted = canonical(&self.text());
        let (at, _) = property
            .match_indices(separators)
            .find(|(at, _)| canonical(property.split_at(*at).0) == wanted)?;
        let key = property
            .split_at(at)
            .1
            .trim_start_matches(['.', '_', '[', '"', '\''])
            .trim_end_matches([']', '"', '\'']);
        // An element of a JSON array: the whole list is given as well, under the name without an index.
        if key.is_empty() || key.contains('[') {
            return None;
        }
        let name = if is_variable {
            table::from_variable(key)
        } else {
            key.to_ascii_lowercase()
        };
        Some(table::canonical(&name).to_owned())
    }
}

/// Largest edit distance at which a prefix counts as misspelt.
const MAX_DISTANCE: usize = 2;

/// Returns the property that is meant by a name whose prefix is probably misspelt.
pub(in crate::config) fn suggestion(property: &str) -> Option<String> {
    let prefixes = Prefix::ALL.map(Prefix::text);
    for (at, _) in property.match_indices(['.', '_', '[']) {
        let (front, rest) = property.split_at(at);
        let letters = undotted(front);
        let distance = |prefix: &String| strsim::osa_distance(&letters, &undotted(prefix));
        let nearest = prefixes.iter().min_by_key(|prefix| distance(prefix))?;
        match distance(nearest) {
            0 => return None,
            1..=MAX_DISTANCE => return Some(format!("{nearest}{rest}")),
            _ => (),
        }
    }
    None
}
