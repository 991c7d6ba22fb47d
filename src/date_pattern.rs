//! Date patterns of Java's `java.time.format.DateTimeFormatter`, which Spring's time source uses, formatted by `jiff`. No I/O.

use std::fmt::{self, Write as _};

use jiff::ZonedDateTime;
use jiff::fmt::strtime::BrokenDownTime;

/// A validated pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatePattern(Vec<Piece>);

/// Spring's default, and the recipe's: `MM/dd/yy HH:mm:ss`.
impl Default for DatePattern {
    fn default() -> Self {
        Self(vec![Piece::Strftime("%m/%d/%y %H:%M:%S".to_owned())])
    }
}

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// A format of `strftime`.
    Strftime(String),
    /// An offset from UTC in this format of `strftime`, or `Z` if the offset is zero.
    OffsetOrZ(&'static str),
}

impl DatePattern {
    /// Parses a pattern. The error names the part that is not supported, and what is.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = pattern.chars().peekable();
        while let Some(letter) = rest.next() {
            match letter {
                '\'' => quoted(&mut rest, &mut text)?,
                'a'..='z' | 'A'..='Z' => {
                    let mut count = 1;
                    while rest.next_if_eq(&letter).is_some() {
                        count += 1;
                    }
                    match field(letter, count)? {
                        Piece::Strftime(field) => text.push_str(&field),
                        offset => {
                            pieces.push(Piece::Strftime(std::mem::take(&mut text)));
                            pieces.push(offset);
                        }
                    }
                }
                '[' | ']' | '{' | '}' | '#' => {
                    return Err(format!(
                        "{letter:?} in the pattern is reserved; allowed: it in single quotes"
                    ));
                }
                other => literal(other, &mut text),
            }
        }
        pieces.push(Piece::Strftime(text));
        pieces.retain(|piece| *piece != Piece::Strftime(String::new()));
        if pieces.is_empty() {
            return Err("the pattern is empty; allowed: for example MM/dd/yy HH:mm:ss".to_owned());
        }
        Ok(Self(pieces))
    }

    /// Formats a time and appends it to `out`.
    pub(crate) fn format(&self, time: &ZonedDateTime, out: &mut String) -> fmt::Result {
        let broken_down = BrokenDownTime::from(time);
        for piece in &self.0 {
            match piece {
                Piece::OffsetOrZ(_) if time.offset().is_zero() => out.push('Z'),
                Piece::OffsetOrZ(form) => write(&broken_down, form, out)?,
                Piece::Strftime(form) => write(&broken_down, form, out)?,
            }
        }
        Ok(())
    }
}

fn write(time: &BrokenDownTime, form: &str, out: &mut String) -> fmt::Result {
    let text = time.to_string(form).map_err(|_| fmt::Error)?;
    out.write_str(&text)
}

/// Copies the text up to the closing quote; two quotes stand for one.
fn quoted(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    text: &mut String,
) -> Result<(), String> {
    if rest.next_if_eq(&'\'').is_some() {
        text.push('\'');
        return Ok(());
    }
    while let Some(letter) = rest.next() {
        match letter {
            '\'' if rest.next_if_eq(&'\'').is_some() => text.push('\''),
            '\'' => return Ok(()),
            other => literal(other, text),
        }
    }
    Err("a quote in the pattern is not closed; allowed: text in single quotes".to_owned())
}

fn literal(letter: char, text: &mut String) {
    if letter == '%' {
        text.push('%');
    }
    text.push(letter);
}

