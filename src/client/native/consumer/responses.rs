//! Responses of the brokers: decodes each by the tag of its request and passes it on. Runs on the thread `consumer`.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, ConsumerGroupHeartbeatRequest, EndTxnRequest, FetchRequest,
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, ListOffsetsRequest,
    MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

use super::membership::Membership;
use super::{Consumer, Tag};
use crate::client::native::classic_group::GroupRequest;
use crate::client::native::fetch::PositionState;
use crate::client::native::group_error::join_error;
use crate::client::native::network::Node;
use crate::client::native::response::{Response, ResponseFailure};
use crate::client::native::transaction_committer::TransactionRequest;
use crate::client::native::transaction_error::{TransactionErrorClass, transaction_failure};
use crate::client::{ConsumerEvent, Error};
use crate::topic_partition::TopicPartition;

impl Consumer {
    pub(super) fn handle_response(
        &mut self,
        node: Node,
        response: Response<Tag>,
    ) -> Result<(), Error> {
        let tag = response.tag;
        match self.dispatch_response(node, response) {
            Ok(()) => Ok(()),
            Err(ResponseFailure::Fatal(error)) => Err(error),
            Err(ResponseFailure::Undecodable(error)) => {
                self.network.disconnect(node, &error.to_string());
                self.disconnected(tag);
                Ok(())
            }
        }
    }

    fn dispatch_response(
        &mut self,
        node: Node,
        response: Response<Tag>,
    ) -> Result<(), ResponseFailure> {
        match response.tag {
            Tag::Call => (),
            Tag::Metadata => {
                let response = response.decode::<MetadataRequest>()?;
                self.metadata.handle_response(&self.network, &response);
                self.metadata_updated();
            }
            Tag::Coordinator => {
                let response = response.decode::<FindCoordinatorRequest>()?;
                if let Some(coordinator) = &mut self.coordinator {
                    coordinator
                        .handle_response(&self.network, &mut self.metadata, &response)
                        .map_err(join_error)?;
                }
            }
            Tag::ClassicGroup(request) => self.handle_group_response(node, request, &response)?,
            Tag::Kip848Group => {
                let response = response.decode::<ConsumerGroupHeartbeatRequest>()?;
                if let (Membership::Kip848(group), Some(coordinator)) =
                    (&mut self.membership, &mut self.coordinator)
                {
                    let events = &mut self.events;
                    group.handle_response(&self.network, coordinator, &response, events)?;
                }
            }
            Tag::OffsetFetch => {
                self.handle_offset_fetch(&response.decode::<OffsetFetchRequest>()?)?;
            }
            Tag::ListOffsets(leader) => {
                self.handle_list_offsets(leader, &response.decode::<ListOffsetsRequest>()?)?;
            }
            Tag::OffsetCommit => {
                self.handle_offset_commit(&response.decode::<OffsetCommitRequest>()?)?;
            }
            Tag::TransactionCoordinator => {
                let response = response.decode::<FindCoordinatorRequest>()?;
                if let Some(committer) = &mut self.committer {
                    committer
                        .coordinator
                        .handle_response(&self.network, &mut self.metadata, &response)
                        .map_err(transaction_failure)?;
                }
            }
            Tag::Transaction(request) => self.handle_transaction_response(request, &response)?,
            Tag::Fetch(broker) => {
                let decoded = response.decode::<FetchRequest>()?;
                self.fetcher.handle_response(
                    &mut self.network,
                    &mut self.metadata,
                    broker,
                    decoded,
                    response.into_body(),
                )?;
            }
        }
        Ok(())
    }

    /// Adapts the assignment to new partitions of the input topics.
    fn metadata_updated(&mut self) {
        match &mut self.membership {
            Membership::Classic(group) => {
                group.check_partition_counts(&self.metadata, &mut self.events)
            }
            // The group coordinator watches the topics itself (KIP-848).
            Membership::Kip848(_) => (),
            Membership::Manual(share) => {
                let share = *share;
                self.assign_manually(share);
            }
        }
    }

