//! Parses `SPRING_APPLICATION_JSON`, a flat or nested object of properties. No I/O. `serde_json` bounds the depth to 128.

use serde_json::{Map, Value};

/// Returns the properties, with dots in their names. The error message does not contain any of the text, which can be a secret.
pub(super) fn flatten(text: &str) -> Result<Vec<(String, String)>, String> {
    let parsed: Value = serde_json::from_str(text).map_err(|error| {
        format!(
            "not valid JSON at line {}, column {}; allowed: an object of properties",
            error.line(),
            error.column()
        )
    })?;
    let Value::Object(object) = parsed else {
        return Err("not a JSON object; allowed: an object of properties".to_owned());
    };
    let mut entries = Vec::new();
    flatten_object("", object, &mut entries);
    Ok(entries)
}

fn flatten_object(prefix: &str, object: Map<String, Value>, entries: &mut Vec<(String, String)>) {
    for (name, value) in object {
        let name = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        flatten_value(name, value, entries);
    }
}

fn flatten_value(name: String, value: Value, entries: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) => flatten_object(&name, object, entries),
        // Spring names the elements `name[0]`. The readers of this program expect a list with commas under the name alone.
        Value::Array(array) => {
            let texts: Vec<String> = array.iter().map(text).collect();
            for (index, value) in array.into_iter().enumerate() {
                flatten_value(format!("{name}[{index}]"), value, entries);
            }
            entries.push((name, texts.join(",")));
        }
        value => entries.push((name, text(&value))),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let found = flatten(text).unwrap();
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn flat_and_nested() {
        check("{}", &[]);
        check(r#"{"a.b":"1"}"#, &[("a.b", "1")]);
        check(
            r#"{"a":{"b":1,"c":{"d":true}},"e":null}"#,
            &[("a.b", "1"), ("a.c.d", "true"), ("e", "")],
        );
        check(
            r#"{"a":["x","y"]}"#,
            &[("a[0]", "x"), ("a[1]", "y"), ("a", "x,y")],
        );
    }

    #[test]
    fn invalid_objects() {
        for text in ["", "1", "[]", "\"secret\"", "{\"secret\":", "{\"a\":\u{1}}"] {
            assert!(!flatten(text).unwrap_err().contains("secret"));
        }
        assert!(flatten(&"{\"a\":".repeat(200)).is_err());
    }
}
