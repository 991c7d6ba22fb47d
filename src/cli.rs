//! Parses the command line: a command with its flags; all other arguments are properties. No I/O.

use std::ffi::OsString;

use pico_args::Arguments;

use crate::config::{ClientKind, RoleName, table};
use crate::error::Problem;

/// Beginning of what `--help` prints, up to the properties.
const HELP_START: &str = "\
parity-router routes Kafka records by the parity of their last digit

usage: parity-router [command] [--property=value ...]

commands:
  router                         route records; this is the default
  time                           send the time, as Spring's time source does
  log                            print records, as Spring's log sink does
  demo [--rate=n] [--count=n]    run the recipe's stream on an embedded broker
  probe [readiness | liveness]   query a running instance; exit code 0 if up

properties, as arguments, environment variables, in SPRING_APPLICATION_JSON or
in application.properties (scdf/PROPERTIES.md describes all of them):
";

/// End of what `--help` prints.
const HELP_END: &str = "
example: parity-router --spring.cloud.stream.kafka.binder.brokers=kafka:9092 \\
  --spring.cloud.stream.bindings.input.destination=timeDest
";

/// Commands, for the message about one that does not exist.
const COMMANDS: &str = "router, time, log, demo, probe";

/// Returns what `--help` prints; it fits one screen of 80 columns and 25 lines.
pub(crate) fn help() -> String {
    let properties = table::help_lines().join("\n");
    format!("{HELP_START}{properties}\n{HELP_END}")
}

/// A parsed command line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cli {
    pub(crate) command: Command,
    /// The other arguments, unchanged.
    pub(crate) properties: Vec<String>,
}

/// A command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// Run in this role, or in that of `parity-router.role`.
    Run(Option<RoleName>),
    /// Run the recipe's stream on an embedded broker.
    Demo(DemoSettings),
    /// Query the actuator of a running instance.
    Probe(Probe),
    Help,
    Version,
}

/// Flags of the demo.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DemoSettings {
    /// Timestamps per second, from 0.001 to 1000.
    pub(crate) rate: f64,
    /// Number of timestamps, or `None` to run until it is stopped.
    pub(crate) count: Option<u64>,
}

/// The state that the command `probe` queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    /// The process can work without a restart.
    Liveness,
    /// The router has partitions and a broker responds.
    Readiness,
}

/// Timestamps per second. A person watches the demo, and at the lowest rate one timestamp is sent every 17 minutes.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=1000.0;

/// Parses the arguments, without the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Vec<Problem>> {
    // An argument that is not UTF-8 is not a known property; the other arguments still count.
    let arguments: Vec<String> = arguments
        .into_iter()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let (command, rest) = match arguments.split_first() {
        Some((first, rest)) if !first.starts_with('-') && !first.contains('=') => {
            (Some(first.as_str()), rest)
        }
        _ => (None, arguments.as_slice()),
    };
    let mut flags = Arguments::from_vec(rest.iter().map(OsString::from).collect());
    let mut problems = Vec::new();
    let help = flags.contains(["-h", "--help"]);
    let version = flags.contains(["-V", "--version"]);
    let command = match command {
        _ if help => Command::Help,
        _ if version => Command::Version,
        None => Command::Run(None),
        Some("demo") => Command::Demo(demo(&mut flags, &mut problems)),
        Some("probe") => return probe(flags),
        Some(name) if let Some(role) = RoleName::from_name(name) => Command::Run(Some(role)),
        Some(other) => {
            let message = format!("unknown command {other:?}; available: {COMMANDS}");
            return Err(vec![problem("command", message)]);
        }
    };
    let properties = flags
        .finish()
        .into_iter()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    if problems.is_empty() {
        Ok(Cli {
            command,
            properties,
        })
    } else {
        Err(problems)
    }
}

fn demo(flags: &mut Arguments, problems: &mut Vec<Problem>) -> DemoSettings {
    let rate = match flags.opt_value_from_str::<_, f64>("--rate") {
        Ok(None) => 1.0,
        Ok(Some(rate)) if RATES.contains(&rate) => rate,
        _ => {
            problems.push(problem(
                "--rate",
                "allowed: timestamps per second, from 0.001 to 1000".to_owned(),
            ));
            1.0
        }
    };
    let count = match flags.opt_value_from_str::<_, u64>("--count") {
        Ok(count) if count != Some(0) => count,
        _ => {
            problems.push(problem(
                "--count",
                "allowed: a number of timestamps, at least 1".to_owned(),
            ));
            None
        }
    };
    DemoSettings { rate, count }
}

