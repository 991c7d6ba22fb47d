//! Reads the share of an instance without a group: `autoRebalanceEnabled`, `instanceIndex` and `instanceCount`. No I/O.

use crate::client::settings::PartitionShare;
use crate::config::ClientKind;
use crate::config::reader::{Given, Reader};
use crate::config::table::{
    AUTO_REBALANCE, BINDING_INSTANCE_COUNT, BINDING_INSTANCE_INDEX, INSTANCE_COUNT, INSTANCE_INDEX,
    Property,
};

/// Reads the share of this instance. Returns `None` if the group assigns the partitions.
pub(super) fn share(reader: &mut Reader<'_>, client: ClientKind) -> Option<PartitionShare> {
    let auto_rebalance = reader.value(&AUTO_REBALANCE)?;
    if auto_rebalance.is("true") {
        return None;
    }
    if client != ClientKind::Native {
        let message = format!(
            "the client {} cannot read a share of the partitions without a group; parity-router.client=native can",
            client.name()
        );
        reader.problem(&auto_rebalance, message);
        return None;
    }
    let count = number(reader, &BINDING_INSTANCE_COUNT, &INSTANCE_COUNT);
    let index = number(reader, &BINDING_INSTANCE_INDEX, &INSTANCE_INDEX);
    let ((_, count), (given, index)) = (count?, index?);
    if index >= count {
        let message = format!(
            "{index} is not the index of one of {count} instances; allowed: from 0 to {}",
            count.saturating_sub(1)
        );
        reader.problem(&given, message);
        return None;
    }
    Some(PartitionShare { index, count })
}

/// Reads a number of the binding, or that of all bindings if the binding's is -1, which is Spring's default.
fn number(
    reader: &mut Reader<'_>,
    of_binding: &Property,
    of_all: &Property,
) -> Option<(Given, u32)> {
    let mut given = reader.value(of_binding)?;
    if given.trimmed() == "-1" {
        given = reader.value(of_all)?;
    }
    let number = given.trimmed().parse().ok()?;
    Some((given, number))
}
