//! From raw properties to what the Kafka clients are told. Pure. Kafka's own names stand below the prefixes of Spring's Kafka binder
//! ("Kafka Binder Properties"), a binding's before the binder's. Here they are collected; `names` knows them, `settings` reads them, and
//! `judge` says what of them has no effect and what cannot be.

mod judge;
mod names;
mod settings;
// They are about what each client can, so they want all of them.
#[cfg(all(test, feature = "librdkafka", feature = "kafka"))]
mod tests;

use std::ops::RangeInclusive;
use std::time::Duration;

use names::{Side, Use};
use settings::assignors;

use super::RoleName;
use super::read::Reader;
use crate::client::settings::{AssignorName, LibrdkafkaProperties};
use crate::properties::{Value, dotted, undotted};

/// Largest number of Kafka's `int`.
const MOST: u64 = 2_147_483_647;

/// Spring's properties for what Kafka has a name for too; those of the bindings that are written.
const OF_A_PRODUCER: [(&str, &str); 4] = [
    ("compressionType", "compression.type"),
    ("compression", "compression.type"),
    ("batchTimeout", "linger.ms"),
    ("bufferSize", "batch.size"),
];

/// The same, of the binder.
const REQUIRED_ACKS: &str = "spring.cloud.stream.kafka.binder.requiredAcks";

/// Where Kafka's own names are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// For the binding `input`.
    Input,
    /// For a binding that is written.
    Output(&'static str),
    /// For all consumers.
    Consumers,
    /// For all producers.
    Producers,
    /// For all of them.
    Binder,
}

impl Place {
    /// Those of all roles.
    const ALL: [Self; 7] = [
        Self::Binder,
        Self::Consumers,
        Self::Producers,
        Self::Input,
        Self::Output("even"),
        Self::Output("odd"),
        Self::Output("output"),
    ];

    /// Those of a consumer, highest first.
    const OF_CONSUMER: [Self; 3] = [Self::Input, Self::Consumers, Self::Binder];

    /// Those of a producer, highest first.
    fn of_producer(binding: &'static str) -> [Self; 3] {
        [Self::Output(binding), Self::Producers, Self::Binder]
    }

    fn prefix(self) -> String {
        match self {
            Self::Input => {
                "spring.cloud.stream.kafka.bindings.input.consumer.configuration".to_owned()
            }
            Self::Output(binding) => {
                format!("spring.cloud.stream.kafka.bindings.{binding}.producer.configuration")
            }
            Self::Consumers => "spring.cloud.stream.kafka.binder.consumerProperties".to_owned(),
            Self::Producers => "spring.cloud.stream.kafka.binder.producerProperties".to_owned(),
            Self::Binder => "spring.cloud.stream.kafka.binder.configuration".to_owned(),
        }
    }

    fn side(self) -> Side {
        match self {
            Self::Input | Self::Consumers => Side::Consumer,
            Self::Output(_) | Self::Producers => Side::Producer,
            Self::Binder => Side::Both,
        }
    }
}

/// One of Kafka's own names as it was given.
#[derive(Debug)]
pub(super) struct Setting {
    place: Place,
    /// Kafka's name.
    name: String,
    /// The property's whole name.
    property: String,
    value: Value,
}

impl Setting {
    /// Whose its name is.
    fn side(&self) -> Side {
        names::becomes(&self.name).map_or(Side::Both, |(side, _)| side)
    }

    /// Whether it is about what its place is about.
    fn fits(&self) -> bool {
        let (side, places) = (self.side(), self.place.side());
        side == places || side == Side::Both || places == Side::Both
    }

    /// Whether it is this word, in whatever case.
    fn is(&self, word: &str) -> bool {
        self.value.text.trim().eq_ignore_ascii_case(word)
    }

    /// The property, and where it was given.
    fn shown(&self) -> String {
        format!("{} ({})", self.property, self.value.origin)
    }

