//! Parses the format of `java.util.Properties`, in UTF-8 as Spring Boot does. No I/O.
//!
//! We do not use the crate `java-properties` 2.0: it depends on regular expressions and tables of encodings, which add 1.65 MB to a stripped
//! program (measured: 0.31 MB without it, 1.96 MB with it), as much as the whole small build may have.

/// A property and the number of its first line, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) line: usize,
}

/// Parses the properties of a file. As in Java the last of two equal names wins; the result is in reverse, so that it comes first.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start_matches(is_blank);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while is_continued(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(is_blank));
        }
        let (name, text) = split(&logical);
        let unescape = |part| {
            unescape(part)
                .ok_or_else(|| format!("line {}: \\u needs four hexadecimal digits", number + 1))
        };
        entries.push(Entry {
            name: unescape(name)?,
            text: unescape(text)?,
            line: number + 1,
        });
    }
    entries.reverse();
    Ok(entries)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Returns whether the line ends with an odd number of backslashes, so that the last one is not itself escaped.
fn is_continued(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// Splits at the first `=`, `:` or blank that is not escaped. Blanks around `=` and `:` are dropped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (index, c) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if is_blank(c) || matches!(c, '=' | ':') {
            let (name, rest) = line.split_at(index);
            let rest = rest.trim_start_matches(is_blank);
            let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (name, rest.trim_start_matches(is_blank));
        }
    }
    (line, "")
}

/// Replaces escapes. Returns `None` if `\u` is not followed by four hexadecimal digits.
fn unescape(text: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            units.extend(c.encode_utf16(&mut [0; 2]).iter());
            continue;
        }
        match chars.next() {
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let valid =
                    digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                units.push(
                    valid
                        .then(|| u16::from_str_radix(&digits, 16).ok())
                        .flatten()?,
                );
            }
            Some('n') => units.push(0x0a),
            Some('t') => units.push(0x09),
            Some('r') => units.push(0x0d),
            Some('f') => units.push(0x0c),
            Some(c) => units.extend(c.encode_utf16(&mut [0; 2]).iter()),
            None => (),
        }
    }
    // A character outside the Basic Multilingual Plane is written as two escapes, its UTF-16 surrogates.
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str, usize)]) {
        let entries = parse(text).unwrap();
        let found: Vec<_> = entries
            .iter()
            .rev()
            .map(|entry| (entry.name.as_str(), entry.text.as_str(), entry.line))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn lines() {
        check("", &[]);
        check(
            "# c\n! c\n\n a=1\r\nb : 2\nc 3\nd\ne=",
            &[
                ("a", "1", 4),
                ("b", "2", 5),
                ("c", "3", 6),
                ("d", "", 7),
                ("e", "", 8),
            ],
        );
        check("a=b=c : d ", &[("a", "b=c : d ", 1)]);
        check("a\\=\\:\\ b=1", &[("a=: b", "1", 1)]);
        check(
            "a=1,\\\n   2,\\\n   3\nb=4",
            &[("a", "1,2,3", 1), ("b", "4", 4)],
        );
        check("a=\\\\\nb=1", &[("a", "\\", 1), ("b", "1", 2)]);
        check("a=\\u00e9\\t\\n\\ud83d\\ude00 é", &[("a", "é\t\n😀 é", 1)]);
        check("a=1\\", &[("a", "1", 1)]);
        assert_eq!(parse("a=1\na=2").unwrap()[0].text, "2");
        for text in ["a=\\u12", "a=\\u+123", "a=\\u"] {
            assert!(parse(text).unwrap_err().starts_with("line 1"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[\\\\=: #!au0\n\té]{0,80}") {
            let _ = parse(&text);
        }
    }
}
