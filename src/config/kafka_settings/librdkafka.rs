//! Selects the settings that librdkafka gets, and translates them into its spelling. No I/O.

use super::assignors::{self, ASSIGNORS};
use super::given::{GivenSetting, KafkaSettings};
use super::prefix::Prefix;
use super::table::{self, Scope, Support};
use crate::client::settings::{AssignorName, LibrdkafkaProperties};

/// Returns the settings that all clients get.
pub(in crate::config) fn common_pairs(settings: &KafkaSettings) -> LibrdkafkaProperties {
    pairs(settings, &Prefix::CONNECTION)
}

/// Returns the settings under some prefixes, which are in the order of their priority. Under the binder's prefix these are only the settings
/// for this kind of client, because all clients get the others by [`common_pairs`].
pub(super) fn pairs(settings: &KafkaSettings, prefixes: &[Prefix]) -> LibrdkafkaProperties {
    let scope = prefixes.first().map_or(Scope::All, |prefix| prefix.scope());
    let mut pairs = LibrdkafkaProperties::new();
    for prefix in prefixes {
        let included = settings.settings.iter().filter(|setting| {
            setting.prefix == *prefix
                && match prefix {
                    Prefix::Binder => setting.scope() == scope,
                    _ => setting.is_in_scope(),
                }
        });
        for (name, text) in included.filter_map(pair) {
            if !pairs.iter().any(|(other, _)| *other == name) {
                pairs.push((name, text));
            }
        }
    }
    pairs
}

/// Returns a setting in librdkafka's spelling, or `None` if librdkafka does not have it or must not get it. Unknown settings are passed on
/// unchanged: librdkafka has more than the table.
fn pair(setting: &GivenSetting) -> Option<(String, String)> {
    let text = &setting.value.text;
    match table::support(&setting.name) {
        Some((_, Support::Read { librdkafka })) if setting.name == ASSIGNORS => {
            let names: Vec<&str> = assignors::parse(text.trim())?
                .into_iter()
                .map(AssignorName::name)
                .collect();
            Some((librdkafka?.to_owned(), names.join(",")))
        }
        Some((_, Support::Read { librdkafka })) => {
            Some((librdkafka?.to_owned(), text.trim().to_owned()))
        }
        Some((_, Support::Security | Support::LibrdkafkaOnly)) | None => {
            Some((setting.name.clone(), text.clone()))
        }
        Some((
            _,
            Support::DecidedByRouter { .. } | Support::Refused { .. } | Support::JavaOnly,
        )) => None,
    }
}
