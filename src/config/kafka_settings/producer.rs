//! Reads the settings of the producers. No I/O.

use std::time::Duration;

use super::given::{KafkaSettings, Lookup};
use super::librdkafka;
use super::prefix::Prefix;
use crate::client::settings::{Acks, Compression, DEFAULT_TRANSACTION_TIMEOUT, ProducerSettings};
use crate::config::reader::Reader;

const IDEMPOTENCE: &str = "enable.idempotence";

/// Reads how records are sent to the topic of an output binding.
pub(in crate::config) fn producer_settings(
    reader: &mut Reader<'_>,
    settings: &KafkaSettings,
    binding: &'static str,
) -> ProducerSettings {
    let prefixes = Prefix::of_producer(binding);
    let given = settings.under(&prefixes);
    let default = ProducerSettings::default();
    let acks = acks(reader, given);
    let idempotent = given.boolean(reader, IDEMPOTENCE);
    if let (Acks::Leader, Some(true), Some(setting)) = (acks, idempotent, given.find(IDEMPOTENCE)) {
        reader.problem(
            setting,
            "true needs acks=all, and acks is 1; allowed: false, to leave it out, or acks=all",
        );
    }
    ProducerSettings {
        acks,
        linger: given.millis(reader, "linger.ms", default.linger),
        compression: compression(reader, given).unwrap_or(default.compression),
        batch_size: given.number(reader, "batch.size"),
        max_request_size: given
            .number(reader, "max.request.size")
            .unwrap_or(default.max_request_size),
        max_in_flight: given
            .number(reader, "max.in.flight.requests.per.connection")
            .unwrap_or(default.max_in_flight),
        idempotent: acks == Acks::All && idempotent.unwrap_or(default.idempotent),
        librdkafka: librdkafka::pairs(settings, &prefixes),
    }
}

/// Reads `transaction.timeout.ms`. Its default is that of Kafka Streams: consumers wait that long for the open transaction of a router that
/// was killed.
pub(in crate::config) fn transaction_timeout(
    reader: &mut Reader<'_>,
    settings: &KafkaSettings,
) -> Duration {
    settings.under(&[Prefix::Producers, Prefix::Binder]).millis(
        reader,
        "transaction.timeout.ms",
        DEFAULT_TRANSACTION_TIMEOUT,
    )
}

fn acks(reader: &mut Reader<'_>, given: Lookup<'_>) -> Acks {
    const NAME: &str = "acks";
    if let Some(setting) = given.find(NAME).filter(|setting| setting.is("0")) {
        reader.problem(
            setting,
            "with 0 no broker responds, and nothing could be known to be delivered; allowed: all, -1 or 1",
        );
        return Acks::All;
    }
    match given.word(reader, NAME).as_deref() {
        Some("1") => Acks::Leader,
        _ => Acks::All,
    }
}

fn compression(reader: &mut Reader<'_>, given: Lookup<'_>) -> Option<Compression> {
    match given.word(reader, "compression.type")?.as_str() {
        "none" => Some(Compression::None),
        "gzip" => Some(Compression::Gzip),
        "snappy" => Some(Compression::Snappy),
        "lz4" => Some(Compression::Lz4),
        "zstd" => Some(Compression::Zstd),
        _ => None,
    }
}