fn probe(flags: Arguments) -> Result<Cli, Vec<Problem>> {
    let mut properties: Vec<String> = flags
        .finish()
        .into_iter()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let words: Vec<String> = properties
        .extract_if(.., |argument| {
            !argument.contains('=') && !argument.starts_with('-')
        })
        .collect();
    let probe = match words.iter().map(String::as_str).collect::<Vec<&str>>()[..] {
        [] | ["readiness"] => Probe::Readiness,
        ["liveness"] => Probe::Liveness,
        _ => {
            return Err(vec![problem(
                "probe",
                format!(
                    "unknown probe {:?}; allowed: readiness, liveness",
                    words.join(" ")
                ),
            )]);
        }
    };
    Ok(Cli {
        command: Command::Probe(probe),
        properties,
    })
}

fn problem(property: &str, message: String) -> Problem {
    Problem {
        property: property.to_owned(),
        origin: "argument".to_owned(),
        message,
    }
}

/// Returns what `--version` prints: name, version and the Kafka clients of this build.
pub(crate) fn version() -> String {
    format!(
        "parity-router {} (clients: {})",
        env!("CARGO_PKG_VERSION"),
        ClientKind::available_names().join(", ")
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn parse_words(line: &str) -> Result<Cli, Vec<Problem>> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[track_caller]
    fn check(line: &str, command: Command, properties: &[&str]) {
        let properties = properties
            .iter()
            .map(|&property| property.to_owned())
            .collect();
        assert_eq!(
            parse_words(line).unwrap(),
            Cli {
                command,
                properties
            }
        );
    }

    #[track_caller]
    fn check_problem(line: &str, part: &str) {
        let problems = parse_words(line).unwrap_err();
        assert!(problems[0].to_string().contains(part), "{problems:?}");
    }

    #[test]
    fn commands() {
        check("", Command::Run(None), &[]);
        for role in RoleName::ALL {
            check(
                &format!("{} --a=b", role.name()),
                Command::Run(Some(role)),
                &["--a=b"],
            );
        }
        check("a=b --c=d", Command::Run(None), &["a=b", "--c=d"]);
        check("-jar x.jar", Command::Run(None), &["-jar", "x.jar"]);
        check("-h", Command::Help, &[]);
        check("demo --help", Command::Help, &[]);
        check("--version", Command::Version, &[]);
        check("--version=1", Command::Run(None), &["--version=1"]);
        check_problem(
            "bogus",
            "unknown command \"bogus\"; available: router, time, log, demo, probe",
        );
    }

    #[test]
    fn demos() {
        let demo = |rate, count| Command::Demo(DemoSettings { rate, count });
        check("demo", demo(1.0, None), &[]);
        check(
            "demo --rate=5 --count 3 --server.port=1",
            demo(5.0, Some(3)),
            &["--server.port=1"],
        );
        check("demo --rate 0.5", demo(0.5, None), &[]);
        for line in [
            "demo --rate=0",
            "demo --rate=1e-300",
            "demo --rate=-1",
            "demo --rate=NaN",
            "demo --rate=1001",
            "demo --rate=x",
            "demo --rate",
        ] {
            check_problem(line, "--rate");
        }
        check_problem("demo --count=0", "--count");
        assert_eq!(parse_words("demo --count=x --rate=x").unwrap_err().len(), 2);
    }

    #[test]
    fn probes() {
        check("probe", Command::Probe(Probe::Readiness), &[]);
        check("probe readiness", Command::Probe(Probe::Readiness), &[]);
        check(
            "probe liveness --server.port=1",
            Command::Probe(Probe::Liveness),
            &["--server.port=1"],
        );
        check(
            "probe --server.port=1 liveness",
            Command::Probe(Probe::Liveness),
            &["--server.port=1"],
        );
        check_problem("probe health", "allowed: readiness, liveness");
    }

    #[test]
    fn help_fits_one_screen() {
        let help = help();
        assert!(help.lines().count() <= 25, "{help}");
        assert_eq!(help.lines().find(|line| line.len() > 80), None);
    }
}
