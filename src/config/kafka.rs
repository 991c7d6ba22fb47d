//! From raw properties to what the Kafka clients are told. Pure. Kafka's own names stand below the prefixes of Spring's Kafka binder
//! ("Kafka Binder Properties"), a binding's before the binder's; `kafka_names.rs` knows them. What has no effect is warned about, what a
//! client cannot do is a problem.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::kafka_names::{self as names, Side, Use};
use super::known::bounded;
use super::read::{Reader, is_topic};
use super::{
    Acks, AssignorName, ClientKind, Compression, ConnectionSettings, ConsumerSettings,
    DEFAULT_MEMORY, GroupProtocol, InstanceShare, Isolation, Pairs, ProducerSettings, RoleName,
    StartOffset,
};
use crate::properties::{Value, dotted, undotted};

/// Largest number of Kafka's `int`.
const MOST: u64 = 2_147_483_647;

/// Bounds of `parity-router.memory`: below, a single record of Kafka's usual limit has no room on its way in and out; above, it is a mistake.
const MEMORY: RangeInclusive<usize> = 4 * MEGABYTE..=1024 * MEGABYTE;

const MEGABYTE: usize = 1024 * 1024;

/// Spring's properties for what Kafka has a name for too; those of the bindings that are written.
const OF_A_PRODUCER: [(&str, &str); 4] = [
    ("compressionType", "compression.type"),
    ("compression", "compression.type"),
    ("batchTimeout", "linger.ms"),
    ("bufferSize", "batch.size"),
];

/// The same, of the binder.
const REQUIRED_ACKS: &str = "spring.cloud.stream.kafka.binder.requiredAcks";

/// Logins as Java has them.
const JAAS: &str = "spring.cloud.stream.kafka.binder.jaas";

const REBALANCE: &str = "spring.cloud.stream.kafka.bindings.input.consumer.autoRebalanceEnabled";

/// Where Kafka's own names are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// For the binding `input`.
    Input,
    /// For a binding that is written.
    Output(&'static str),
    /// For all consumers.
    Consumers,
    /// For all producers.
    Producers,
    /// For all of them.
    Binder,
}

impl Place {
    /// Those of a consumer, highest first.
    const OF_CONSUMER: [Self; 3] = [Self::Input, Self::Consumers, Self::Binder];

    /// Those of a producer, highest first.
    fn of_producer(binding: &'static str) -> [Self; 3] {
        [Self::Output(binding), Self::Producers, Self::Binder]
    }

    fn prefix(self) -> String {
        match self {
            Self::Input => {
                "spring.cloud.stream.kafka.bindings.input.consumer.configuration".to_owned()
            }
            Self::Output(binding) => {
                format!("spring.cloud.stream.kafka.bindings.{binding}.producer.configuration")
            }
            Self::Consumers => "spring.cloud.stream.kafka.binder.consumerProperties".to_owned(),
            Self::Producers => "spring.cloud.stream.kafka.binder.producerProperties".to_owned(),
            Self::Binder => "spring.cloud.stream.kafka.binder.configuration".to_owned(),
        }
    }

    fn side(self) -> Side {
        match self {
            Self::Input | Self::Consumers => Side::Consumer,
            Self::Output(_) | Self::Producers => Side::Producer,
            Self::Binder => Side::Both,
        }
    }
}

/// One of Kafka's own names as it was given.
#[derive(Debug)]
pub(super) struct Setting {
    place: Place,
    /// Kafka's name.
    name: String,
    /// The property's whole name.
    property: String,
    value: Value,
}

impl Setting {
    /// Whose its name is.
    fn side(&self) -> Side {
        names::becomes(&self.name).map_or(Side::Both, |(side, _)| side)
    }

    /// Whether it is about what its place is about.
    fn fits(&self) -> bool {
        let (side, places) = (self.side(), self.place.side());
        side == places || side == Side::Both || places == Side::Both
    }

    /// Whether it is this word, in whatever case.
    fn is(&self, word: &str) -> bool {
        self.value.text.trim().eq_ignore_ascii_case(word)
    }

    /// The property, and where it was given.
    fn shown(&self) -> String {
        format!("{} ({})", self.property, self.value.origin)
    }

    /// As librdkafka takes it; none where it has not, or must not have, the name.
    fn pair(&self) -> Option<(String, String)> {
        let text = &self.value.text;
        match names::becomes(&self.name) {
            Some((_, Use::Read(name))) => {
                let text = text.trim();
                let text = if self.name == ASSIGNORS {
                    assignors(text)?
                        .into_iter()
                        .map(AssignorName::name)
                        .collect::<Vec<&str>>()
                        .join(",")
                } else {
                    text.to_owned()
                };
                Some((name?.to_owned(), text))
            }
            Some((_, Use::Routers { .. } | Use::Refused(_) | Use::NoEffect)) => None,
            Some((_, Use::Security | Use::OnlyLibrdkafka)) | None => {
                Some((self.name.clone(), text.clone()))
            }
        }
    }
}

const ASSIGNORS: &str = "partition.assignment.strategy";
const INSTANCE_ID: &str = "group.instance.id";
const PROTOCOL: &str = "security.protocol";

