//! Resolves placeholders: `${name}` and `${name:default}`, which can be nested. No I/O.

/// Most substitutions in one value. Data Flow nests two deep; properties that refer to each other would never end.
const MAX_SUBSTITUTIONS: usize = 100;

/// Longest result: a value that contains itself twice doubles with each substitution.
const MAX_BYTES: usize = 64 * 1024;

/// Why a placeholder cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unresolved {
    /// It has neither a value nor a default.
    #[error(
        "the placeholder ${{{0}}} has no value; allowed: to give it one, or a default as in ${{{0}:default}}"
    )]
    NoValue(String),
    /// There are too many, or the result is too long.
    #[error(
        "more than {MAX_SUBSTITUTIONS} placeholders, or more than {MAX_BYTES} bytes after their substitution; do these properties refer to each other?"
    )]
    TooMuch,
}

/// Replaces each placeholder by its value, in which placeholders are replaced as well.
pub(super) fn resolve(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Unresolved> {
    let mut remaining = MAX_SUBSTITUTIONS;
    resolve_within(text, lookup, &mut remaining)
}

fn resolve_within(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    remaining: &mut usize,
) -> Result<String, Unresolved> {
    let mut resolved = String::new();
    let mut rest = text;
    while let Some((before, inner, after)) = split(rest) {
        *remaining = remaining.checked_sub(1).ok_or(Unresolved::TooMuch)?;
        resolved.push_str(before);
        let (name, default) = split_default(inner);
        let name = resolve_within(name, lookup, remaining)?;
        let value = match (lookup(&name), default) {
            (Some(value), _) => resolve_within(&value, lookup, remaining)?,
            (None, Some(default)) => resolve_within(default, lookup, remaining)?,
            (None, None) => return Err(Unresolved::NoValue(name)),
        };
        resolved.push_str(&value);
        if resolved.len() > MAX_BYTES {
            return Err(Unresolved::TooMuch);
        }
        rest = after;
    }
    resolved.push_str(rest);
    Ok(resolved)
}

/// Splits at the first placeholder into the text before, in and after it. A placeholder that is not closed is plain text.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let start = text.find("${")?;
    let (before, inner) = (text.get(..start)?, text.get(start + 2..)?);
    let mut depth = 0_usize;
    for (index, byte) in inner.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => {
                return Some((before, inner.get(..index)?, inner.get(index + 1..)?));
            }
            b'}' => depth -= 1,
            _ => (),
        }
    }
    None
}

/// Splits at the first colon that is not in a nested placeholder.
fn split_default(inner: &str) -> (&str, Option<&str>) {
    let mut depth = 0_usize;
    for (index, byte) in inner.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b':' if depth == 0 => {
                return (
                    inner.get(..index).unwrap_or_default(),
                    inner.get(index + 1..),
                );
            }
            _ => (),
        }
    }
    (inner, None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<String> {
        let text = match name {
            "a" => "1",
            "b" => "<${a}>",
            "name" => "a",
            "self" => "${self}",
            "double" => "${b}${b}${double}",
            "empty" => "",
            _ => return None,
        };
        Some(text.to_owned())
    }

    #[track_caller]
    fn check(text: &str, expected: Result<&str, Unresolved>) {
        assert_eq!(resolve(text, &lookup), expected.map(str::to_owned));
    }

    #[test]
    fn values() {
        check("", Ok(""));
        check("plain {text} $a", Ok("plain {text} $a"));
        check("x${a}y${b}z", Ok("x1y<1>z"));
        check("${empty}${empty:2}", Ok(""));
        check("${none:}${none:2}", Ok("2"));
        check("${none:${none:${a}}}", Ok("1"));
        check("${none:a:b}", Ok("a:b"));
        check("${${name}}", Ok("1"));
        check("${a", Ok("${a"));
        check("é${a}é", Ok("é1é"));
        check("${none}", Err(Unresolved::NoValue("none".to_owned())));
        check("${self}", Err(Unresolved::TooMuch));
        check("${double}", Err(Unresolved::TooMuch));
    }

    proptest! {
        #[test]
        fn any_text_ends(text in "[$a-c{}:é]{0,200}") {
            let _ = resolve(&text, &|name| Some(format!("${{{name}}}{text}")));
        }
    }
}
