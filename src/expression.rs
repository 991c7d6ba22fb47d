//! Expressions of the log sink: the subset of Spring's expression language (SpEL) with `payload` and `headers`. No I/O.

use std::borrow::Cow;

/// An expression: operands joined by `+`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expression(Vec<Term>);

/// An operand of `+`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    /// A string literal.
    Literal(String),
    /// `payload`
    Payload,
    /// `headers`: all headers.
    Headers,
    /// `headers['name']`, `headers.name`
    Header(String),
}

/// The message that an expression is evaluated against, with its parts as text.
pub(crate) trait Message {
    /// Returns the value, or `null` for a tombstone.
    fn payload(&self) -> Cow<'_, str>;
    /// Returns the header with this name.
    fn header(&self, name: &str) -> Option<Cow<'_, str>>;
    /// Returns all headers in their order.
    fn headers(&self) -> Vec<(Cow<'_, str>, Cow<'_, str>)>;
}

const ALLOWED: &str =
    "allowed: payload, headers, headers['name'], headers.name and quoted text, joined by +";

impl Default for Expression {
    fn default() -> Self {
        Self(vec![Term::Payload])
    }
}

impl Expression {
    /// Parses an expression. The error names the part that is not supported, and what is.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut terms = Vec::new();
        let mut rest = text.trim_start();
        loop {
            let (term, after) = term(rest).ok_or_else(|| unsupported(rest))?;
            terms.push(term);
            rest = after.trim_start();
            if rest.is_empty() {
                return Ok(Self(terms));
            }
            rest = rest
                .strip_prefix('+')
                .ok_or_else(|| unsupported(rest))?
                .trim_start();
        }
    }

    /// Evaluates the expression and appends the result to `out`.
    pub(crate) fn evaluate(&self, message: &impl Message, out: &mut String) {
        for term in &self.0 {
            match term {
                Term::Literal(text) => out.push_str(text),
                Term::Payload => out.push_str(&message.payload()),
                Term::Header(name) => {
                    out.push_str(message.header(name).as_deref().unwrap_or("null"))
                }
                // The format of Java's `Map.toString`.
                Term::Headers => {
                    out.push('{');
                    for (index, (name, value)) in message.headers().into_iter().enumerate() {
                        if index > 0 {
                            out.push_str(", ");
                        }
                        out.push_str(&name);
                        out.push('=');
                        out.push_str(&value);
                    }
                    out.push('}');
                }
            }
        }
    }
}

fn unsupported(rest: &str) -> String {
    if rest.is_empty() {
        format!("the expression ends where an operand is expected; {ALLOWED}")
    } else {
        format!("{rest:?} is not supported; {ALLOWED}")
    }
}

/// Parses the operand at the start and returns it with the rest.
fn term(text: &str) -> Option<(Term, &str)> {
    if text.starts_with(['\'', '"']) {
        return quoted(text).map(|(text, rest)| (Term::Literal(text), rest));
    }
    let (word, rest) = word(text)?;
    match word {
        // `new String(payload)` converts bytes to text in Spring; the payload is text here already.
        "new" => {
            let rest = rest
                .trim_start()
                .strip_prefix("String")?
                .trim_start()
                .strip_prefix('(')?;
            let rest = rest
                .trim_start()
                .strip_prefix("payload")?
                .trim_start()
                .strip_prefix(')')?;
            Some((Term::Payload, rest))
        }
        "payload" => Some((Term::Payload, rest)),
        "headers" => header(rest.trim_start()).or(Some((Term::Headers, rest))),
        _ => None,
    }
}

/// Parses the access to one header, after the word `headers`.
fn header(text: &str) -> Option<(Term, &str)> {
    let (name, rest) = if let Some(rest) = text.strip_prefix('[') {
        let (name, rest) = quoted(rest.trim_start())
            .or_else(|| word(rest.trim_start()).map(|(name, rest)| (name.to_owned(), rest)))?;
        (name, rest.trim_start().strip_prefix(']')?)
    } else {
        let rest = text.strip_prefix('.').or_else(|| text.strip_prefix("?."))?;
        if let Some(rest) = rest.strip_prefix("get(") {
            let (name, rest) = quoted(rest.trim_start())?;
            (name, rest.trim_start().strip_prefix(')')?)
        } else {
            let (name, rest) = word(rest)?;
            (name.to_owned(), rest)
        }
    };
    Some((Term::Header(name), rest))
}

/// Parses an identifier.
fn word(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Parses a string literal, in which two quotes stand for one.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text
        .chars()
        .next()
        .filter(|letter| matches!(letter, '\'' | '"'))?;
    let mut found = String::new();
    let mut rest = text.get(1..)?;
    loop {
        let end = rest.find(quote)?;
        found.push_str(rest.get(..end)?);
        rest = rest.get(end + 1..)?;
        match rest.strip_prefix(quote) {
            Some(after) => {
                found.push(quote);
                rest = after;
            }
            None => return Some((found, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    struct Sample;

    impl Message for Sample {
        fn payload(&self) -> Cow<'_, str> {
            "11/24/26".into()
        }

        fn header(&self, name: &str) -> Option<Cow<'_, str>> {
            self.headers()
                .into_iter()
                .find_map(|(found, value)| (found == name).then_some(value))
        }

        fn headers(&self) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
            vec![
                ("contentType".into(), "text/plain".into()),
                ("a-b".into(), "1".into()),
            ]
        }
    }

    #[track_caller]
    fn check(expression: &str, expected: &str) {
        let mut text = String::new();
        Expression::parse(expression)
            .unwrap()
            .evaluate(&Sample, &mut text);
        assert_eq!(text, expected, "{expression}");
    }

    #[track_caller]
    fn check_error(expression: &str, part: &str) {
        let message = Expression::parse(expression).unwrap_err();
        assert!(
            message.contains(part) && message.contains("allowed: payload"),
            "{message}"
        );
    }

    #[test]
    fn expressions() {
        check("payload", "11/24/26");
        check(" new String( payload ) ", "11/24/26");
        check("headers", "{contentType=text/plain, a-b=1}");
        check("headers.contentType", "text/plain");
        check("headers?.contentType", "text/plain");
        check("headers['a-b']+headers[\"contentType\"]", "1text/plain");
        check("headers[contentType]", "text/plain");
        check("headers.get('a-b')", "1");
        check("headers.nothing", "null");
        check(
            "'it''s ' + payload + \" from \" + headers.contentType",
            "it's 11/24/26 from text/plain",
        );
        check("''", "");
    }

    #[test]
    fn unsupported_expressions() {
        check_error("", "ends where an operand is expected");
        check_error("payload +", "ends where an operand is expected");
        check_error("payload.length()", "\".length()\"");
        check_error("payload payload", "\"payload\"");
        check_error("#jsonPath(payload, '$.a')", "#jsonPath");
        check_error("'open", "'open");
        check_error("headers['a'", "\"['a'\"");
        check_error("new String(headers)", "new String(headers)");
        check_error("1 + 2", "\"1 + 2\"");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "(payload|headers|new|\\.|\\[|\\]|'|\"|\\+| |a|é|\\(|\\)){0,10}") {
            if let Ok(expression) = Expression::parse(&text) {
                expression.evaluate(&Sample, &mut String::new());
            }
        }
    }
}
