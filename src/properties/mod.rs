//! Raw properties: their names, texts, origins and priority. Reads the environment and the files; otherwise no I/O.
//!
//! The sources, in the order of their priority in Spring Boot ("Externalized Configuration"): arguments, `SPRING_APPLICATION_JSON`,
//! environment variables, `/config/application.properties`, `./config/application.properties`, `./application.properties`. The first of two
//! equal arguments wins, as in the recipe.

mod java;
mod json;
mod placeholder;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{env, fs, io};

use crate::error::Problem;

/// The files that Spring Boot reads, in the order of their priority. The init container of a StatefulSet that Data Flow deploys writes the
/// first one.
const FILES: [&str; 3] = [
    "/config/application.properties",
    "config/application.properties",
    "application.properties",
];

/// Environment variable with properties in JSON.
pub(crate) const JSON: &str = "SPRING_APPLICATION_JSON";

/// The properties of all sources.
#[derive(Debug, Default)]
pub(crate) struct Properties {
    /// In the order of their priority.
    sources: Vec<Source>,
    /// One problem for each source that cannot be read.
    pub(crate) problems: Vec<Problem>,
    /// One warning for each argument that has no effect.
    pub(crate) warnings: Vec<String>,
}

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    /// The text, with its placeholders resolved.
    pub(crate) text: String,
    /// Its origin, for messages.
    pub(crate) origin: String,
}

/// A source of properties.
#[derive(Debug)]
struct Source {
    /// Makes the canonical form of a name, by which equal names are found.
    canonical: fn(&str) -> String,
    /// The properties by the canonical form of their names.
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    text: String,
    origin: String,
}

impl Properties {
    /// Reads the properties of this process.
    pub(crate) fn load(arguments: &[String]) -> Self {
        let environment = env::vars_os().filter_map(|(name, text)| {
            Some((
                name.into_string().ok()?,
                text.to_string_lossy().into_owned(),
            ))
        });
        Self::read(arguments, environment, FILES.map(PathBuf::from))
    }

    /// Reads properties only from arguments.
    #[cfg(any(test, feature = "librdkafka"))]
    pub(crate) fn of_arguments(arguments: &[String]) -> Self {
        Self::read(arguments, [], [])
    }

    /// Reads the properties of these sources.
    pub(crate) fn read(
        arguments: &[String],
        environment: impl IntoIterator<Item = (String, String)>,
        files: impl IntoIterator<Item = PathBuf>,
    ) -> Self {
        let mut properties = Self::default();
        properties.read_arguments(arguments);
        let environment: BTreeMap<String, String> = environment.into_iter().collect();
        if let Some(text) = environment.get(JSON).filter(|text| !text.trim().is_empty()) {
            match json::flatten(text) {
                Ok(entries) => properties.add(
                    dotted,
                    entries
                        .into_iter()
                        .map(|(name, text)| (name, text, JSON.to_owned())),
                ),
                Err(message) => properties.problem(JSON, "environment variable", message),
            }
        }
        let environment = environment.into_iter().filter(|(name, _)| name != JSON);
        properties.add(
            undotted,
            environment
                .map(|(name, text)| (name.clone(), text, format!("environment variable {name}"))),
        );
        for file in files {
            properties.read_file(&file);
        }
        properties
    }