    /// As librdkafka takes it; none where it has not, or must not have, the name.
    fn pair(&self) -> Option<(String, String)> {
        let text = &self.value.text;
        match names::becomes(&self.name) {
            Some((_, Use::Read(name))) => {
                let text = text.trim();
                let text = if self.name == ASSIGNORS {
                    assignors(text)?
                        .into_iter()
                        .map(AssignorName::name)
                        .collect::<Vec<&str>>()
                        .join(",")
                } else {
                    text.to_owned()
                };
                Some((name?.to_owned(), text))
            }
            Some((_, Use::Routers { .. } | Use::Refused(_) | Use::NoEffect)) => None,
            Some((_, Use::Security | Use::OnlyLibrdkafka)) | None => {
                Some((self.name.clone(), text.clone()))
            }
        }
    }
}

/// Names that more than one place here knows.
const ASSIGNORS: &str = "partition.assignment.strategy";
const INSTANCE_ID: &str = "group.instance.id";
const PROTOCOL: &str = "security.protocol";

impl Reader<'_> {
    /// Takes in what is given below the prefixes that concern this role, for everything else here to look at.
    pub(super) fn collect_kafka(&mut self, role: RoleName) {
        let (outputs, input): (&[&'static str], bool) = match role {
            RoleName::Router => (&["even", "odd"], true),
            RoleName::Time => (&["output"], false),
            RoleName::Log => (&[], true),
        };
        let mut places = vec![Place::Binder];
        if input {
            places.extend([Place::Input, Place::Consumers]);
        }
        if !outputs.is_empty() {
            places.push(Place::Producers);
            places.extend(outputs.iter().map(|binding| Place::Output(binding)));
        }
        let places: Vec<(Place, String)> = places
            .into_iter()
            .map(|place| (place, place.prefix()))
            .collect();
        let mut found = Vec::new();
        for (given, origin) in self.properties.given() {
            let variable = origin.starts_with("environment variable ");
            found.extend(places.iter().find_map(|(place, prefix)| {
                let name = below(given, prefix, variable)?;
                let property = format!("{prefix}.{name}");
                Some((*place, name, property, given.to_owned()))
            }));
        }
        // Highest first: the first of two is what counts.
        for (place, name, property, given) in found {
            self.take_setting(place, name, property, &given);
        }
        for binding in outputs {
            for (own, name) in OF_A_PRODUCER {
                let property =
                    format!("spring.cloud.stream.kafka.bindings.{binding}.producer.{own}");
                let given = property.clone();
                self.take_setting(Place::Output(binding), name.to_owned(), property, &given);
            }
        }
        if !outputs.is_empty() {
            let property = REQUIRED_ACKS.to_owned();
            self.take_setting(Place::Binder, "acks".to_owned(), property, REQUIRED_ACKS);
        }
    }

    fn take_setting(&mut self, place: Place, name: String, property: String, given: &str) {
        let known = |other: &Setting| other.place == place && other.name == name;
        if self.settings.iter().any(known) {
            return;
        }
        if let Some(value) = self.given(given) {
            self.settings.push(Setting {
                place,
                name,
                property,
                value,
            });
        }
    }

    /// Kafka's name in the first of these places that has it: the property's whole name, and its value.
    fn setting(&self, places: &[Place], name: &str) -> Option<(String, Value)> {
        let setting = places.iter().find_map(|place| {
            self.settings
                .iter()
                .find(|setting| setting.place == *place && setting.name == name)
        })?;
        Some((setting.property.clone(), setting.value.clone()))
    }

    /// The same as `parse` understands it; `default` where it is not given, or not as it is allowed to be, which is a problem.
    fn understood_setting<T>(
        &mut self,
        places: &[Place],
        name: &str,
        default: T,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let Some((property, value)) = self.setting(places, name) else {
            return default;
        };
        match parse(value.text.trim()) {
            Some(parsed) => parsed,
            None => self.not_allowed(&property, &value, allowed, default),
        }
    }

    fn number(
        &mut self,
        places: &[Place],
        name: &str,
        unit: &str,
        allowed: RangeInclusive<u64>,
    ) -> Option<u64> {
        let sentence = format!("{unit} from {} to {}", allowed.start(), allowed.end());
        self.understood_setting(places, name, None, &sentence, |text| {
            let number = text
                .parse()
                .ok()
                .filter(|number| allowed.contains(number))?;
            Some(Some(number))
        })
    }

    fn bytes(&mut self, places: &[Place], name: &str, least: u64) -> Option<usize> {
        let bytes = self.number(places, name, "bytes", least..=MOST)?;
        usize::try_from(bytes).ok()
    }

    fn time_setting(
        &mut self,
        places: &[Place],
        name: &str,
        least: u64,
        default: Duration,
    ) -> Duration {
        self.number(places, name, "milliseconds", least..=MOST)
            .map_or(default, Duration::from_millis)
    }

    fn truth(&mut self, places: &[Place], name: &str) -> Option<bool> {
        self.understood_setting(places, name, None, "true or false", |text| {
            Some(Some(text.to_ascii_lowercase().parse().ok()?))
        })
    }

    /// What librdkafka gets of these places; of the binder's what is for this side alone, since all clients get the rest.
    fn pairs(&self, places: &[Place]) -> LibrdkafkaProperties {
        let side = places.first().map_or(Side::Both, |place| place.side());
        let mut pairs = LibrdkafkaProperties::new();
        for place in places {
            let own = self.settings.iter().filter(|setting| {
                setting.place == *place
                    && match place {
                        Place::Binder => setting.side() == side,
                        _ => setting.fits(),
                    }
            });
            for (name, text) in own.filter_map(Setting::pair) {
                if !pairs.iter().any(|(known, _)| *known == name) {
                    pairs.push((name, text));
                }
            }
        }
        pairs
    }

    /// What all of librdkafka's clients get.
    pub(super) fn common_pairs(&self) -> LibrdkafkaProperties {
        self.pairs(&[Place::Binder])
    }
}

