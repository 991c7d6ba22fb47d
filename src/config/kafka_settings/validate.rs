//! Reports the settings that have no effect, and those that the client does not support. No I/O.

use super::given::{GivenSetting, KafkaSettings};
use super::prefix::Prefix;
use super::table::{self, Scope, Support};
use crate::config::ClientKind;
use crate::config::reader::{Reader, bounded};
use crate::properties::{dotted, undotted};

const PROTOCOL: &str = "security.protocol";

/// Prefix of Spring's properties for Java's logins.
const JAAS: &str = "spring.cloud.stream.kafka.binder.jaas";

const NO_JAAS: &str = "the client librdkafka does not support JAAS; allowed: sasl.mechanism, sasl.username and sasl.password under spring.cloud.stream.kafka.binder.configuration";

/// The report about a setting.
enum Finding {
    /// Nothing, or something that is reported for all settings together.
    Nothing,
    /// It has no effect, for this reason.
    NoEffect(String),
    /// It is refused, for this reason.
    Refused(String),
    /// It has no effect, because Kafka's Java client has it and this client does not.
    JavaSetting,
    /// It has no effect, because the client `kafka` reads none.
    NotReadByKafka,
}

/// Reports everything that has no effect or is not supported.
pub(in crate::config) fn validate(reader: &mut Reader<'_>, settings: &KafkaSettings) {
    let mut warnings = Vec::new();
    let (mut java_settings, mut not_read) = (Vec::new(), Vec::new());
    for setting in &settings.settings {
        let shown = setting.value.shown();
        match finding(setting, settings.client) {
            Finding::Nothing => (),
            Finding::NoEffect(reason) => warnings.push(format!("{shown} has no effect: {reason}")),
            Finding::Refused(reason) => reader.problem(&setting.value, reason),
            Finding::JavaSetting => java_settings.push(shown),
            Finding::NotReadByKafka => not_read.push(shown),
        }
    }
    // One warning for all of a kind: a configuration that was written for Java has many of them.
    if !java_settings.is_empty() {
        warnings.push(format!(
            "settings of Kafka's Java client that have no effect here: {}",
            bounded(java_settings, "more").join(", ")
        ));
    }
    if !not_read.is_empty() {
        warnings.push(format!(
            "the client kafka does not read Kafka's own settings; without effect: {}; use {} for them",
            bounded(not_read, "more").join(", "),
            ClientKind::KAFKA_ALTERNATIVES
        ));
    }
    reader.warn_all(warnings, "more of Kafka's own settings");
    refuse_security(reader, settings);
    refuse_jaas(reader, settings.client);
}

fn finding(setting: &GivenSetting, client: ClientKind) -> Finding {
    let name = &setting.name;
    if !setting.is_in_scope() {
        let (setting_scope, prefix_scope) = match setting.scope() {
            Scope::Consumers => ("consumers", "producers"),
            Scope::Producers | Scope::All => ("producers", "consumers"),
        };
        return Finding::NoEffect(format!(
            "{name} is for {setting_scope}, and this prefix is for {prefix_scope}"
        ));
    }
    let support = table::support(name).map(|(_, support)| support);
    match support {
        Some(Support::DecidedByRouter { value, .. }) if setting.value.trimmed() == value => {
            Finding::Nothing
        }
        Some(Support::DecidedByRouter { reason, .. }) => Finding::NoEffect(reason.to_owned()),
        Some(Support::Refused { reason }) => Finding::Refused(reason.to_owned()),
        // `refuse_security` reports one problem for all of these.
        Some(Support::Security) => Finding::Nothing,
        Some(Support::JavaOnly) => Finding::JavaSetting,
        Some(Support::LibrdkafkaOnly) if client == ClientKind::Librdkafka => Finding::Nothing,
        Some(Support::LibrdkafkaOnly) => Finding::JavaSetting,
        Some(Support::Read { .. }) | None if client == ClientKind::Kafka => {
            // These two are read.
            match name.as_str() {
                "auto.offset.reset" | "group.instance.id" => Finding::Nothing,
                _ => Finding::NotReadByKafka,
            }
        }
        Some(Support::Read { librdkafka }) => read_finding(setting, client, librdkafka),
        // librdkafka has more settings than the table, and refuses the ones that it does not have.
        None if client == ClientKind::Librdkafka => Finding::Nothing,
        None => Finding::NoEffect(unknown(name)),
    }
}