    /// Returns the property from the first source that has it, or a problem if a placeholder in it cannot be resolved.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Value>, Problem> {
        let Some(entry) = self.find(name) else {
            return Ok(None);
        };
        let lookup = |name: &str| self.find(name).map(|entry| entry.text.clone());
        match placeholder::resolve(&entry.text, &lookup) {
            Ok(text) => Ok(Some(Value {
                text,
                origin: entry.origin.clone(),
            })),
            Err(message) => Err(Problem {
                property: name.to_owned(),
                origin: entry.origin.clone(),
                message: message.to_string(),
            }),
        }
    }

    /// Returns each name that was given, as it was written, with its origin. Many environment variables are for other programs, so only those
    /// are included that start like a property of this one.
    pub(crate) fn given(&self) -> impl Iterator<Item = (&str, &str)> {
        const OWN_PREFIXES: [&str; 4] = [
            "springcloudstream",
            "parityrouter",
            "managementserver",
            "serverport",
        ];
        self.sources
            .iter()
            .flat_map(|source| &source.entries)
            .filter_map(|(_, entry)| {
                let is_variable = entry.origin.starts_with("environment variable ");
                let is_own = !is_variable
                    || OWN_PREFIXES
                        .iter()
                        .any(|prefix| undotted(&entry.name).starts_with(prefix));
                is_own.then_some((entry.name.as_str(), entry.origin.as_str()))
            })
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        self.sources
            .iter()
            .find_map(|source| source.entries.get(&(source.canonical)(name)))
    }

    fn read_arguments(&mut self, arguments: &[String]) {
        let mut entries = Vec::new();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            // Data Flow's local platform passes arguments for a JVM: `-Xmx… -Dname=value -jar file`.
            if argument == "-jar" {
                arguments.next();
                continue;
            }
            if argument.starts_with("-X") || argument.starts_with("-D") {
                continue;
            }
            let stripped = argument.trim_start_matches('-');
            let (name, text) = match stripped.split_once('=') {
                Some((name, text)) => (name, text),
                None if stripped.len() < argument.len() => (stripped, ""),
                None => {
                    self.warnings.push(format!(
                        "argument {argument} has no effect: it is not a property of the form --name=value"
                    ));
                    continue;
                }
            };
            entries.push((
                name.to_owned(),
                text.to_owned(),
                format!("argument --{name}"),
            ));
        }
        self.add(dotted, entries);
    }

    fn read_file(&mut self, path: &PathBuf) {
        let shown = path.display().to_string();
        match fs::read(path) {
            Ok(bytes) => match java::parse(&String::from_utf8_lossy(&bytes)) {
                Ok(entries) => {
                    self.add(
                        dotted,
                        entries.into_iter().map(|entry| {
                            (
                                entry.name,
                                entry.text,
                                format!("{shown}, line {}", entry.line),
                            )
                        }),
                    );
                }
                Err(error) => self.problem(&shown, "file", error),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(error) => self.problem(&shown, "file", format!("cannot be read: {error}")),
        }
    }

    /// Adds a source with lower priority than the ones before. The first of two entries with the same name wins.
    fn add(
        &mut self,
        canonical: fn(&str) -> String,
        given: impl IntoIterator<Item = (String, String, String)>,
    ) {
        let mut entries = BTreeMap::new();
        for (name, text, origin) in given {
            entries
                .entry(canonical(&name))
                .or_insert(Entry { name, text, origin });
        }
        self.sources.push(Source { canonical, entries });
    }

    fn problem(&mut self, property: &str, origin: &str, message: String) {
        self.problems.push(Problem {
            property: property.to_owned(),
            origin: origin.to_owned(),
            message,
        });
    }
}

