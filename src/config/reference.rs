//! Writes the files that are generated from the tables of properties, for tests: `scdf/metadata.json` for Data Flow's shell and dashboard,
//! and `scdf/PROPERTIES.md` for users. The tests fail if the files differ from what the tables say.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::{env, fs};

use super::RoleName;
use super::kafka_settings::table::{DEFINITIONS, Definition, Scope, Support};
use super::kind::Kind;
use super::table::{Audience, DefaultValue, PROPERTIES, Property};

/// The text around the tables of `scdf/PROPERTIES.md`.
const TEMPLATE: &str = include_str!("reference.md");

/// Spring's groups of properties: prefix, type, and the roles that have it.
const GROUPS: [(&str, &str, &[RoleName]); 4] = [
    ("parity-router", "parity_router.Router", &RoleName::ALL),
    ("time", "parity_router.Time", &[RoleName::Time]),
    (
        "spring.integration.poller",
        "parity_router.Poller",
        &[RoleName::Time],
    ),
    ("log", "parity_router.Log", &[RoleName::Log]),
];

/// Returns `scdf/metadata.json`: Spring Boot's configuration metadata of all roles, with a field `roles` of our own.
fn metadata() -> String {
    let groups: Vec<String> = GROUPS
        .iter()
        .map(|(name, group, roles)| {
            object(&[
                ("name", json(name)),
                ("type", json(group)),
                ("sourceType", json(group)),
                ("roles", roles_json(roles)),
            ])
        })
        .collect();
    let properties: Vec<String> = PROPERTIES
        .iter()
        .filter(|property| property.audience == Audience::Users)
        .map(|property| property_json(property))
        .collect();
    format!(
        "{{\n  \"groups\": [\n    {}\n  ],\n  \"properties\": [\n    {}\n  ],\n  \"hints\": []\n}}\n",
        groups.join(",\n    "),
        properties.join(",\n    ")
    )
}

fn property_json(property: &Property) -> String {
    let mut fields = vec![
        ("name", json(property.name)),
        ("type", json(java_type(property.kind))),
        ("description", json(&plain_description(property))),
    ];
    if let DefaultValue::Text(text) = property.default {
        let value = match property.kind {
            Kind::Boolean | Kind::Number { .. } | Kind::NumberOrMinusOne { .. } => text.to_owned(),
            _ => json(text),
        };
        fields.push(("defaultValue", value));
    }
    let group = GROUPS.iter().find(|(prefix, ..)| {
        let rest = property.name.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.starts_with('.'))
    });
    if let Some((_, group, _)) = group {
        fields.push(("sourceType", json(group)));
    }
    fields.push(("roles", roles_json(property.roles)));
    object(&fields)
}

/// Returns the description as Data Flow shows it: without Markdown, and with what it has no field for.
fn plain_description(property: &Property) -> String {
    let mut text = property.description.to_owned();
    if property.kind != Kind::Text {
        let _ = write!(text, " Allowed: {}.", property.kind);
    }
    if let DefaultValue::Derived(rule) = property.default {
        let _ = write!(text, " Default: {rule}.");
    }
    text.replace('`', "")
}

fn java_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "java.lang.Boolean",
        Kind::Number { .. } | Kind::NumberOrMinusOne { .. } => "java.lang.Integer",
        Kind::Duration { .. } => "java.time.Duration",
        Kind::Text | Kind::Choice(_) | Kind::Size { .. } | Kind::Format(_) => "java.lang.String",
    }
}

fn roles_json(roles: &[RoleName]) -> String {
    let names: Vec<String> = roles.iter().map(|role| json(role.name())).collect();
    format!("[{}]", names.join(", "))
}

fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}: {value}", json(name)))
        .collect();
    format!("{{{}}}", fields.join(", "))
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// Returns `scdf/PROPERTIES.md`.
fn reference() -> String {
    let of_roles = |roles: &[RoleName]| {
        properties_table(|property| property.audience == Audience::Users && property.roles == roles)
    };
    let of_audience =
        |audience: Audience| properties_table(|property| property.audience == audience);
    let [router, time, log] = RoleName::ALL;
    let mut text = TEMPLATE.to_owned();
    for (placeholder, table) in [
        ("all", of_roles(&RoleName::ALL)),
        ("data-flow", of_audience(Audience::DataFlow)),
        ("router-and-log", of_roles(&[router, log])),
        ("router-and-time", of_roles(&[router, time])),
        ("router", of_roles(&[router])),
        ("time", of_roles(&[time])),
        ("log", of_roles(&[log])),
        ("older-versions", of_audience(Audience::OlderVersions)),
        ("kafka-all", definitions_table(Scope::All)),
        ("kafka-consumers", definitions_table(Scope::Consumers)),
        ("kafka-producers", definitions_table(Scope::Producers)),
        ("kafka-decided", decided_table()),
        ("kafka-refused", refused_table()),
        ("kafka-librdkafka-only", list(Support::LibrdkafkaOnly)),
        ("kafka-java-only", list(Support::JavaOnly)),
    ] {
        let placeholder = format!("{{{{{placeholder}}}}}");
        assert!(text.contains(&placeholder), "{placeholder}");
        text = text.replace(&placeholder, table.trim_end());
    }
    text
}

fn properties_table(is_included: impl Fn(&Property) -> bool) -> String {
    let mut table =
        String::from("| property | default | allowed | description |\n|---|---|---|---|\n");
    for property in PROPERTIES.iter().filter(|property| is_included(property)) {
        let Property {
            name,
            kind,
            description,
            ..
        } = property;
        let (default, allowed) = (default_cell(property.default), cell(&kind.to_string()));
        let also = also_named(property.aliases);
        let _ = writeln!(
            table,
            "| `{name}` | {default} | {allowed} | {description}{also} |"
        );
    }
    table
}

fn definitions_table(scope: Scope) -> String {
    let mut table = String::from("| name | default | allowed | description |\n|---|---|---|---|\n");
    let is_read = |definition: &&Definition| {
        definition.scope == scope && matches!(definition.support, Support::Read { .. })
    };
    for definition in DEFINITIONS.iter().filter(is_read) {
        let Definition {
            name,
            kind,
            description,
            ..
        } = definition;
        let (default, allowed) = (default_cell(definition.default), cell(&kind.to_string()));
        let also = also_named(definition.aliases);
        let _ = writeln!(
            table,
            "| `{name}` | {default} | {allowed} | {description}{also} |"
        );
    }
    table
}

fn decided_table() -> String {
    let mut table = String::from("| name | router's value | reason |\n|---|---|---|\n");
    for definition in DEFINITIONS {
        if let Support::DecidedByRouter { value, reason } = definition.support {
            let value = match value {
                "" => String::new(),
                value => format!("`{value}`"),
            };
            let _ = writeln!(table, "| `{}` | {value} | {reason} |", definition.name);
        }
    }
    table
}

fn refused_table() -> String {
    let mut table = String::from("| name | reason |\n|---|---|\n");
    for definition in DEFINITIONS {
        if let Support::Refused { reason } = definition.support {
            let _ = writeln!(table, "| `{}` | {reason} |", definition.name);
        }
    }
    table
}

fn list(support: Support) -> String {
    let names: Vec<String> = DEFINITIONS
        .iter()
        .filter(|definition| definition.support == support)
        .map(|definition| format!("`{}`", definition.name))
        .collect();
    names.join(", ")
}

fn default_cell(default: DefaultValue) -> String {
    match default {
        DefaultValue::None => String::new(),
        DefaultValue::Text(text) => format!("`{text}`"),
        DefaultValue::Derived(rule) => rule.to_owned(),
    }
}

/// Escapes what Markdown would take for the end of a cell, or for HTML.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "\\<")
}

fn also_named(aliases: &[&str]) -> String {
    let names: Vec<String> = aliases.iter().map(|alias| format!("`{alias}`")).collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!(" Also named {}.", names.join(", ")),
    }
}

/// Compares a file with what it should be, or writes it if the environment variable `PARITY_ROUTER_WRITE` is set.
#[track_caller]
fn check(path: &str, expected: &str) {
    let file = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    if env::var_os("PARITY_ROUTER_WRITE").is_some() {
        fs::write(&file, expected).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap_or_default() == expected,
        "{path} differs from the tables of properties; to regenerate it: \
         PARITY_ROUTER_WRITE=1 cargo test --lib config::reference"
    );
}

mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::config::table::{
        AUTO_REBALANCE, DEFAULT_GROUP, DEFAULT_LOGGER, INPUT_GROUP, LOG_NAME, LOGGING_LEVEL, ROLE,
        ZK_NODES,
    };
    use crate::config::{Config, Role};
    use crate::properties::{Properties, undotted};

    #[test]
    fn metadata_json_is_up_to_date() {
        let metadata = metadata();
        let parsed: Value = serde_json::from_str(&metadata).unwrap();
        for property in parsed["properties"].as_array().unwrap() {
            // Data Flow takes `${` in a description for a placeholder.
            assert!(!property.to_string().contains("${"), "{property}");
        }
        check("scdf/metadata.json", &metadata);
    }

    #[test]
    fn properties_md_is_up_to_date() {
        let reference = reference();
        assert!(!reference.contains("{{"));
        check("scdf/PROPERTIES.md", &reference);
    }

    #[test]
    fn names_are_unique_and_complete() {
        let names: Vec<&str> = PROPERTIES
            .iter()
            .flat_map(|property| property.names())
            .collect();
        let different: BTreeSet<String> = names.iter().map(|name| undotted(name)).collect();
        assert_eq!(different.len(), names.len());
        let reference = reference();
        for name in names {
            assert!(reference.contains(&format!("`{name}`")), "{name}");
        }
    }

    /// A placeholder without a value is a problem as soon as a property is read.
    #[test]
    fn every_property_is_read() {
        for property in PROPERTIES {
            let is_only_displayed = property.name == ZK_NODES.name
                || property.audience == Audience::DataFlow
                || property.name.ends_with(".producer.sync");
            if is_only_displayed || property.name == LOGGING_LEVEL.name {
                continue;
            }
            for name in property.names() {
                let mut arguments = vec![
                    format!("--{name}=${{nowhere}}"),
                    // The other properties of instances are read only with this one.
                    format!("--{}=false", AUTO_REBALANCE.name),
                ];
                if let Some(prefix) = name.strip_suffix(".time-unit") {
                    arguments.push(format!("--{prefix}.fixed-delay=1"));
                }
                for role in property.roles {
                    let properties = Properties::of_arguments(&arguments);
                    let given_role = (property.name != ROLE.name).then_some(*role);
                    let problems = Config::read(&properties, given_role, &[]).unwrap_err();
                    assert!(
                        problems.iter().any(|problem| problem.property == *name),
                        "{name}: {problems:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn defaults_are_allowed_and_used() {
        for role in RoleName::ALL {
            let read = |arguments: &[String]| {
                let properties = Properties::of_arguments(arguments);
                Config::read(&properties, Some(role), &[]).unwrap().0
            };
            let without = read(&[]);
            for property in PROPERTIES {
                let DefaultValue::Text(text) = property.default else {
                    continue;
                };
                assert!(property.kind.allows(text), "{}", property.name);
                if property.roles.contains(&role) {
                    let argument = format!("--{}={text}", property.name);
                    assert_eq!(read(std::slice::from_ref(&argument)), without, "{argument}");
                }
            }
        }
    }

    #[test]
    fn defaults_of_kafkas_own_settings_are_allowed_and_used() {
        let read = |arguments: &[String]| {
            let properties = Properties::of_arguments(arguments);
            let role = Some(RoleName::Router);
            let mut config = Config::read(&properties, role, &[]).unwrap().0;
            let Role::Router(router) = &mut config.role else {
                panic!("{:?}", config.role);
            };
            // Only what is given is passed on to librdkafka.
            router.input.consumer.librdkafka.clear();
            router.even_producer.librdkafka.clear();
            router.odd_producer.librdkafka.clear();
            config.client_settings.librdkafka.clear();
            config
        };
        let without = read(&[]);
        for definition in DEFINITIONS {
            if let DefaultValue::Text(text) = definition.default {
                let name = definition.name;
                assert!(definition.kind.allows(text), "{name}");
                let argument =
                    format!("--spring.cloud.stream.kafka.binder.configuration.{name}={text}");
                assert_eq!(read(&[argument]), without, "{name}");
            }
        }
    }

    #[test]
    fn derived_defaults_name_the_last_resort() {
        for (property, default) in [(&INPUT_GROUP, DEFAULT_GROUP), (&LOG_NAME, DEFAULT_LOGGER)] {
            assert!(
                matches!(property.default, DefaultValue::Derived(rule) if rule.contains(&format!("`{default}`")))
            );
        }
    }
}