/// Returns the piece for a field: a letter and its number of repetitions.
fn field(letter: char, count: usize) -> Result<Piece, String> {
    let form = match (letter, count) {
        ('y' | 'u', 2) => "%y",
        ('y' | 'u', 1) => "%-Y",
        ('y' | 'u', 4) => "%Y",
        ('M' | 'L', 1) => "%-m",
        ('M' | 'L', 2) => "%m",
        ('M' | 'L', 3) => "%b",
        ('M' | 'L', 4) => "%B",
        ('d', 1) => "%-d",
        ('d', 2) => "%d",
        ('D', 1) => "%-j",
        ('D', 3) => "%j",
        ('E', 1..=3) => "%a",
        ('E', 4) => "%A",
        ('a', 1) => "%p",
        ('H', 1) => "%-H",
        ('H', 2) => "%H",
        ('h', 1) => "%-I",
        ('h', 2) => "%I",
        ('m', 1) => "%-M",
        ('m', 2) => "%M",
        ('s', 1) => "%-S",
        ('s', 2) => "%S",
        ('S', 1..=9) => return Ok(Piece::Strftime(format!("%{count}f"))),
        ('V', 2) => "%:Q",
        ('z', 1..=3) => "%Z",
        ('Z', 1..=3) => "%z",
        ('x', 2) => "%z",
        ('x', 3) => "%:z",
        ('X', 1) => return Ok(Piece::OffsetOrZ("%:::z")),
        ('X', 2) => return Ok(Piece::OffsetOrZ("%z")),
        ('X', 3) => return Ok(Piece::OffsetOrZ("%:z")),
        _ => {
            return Err(format!(
                "{count} x {letter:?} in the pattern is not supported; allowed: y, yy, yyyy, M to MMMM, d, dd, D, DDD, E to EEEE, \
                 a, H, HH, h, hh, m, mm, s, ss, S to SSSSSSSSS, VV, z, Z, X, XX, XXX, xx, xxx, and text in single quotes"
            ));
        }
    };
    Ok(Piece::Strftime(form.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn format(pattern: &DatePattern, time: &str) -> String {
        let time: ZonedDateTime = time.parse().unwrap();
        let mut text = String::new();
        pattern.format(&time, &mut text).unwrap();
        text
    }

    #[track_caller]
    fn check(pattern: &str, expected: &str) {
        let text = format(
            &DatePattern::new(pattern).unwrap(),
            "2026-03-04T05:06:07.089+01:00[Europe/Berlin]",
        );
        assert_eq!(text, expected, "{pattern}");
    }

    #[track_caller]
    fn check_error(pattern: &str, part: &str) {
        let message = DatePattern::new(pattern).unwrap_err();
        assert!(message.contains(part), "{message}");
    }

    /// Expected are the texts of Java 17's `DateTimeFormatter.ofPattern(pattern, Locale.ENGLISH)`.
    #[test]
    fn patterns() {
        check("MM/dd/yy HH:mm:ss", "03/04/26 05:06:07");
        assert_eq!(
            DatePattern::new("MM/dd/yy HH:mm:ss").unwrap(),
            DatePattern::default()
        );
        check(
            "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
            "2026-03-04T05:06:07.089+01:00",
        );
        check("yyyy-MM-dd'T'HH:mm:ssXX", "2026-03-04T05:06:07+0100");
        check("uuuu.M.d H:m:s X", "2026.3.4 5:6:7 +01");
        check(
            "y u E EEEE MMM MMMM a h hh D DDD",
            "2026 2026 Wed Wednesday Mar March AM 5 05 63 063",
        );
        check("S SS SSSSSSSSS", "0 08 089000000");
        check("VV z Z xx xxx", "Europe/Berlin CET +0100 +0100 +01:00");
        check("'it''s' 100% '%Y' ''", "it's 100% %Y '");
    }

    #[test]
    fn an_offset_of_zero_is_z() {
        let pattern = DatePattern::new("X XX XXX xxx").unwrap();
        assert_eq!(
            format(&pattern, "2026-03-04T05:06:07+00:00[UTC]"),
            "Z Z Z +00:00"
        );
    }

    #[test]
    fn unsupported_patterns() {
        check_error("YYYY", "4 x 'Y'");
        check_error("ww", "2 x 'w'");
        check_error("yyy", "3 x 'y'");
        check_error("HHH", "3 x 'H'");
        check_error("dd 'of", "not closed");
        check_error("[HH]", "'['");
        check_error("", "is empty");
        check_error("''''a'", "not closed");
    }

    proptest! {
        #[test]
        fn any_pattern_is_formatted_or_refused(pattern in "[a-zA-Z'%\\[\\] :é-]{0,12}") {
            if let Ok(pattern) = DatePattern::new(&pattern) {
                format(&pattern, "2026-03-04T05:06:07.089+01:00[Europe/Berlin]");
            }
        }
    }
}