/// Returns Spring's uniform form of a name with dots, which is the same for `auto-create-topics`, `autoCreateTopics` and
/// `AUTO_CREATE_TOPICS`.
pub(crate) fn dotted(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Returns the uniform form of the name of an environment variable, whose underscores stand for dots, dashes or word boundaries in camel
/// case.
pub(crate) fn undotted(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '.' | '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "spring.cloud.stream.kafka.binder.autoCreateTopics";

    fn read(arguments: &[&str], environment: &[(&str, &str)]) -> Properties {
        let arguments: Vec<String> = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        let environment = environment
            .iter()
            .map(|&(name, text)| (name.to_owned(), text.to_owned()));
        Properties::read(&arguments, environment, [])
    }

    #[track_caller]
    fn check(properties: &Properties, name: &str, expected: Option<(&str, &str)>) {
        let value = properties.get(name).unwrap();
        assert_eq!(
            value
                .as_ref()
                .map(|value| (value.text.as_str(), value.origin.as_str())),
            expected
        );
    }

    #[test]
    fn priority_of_sources() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "# a comment\nname=file\nonly.file=1").unwrap();
        let environment = |names: &[(&str, &str)]| -> Vec<(String, String)> {
            names
                .iter()
                .map(|&(name, text)| (name.to_owned(), text.to_owned()))
                .collect()
        };
        let all = environment(&[(JSON, r#"{"name":"json"}"#), ("NAME", "environment")]);
        let path = file.path().to_owned();
        let files = || [path.clone()];
        let argument = || vec!["--name=argument".to_owned()];
        check(
            &Properties::read(&argument(), all.clone(), files()),
            "name",
            Some(("argument", "argument --name")),
        );
        check(
            &Properties::read(&[], all.clone(), files()),
            "name",
            Some(("json", JSON)),
        );
        check(
            &Properties::read(&[], all[1..].to_vec(), files()),
            "name",
            Some(("environment", "environment variable NAME")),
        );
        let origin = format!("{}, line 2", path.display());
        check(
            &Properties::read(&[], [], files()),
            "name",
            Some(("file", &origin)),
        );
        check(&Properties::read(&[], [], []), "name", None);
    }

    #[test]
    fn arguments() {
        let properties = read(
            &[
                "-Xmx1g",
                "-Dname=jvm",
                "-jar",
                "router.jar",
                "---name=1",
                "name=2",
                "other=a=b",
                "--flag",
                "word",
                "empty=",
            ],
            &[],
        );
        check(&properties, "name", Some(("1", "argument --name")));
        check(&properties, "other", Some(("a=b", "argument --other")));
        check(&properties, "flag", Some(("", "argument --flag")));
        check(&properties, "empty", Some(("", "argument --empty")));
        assert_eq!(properties.warnings.len(), 1, "{:?}", properties.warnings);
    }

    #[test]
    fn relaxed_names() {
        for name in [
            NAME,
            "spring.cloud.stream.kafka.binder.auto-create-topics",
            "SPRING.CLOUD.STREAM.KAFKA.BINDER.AUTO_CREATE_TOPICS",
        ] {
            let properties = read(&[&format!("--{name}=false")], &[]);
            check(
                &properties,
                NAME,
                Some(("false", &format!("argument --{name}"))),
            );
            let json = format!(r#"{{"{name}":false}}"#);
            check(&read(&[], &[(JSON, &json)]), NAME, Some(("false", JSON)));
        }
        for name in [
            "SPRING_CLOUD_STREAM_KAFKA_BINDER_AUTOCREATETOPICS",
            "SPRING_CLOUD_STREAM_KAFKA_BINDER_AUTO_CREATE_TOPICS",
            "SPRING_CLOUD_STREAM_KAFKA_BINDER_AUTO-CREATE-TOPICS",
            NAME,
            "spring.cloud.stream.kafka.binder.auto-create-topics",
        ] {
            check(
                &read(&[], &[(name, "false")]),
                NAME,
                Some(("false", &format!("environment variable {name}"))),
            );
        }
    }

    #[test]
    fn placeholders_reach_every_source() {
        let properties = read(
            &[
                "--a=${b.c}-${HOSTNAME}-${d:${e:none}}",
                "--broken=${nowhere}",
            ],
            &[(JSON, r#"{"b":{"c":"json"}}"#), ("HOSTNAME", "host")],
        );
        check(&properties, "a", Some(("json-host-none", "argument --a")));
        let problem = properties.get("broken").unwrap_err();
        assert!(problem.message.contains("${nowhere}"), "{problem}");
    }

    #[test]
    fn broken_sources_are_problems() {
        let properties = read(&[], &[(JSON, r#"{"secret":"#)]);
        let problem = &properties.problems[0];
        assert!(
            problem.property == JSON && !problem.message.contains("secret"),
            "{problem}"
        );
        assert_eq!(read(&[], &[(JSON, "[1]")]).problems.len(), 1);
        assert_eq!(read(&[], &[(JSON, " ")]).problems.len(), 0);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            Properties::read(&[], [], [folder.path().to_owned()])
                .problems
                .len(),
            1
        );
    }

    proptest! {
        #[test]
        fn any_argument_is_read(arguments in prop::collection::vec(".{0,40}", 0..8), name in ".{0,20}") {
            let properties = Properties::read(&arguments, [(JSON.to_owned(), arguments.concat())], []);
            let _ = properties.get(&name);
            properties.given().count();
        }
    }
}
