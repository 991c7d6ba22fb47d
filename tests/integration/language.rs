//! Comments in plain English: no comment in `src` starts with a headless clause, and none uses words of the old style.

use std::fs;
use std::path::{Path, PathBuf};

/// Starts of comments without a subject or a verb. A comment says "Returns whether …", "The offset of …", "Kafka returns …".
const FORBIDDEN_STARTS: &[&str] = &[
    "What ",
    "Who ",
    "Whoever ",
    "Whose ",
    "Whom ",
    "Whatever ",
    "Whether ",
    "Which.",
    "Which ",
    "How many",
    "How much",
    "Of ",
    "For who",
    "To whom",
    "See the module",
    "Else ",
    "Hence ",
    "Those ",
    "Where ",
    "Where, ",
    "So that ",
    "So many",
    "As many",
    "Not any",
    "No more ",
    "Nothing but",
    "Somebody",
    "Nobody",
    "As ",
];

/// Words with a plain equivalent, given behind them.
const FORBIDDEN_WORDS: &[(&str, &str)] = &[
    ("made anew", "recreated"),
    ("begun anew", "restarted"),
    ("begin anew", "restart"),
    ("begins anew", "restarts"),
    ("gets on", "makes progress"),
    ("is told", "is reported or logged"),
    ("are told", "are reported or logged"),
    ("of whom", "whose"),
    ("heals", "recovers"),
    ("hence the", "therefore the"),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Returns the text of a comment, if the line has nothing else, and its marker.
fn comment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    ["//!", "///", "//"].iter().find_map(|marker| {
        let text = line.strip_prefix(marker)?;
        Some((*marker, text.strip_prefix(' ').unwrap_or(text)))
    })
}

/// Returns the problems of a file, one line each.
fn problems(name: &str, source: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut previous: Option<&str> = None;
    for (index, line) in source.lines().enumerate() {
        let Some((marker, text)) = comment(line) else {
            previous = None;
            continue;
        };
        let is_start = previous != Some(marker);
        previous = (!text.trim().is_empty()).then_some(marker);
        let mut report =
            |problem: String| problems.push(format!("{name}:{}: {problem}", index + 1));
        if is_start
            && let Some(start) = FORBIDDEN_STARTS
                .iter()
                .find(|start| text.starts_with(**start))
        {
            report(format!("a comment starts with {start:?}: {text}"));
        }
        let lower = text.to_lowercase();
        for (word, plain) in FORBIDDEN_WORDS {
            if lower.contains(word) {
                report(format!("{word:?} in a comment, better {plain:?}: {text}"));
            }
        }
    }
    problems
}

#[test]
fn comments_are_in_plain_english() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    assert!(files.len() > 50, "{} files", files.len());
    files.sort();
    let found: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            problems(&name, &fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(
        found.is_empty(),
        "{} problems:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn the_check_finds_what_it_looks_for() {
    let check = |source: &str, count: usize| {
        let found = problems("a.rs", source);
        assert_eq!(found.len(), count, "{source:?}: {found:?}");
    };
    check("/// Whether it is ready.\n", 1);
    check(
        "//! The offset of a partition,\n//! Where the line goes on.\n",
        0,
    );
    check("/// Returns the offset.\n///\n/// Of whom it is.\n", 2);
    check("    // Else the consumer would wait.\n    let a = 1;\n", 1);
    check("/// The topic is made anew and gets on.\n", 2);
    check("let text = \"// What\";\n", 0);
}