    /// Handles a response of the classic group protocol.
    fn handle_group_response(
        &mut self,
        node: Node,
        request: GroupRequest,
        response: &Response<Tag>,
    ) -> Result<(), ResponseFailure> {
        let (Membership::Classic(group), Some(coordinator)) =
            (&mut self.membership, &mut self.coordinator)
        else {
            return Ok(());
        };
        let (network, metadata, events) = (&mut self.network, &mut self.metadata, &mut self.events);
        match request {
            GroupRequest::JoinGroup => {
                let response = response.decode::<JoinGroupRequest>()?;
                let to = (node, Tag::ClassicGroup);
                group.handle_join_group_response(
                    network,
                    metadata,
                    coordinator,
                    to,
                    response,
                    events,
                )?;
            }
            GroupRequest::SyncGroup(generation) => {
                let response = response.decode::<SyncGroupRequest>()?;
                let before = group.owned().to_vec();
                group.handle_sync_group_response(
                    network,
                    metadata,
                    coordinator,
                    generation,
                    &response,
                    events,
                )?;
                let owned = group.owned().iter().copied();
                let added: Vec<TopicPartition> = owned
                    .filter(|partition| !before.contains(partition))
                    .collect();
                let positions = &mut self.fetcher.positions;
                positions.add(&added, PositionState::AwaitCommitted);
            }
            GroupRequest::Heartbeat(generation) => {
                let response = response.decode::<HeartbeatRequest>()?;
                group.handle_heartbeat_response(
                    network,
                    coordinator,
                    generation,
                    &response,
                    events,
                )?;
            }
        }
        Ok(())
    }

    /// Handles a response to a request that ends a transaction.
    fn handle_transaction_response(
        &mut self,
        request: TransactionRequest,
        response: &Response<Tag>,
    ) -> Result<(), ResponseFailure> {
        let (code, partition) = match request {
            TransactionRequest::AddOffsetsToTxn => {
                let response = response.decode::<AddOffsetsToTxnRequest>()?;
                (response.error_code, None)
            }
            TransactionRequest::TxnOffsetCommit => {
                first_error(&response.decode::<TxnOffsetCommitRequest>()?)
            }
            TransactionRequest::EndTxn => (response.decode::<EndTxnRequest>()?.error_code, None),
        };
        let Some(committer) = &mut self.committer else {
            return Ok(());
        };
        let error = ResponseError::try_from_code(code);
        let retry_elsewhere = TransactionErrorClass::Retriable {
            coordinator_moved: true,
        };
        if request == TransactionRequest::TxnOffsetCommit
            && error.map(TransactionErrorClass::of) == Some(retry_elsewhere)
            && let Some(coordinator) = &mut self.coordinator
        {
            coordinator.mark_unknown(&self.network);
        }
        let committed =
            committer.handle_response(&self.network, request, error, partition.as_deref())?;
        self.events.extend(committed.map(ConsumerEvent::Committed));
        Ok(())
    }

    /// Handles the end of a connection before the request with this tag got its response: it is sent again when it is due.
    pub(super) fn disconnected(&mut self, tag: Tag) {
        match tag {
            Tag::Call => (),
            Tag::Metadata => self.metadata.disconnected(),
            Tag::Coordinator => {
                if let Some(coordinator) = &mut self.coordinator {
                    coordinator.disconnected(&self.network);
                }
            }
            Tag::ClassicGroup(request) => {
                if let Membership::Classic(group) = &mut self.membership {
                    group.disconnected(&self.network, request);
                }
            }
            Tag::Kip848Group => {
                if let Membership::Kip848(group) = &mut self.membership {
                    group.disconnected(&self.network);
                }
            }
            Tag::OffsetFetch => self.retry_lookups(PositionState::AwaitCommitted, None),
            Tag::ListOffsets(leader) => {
                self.metadata.request_update();
                self.retry_lookups(PositionState::AwaitReset, Some(leader));
            }
            Tag::OffsetCommit => self.fail_commit(self.network.last_error().to_owned()),
            Tag::TransactionCoordinator => {
                if let Some(committer) = &mut self.committer {
                    committer.coordinator.disconnected(&self.network);
                }
            }
            Tag::Transaction(_) => {
                if let Some(committer) = &mut self.committer {
                    committer.disconnected(&self.network);
                }
            }
            Tag::Fetch(broker) => {
                self.metadata.request_update();
                self.fetcher.disconnected(broker);
            }
        }
    }
}

/// Returns the first error code of a TxnOffsetCommit response with the name of its partition, or 0 if all partitions succeeded.
fn first_error(response: &TxnOffsetCommitResponse) -> (i16, Option<String>) {
    for topic in &response.topics {
        let mut results = topic.partitions.iter();
        if let Some(failed) = results.find(|result| result.error_code != 0) {
            let partition = format!("{}-{}", topic.name.as_str(), failed.partition_index);
            return (failed.error_code, Some(partition));
        }
    }
    (0, None)
}
