//! Reads where the actuator listens. No I/O.

use super::ActuatorSettings;
use super::reader::Reader;
use super::table;

/// Reads the actuator's settings.
pub(super) fn actuator(reader: &mut Reader<'_>) -> ActuatorSettings {
    let port = if reader.is_given(&table::MANAGEMENT_SERVER_PORT) {
        &table::MANAGEMENT_SERVER_PORT
    } else {
        &table::SERVER_PORT
    };
    let address = if reader.is_given(&table::MANAGEMENT_SERVER_ADDRESS) {
        &table::MANAGEMENT_SERVER_ADDRESS
    } else {
        &table::SERVER_ADDRESS
    };
    let details = reader.word(&table::SHOW_DETAILS);
    ActuatorSettings {
        port: reader.parsed(port).unwrap_or_default(),
        address: reader.parsed(address),
        show_details: details.as_deref() == Some("always"),
    }
}
