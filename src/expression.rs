//! What the log sink prints of a record: the part of Spring's expression language (SpEL) that is about `payload` and `headers`. Pure.

use std::borrow::Cow;

/// Texts, joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expression(Vec<Term>);

/// One operand of `+`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    /// Text in quotes.
    Literal(String),
    /// `payload`
    Payload,
    /// `headers`: all of them.
    Headers,
    /// `headers['name']`, `headers.name`
    Header(String),
}

/// What an expression is evaluated against. Texts as they are to be printed.
pub(crate) trait Message {
    /// The value; `null` for a tombstone.
    fn payload(&self) -> Cow<'_, str>;
    /// The header of this name.
    fn header(&self, name: &str) -> Option<Cow<'_, str>>;
    /// All headers, in their order.
    fn headers(&self) -> Vec<(Cow<'_, str>, Cow<'_, str>)>;
}

const ALLOWED: &str =
    "allowed: payload, headers, headers['name'], headers.name and texts in quotes, joined by +";

impl Default for Expression {
    fn default() -> Self {
        Self(vec![Term::Payload])
    }
}

impl Expression {
    /// Takes an expression apart. Fails with a sentence on what cannot be evaluated here.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut terms = Vec::new();
        let mut rest = text.trim_start();
        loop {
            let (term, after) = term(rest).ok_or_else(|| cannot(rest))?;
            terms.push(term);
            rest = after.trim_start();
            if rest.is_empty() {
                return Ok(Self(terms));
            }
            rest = rest
                .strip_prefix('+')
                .ok_or_else(|| cannot(rest))?
                .trim_start();
        }
    }

    /// Appends its text for a message.
    pub(crate) fn evaluate(&self, message: &impl Message, out: &mut String) {
        for term in &self.0 {
            match term {
                Term::Literal(text) => out.push_str(text),
                Term::Payload => out.push_str(&message.payload()),
                Term::Header(name) => {
                    out.push_str(message.header(name).as_deref().unwrap_or("null"))
                }
                // As Java prints a map.
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

fn cannot(rest: &str) -> String {
    if rest.is_empty() {
        format!("the expression ends where an operand is due; {ALLOWED}")
    } else {
        format!("{rest:?} cannot be evaluated here; {ALLOWED}")
    }
}

/// The operand at the beginning, and what is behind it.
fn term(text: &str) -> Option<(Term, &str)> {
    if text.starts_with(['\'', '"']) {
        return quoted(text).map(|(text, rest)| (Term::Literal(text), rest));
    }
    let (word, rest) = word(text)?;
    match word {
        // What is bytes in Spring is text here.
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

/// The name of one header, behind the word `headers`.
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

/// An identifier.
fn word(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A text in quotes, in which two quotes are one.
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
    fn what_cannot_be_evaluated() {
        check_error("", "ends where an operand is due");
        check_error("payload +", "ends where an operand is due");
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
        fn any_text_is_taken_or_refused(text in "(payload|headers|new|\\.|\\[|\\]|'|\"|\\+| |a|é|\\(|\\)){0,10}") {
            if let Ok(expression) = Expression::parse(&text) {
                expression.evaluate(&Sample, &mut String::new());
            }
        }
    }
}
