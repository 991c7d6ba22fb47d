//! Errors that end the membership in a group.

use kafka_protocol::error::ResponseError;

use super::coordinator::MemberIdentity;
use super::error_name::kafka_name;
use crate::client::error::Error;
use crate::client::settings::AssignorName;

/// Returns the error for a group that cannot be joined, which ends the consumer.
pub(super) fn join_error(reason: String) -> Error {
    Error::Kafka {
        operation: "join the group",
        reason,
    }
}

/// Returns the error for a response of the classic protocol that ends the membership; `None` if joining again can help.
pub(super) fn fatal_error(
    error: ResponseError,
    identity: &MemberIdentity,
    assignors: &[AssignorName],
) -> Option<Error> {
    let name = kafka_name(error);
    let reason = match error {
        ResponseError::FencedInstanceId => format!(
            "{name}: another member has group.instance.id={}",
            identity.instance_id.as_deref().unwrap_or_default()
        ),
        ResponseError::InconsistentGroupProtocol => {
            let assignors: Vec<&str> = assignors.iter().map(|assignor| assignor.name()).collect();
            format!(
                "{name}: the other members of the group support none of partition.assignment.strategy={}",
                assignors.join(",")
            )
        }
        ResponseError::GroupAuthorizationFailed
        | ResponseError::GroupMaxSizeReached
        | ResponseError::InvalidGroupId
        | ResponseError::InvalidSessionTimeout => name.to_string(),
        _ => return None,
    };
    Some(join_error(reason))
}