impl Reader<'_> {
    /// Takes in what is given below the prefixes that concern this role, for everything else here to look at.
    pub(super) fn collect_kafka(&mut self, role: RoleName) {
        let (outputs, input): (&[&'static str], bool) = match role {
            RoleName::Router => (&["even", "odd"], true),
            RoleName::Time => (&["output"], false),
            RoleName::Log => (&[], true),
        };
        let mut places = vec![Place::Binder];
        if input {
            places.extend([Place::Input, Place::Consumers]);
        }
        if !outputs.is_empty() {
            places.push(Place::Producers);
            places.extend(outputs.iter().map(|binding| Place::Output(binding)));
        }
        let places: Vec<(Place, String)> = places
            .into_iter()
            .map(|place| (place, place.prefix()))
            .collect();
        let mut found = Vec::new();
        for (given, origin) in self.properties.given() {
            let variable = origin.starts_with("environment variable ");
            found.extend(places.iter().find_map(|(place, prefix)| {
                let name = below(given, prefix, variable)?;
                let property = format!("{prefix}.{name}");
                Some((*place, name, property, given.to_owned()))
            }));
        }
        // Highest first: the first of two is what counts.
        for (place, name, property, given) in found {
            self.take_setting(place, name, property, &given);
        }
        for binding in outputs {
            for (own, name) in OF_A_PRODUCER {
                let property =
                    format!("spring.cloud.stream.kafka.bindings.{binding}.producer.{own}");
                let given = property.clone();
                self.take_setting(Place::Output(binding), name.to_owned(), property, &given);
            }
        }
        if !outputs.is_empty() {
            let property = REQUIRED_ACKS.to_owned();
            self.take_setting(Place::Binder, "acks".to_owned(), property, REQUIRED_ACKS);
        }
    }

    fn take_setting(&mut self, place: Place, name: String, property: String, given: &str) {
        let known = |other: &Setting| other.place == place && other.name == name;
        if self.settings.iter().any(known) {
            return;
        }
        if let Some(value) = self.given(given) {
            self.settings.push(Setting {
                place,
                name,
                property,
                value,
            });
        }
    }

    /// Kafka's name in the first of these places that has it: the property's whole name, and its value.
    fn setting(&self, places: &[Place], name: &str) -> Option<(String, Value)> {
        let setting = places.iter().find_map(|place| {
            self.settings
                .iter()
                .find(|setting| setting.place == *place && setting.name == name)
        })?;
        Some((setting.property.clone(), setting.value.clone()))
    }

    /// The same as `parse` understands it; `default` where it is not given, or not as it is allowed to be, which is a problem.
    fn understood_setting<T>(
        &mut self,
        places: &[Place],
        name: &str,
        default: T,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let Some((property, value)) = self.setting(places, name) else {
            return default;
        };
        match parse(value.text.trim()) {
            Some(parsed) => parsed,
            None => self.not_allowed(&property, &value, allowed, default),
        }
    }

    fn number(
        &mut self,
        places: &[Place],
        name: &str,
        unit: &str,
        allowed: RangeInclusive<u64>,
    ) -> Option<u64> {
        let sentence = format!("{unit} from {} to {}", allowed.start(), allowed.end());
        self.understood_setting(places, name, None, &sentence, |text| {
            let number = text
                .parse()
                .ok()
                .filter(|number| allowed.contains(number))?;
            Some(Some(number))
        })
    }

    fn bytes(&mut self, places: &[Place], name: &str, least: u64) -> Option<usize> {
        let bytes = self.number(places, name, "bytes", least..=MOST)?;
        usize::try_from(bytes).ok()
    }

    fn time_setting(
        &mut self,
        places: &[Place],
        name: &str,
        least: u64,
        default: Duration,
    ) -> Duration {
        self.number(places, name, "milliseconds", least..=MOST)
            .map_or(default, Duration::from_millis)
    }

    fn truth(&mut self, places: &[Place], name: &str) -> Option<bool> {
        self.understood_setting(places, name, None, "true or false", |text| {
            Some(Some(text.to_ascii_lowercase().parse().ok()?))
        })
    }

    /// How brokers are connected to: for all of the program, so that only the binder's place counts.
    pub(super) fn connection(&mut self) -> ConnectionSettings {
        let places = [Place::Binder];
        let default = ConnectionSettings::default();
        ConnectionSettings {
            client_id: self.understood_setting(
                &places,
                "client.id",
                default.client_id,
                "1 to 32767 bytes of text",
                |text| (1..=32_767).contains(&text.len()).then(|| text.to_owned()),
            ),
            request_timeout: self.time_setting(
                &places,
                "request.timeout.ms",
                1,
                default.request_timeout,
            ),
            connect_timeout: self.growing(
                "socket.connection.setup.timeout.ms",
                "socket.connection.setup.timeout.max.ms",
                1,
                default.connect_timeout,
            ),
            reconnect_backoff: self.growing(
                "reconnect.backoff.ms",
                "reconnect.backoff.max.ms",
                0,
                default.reconnect_backoff,
            ),
            retry_backoff: self.growing(
                "retry.backoff.ms",
                "retry.backoff.max.ms",
                0,
                default.retry_backoff,
            ),
            metadata_max_age: self.time_setting(
                &places,
                "metadata.max.age.ms",
                1,
                default.metadata_max_age,
            ),
        }
    }

    /// A time that is doubled up to another one; as in Kafka's clients it is never longer than that.
    fn growing(
        &mut self,
        first: &str,
        last: &str,
        least: u64,
        default: (Duration, Duration),
    ) -> (Duration, Duration) {
        let places = [Place::Binder];
        let shortest = self.time_setting(&places, first, least, default.0);
        if self.setting(&places, last).is_none() {
            return (shortest, default.1.max(shortest));
        }
        let longest = self.time_setting(&places, last, least, default.1);
        (shortest.min(longest), longest)
    }

    /// `parity-router.memory`, in bytes.
    pub(super) fn memory(&mut self) -> usize {
        const NAME: &str = "parity-router.memory";
        let Some(value) = self.given(NAME) else {
            return DEFAULT_MEMORY;
        };
        match data_size(value.text.trim()).filter(|size| MEMORY.contains(size)) {
            Some(size) => size,
            None => self.not_allowed(
                NAME,
                &value,
                "bytes, or a size as 16MB, from 4MB to 1GB",
                DEFAULT_MEMORY,
            ),
        }
    }

    /// How the binding `input` is read.
    pub(super) fn consumer_settings(&mut self) -> ConsumerSettings {
        let places = Place::OF_CONSUMER;
        let default = ConsumerSettings::default();
        let settings = ConsumerSettings {
            session_timeout: self.time_setting(
                &places,
                "session.timeout.ms",
                1,
                default.session_timeout,
            ),
            heartbeat_interval: self.time_setting(
                &places,
                "heartbeat.interval.ms",
                1,
                default.heartbeat_interval,
            ),
            rebalance_timeout: self.time_setting(
                &places,
                "max.poll.interval.ms",
                1,
                default.rebalance_timeout,
            ),
            assignors: self.understood_setting(
                &places,
                ASSIGNORS,
                default.assignors,
                "a list of range, roundrobin and cooperative-sticky, or of the names of their classes in Java",
                assignors,
            ),
            group_instance_id: self.understood_setting(
                &places,
                INSTANCE_ID,
                None,
                "up to 249 of a-z, A-Z, 0-9, '.', '_' and '-', but not \".\" or \"..\"",
                |text| is_topic(text).then(|| Some(text.to_owned())),
            ),
            group_protocol: self.understood_setting(
                &places,
                "group.protocol",
                default.group_protocol,
                "classic or consumer",
                |text| match text.to_ascii_lowercase().as_str() {
                    "classic" => Some(GroupProtocol::Classic),
                    "consumer" => Some(GroupProtocol::Consumer),
                    _ => None,
                },
            ),
            fetch_max_wait: self.time_setting(
                &places,
                "fetch.max.wait.ms",
                0,
                default.fetch_max_wait,
            ),
            fetch_min_bytes: self
                .bytes(&places, "fetch.min.bytes", 0)
                .unwrap_or(default.fetch_min_bytes),
            fetch_max_bytes: self.bytes(&places, "fetch.max.bytes", 1),
            max_partition_fetch_bytes: self.bytes(&places, "max.partition.fetch.bytes", 1),
            isolation: self.understood_setting(
                &places,
                "isolation.level",
                default.isolation,
                "read_committed or read_uncommitted",
                |text| match text.to_ascii_lowercase().as_str() {
                    "read_committed" => Some(Isolation::ReadCommitted),
                    "read_uncommitted" => Some(Isolation::ReadUncommitted),
                    _ => None,
                },
            ),
            check_crcs: self
                .truth(&places, "check.crcs")
                .unwrap_or(default.check_crcs),
            manual: self.manual(),
            librdkafka: self.pairs(&places),
        };
        self.check_group(&settings);
        settings
    }

    /// What of a group's settings does not go together.
    fn check_group(&mut self, settings: &ConsumerSettings) {
        let places = Place::OF_CONSUMER;
        if settings.heartbeat_interval >= settings.session_timeout {
            let given = self
                .setting(&places, "heartbeat.interval.ms")
                .or_else(|| self.setting(&places, "session.timeout.ms"));
            if let Some((property, value)) = given {
                let message = format!(
                    "heartbeat.interval.ms is {:?} and session.timeout.ms {:?}; allowed: a heartbeat within the session's timeout",
                    settings.heartbeat_interval, settings.session_timeout
                );
                self.problem(&property, &value, &message, ());
            }
        }
        if settings.manual.is_some() {
            for name in [ASSIGNORS, INSTANCE_ID, "group.protocol"] {
                if let Some((property, value)) = self.setting(&places, name) {
                    self.warnings.push(format!(
                        "{property} ({}) has no effect: with autoRebalanceEnabled=false there is no group to be a member of",
                        value.origin
                    ));
                }
            }
            return;
        }
        if settings.group_protocol == GroupProtocol::Consumer {
            for name in ["session.timeout.ms", "heartbeat.interval.ms", ASSIGNORS] {
                if let Some((property, value)) = self.setting(&places, name) {
                    let message = format!(
                        "with group.protocol=consumer the broker decides on {name}; allowed: to leave it out"
                    );
                    self.problem(&property, &value, &message, ());
                }
            }
        }
        let given = self.setting(&places, INSTANCE_ID);
        if let (Some((property, value)), ClientKind::Kafka) = (given, self.client) {
            let message = format!(
                "the client kafka has no group membership; allowed: {}",
                other_clients("")
            );
            self.problem(&property, &value, &message, ());
        }
        let sticky = settings
            .assignors
            .contains(&AssignorName::CooperativeSticky);
        let given = self.setting(&places, ASSIGNORS);
        if let (true, 2.., Some((property, value)), ClientKind::Librdkafka) =
            (sticky, settings.assignors.len(), given, self.client)
        {
            let message = "the client librdkafka takes cooperative-sticky only alone; allowed: one of the two, or parity-router.client=native";
            self.problem(&property, &value, message, ());
        }
    }

    /// The share of this instance, where the group shall share out nothing.
    fn manual(&mut self) -> Option<InstanceShare> {
        if self.parsed(REBALANCE, true, "true or false", |_| true) {
            return None;
        }
        if let (Some(value), ClientKind::Librdkafka | ClientKind::Kafka) =
            (self.given(REBALANCE), self.client)
        {
            let message = format!(
                "the client {} has no shares without a group; parity-router.client=native can",
                self.client.name()
            );
            return self.problem(REBALANCE, &value, &message, None);
        }
        let (_, count) = self.instance("instanceCount", 1, "a number from 1 to 2147483647", 1);
        let (name, index) = self.instance(
            "instanceIndex",
            0,
            "a number from 0 to 2147483646, below the instanceCount",
            0,
        );
        if index >= count {
            if let Some(value) = self.given(&name) {
                let message = format!(
                    "{index} of {count} instances is not one of them; allowed: from 0 to {}",
                    count - 1
                );
                self.problem(&name, &value, &message, ());
            }
            return None;
        }
        Some(InstanceShare { index, count })
    }

    /// Number or count of the instances: the binding's, else that of all bindings; and which property says so.
    fn instance(&mut self, which: &str, default: u32, allowed: &str, least: u32) -> (String, u32) {
        let own = format!("spring.cloud.stream.bindings.input.consumer.{which}");
        let most = i32::MAX as u32;
        match self.given(&own) {
            // Spring's default, which means the other one.
            Some(value) if value.text.trim() == "-1" => (),
            Some(_) => {
                let allowed = format!("-1 for spring.cloud.stream.{which}, or {allowed}");
                let number = self.parsed(&own, default, &allowed, |number| {
                    (least..=most).contains(number)
                });
                return (own, number);
            }
            None => (),
        }
        let name = format!("spring.cloud.stream.{which}");
        let number = self.parsed(&name, default, allowed, |number| {
            (least..=most).contains(number)
        });
        (name, number)
    }

    /// `auto.offset.reset`, where Spring's `startOffset` does not say it.
    pub(super) fn offset_reset(&mut self, default: StartOffset) -> StartOffset {
        let Some((property, value)) = self.setting(&Place::OF_CONSUMER, "auto.offset.reset") else {
            return default;
        };
        match value.text.trim().to_ascii_lowercase().as_str() {
            "earliest" => StartOffset::Earliest,
            "latest" => StartOffset::Latest,
            "none" => self.problem(
                &property,
                &value,
                "none leaves a group without an offset nowhere to start; allowed: earliest or latest",
                default,
            ),
            _ => self.not_allowed(&property, &value, "earliest or latest", default),
        }
    }

    /// How what goes to this binding is sent.
    pub(super) fn producer_settings(&mut self, binding: &'static str) -> ProducerSettings {
        let places = Place::of_producer(binding);
        let default = ProducerSettings::default();
        let acks = self.acks(&places);
        let idempotent = self.truth(&places, "enable.idempotence");
        if let (Acks::Leader, Some(true)) = (acks, idempotent)
            && let Some((property, value)) = self.setting(&places, "enable.idempotence")
        {
            let message =
                "true needs acks=all, and acks is 1; allowed: false, to leave it out, or acks=all";
            self.problem(&property, &value, message, ());
        }
        ProducerSettings {
            acks,
            linger: self.time_setting(&places, "linger.ms", 0, default.linger),
            compression: self.understood_setting(
                &places,
                "compression.type",
                default.compression,
                "none, gzip, snappy, lz4 or zstd",
                compression,
            ),
            batch_size: self.bytes(&places, "batch.size", 1),
            max_request_size: self
                .bytes(&places, "max.request.size", 1)
                .unwrap_or(default.max_request_size),
            max_in_flight: self
                .number(
                    &places,
                    "max.in.flight.requests.per.connection",
                    "a number",
                    1..=5,
                )
                .and_then(|number| usize::try_from(number).ok())
                .unwrap_or(default.max_in_flight),
            idempotent: acks == Acks::All && idempotent.unwrap_or(default.idempotent),
            librdkafka: self.pairs(&places),
        }
    }

    fn acks(&mut self, places: &[Place]) -> Acks {
        const ALLOWED: &str = "all, -1 or 1";
        let Some((property, value)) = self.setting(places, "acks") else {
            return Acks::All;
        };
        match value.text.trim().to_ascii_lowercase().as_str() {
            "all" | "-1" => Acks::All,
            "1" => Acks::Leader,
            "0" => self.problem(
                &property,
                &value,
                &format!(
                    "with 0 no broker answers, and nothing could be known to be delivered; allowed: {ALLOWED}"
                ),
                Acks::All,
            ),
            _ => self.not_allowed(&property, &value, ALLOWED, Acks::All),
        }
    }

    /// What librdkafka gets of these places; of the binder's what is for this side alone, since all clients get the rest.
    fn pairs(&self, places: &[Place]) -> Pairs {
        let side = places.first().map_or(Side::Both, |place| place.side());
        let mut pairs = Pairs::new();
        for place in places {
            let own = self.settings.iter().filter(|setting| {
                setting.place == *place
                    && match place {
                        Place::Binder => setting.side() == side,
                        _ => setting.fits(),
                    }
            });
            for (name, text) in own.filter_map(Setting::pair) {
                if !pairs.iter().any(|(known, _)| *known == name) {
                    pairs.push((name, text));
                }
            }
        }
        pairs
    }

    /// What all of librdkafka's clients get.
    pub(super) fn common_pairs(&self) -> Pairs {
        self.pairs(&[Place::Binder])
    }

    /// Says of everything that is given what has no effect, and what cannot be.
    pub(super) fn judge_kafka(&mut self) {
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
fn other_clients(can: &str) -> String {
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

/// Kafka's name at the end of a property's name that begins with `prefix`; none where it does not. A key of a map stands behind a dot, or in
/// brackets.
fn below(given: &str, prefix: &str, variable: bool) -> Option<String> {
    let canonical = if variable { undotted } else { dotted };
    let parts: &[char] = if variable {
        &['.', '_', '[']
    } else {
        &['.', '[']
    };
    let wanted = canonical(prefix);
    let (at, _) = given
        .match_indices(parts)
        .find(|(at, _)| canonical(given.split_at(*at).0) == wanted)?;
    let key = given
        .split_at(at)
        .1
        .trim_start_matches(['.', '_', '[', '"', '\''])
        .trim_end_matches([']', '"', '\'']);
    // The elements of a JSON array, whose list is given as well.
    if key.is_empty() || key.contains('[') {
        return None;
    }
    let name = if variable {
        names::of_variable(key)
    } else {
        key.to_ascii_lowercase()
    };
    Some(names::canonical(&name).to_owned())
}

/// A list of them, by Kafka's short names or by those of Java's classes.
fn assignors(text: &str) -> Option<Vec<AssignorName>> {
    let mut assignors = Vec::new();
    for name in text.split(',').map(str::trim) {
        let class = name.strip_prefix("org.apache.kafka.clients.consumer.");
        let assignor = AssignorName::ALL.into_iter().find(|assignor| {
            assignor.name() == name || class.is_some_and(|class| assignor.class() == class)
        })?;
        if !assignors.contains(&assignor) {
            assignors.push(assignor);
        }
    }
    Some(assignors)
}

fn compression(text: &str) -> Option<Compression> {
    match text.to_ascii_lowercase().as_str() {
        "none" => Some(Compression::None),
        "gzip" => Some(Compression::Gzip),
        "snappy" => Some(Compression::Snappy),
        "lz4" => Some(Compression::Lz4),
        "zstd" => Some(Compression::Zstd),
        _ => None,
    }
}

/// A size as Spring's `DataSize` reads it: bytes, or with a unit, each 1,024 of the one before.
fn data_size(text: &str) -> Option<usize> {
    let letters = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: usize = text.strip_suffix(letters)?.parse().ok()?;
    let unit = match letters.trim_start().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "KB" => 1024,
        "MB" => MEGABYTE,
        "GB" => 1024 * MEGABYTE,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test fails by panicking"
    )]

    use proptest::prelude::*;

    use super::*;
    use crate::config::{Config, Role, RouterSettings};
    use crate::error::Problem;
    use crate::properties::Properties;

    const BINDER: &str = "spring.cloud.stream.kafka.binder.";
    const INPUT: &str = "spring.cloud.stream.kafka.bindings.input.consumer.";

    type Read = Result<(Config, Vec<String>), Vec<Problem>>;

    fn read_all(role: RoleName, arguments: &[String], environment: &[(&str, &str)]) -> Read {
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| format!("--{argument}"))
            .collect();
        let environment = environment
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let properties = Properties::read(&arguments, environment, []);
        Config::read(&properties, Some(role), &[])
    }

    /// A router with this client.
    fn read(client: ClientKind, arguments: &[&str]) -> Read {
        let mut arguments: Vec<String> = arguments.iter().map(|&text| expand(text)).collect();
        arguments.push(format!("parity-router.client={}", client.name()));
        read_all(RoleName::Router, &arguments, &[])
    }

    /// `B` stands for the binder's prefix and `I` for that of the input.
    fn expand(text: &str) -> String {
        match text.split_at(1) {
            ("B", rest) if rest.starts_with('.') => format!("{BINDER}{}", &rest[1..]),
            ("I", rest) if rest.starts_with('.') => format!("{INPUT}{}", &rest[1..]),
            _ => text.to_owned(),
        }
    }

    fn router(config: &Config) -> &RouterSettings {
        match &config.role {
            Role::Router(settings) => settings,
            role => panic!("{role:?}"),
        }
    }

    /// With the client `native` these arguments, of which nothing is warned about, give this part.
    #[track_caller]
    fn check<T: PartialEq + std::fmt::Debug>(
        arguments: &[&str],
        part: impl Fn(&Config) -> T,
        expected: T,
    ) {
        let (config, warnings) = read(ClientKind::Native, arguments).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(part(&config), expected, "{arguments:?}");
    }

    #[track_caller]
    fn check_consumer(arguments: &[&str], change: impl Fn(&mut ConsumerSettings)) {
        let mut expected = ConsumerSettings::default();
        change(&mut expected);
        let without = |config: &Config| ConsumerSettings {
            librdkafka: Vec::new(),
            ..router(config).input.consumer.clone()
        };
        check(arguments, without, expected);
    }

    #[track_caller]
    fn check_producer(arguments: &[&str], change: impl Fn(&mut ProducerSettings)) {
        let mut expected = ProducerSettings::default();
        change(&mut expected);
        let without = |config: &Config| ProducerSettings {
            librdkafka: Vec::new(),
            ..router(config).even_producer.clone()
        };
        check(arguments, without, expected);
    }

    #[track_caller]
    fn check_connection(arguments: &[&str], change: impl Fn(&mut ConnectionSettings)) {
        let mut expected = ConnectionSettings::default();
        change(&mut expected);
        check(
            arguments,
            |config| config.cluster.connection.clone(),
            expected,
        );
    }

    /// One problem, of this property and with this part of a sentence.
    #[track_caller]
    fn check_problem(client: ClientKind, arguments: &[&str], property: &str, part: &str) {
        let problems = read(client, arguments).unwrap_err();
        let [problem] = problems.as_slice() else {
            panic!("{problems:?}");
        };
        assert!(
            problem.property == expand(property) && problem.message.contains(part),
            "{problem}"
        );
    }

    /// One warning with these parts.
    #[track_caller]
    fn check_warning(client: ClientKind, arguments: &[&str], parts: &[&str]) {
        let (_, warnings) = read(client, arguments).unwrap();
        let [warning] = warnings.as_slice() else {
            panic!("{warnings:?}");
        };
        for part in parts {
            assert!(warning.contains(&expand(part)), "{part}: {warning}");
        }
    }

    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn defaults_are_kafkas() {
        check_consumer(&[], |_| ());
        check_producer(&[], |_| ());
        check_connection(&[], |_| ());
        check(&[], |config| config.cluster.memory, 16 * 1024 * 1024);
        check(&[], |config| config.cluster.librdkafka.clone(), Vec::new());
    }

    #[test]
    fn connections() {
        check_connection(&["B.configuration.client.id=a b"], |settings| {
            settings.client_id = "a b".to_owned();
        });
        check_connection(&["B.configuration.request.timeout.ms= 5 "], |settings| {
            settings.request_timeout = MILLIS(5);
        });
        check_connection(
            &[
                "B.configuration.socket.connection.setup.timeout.ms=1",
                "B.configuration.socket.connection.setup.timeout.max.ms=2",
                "B.configuration.reconnect.backoff.ms=5000",
                "B.configuration.retry.backoff.ms=7",
                "B.configuration.retry.backoff.max.ms=6",
                "B.configuration.metadata.max.age.ms=8",
            ],
            |settings| {
                settings.connect_timeout = (MILLIS(1), MILLIS(2));
                settings.reconnect_backoff = (MILLIS(5000), MILLIS(5000));
                settings.retry_backoff = (MILLIS(6), MILLIS(6));
                settings.metadata_max_age = MILLIS(8);
            },
        );
    }

    #[test]
    fn consumers() {
        check_consumer(
            &[
                "B.configuration.session.timeout.ms=10000",
                "B.configuration.heartbeat.interval.ms=9999",
                "B.configuration.max.poll.interval.ms=1",
                "B.configuration.group.instance.id=router-0",
                "B.configuration.fetch.max.wait.ms=0",
                "B.configuration.fetch.min.bytes=2",
                "B.configuration.fetch.max.bytes=3",
                "B.configuration.max.partition.fetch.bytes=4",
                "B.configuration.isolation.level=READ_UNCOMMITTED",
                "B.configuration.check.crcs=false",
            ],
            |settings| {
                settings.session_timeout = MILLIS(10_000);
                settings.heartbeat_interval = MILLIS(9999);
                settings.rebalance_timeout = MILLIS(1);
                settings.group_instance_id = Some("router-0".to_owned());
                settings.fetch_max_wait = MILLIS(0);
                settings.fetch_min_bytes = 2;
                settings.fetch_max_bytes = Some(3);
                settings.max_partition_fetch_bytes = Some(4);
                settings.isolation = Isolation::ReadUncommitted;
                settings.check_crcs = false;
            },
        );
        check_consumer(&["B.configuration.group.protocol=CONSUMER"], |settings| {
            settings.group_protocol = GroupProtocol::Consumer;
        });
        for (given, assignors) in [
            ("range", vec![AssignorName::Range]),
            (
                "org.apache.kafka.clients.consumer.CooperativeStickyAssignor, \
                 org.apache.kafka.clients.consumer.RoundRobinAssignor",
                vec![AssignorName::CooperativeSticky, AssignorName::RoundRobin],
            ),
            (
                "roundrobin,range,roundrobin",
                vec![AssignorName::RoundRobin, AssignorName::Range],
            ),
        ] {
            let given = format!("B.configuration.partition.assignment.strategy={given}");
            check_consumer(&[&given], |settings| settings.assignors = assignors.clone());
        }
        let start = |config: &Config| router(config).input.start_offset;
        let reset = "B.configuration.auto.offset.reset=latest";
        check(&[reset], start, StartOffset::Latest);
        check(
            &[reset, "I.startOffset=earliest"],
            start,
            StartOffset::Earliest,
        );
    }

    #[test]
    fn producers() {
        check_producer(
            &[
                "B.configuration.linger.ms=5",
                "B.configuration.batch.size=65536",
                "B.configuration.compression.type=zstd",
                "B.configuration.max.request.size=2097152",
                "B.configuration.max.in.flight.requests.per.connection=1",
                "B.configuration.acks=-1",
            ],
            |settings| {
                settings.linger = MILLIS(5);
                settings.batch_size = Some(65_536);
                settings.compression = Compression::Zstd;
                settings.max_request_size = 2_097_152;
                settings.max_in_flight = 1;
            },
        );
        for given in ["B.configuration.acks=1", "B.requiredAcks=1"] {
            check_producer(&[given], |settings| {
                settings.acks = Acks::Leader;
                settings.idempotent = false;
            });
        }
        check_producer(&["B.requiredAcks=1", "B.configuration.acks=all"], |_| ());
        check_producer(&["B.configuration.enable.idempotence=false"], |settings| {
            settings.idempotent = false;
        });
        let own = "spring.cloud.stream.kafka.bindings.even.producer.";
        for name in [
            "compressionType",
            "compression",
            "configuration.compression.type",
        ] {
            check_producer(&[&format!("{own}{name}=lz4")], |settings| {
                settings.compression = Compression::Lz4;
            });
        }
        check_producer(
            &[
                &format!("{own}batchTimeout=7"),
                &format!("{own}bufferSize=8"),
                &format!("{own}sync=true"),
            ],
            |settings| {
                settings.linger = MILLIS(7);
                settings.batch_size = Some(8);
            },
        );
    }

    #[test]
    fn the_narrower_place_wins() {
        let wait = |config: &Config| router(config).input.consumer.fetch_max_wait;
        let all = [
            "I.configuration.fetch.max.wait.ms=1",
            "B.consumerProperties.fetch.max.wait.ms=2",
            "B.configuration.fetch.max.wait.ms=3",
        ];
        for (from, millis) in [(0, 1), (1, 2), (2, 3)] {
            check(&all[from..], wait, MILLIS(millis));
        }
        let linger = |config: &Config| {
            let router = router(config);
            (router.even_producer.linger, router.odd_producer.linger)
        };
        let all = [
            "spring.cloud.stream.kafka.bindings.even.producer.configuration.linger.ms=1",
            "spring.cloud.stream.kafka.bindings.even.producer.batchTimeout=2",
            "B.producerProperties.linger.ms=3",
            "B.configuration.linger.ms=4",
        ];
        for (from, even, odd) in [(0, 1, 3), (1, 2, 3), (2, 3, 3), (3, 4, 4)] {
            check(&all[from..], linger, (MILLIS(even), MILLIS(odd)));
        }
    }

    #[test]
    fn the_other_roles() {
        let argument = [format!("{BINDER}configuration.acks=1")];
        let (config, warnings) = read_all(RoleName::Time, &argument, &[]).unwrap();
        let Role::Time(time) = config.role else {
            panic!("{:?}", config.role);
        };
        assert_eq!((time.producer.acks, warnings), (Acks::Leader, Vec::new()));
        let argument = [format!("{INPUT}configuration.fetch.max.wait.ms=1")];
        let (config, _) = read_all(RoleName::Log, &argument, &[]).unwrap();
        let Role::Log(log) = config.role else {
            panic!("{:?}", config.role);
        };
        assert_eq!(log.input.consumer.fetch_max_wait, MILLIS(1));
    }

    #[test]
    fn spellings() {
        let wait = |(config, warnings): (Config, Vec<String>)| {
            assert_eq!(warnings, Vec::<String>::new());
            router(&config).input.consumer.fetch_max_wait
        };
        for (name, text) in [
            (
                "SPRING_CLOUD_STREAM_KAFKA_BINDER_CONFIGURATION_FETCH_MAX_WAIT_MS",
                "9",
            ),
            (
                "SPRING_CLOUD_STREAM_KAFKA_BINDER_CONSUMERPROPERTIES_FETCH_MAX_WAIT_MS",
                "9",
            ),
            (
                "SPRING_CLOUD_STREAM_KAFKA_BINDER_CONSUMER_PROPERTIES_FETCH_MAX_WAIT_MS",
                "9",
            ),
            (
                "spring.cloud.stream.kafka.bindings.input.consumer.configuration.fetch.max.wait.ms",
                "9",
            ),
            (
                "SPRING_APPLICATION_JSON",
                r#"{"spring.cloud.stream.kafka.binder.configuration":{"fetch.max.wait.ms":9}}"#,
            ),
        ] {
            let read = read_all(RoleName::Router, &[], &[(name, text)]).unwrap();
            assert_eq!(wait(read), MILLIS(9), "{name}");
        }
        for name in [
            "consumer-properties.fetch.max.wait.ms",
            "consumerProperties[fetch.max.wait.ms]",
            "configuration.[fetch.max.wait.ms]",
            "configuration.fetch.wait.max.ms",
        ] {
            let argument = [format!("{BINDER}{name}=9")];
            let read = read_all(RoleName::Router, &argument, &[]).unwrap();
            assert_eq!(wait(read), MILLIS(9), "{name}");
        }
    }

    #[test]
    fn shares_without_a_group() {
        let off = "I.autoRebalanceEnabled=false";
        let own = |which: &str, number: &str| {
            format!("spring.cloud.stream.bindings.input.consumer.{which}={number}")
        };
        let all = |which: &str, number: &str| format!("spring.cloud.stream.{which}={number}");
        let share = |config: &Config| {
            let manual = router(config).input.consumer.manual;
            manual.map(|share| (share.index, share.count))
        };
        check(&[&all("instanceIndex", "x")], share, None);
        check(&[off], share, Some((0, 1)));
        let (index, count) = (all("instanceIndex", "1"), all("instanceCount", "3"));
        check(&[off, &index, &count], share, Some((1, 3)));
        let given = [off, &own("instanceIndex", "2"), &index, &count];
        check(&given, share, Some((2, 3)));
        let given = [
            off,
            &own("instanceIndex", "-1"),
            &own("instanceCount", "2"),
            &index,
            &count,
        ];
        check(&given, share, Some((1, 2)));
        for (given, property, part) in [
            (
                vec![off, &index],
                "spring.cloud.stream.instanceIndex",
                "1 of 1 instances",
            ),
            (
                vec!["I.autoRebalanceEnabled=no"],
                REBALANCE,
                "true or false",
            ),
        ] {
            check_problem(ClientKind::Native, &given, property, part);
        }
        let bad = own("instanceCount", "0");
        let name = "spring.cloud.stream.bindings.input.consumer.instanceCount";
        check_problem(
            ClientKind::Native,
            &[off, &bad],
            name,
            "-1 for spring.cloud.stream.instanceCount",
        );
        check_warning(
            ClientKind::Native,
            &[off, "B.configuration.group.instance.id=a"],
            &[
                "B.configuration.group.instance.id",
                "no group to be a member of",
            ],
        );
        check_problem(
            ClientKind::Kafka,
            &[off],
            REBALANCE,
            "parity-router.client=native can",
        );
    }

    #[test]
    fn sizes() {
        for (given, bytes) in [
            ("4194304", 4 * MEGABYTE),
            ("4194304B", 4 * MEGABYTE),
            ("8192KB", 8 * MEGABYTE),
            ("32mb", 32 * MEGABYTE),
            ("1GB", 1024 * MEGABYTE),
        ] {
            let given = format!("parity-router.memory={given}");
            check(&[&given], |config| config.cluster.memory, bytes);
        }
        for bad in [
            "",
            "MB",
            "1.5MB",
            "16MiB",
            "3MB",
            "4194303",
            "2GB",
            "-1",
            "99999999999GB",
        ] {
            check_problem(
                ClientKind::Native,
                &[&format!("parity-router.memory={bad}")],
                "parity-router.memory",
                "from 4MB to 1GB",
            );
        }
    }

    #[test]
    fn problems() {
        for (given, part) in [
            (
                "acks=0",
                "nothing could be known to be delivered; allowed: all, -1 or 1",
            ),
            ("acks=2", "allowed: all, -1 or 1"),
            ("linger.ms=-1", "milliseconds from 0 to 2147483647"),
            ("request.timeout.ms=0", "milliseconds from 1 to 2147483647"),
            ("client.id=", "1 to 32767 bytes"),
            ("session.timeout.ms=soon", "milliseconds from 1"),
            ("fetch.max.bytes=0", "bytes from 1 to 2147483647"),
            ("compression.type=brotli", "none, gzip, snappy, lz4 or zstd"),
            (
                "max.in.flight.requests.per.connection=6",
                "a number from 1 to 5",
            ),
            ("enable.idempotence=yes", "true or false"),
            ("isolation.level=none", "read_committed or read_uncommitted"),
            ("group.protocol=share", "classic or consumer"),
            ("group.instance.id=a/b", "up to 249"),
            ("partition.assignment.strategy=sticky", "cooperative-sticky"),
            ("partition.assignment.strategy=", "cooperative-sticky"),
            ("auto.offset.reset=none", "nowhere to start"),
            ("auto.offset.reset=smallest", "earliest or latest"),
            (
                "heartbeat.interval.ms=45000",
                "within the session's timeout",
            ),
            ("session.timeout.ms=3000", "within the session's timeout"),
            ("transactional.id=t", "no transactions"),
            ("partitioner.class=P", "chosen by its key"),
            ("security.protocol=TLS", "allowed: PLAINTEXT"),
        ] {
            let given = format!("B.configuration.{given}");
            let property = given.split_once('=').unwrap().0;
            check_problem(ClientKind::Native, &[&given], property, part);
        }
        check_problem(
            ClientKind::Native,
            &[
                "B.configuration.acks=1",
                "B.configuration.enable.idempotence=true",
            ],
            "B.configuration.enable.idempotence",
            "needs acks=all",
        );
        check_problem(
            ClientKind::Native,
            &[
                "B.configuration.group.protocol=consumer",
                "I.configuration.session.timeout.ms=9000",
            ],
            "I.configuration.session.timeout.ms",
            "the broker decides",
        );
        check_problem(
            ClientKind::Kafka,
            &["B.configuration.group.instance.id=a"],
            "B.configuration.group.instance.id",
            "no group membership; allowed: parity-router.client=native",
        );
    }

    #[test]
    fn what_is_not_plaintext() {
        let sentence = |what: &str, client: &str| {
            format!("{what}: the client {client} speaks PLAINTEXT only; ")
        };
        for client in [ClientKind::Native, ClientKind::Kafka] {
            for (given, what) in [
                (
                    vec!["B.configuration.security.protocol=sasl_ssl"],
                    "SASL_SSL",
                ),
                (
                    vec![
                        "B.configuration.sasl.mechanism=PLAIN",
                        "B.configuration.security.protocol=SASL_PLAINTEXT",
                    ],
                    "SASL_PLAINTEXT",
                ),
                (
                    vec!["B.configuration.ssl.truststore.location=/t"],
                    "ssl.truststore.location",
                ),
                (
                    vec!["I.configuration.sasl.jaas.config=x"],
                    "sasl.jaas.config",
                ),
                (vec!["B.jaas.options.username=u"], "a login"),
            ] {
                let property = given.last().unwrap().split_once('=').unwrap().0;
                check_problem(client, &given, property, &sentence(what, client.name()));
            }
        }
        check_consumer(&["B.configuration.security.protocol=plaintext"], |_| ());
    }

    #[test]
    fn warnings() {
        let java = "without effect here";
        for (given, parts) in [
            (
                vec!["B.configuration.max.poll.records=1"],
                vec![java, "max.poll.records"],
            ),
            (
                vec![
                    "B.configuration.client.rack=a",
                    "B.configuration.buffer.memory=1",
                ],
                vec![java, "client.rack (argument", "buffer.memory (argument"],
            ),
            (
                vec!["B.configuration.sesion.timeout.ms=1"],
                vec![
                    "the client native does not know",
                    "did you mean session.timeout.ms?",
                ],
            ),
            (
                vec!["B.configuration.socket.keepalive.enable=true"],
                vec![
                    "the client native does not know",
                    "parity-router.client=librdkafka hands it",
                ],
            ),
            (
                vec!["B.configuration.retries=3"],
                vec!["never given up because of time"],
            ),
            (
                vec!["B.configuration.delivery.timeout.ms=3"],
                vec!["never given up because of time"],
            ),
            (
                vec!["B.configuration.bootstrap.servers=a"],
                vec!["binder.brokers"],
            ),
            (
                vec!["B.configuration.group.id=a"],
                vec!["bindings.input.group"],
            ),
            (
                vec!["B.configuration.enable.auto.commit=true"],
                vec!["committed by the router"],
            ),
            (
                vec!["I.configuration.acks=1"],
                vec!["acks is for producers, and this place for consumers"],
            ),
            (
                vec!["I.configuration.client.id=a"],
                vec![
                    "for all connections, as B.configuration.client.id"
                        .strip_prefix("")
                        .unwrap(),
                ],
            ),
        ] {
            let parts: Vec<String> = parts
                .iter()
                .map(|part| part.replace("B.", BINDER))
                .collect();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            check_warning(ClientKind::Native, &given, &parts);
        }
        for silent in [
            "B.configuration.enable.auto.commit=false",
            "B.configuration.key.serializer=org.apache.kafka.common.serialization.ByteArraySerializer",
        ] {
            check_consumer(&[silent], |_| ());
        }
        let kafka = [
            "B.configuration.acks=all",
            "B.configuration.foo=1",
            "I.configuration.auto.offset.reset=latest",
        ];
        check_warning(
            ClientKind::Kafka,
            &kafka,
            &[
                "the client kafka has none of Kafka's own settings",
                "acks (argument",
                "foo (argument",
            ],
        );
        check_warning(
            ClientKind::Kafka,
            &["parity-router.memory=16MB"],
            &["parity-router.client=native"],
        );
    }

    #[test]
    fn warnings_are_bounded() {
        let given: Vec<String> = (0..50).map(|n| format!("B.configuration.x{n}=1")).collect();
        let given: Vec<&str> = given.iter().map(String::as_str).collect();
        let (_, warnings) = read(ClientKind::Native, &given).unwrap();
        assert_eq!(warnings.len(), 11);
        assert_eq!(
            warnings.last().unwrap(),
            "and 40 more of Kafka's own settings"
        );
    }

    #[cfg(feature = "librdkafka")]
    mod librdkafka {
        use super::*;

        fn pairs(pairs: &[(&str, &str)]) -> Pairs {
            pairs
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect()
        }

        #[test]
        fn what_it_gets() {
            let (config, warnings) = read(
                ClientKind::Librdkafka,
                &[
                    "B.configuration.socket.keepalive.enable=true",
                    "B.configuration.security.protocol=SASL_PLAINTEXT",
                    "B.configuration.sasl.password= p ",
                    "B.configuration.client.rack=r",
                    "B.configuration.linger.ms=5",
                    "B.configuration.acks=all",
                    "B.configuration.fetch.max.wait.ms=9",
                    "B.consumerProperties.fetch.max.wait.ms=8",
                    "I.configuration.queued.min.messages=7",
                    "I.configuration.partition.assignment.strategy=org.apache.kafka.clients.consumer.RangeAssignor",
                    "spring.cloud.stream.kafka.bindings.odd.producer.configuration.max.request.size=6000",
                    "spring.cloud.stream.kafka.bindings.odd.producer.compressionType=gzip",
                ],
            )
            .unwrap();
            assert_eq!(warnings, Vec::<String>::new());
            assert_eq!(
                config.cluster.librdkafka,
                pairs(&[
                    ("client.rack", "r"),
                    ("sasl.password", " p "),
                    ("security.protocol", "SASL_PLAINTEXT"),
                    ("socket.keepalive.enable", "true"),
                ])
            );
            let router = router(&config);
            assert_eq!(
                router.input.consumer.librdkafka,
                pairs(&[
                    ("partition.assignment.strategy", "range"),
                    ("queued.min.messages", "7"),
                    ("fetch.wait.max.ms", "8"),
                ])
            );
            assert_eq!(
                router.even_producer.librdkafka,
                pairs(&[("linger.ms", "5")])
            );
            assert_eq!(
                router.odd_producer.librdkafka,
                pairs(&[
                    ("message.max.bytes", "6000"),
                    ("compression.type", "gzip"),
                    ("linger.ms", "5"),
                ])
            );
        }

        #[test]
        fn what_it_cannot() {
            let client = ClientKind::Librdkafka;
            check_problem(
                client,
                &["I.autoRebalanceEnabled=false"],
                REBALANCE,
                "parity-router.client=native can",
            );
            check_problem(
                client,
                &["B.configuration.partition.assignment.strategy=range,cooperative-sticky"],
                "B.configuration.partition.assignment.strategy",
                "only alone",
            );
            for given in ["B.configuration.sasl.jaas.config=x", "B.jaas.loginModule=x"] {
                let property = given.split_once('=').unwrap().0;
                check_problem(client, &[given], property, "has no JAAS");
            }
            check_warning(
                client,
                &["B.configuration.socket.connection.setup.timeout.max.ms=30000"],
                &["librdkafka has no socket.connection.setup.timeout.max.ms"],
            );
            check_warning(
                client,
                &["parity-router.memory=16MB"],
                &["parity-router.client=native"],
            );
        }
    }

    proptest! {
        #[test]
        fn any_names_and_values_are_read(name in "[a-z.\\[\\]_é]{0,20}", value in ".{0,12}", known in 0..names::NAMES.len()) {
            let known = names::NAMES.get(known).map_or("", |known| known.name);
            for client in [ClientKind::Native, ClientKind::Kafka] {
                let _ = read(client, &[
                    &format!("B.configuration.{name}={value}"),
                    &format!("I.configuration.{known}={value}"),
                    &format!("B.jaas{name}={value}"),
                ]);
            }
        }
    }
}
