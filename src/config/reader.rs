//! Reads properties one by one, and collects the problems and warnings about them, so that a user sees all of them at once. No I/O.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use super::kind;
use super::table::{DefaultValue, Property};
use crate::error::Problem;
use crate::properties::Properties;

/// Most warnings of one sort: a few are enough to notice that all names have a wrong prefix.
pub(super) const MAX_WARNINGS: usize = 10;

/// The value of a property.
#[derive(Debug, Clone)]
pub(super) struct Given {
    /// Full name of the property.
    pub(super) name: String,
    /// The value, with its placeholders resolved.
    pub(super) text: String,
    /// Its origin, for messages.
    pub(super) origin: String,
}

impl Given {
    /// Returns a value that was not given.
    pub(super) fn by_default(property: &Property, text: &str) -> Self {
        Self {
            name: property.name.to_owned(),
            text: text.to_owned(),
            origin: "default".to_owned(),
        }
    }

    pub(super) fn trimmed(&self) -> &str {
        self.text.trim()
    }

    /// Returns whether the value is this word, in upper or lower case.
    pub(super) fn is(&self, word: &str) -> bool {
        self.trimmed().eq_ignore_ascii_case(word)
    }

    /// Returns the property and where it was given, for messages.
    pub(super) fn shown(&self) -> String {
        format!("{} ({})", self.name, self.origin)
    }
}

/// The properties, and what is wrong with those that were read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    properties: &'a Properties,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(properties: &'a Properties) -> Self {
        Self {
            properties,
            problems: properties.problems.clone(),
            warnings: properties.warnings.clone(),
        }
    }

    /// Returns what was read and the warnings, or all problems if there are any.
    pub(super) fn finish<T>(self, read: T) -> Result<(T, Vec<String>), Vec<Problem>> {
        if self.problems.is_empty() {
            Ok((read, self.warnings))
        } else {
            Err(self.problems)
        }
    }

    /// Returns each name that was given, as it was written, with its origin.
    pub(super) fn given_names(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.properties.given()
    }

    /// Returns the value of the property with this name. If a placeholder in it cannot be resolved, that is a problem, and the property
    /// counts as not given.
    pub(super) fn named(&mut self, name: &str) -> Option<Given> {
        match self.properties.get(name) {
            Ok(value) => value.map(|value| Given {
                name: name.to_owned(),
                text: value.text,
                origin: value.origin,
            }),
            Err(problem) => {
                self.add(problem);
                None
            }
        }
    }

    /// Returns the value of a property, under its name or the first of its aliases that is given.
    pub(super) fn given(&mut self, property: &Property) -> Option<Given> {
        property.names().find_map(|name| self.named(name))
    }

    /// Returns whether a property is given under its name, even if it cannot be resolved.
    pub(super) fn is_given(&self, property: &Property) -> bool {
        !matches!(self.properties.get(property.name), Ok(None))
    }

    /// Returns the text of a property that is only displayed: it is empty if the property is not given or cannot be resolved.
    pub(super) fn text(&self, property: &Property) -> String {
        self.properties
            .get(property.name)
            .ok()
            .flatten()
            .map(|value| value.text)
            .unwrap_or_default()
    }

    /// Returns the value of a property, or its default. Returns `None` if it has neither, or if the value is not allowed, which is a
    /// problem.
    pub(super) fn value(&mut self, property: &Property) -> Option<Given> {
        let given = match (self.given(property), property.default) {
            (Some(given), _) => given,
            (None, DefaultValue::Text(text)) => Given::by_default(property, text),
            (None, DefaultValue::None | DefaultValue::Derived(_)) => return None,
        };
        if property.kind.allows(&given.text) {
            Some(given)
        } else {
            self.not_allowed(&given, property.kind);
            None
        }
    }

    /// Like [`value`](Self::value), parsed. A value that cannot be parsed is a problem.
    pub(super) fn parsed<T: FromStr>(&mut self, property: &Property) -> Option<T> {
        let given = self.value(property)?;
        let parsed = given.trimmed().parse().ok();
        if parsed.is_none() {
            self.not_allowed(&given, property.kind);
        }
        parsed
    }

    /// Like [`value`](Self::value), as a word in lower case.
    pub(super) fn word(&mut self, property: &Property) -> Option<String> {
        Some(self.value(property)?.trimmed().to_ascii_lowercase())
    }

    /// Like [`value`](Self::value), as a truth value; `false` after a problem.
    pub(super) fn boolean(&mut self, property: &Property) -> bool {
        self.value(property).is_some_and(|given| given.is("true"))
    }

    /// Like [`value`](Self::value), as a duration; a plain number is milliseconds.
    pub(super) fn duration(&mut self, property: &Property) -> Option<Duration> {
        kind::duration(&self.value(property)?.text, Duration::from_millis(1))
    }

    /// Reports that a value is not allowed.
    pub(super) fn not_allowed(&mut self, given: &Given, allowed: impl Display) {
        let message = format!("{:?} is not allowed; allowed: {allowed}", given.text);
        self.problem(given, message);
    }

    /// Reports a problem with a value: what is wrong, and what is allowed.
    pub(super) fn problem(&mut self, given: &Given, message: impl Into<String>) {
        self.add(Problem {
            property: given.name.clone(),
            origin: given.origin.clone(),
            message: message.into(),
        });
    }

    /// Reports a problem once, even if two bindings read the same property.
    fn add(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Warns that a value has no effect.
    pub(super) fn no_effect(&mut self, given: &Given, reason: &str) {
        self.warn(format!("{} has no effect: {reason}", given.shown()));
    }

    /// Adds the first of the warnings, and the number of the others; `others` says what they are.
    pub(super) fn warn_all(&mut self, warnings: Vec<String>, others: &str) {
        self.warnings.extend(bounded(warnings, others));
    }
}

/// Shortens a list to its first elements and the number of the others; `others` says what they are.
pub(super) fn bounded(mut list: Vec<String>, others: &str) -> Vec<String> {
    if list.len() > MAX_WARNINGS {
        let count = list.len() - MAX_WARNINGS;
        list.truncate(MAX_WARNINGS);
        list.push(format!("and {count} {others}"));
    }
    list
}
