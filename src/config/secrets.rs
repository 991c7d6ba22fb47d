//! Masks the values of secrets. No I/O.

use super::table::PROPERTIES;
use crate::properties::dotted;

/// Words in the name of a secret: those of Spring Boot's sanitizing, and those in Kafka's names for logins.
const SECRET_WORDS: [&str; 8] = [
    "password",
    "secret",
    "token",
    "credential",
    "passphrase",
    "jaas",
    "apikey",
    "key",
];

/// Returns an argument as it can be shown: the value is masked if the property is a secret in the table, or if the name looks like that of a
/// secret.
pub(super) fn masked(argument: &str) -> String {
    let Some((name, _)) = argument.split_once('=') else {
        return argument.to_owned();
    };
    let canonical = dotted(name);
    let is_in_table = PROPERTIES.iter().any(|property| {
        property.secret && property.names().any(|known| dotted(known) == canonical)
    });
    if is_in_table || is_secret_name(name) {
        format!("{name}=******")
    } else {
        argument.to_owned()
    }
}

/// Returns whether a name contains one of the words. `key` must be a whole part of the name, because many names contain these letters.
fn is_secret_name(name: &str) -> bool {
    let mut parts = name.split(['.', '-', '_']).map(str::to_ascii_lowercase);
    parts.any(|part| {
        SECRET_WORDS
            .iter()
            .any(|word| part == *word || (word.len() > 3 && part.contains(word)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        for secret in [
            "--ssl.key.password=x",
            "--app.token=x",
            "--sasl.jaas.config=x",
            "--my-secret=x",
            "admin-user-credentials=x",
            "--ssl.key=x",
        ] {
            assert!(masked(secret).ends_with("=******"), "{secret}");
        }
        for open in [
            "--server.port=1",
            "--monkey=1",
            "word",
            "--spring.cloud.stream.bindings.input.destination=keys",
        ] {
            assert_eq!(masked(open), open);
        }
    }
}
