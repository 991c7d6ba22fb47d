//! Says of what is given what has no effect, and what the client cannot do. Pure.

use super::names::{self, Side, Use};
use super::{INSTANCE_ID, PROTOCOL, Place, Setting};
use crate::config::ClientKind;
use crate::config::known::bounded;
use crate::config::read::Reader;
use crate::properties::{Value, dotted, undotted};

/// Logins as Java has them.
const JAAS: &str = "spring.cloud.stream.kafka.binder.jaas";

impl Reader<'_> {
    /// Says of everything that is given what has no effect, and what cannot be.
    pub(crate) fn judge_kafka(&mut self) {
        let mut warnings = Vec::new();
        let mut problems = Vec::new();
        // Each is one sentence however many there are.
        let (mut javas, mut unread) = (Vec::new(), Vec::new());
        for setting in &self.settings {
            let (name, shown) = (&setting.name, setting.shown());
            let becomes = names::becomes(name).map(|(_, becomes)| becomes);
            match becomes {
                _ if !setting.fits() => {
                    let (whose, there) = match setting.side() {
                        Side::Consumer => ("consumers", "producers"),
                        Side::Producer | Side::Both => ("producers", "consumers"),
                    };
                    warnings.push(format!(
                        "{shown} has no effect: {name} is for {whose}, and this place for {there}"
                    ));
                }
                Some(Use::Routers { ours, why }) => {
                    if setting.value.text.trim() != ours {
                        warnings.push(format!("{shown} has no effect: {why}"));
                    }
                }
                Some(Use::Refused(why)) => problems.push((setting, why.to_owned())),
                // In a place of its own: one problem for all of it.
                Some(Use::Security) => (),
                Some(Use::NoEffect) => javas.push(shown),
                Some(Use::OnlyLibrdkafka) if self.client == ClientKind::Librdkafka => (),
                Some(Use::OnlyLibrdkafka) => javas.push(shown),
                _ if self.client == ClientKind::Kafka => {
                    if !matches!(name.as_str(), "auto.offset.reset" | INSTANCE_ID) {
                        unread.push(shown);
                    }
                }
                Some(Use::Read(None)) if self.client == ClientKind::Librdkafka => {
                    if setting.side() == Side::Both {
                        warnings.push(format!("{shown} has no effect: librdkafka has no {name}"));
                    }
                }
                Some(Use::Read(_)) => {
                    let own = self.client == ClientKind::Native && setting.place != Place::Binder;
                    if own && setting.side() == Side::Both {
                        warnings.push(format!(
                            "{shown} has no effect: it is for all connections, as {}.{name}",
                            Place::Binder.prefix()
                        ));
                    }
                }
                // librdkafka has more names than are known here, and refuses what it has not.
                None if self.client == ClientKind::Librdkafka => (),
                None => warnings.push(unknown(setting)),
            }
        }
        if !javas.is_empty() {
            warnings.push(format!(
                "known to Kafka's Java client, but without effect here: {}",
                bounded(javas, "more").join(", ")
            ));
        }
        if !unread.is_empty() {
            warnings.push(format!(
                "the client kafka has none of Kafka's own settings; without effect: {}; {}",
                bounded(unread, "more").join(", "),
                other_clients("can")
            ));
        }
        problems.extend(self.insecure());
        let problems: Vec<(String, Value, String)> = problems
            .into_iter()
            .map(|(setting, why)| (setting.property.clone(), setting.value.clone(), why))
            .collect();
        for (property, value, why) in problems {
            self.problem(&property, &value, &why, ());
        }
        self.warnings
            .extend(bounded(warnings, "more of Kafka's own settings"));
        self.jaas();
        if self.client != ClientKind::Native
            && let Some(value) = self.given("parity-router.memory")
        {
            self.warnings.push(format!(
                "parity-router.memory ({}) has no effect with the client {}; parity-router.client=native has it",
                value.origin,
                self.client.name()
            ));
        }
    }

    /// What is about TLS and SASL, and the client cannot do: one problem for all of it, with the protocol where there is one.
    fn insecure(&self) -> Option<(&Setting, String)> {
        let mut found = self.settings.iter().filter(|setting| {
            let secure = matches!(names::becomes(&setting.name), Some((_, Use::Security)));
            secure && !(setting.name == PROTOCOL && setting.is("PLAINTEXT"))
        });
        if self.client == ClientKind::Librdkafka {
            let jaas = found.find(|setting| setting.name == "sasl.jaas.config")?;
            return Some((jaas, NO_JAAS.to_owned()));
        }
        let all: Vec<&Setting> = found.collect();
        let setting = all
            .iter()
            .find(|setting| setting.name == PROTOCOL)
            .or(all.first())?;
        let protocols = ["SSL", "SASL_PLAINTEXT", "SASL_SSL"];
        let what = if setting.name != PROTOCOL {
            setting.name.clone()
        } else if let Some(protocol) = protocols.iter().find(|protocol| setting.is(protocol)) {
            (*protocol).to_owned()
        } else {
            let allowed = format!(
                "{:?} is not allowed; allowed: PLAINTEXT, and with the client librdkafka {}",
                setting.value.text,
                protocols.join(", ")
            );
            return Some((setting, allowed));
        };
        Some((setting, plaintext_only(&what, self.client)))
    }

    /// Logins as Spring takes them for Java.
    fn jaas(&mut self) {
        let wanted = [dotted(JAAS), undotted(JAAS)];
        let given = self
            .properties
            .given()
            .find(|(given, _)| {
                wanted[0] == dotted(given)
                    || dotted(given).starts_with(&format!("{}.", wanted[0]))
                    || (!given.contains('.') && undotted(given).starts_with(&wanted[1]))
            })
            .map(|(given, _)| given.to_owned());
        if let Some(name) = given
            && let Some(value) = self.given(&name)
        {
            let message = match self.client {
                ClientKind::Librdkafka => NO_JAAS.to_owned(),
                client => plaintext_only("a login", client),
            };
            self.problem(&name, &value, &message, ());
        }
    }
}

const NO_JAAS: &str = "the client librdkafka has no JAAS; allowed: sasl.mechanism, sasl.username and sasl.password below spring.cloud.stream.kafka.binder.configuration";

fn plaintext_only(what: &str, client: ClientKind) -> String {
    let others = if cfg!(feature = "librdkafka") {
        "parity-router.client=librdkafka"
    } else {
        "the default build's parity-router.client=librdkafka"
    };
    format!(
        "{what}: the client {} speaks PLAINTEXT only; {others} has SASL/PLAIN, and TLS, SCRAM and Kerberos where it is built with the cargo features ssl and gssapi",
        client.name()
    )
}

/// Who can what the client `kafka` cannot.
pub(super) fn other_clients(can: &str) -> String {
    let others = if cfg!(feature = "librdkafka") {
        "parity-router.client=native or librdkafka"
    } else {
        "parity-router.client=native"
    };
    format!("{others} {can}").trim_end().to_owned()
}

/// What is said of a name that nobody knows.
fn unknown(setting: &Setting) -> String {
    let meant = names::meant(&setting.name).map_or_else(
        || "parity-router.client=librdkafka hands it to librdkafka".to_owned(),
        |name| format!("did you mean {name}?"),
    );
    format!(
        "{} has no effect: the client native does not know {}; {meant}",
        setting.shown(),
        setting.name
    )
}