/// Letters, at most, that are wrong, missing or too many in a prefix that was meant to be a known one.
const WRONG_LETTERS: usize = 2;

/// What a name was meant to be that begins nearly as those of Kafka's own do.
pub(super) fn meant(given: &str) -> Option<String> {
    let prefixes = Place::ALL.map(Place::prefix);
    for (at, _) in given.match_indices(['.', '_', '[']) {
        let (front, name) = given.split_at(at);
        let letters = undotted(front);
        let wrong = |prefix: &String| strsim::osa_distance(&letters, &undotted(prefix));
        let nearest = prefixes.iter().min_by_key(|prefix| wrong(prefix))?;
        match wrong(nearest) {
            0 => return None,
            1..=WRONG_LETTERS => return Some(format!("{nearest}{name}")),
            _ => (),
        }
    }
    None
}

/// Kafka's name at the end of a property's name that begins with `prefix`; none where it does not. A key of a map stands behind a dot, or in
/// brackets.
fn below(given: &str, prefix: &str, variable: bool) -> Option<String> {
    let canonical = if variable { undotted } else { dotted };
    let parts: &[char] = if variable {
        &['.', '_', '[']
    } else {
        &['.', '[']
    };
    let wanted = canonical(prefix);
    let (at, _) = given
        .match_indices(parts)
        .find(|(at, _)| canonical(given.split_at(*at).0) == wanted)?;
    let key = given
        .split_at(at)
        .1
        .trim_start_matches(['.', '_', '[', '"', '\''])
        .trim_end_matches([']', '"', '\'']);
    // The elements of a JSON array, whose list is given as well.
    if key.is_empty() || key.contains('[') {
        return None;
    }
    let name = if variable {
        names::of_variable(key)
    } else {
        key.to_ascii_lowercase()
    };
    Some(names::canonical(&name).to_owned())
}