/// Returns the report about a setting that is read, unless the client is `kafka`.
fn read_finding(
    setting: &GivenSetting,
    client: ClientKind,
    librdkafka: Option<&'static str>,
) -> Finding {
    let name = &setting.name;
    let is_common = setting.scope() == Scope::All;
    match client {
        ClientKind::Librdkafka if librdkafka.is_none() && is_common => {
            Finding::NoEffect(format!("librdkafka does not have {name}"))
        }
        ClientKind::Native if setting.prefix != Prefix::Binder && is_common => {
            Finding::NoEffect(format!(
                "it is for all connections, to be given as {}.{name}",
                Prefix::Binder.text()
            ))
        }
        _ => Finding::Nothing,
    }
}

/// Returns why an unknown setting has no effect, with a suggestion.
fn unknown(name: &str) -> String {
    let suggestion = table::suggestion(name).map_or_else(
        || "parity-router.client=librdkafka passes it on to librdkafka".to_owned(),
        |name| format!("did you mean {name}?"),
    );
    format!("the client native does not know {name}; {suggestion}")
}

/// Reports TLS and SASL that the client does not support, as one problem: that of the protocol if it is given.
fn refuse_security(reader: &mut Reader<'_>, settings: &KafkaSettings) {
    let mut secure = settings.settings.iter().filter(|setting| {
        let is_security = matches!(table::support(&setting.name), Some((_, Support::Security)));
        is_security && !(setting.name == PROTOCOL && setting.value.is("PLAINTEXT"))
    });
    if settings.client == ClientKind::Librdkafka {
        if let Some(jaas) = secure.find(|setting| setting.name == "sasl.jaas.config") {
            reader.problem(&jaas.value, NO_JAAS);
        }
        return;
    }
    let secure: Vec<&GivenSetting> = secure.collect();
    let protocol = secure.iter().find(|setting| setting.name == PROTOCOL);
    let Some(setting) = protocol.or(secure.first()) else {
        return;
    };
    let protocols = ["SSL", "SASL_PLAINTEXT", "SASL_SSL"];
    let subject = if setting.name != PROTOCOL {
        &setting.name
    } else if let Some(protocol) = protocols.iter().find(|name| setting.value.is(name)) {
        *protocol
    } else {
        let allowed = format!(
            "PLAINTEXT, and with the client librdkafka {}",
            protocols.join(", ")
        );
        reader.not_allowed(&setting.value, allowed);
        return;
    };
    reader.problem(&setting.value, plaintext_only(subject, settings.client));
}

/// Reports Spring's properties for Java's logins.
fn refuse_jaas(reader: &mut Reader<'_>, client: ClientKind) {
    let (with_dots, without_dots) = (dotted(JAAS), undotted(JAAS));
    let is_jaas = |name: &str| {
        dotted(name) == with_dots
            || dotted(name).starts_with(&format!("{with_dots}."))
            || (!name.contains('.') && undotted(name).starts_with(&without_dots))
    };
    let name = reader.given_names().find(|(name, _)| is_jaas(name));
    if let Some((name, _)) = name
        && let Some(given) = reader.named(name)
    {
        let message = match client {
            ClientKind::Librdkafka => NO_JAAS.to_owned(),
            ClientKind::Native | ClientKind::Kafka => plaintext_only("a login", client),
        };
        reader.problem(&given, message);
    }
}

fn plaintext_only(subject: &str, client: ClientKind) -> String {
    let alternative = if cfg!(feature = "librdkafka") {
        "parity-router.client=librdkafka"
    } else {
        "the default build's parity-router.client=librdkafka"
    };
    format!(
        "{subject}: the client {} supports PLAINTEXT only; {alternative} supports SASL/PLAIN, and TLS, SCRAM and Kerberos if it is built with the cargo features ssl and gssapi",
        client.name()
    )
}
