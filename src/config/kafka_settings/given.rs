//! Collects the settings that are given under the prefixes of a role, and looks them up. No I/O.

use std::str::FromStr;
use std::time::Duration;

use super::prefix::Prefix;
use super::table::{self, Scope};
use crate::config::reader::{Given, Reader};
use crate::config::table::{
    EVEN_BATCH_TIMEOUT, EVEN_BUFFER_SIZE, EVEN_COMPRESSION_TYPE, ODD_BATCH_TIMEOUT,
    ODD_BUFFER_SIZE, ODD_COMPRESSION_TYPE, OUTPUT_BATCH_TIMEOUT, OUTPUT_BUFFER_SIZE,
    OUTPUT_COMPRESSION_TYPE, Property, REQUIRED_ACKS,
};
use crate::config::{ClientKind, RoleName};

/// Spring's properties of an output binding for which Kafka has a setting.
const BINDING_PROPERTIES: [(&str, &Property, &str); 9] = [
    ("even", &EVEN_COMPRESSION_TYPE, "compression.type"),
    ("even", &EVEN_BATCH_TIMEOUT, "linger.ms"),
    ("even", &EVEN_BUFFER_SIZE, "batch.size"),
    ("odd", &ODD_COMPRESSION_TYPE, "compression.type"),
    ("odd", &ODD_BATCH_TIMEOUT, "linger.ms"),
    ("odd", &ODD_BUFFER_SIZE, "batch.size"),
    ("output", &OUTPUT_COMPRESSION_TYPE, "compression.type"),
    ("output", &OUTPUT_BATCH_TIMEOUT, "linger.ms"),
    ("output", &OUTPUT_BUFFER_SIZE, "batch.size"),
];

/// A setting that is given.
#[derive(Debug)]
pub(super) struct GivenSetting {
    pub(super) prefix: Prefix,
    /// Kafka's name.
    pub(super) name: String,
    /// The value, and the property that gives it.
    pub(super) value: Given,
}

impl GivenSetting {
    /// Returns the clients that the setting applies to. An unknown setting can apply to any.
    pub(super) fn scope(&self) -> Scope {
        table::support(&self.name).map_or(Scope::All, |(scope, _)| scope)
    }

    /// Returns whether the setting applies to the clients of its prefix.
    pub(super) fn is_in_scope(&self) -> bool {
        let (setting, prefix) = (self.scope(), self.prefix.scope());
        setting == prefix || setting == Scope::All || prefix == Scope::All
    }
}

/// The settings that are given for a role, and the client that they are for.
#[derive(Debug)]
pub(in crate::config) struct KafkaSettings {
    pub(in crate::config) client: ClientKind,
    /// At most one for each prefix and name.
    pub(super) settings: Vec<GivenSetting>,
}

impl KafkaSettings {
    /// Collects the settings under the prefixes that apply to a role.
    pub(in crate::config) fn collect(
        reader: &mut Reader<'_>,
        role: RoleName,
        client: ClientKind,
    ) -> Self {
        let (outputs, has_input): (&[&'static str], bool) = match role {
            RoleName::Router => (&["even", "odd"], true),
            RoleName::Time => (&["output"], false),
            RoleName::Log => (&[], true),
        };
        let mut prefixes = vec![Prefix::Binder];
        if has_input {
            prefixes.extend([Prefix::Input, Prefix::Consumers]);
        }
        if !outputs.is_empty() {
            prefixes.push(Prefix::Producers);
            prefixes.extend(outputs.iter().map(|binding| Prefix::Output(binding)));
        }
        let mut collected = Self {
            client,
            settings: Vec::new(),
        };
        // The sources come in the order of their priority, so the first of two equal settings counts.
        for (property, origin) in reader.given_names() {
            let is_variable = origin.starts_with("environment variable ");
            let found = prefixes
                .iter()
                .find_map(|prefix| Some((*prefix, prefix.setting_in(property, is_variable)?)));
            if let Some((prefix, name)) = found
                && !collected.contains(prefix, &name)
                && let Some(given) = reader.named(property)
            {
                let value = Given {
                    name: format!("{}.{name}", prefix.text()),
                    ..given
                };
                collected.add(prefix, &name, value);
            }
        }
        // Kafka's name has priority over Spring's.
        for (binding, property, name) in BINDING_PROPERTIES {
            if outputs.contains(&binding)
                && let Some(value) = reader.given(property)
            {
                collected.add(Prefix::Output(binding), name, value);
            }
        }
        if !outputs.is_empty()
            && let Some(value) = reader.given(&REQUIRED_ACKS)
        {
            collected.add(Prefix::Binder, "acks", value);
        }
        collected
    }

    fn contains(&self, prefix: Prefix, name: &str) -> bool {
        self.settings
            .iter()
            .any(|setting| setting.prefix == prefix && setting.name == name)
    }

    fn add(&mut self, prefix: Prefix, name: &str, value: Given) {
        if !self.contains(prefix, name) {
            self.settings.push(GivenSetting {
                prefix,
                name: name.to_owned(),
                value,
            });
        }
    }

    /// Returns a view of the settings under some prefixes, which are in the order of their priority.
    pub(super) fn under<'a>(&'a self, prefixes: &'a [Prefix]) -> Lookup<'a> {
        Lookup {
            settings: &self.settings,
            prefixes,
        }
    }
}

/// Looks up the settings under some prefixes, and checks values against the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lookup<'a> {
    settings: &'a [GivenSetting],
    prefixes: &'a [Prefix],
}

impl<'a> Lookup<'a> {
    /// Returns the setting with this name under the first prefix that has it.
    pub(super) fn find(self, name: &str) -> Option<&'a Given> {
        self.prefixes.iter().find_map(|prefix| {
            self.settings
                .iter()
                .find(|setting| setting.prefix == *prefix && setting.name == name)
                .map(|setting| &setting.value)
        })
    }

    /// Returns the setting as `parse` understands it, or `None` if it is not given. A value that is not allowed is a problem.
    pub(super) fn parsed<T>(
        self,
        reader: &mut Reader<'_>,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let given = self.find(name)?;
        let kind = table::find(name)?.kind;
        let parsed = Some(given.trimmed())
            .filter(|text| kind.allows(text))
            .and_then(parse);
        if parsed.is_none() {
            reader.not_allowed(given, kind);
        }
        parsed
    }

    pub(super) fn number<T: FromStr>(self, reader: &mut Reader<'_>, name: &str) -> Option<T> {
        self.parsed(reader, name, |text| text.parse().ok())
    }

    pub(super) fn boolean(self, reader: &mut Reader<'_>, name: &str) -> Option<bool> {
        self.parsed(reader, name, |text| text.to_ascii_lowercase().parse().ok())
    }

    /// Returns the setting as a word in lower case.
    pub(super) fn word(self, reader: &mut Reader<'_>, name: &str) -> Option<String> {
        self.parsed(reader, name, |text| Some(text.to_ascii_lowercase()))
    }

    /// Returns the setting as a number of milliseconds.
    pub(super) fn millis(self, reader: &mut Reader<'_>, name: &str, default: Duration) -> Duration {
        self.number(reader, name)
            .map_or(default, Duration::from_millis)
    }
}
