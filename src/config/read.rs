//! Reads the whole configuration from the properties. No I/O.

use super::actuator::actuator;
use super::brokers::brokers;
use super::kafka_settings::connection::connection_settings;
use super::kafka_settings::given::KafkaSettings;
use super::kafka_settings::librdkafka::common_pairs;
use super::kafka_settings::validate::validate;
use super::kind::{self, alternatives};
use super::log::log;
use super::near_misses::near_misses;
use super::reader::Reader;
use super::router::router;
use super::secrets::masked;
use super::table;
use super::time::time;
use super::{ActuatorSettings, ClientKind, Config, Info, Role, RoleName};
use crate::client::settings::{ClientSettings, TopicSettings};
use crate::error::Problem;
use crate::properties::Properties;

impl Config {
    /// Reads the configuration, and returns it with the warnings, or returns all problems. `role` is that of the command, if it names one;
    /// `arguments` are shown by `/actuator/info`.
    pub(crate) fn read(
        properties: &Properties,
        role: Option<RoleName>,
        arguments: &[String],
    ) -> Result<(Self, Vec<String>), Vec<Problem>> {
        let mut reader = Reader::new(properties);
        for warning in near_misses(reader.given_names()) {
            reader.warn(warning);
        }
        let config = config(&mut reader, role, arguments);
        reader.finish(config)
    }

    /// Reads only where the actuator listens, for a command that queries it.
    pub(crate) fn read_actuator(properties: &Properties) -> Result<ActuatorSettings, Vec<Problem>> {
        let mut reader = Reader::new(properties);
        let settings = actuator(&mut reader);
        reader.finish(settings).map(|(settings, _)| settings)
    }
}

fn config(reader: &mut Reader<'_>, role: Option<RoleName>, arguments: &[String]) -> Config {
    // Role and client decide which other properties apply.
    let role_name = role.unwrap_or_else(|| role_name(reader));
    let client = client(reader);
    let settings = KafkaSettings::collect(reader, role_name, client);
    let role = match role_name {
        RoleName::Router => Role::Router(Box::new(router(reader, &settings))),
        RoleName::Time => Role::Time(time(reader, &settings)),
        RoleName::Log => Role::Log(log(reader, &settings)),
    };
    if role_name != RoleName::Router {
        warn_about_transactions(reader, role_name);
    }
    let brokers = brokers(reader);
    let info = info(reader, &role, &brokers, arguments);
    let client_settings = ClientSettings {
        brokers,
        topics: topic_settings(reader),
        connection: connection_settings(reader, &settings),
        memory: memory(reader, client),
        librdkafka: common_pairs(&settings),
    };
    validate(reader, &settings);
    Config {
        client,
        client_settings,
        role,
        actuator: actuator(reader),
        info,
    }
}

fn role_name(reader: &mut Reader<'_>) -> RoleName {
    // After a problem any role will do: it is only needed to find further problems.
    reader
        .word(&table::ROLE)
        .and_then(|word| RoleName::from_name(&word))
        .unwrap_or(RoleName::Router)
}

fn client(reader: &mut Reader<'_>) -> ClientKind {
    let Some(given) = reader.value(&table::CLIENT) else {
        return ClientKind::Native;
    };
    let name = given.trimmed();
    let is_named = |client: &&ClientKind| client.name() == name;
    if let Some(client) = ClientKind::AVAILABLE.iter().find(is_named) {
        return *client;
    }
    let available = alternatives(&ClientKind::available_names());
    if ClientKind::ALL.iter().any(|client| is_named(&client)) {
        let message = format!(
            "this build does not include the client {name:?}, the default build does (cargo feature {name}); allowed here: {available}"
        );
        reader.problem(&given, message);
    } else {
        reader.not_allowed(&given, available);
    }
    // After a problem any client will do: it is only needed to find further problems.
    ClientKind::Native
}

/// Warns that a role without transactions ignores their prefix: a user who gives it may rely on exactly once.
fn warn_about_transactions(reader: &mut Reader<'_>, role: RoleName) {
    if let Some(given) = reader.given(&table::TRANSACTION_ID_PREFIX) {
        let reason = format!(
            "the role {} has no transactions, only the router has",
            role.name()
        );
        reader.no_effect(&given, &reason);
    }
}

fn topic_settings(reader: &mut Reader<'_>) -> TopicSettings {
    TopicSettings {
        auto_create: reader.boolean(&table::AUTO_CREATE_TOPICS),
        min_partition_count: reader
            .parsed(&table::MIN_PARTITION_COUNT)
            .unwrap_or_default(),
        replication_factor: reader
            .parsed(&table::REPLICATION_FACTOR)
            .unwrap_or_default(),
    }
}

/// Reads the bound of the client's memory, in bytes.
fn memory(reader: &mut Reader<'_>, client: ClientKind) -> usize {
    if client != ClientKind::Native
        && let Some(given) = reader.given(&table::MEMORY)
    {
        let reason = format!(
            "it is for parity-router.client=native, and the client is {}",
            client.name()
        );
        reader.no_effect(&given, &reason);
    }
    reader
        .value(&table::MEMORY)
        .and_then(|given| kind::data_size(given.trimmed()))
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or_default()
}

fn info(reader: &Reader<'_>, role: &Role, brokers: &[String], arguments: &[String]) -> Info {
    let input = |topics: &[String]| vec![("input", topics.join(","))];
    let (inputs, outputs) = match role {
        Role::Router(router) => (
            input(&router.input.topics),
            vec![("even", router.even.clone()), ("odd", router.odd.clone())],
        ),
        Role::Time(time) => (Vec::new(), vec![("output", time.output.clone())]),
        Role::Log(log) => (input(&log.input.topics), Vec::new()),
    };
    Info {
        role: role.name(),
        stream_name: reader.text(&table::STREAM_NAME),
        app_label: reader.text(&table::APP_LABEL),
        app_guid: reader.text(&table::APP_GUID),
        app_group: reader.text(&table::APP_GROUP),
        brokers: brokers.join(","),
        zk_nodes: reader.text(&table::ZK_NODES),
        inputs,
        outputs,
        arguments: arguments.iter().map(|argument| masked(argument)).collect(),
    }
}
