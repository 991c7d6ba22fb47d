//! `${name}` and `${name:default}`, nested as deep as anyone needs. Pure.

/// Substitutions in one value at most, and bytes of the result: Data Flow nests two deep, and a value that doubles itself ends here.
const MAX_SUBSTITUTIONS: usize = 100;
const MAX_BYTES: usize = 64 * 1024;

/// Why a value cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unresolved {
    /// A placeholder without a value and without a default.
    #[error("the placeholder ${{{0}}} has no value; give it one, or a default: ${{{0}:default}}")]
    NoValue(String),
    /// Properties that name each other, or too much of them.
    #[error(
        "its placeholders are more than {MAX_SUBSTITUTIONS}, or longer than {MAX_BYTES} bytes; do they name each other?"
    )]
    TooMuch,
}

/// `text` with each placeholder replaced by its value, whose own placeholders are replaced in turn.
pub(super) fn resolve(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Unresolved> {
    let mut left = MAX_SUBSTITUTIONS;
    resolve_within(text, lookup, &mut left)
}

fn resolve_within(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    left: &mut usize,
) -> Result<String, Unresolved> {
    let mut resolved = String::new();
    let mut rest = text;
    while let Some((before, inner, after)) = split(rest) {
        *left = left.checked_sub(1).ok_or(Unresolved::TooMuch)?;
        resolved.push_str(before);
        let (name, default) = split_default(inner);
        let name = resolve_within(name, lookup, left)?;
        let value = match (lookup(&name), default) {
            (Some(value), _) => resolve_within(&value, lookup, left)?,
            (None, Some(default)) => resolve_within(default, lookup, left)?,
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

/// Splits at the first placeholder: what is before it, within it, and after it. One that is not closed is none.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let start = text.find("${")?;
    let (before, inner) = (text.get(..start)?, text.get(start + 2..)?);
    let mut depth = 0_usize;
    for (place, byte) in inner.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => {
                return Some((before, inner.get(..place)?, inner.get(place + 1..)?));
            }
            b'}' => depth -= 1,
            _ => (),
        }
    }
    None
}

/// Splits at the first colon that is in no placeholder of its own.
fn split_default(inner: &str) -> (&str, Option<&str>) {
    let mut depth = 0_usize;
    for (place, byte) in inner.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b':' if depth == 0 => {
                return (
                    inner.get(..place).unwrap_or_default(),
                    inner.get(place + 1..),
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
