//! Reads the settings of all connections. No I/O.

use super::given::{KafkaSettings, Lookup};
use super::prefix::Prefix;
use super::table::CLIENT_ID;
use crate::client::settings::{BackoffRange, ConnectionSettings};
use crate::config::reader::Reader;

/// Longest `client.id`, in bytes: it is encoded with a 16-bit length.
const MAX_CLIENT_ID: usize = 32_000;

/// Reads how brokers are connected to. All clients of the program have the same settings, so only the binder's prefix counts.
pub(in crate::config) fn connection_settings(
    reader: &mut Reader<'_>,
    settings: &KafkaSettings,
) -> ConnectionSettings {
    let given = settings.under(&Prefix::CONNECTION);
    let default = ConnectionSettings::default();
    let client_id = given.parsed(reader, "client.id", |text| {
        (1..=MAX_CLIENT_ID)
            .contains(&text.len())
            .then(|| text.to_owned())
    });
    ConnectionSettings {
        client_id: client_id.unwrap_or_else(|| CLIENT_ID.to_owned()),
        request_timeout: given.millis(reader, "request.timeout.ms", default.request_timeout),
        connect_timeout: backoff_range(
            reader,
            given,
            "socket.connection.setup.timeout.ms",
            "socket.connection.setup.timeout.max.ms",
            default.connect_timeout,
        ),
        reconnect_backoff: backoff_range(
            reader,
            given,
            "reconnect.backoff.ms",
            "reconnect.backoff.max.ms",
            default.reconnect_backoff,
        ),
        retry_backoff: backoff_range(
            reader,
            given,
            "retry.backoff.ms",
            "retry.backoff.max.ms",
            default.retry_backoff,
        ),
        metadata_max_age: given.millis(reader, "metadata.max.age.ms", default.metadata_max_age),
    }
}

/// Reads a delay that doubles from one setting up to another. As in Kafka's clients the first is never longer than the second.
fn backoff_range(
    reader: &mut Reader<'_>,
    given: Lookup<'_>,
    initial_name: &str,
    max_name: &str,
    default: BackoffRange,
) -> BackoffRange {
    let initial = given.millis(reader, initial_name, default.initial);
    if given.find(max_name).is_none() {
        return BackoffRange {
            initial,
            max: default.max.max(initial),
        };
    }
    let max = given.millis(reader, max_name, default.max);
    BackoffRange {
        initial: initial.min(max),
        max,
    }
}
