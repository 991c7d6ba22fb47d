//! The requests and versions that this client supports, and their encoding by the crate `kafka-protocol`.
//!
//! Each request has the versions that brokers from Kafka 2.1 to 4.x support between them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiVersionsRequest,
    ConsumerGroupHeartbeatRequest, CreateTopicsRequest, EndTxnRequest, FetchRequest,
    FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest, JoinGroupRequest,
    LeaveGroupRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest, ProduceRequest, RequestHeader, ResponseHeader, SyncGroupRequest,
    TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use super::response_shape::matching_len;

/// A request that this client can send.
pub(super) trait SupportedRequest: Request {
    /// Name in Kafka's protocol guide.
    const NAME: &'static str;
    /// Supported versions in ascending order, each with the shape of its response (see `response_shape`).
    const SUPPORTED_VERSIONS: &'static [(i16, &'static str)];
}

macro_rules! supported_requests {
    ($($request:ty, $name:literal, $versions:expr;)*) => {
        $(
            impl SupportedRequest for $request {
                const NAME: &'static str = $name;
                const SUPPORTED_VERSIONS: &'static [(i16, &'static str)] = &$versions;
            }
        )*

        /// Decodes the bytes as a response of each request and version, to show that this does not panic.
        #[cfg(any(test, fuzzing))]
        pub(super) fn decode_all(bytes: &Bytes) {
            $(
                for &(version, _) in <$request>::SUPPORTED_VERSIONS {
                    let _ = decode::<$request>(bytes, version);
                }
            )*
        }

        /// Returns name, version, shape and an encoded default response of each request and version.
        #[cfg(test)]
        fn default_responses() -> Vec<(&'static str, i16, &'static str, Bytes)> {
            let mut responses = Vec::new();
            $(
                for &(version, shape) in <$request>::SUPPORTED_VERSIONS {
                    let mut bytes = BytesMut::new();
                    let response = <$request as Request>::Response::default();
                    let encoded = response.encode(&mut bytes, version);
                    assert!(encoded.is_ok(), "{} {version}", $name);
                    responses.push(($name, version, shape, bytes.freeze()));
                }
            )*
            responses
        }
    };
}

// Reasons for versions: Metadata 10 has topic ids (KIP-516), JoinGroup 5, SyncGroup 3 and Heartbeat 3 static members (KIP-345), Fetch 10 and
// Produce 7 zstd (KIP-110), CreateTopics 4 the broker's default replication factor (KIP-464), OffsetFetch 7 stable offsets (KIP-447),
// OffsetCommit 9 members of KIP-848, InitProducerId 3 a new epoch for an idempotent producer (KIP-360), TxnOffsetCommit 3 the generation of
// the member (KIP-447).
supported_requests! {
    ApiVersionsRequest, "ApiVersions", [(0, "2[222]")];
    MetadataRequest, "Metadata", [
        (7, "4[4s4s]s4[2s1[2444[4][4][4]]]"),
        (12, "4<4S4St>S4<2Sg1<2444<4><4><4>t>4t>t"),
    ];
    FindCoordinatorRequest, "FindCoordinator", [(1, "42s4s4")];
    JoinGroupRequest, "JoinGroup", [(3, "424sss[sb]"), (5, "424sss[ssb]")];
    SyncGroupRequest, "SyncGroup", [(2, "42b"), (3, "42b")];
    HeartbeatRequest, "Heartbeat", [(2, "42"), (3, "42")];
    LeaveGroupRequest, "LeaveGroup", [(2, "42")];
    OffsetCommitRequest, "OffsetCommit", [(6, "4[s[42]]"), (7, "4[s[42]]"), (9, "4<S<42t>t>t")];
    OffsetFetchRequest, "OffsetFetch", [(5, "4[s[484s2]]2"), (7, "4<S<484S2t>t>2t")];
    ListOffsetsRequest, "ListOffsets", [(2, "4[s[4288]]"), (4, "4[s[42884]]")];
    CreateTopicsRequest, "CreateTopics", [(2, "4[s2s]"), (4, "4[s2s]")];
    InitProducerIdRequest, "InitProducerId", [(1, "4282"), (3, "4282t")];
    ConsumerGroupHeartbeatRequest, "ConsumerGroupHeartbeat", [(0, "42SS44?{<g<4>t>t}t")];
    FetchRequest, "Fetch", [(10, "424[s[42888[88]b]]"), (11, "424[s[42888[88]4b]]")];
    AddPartitionsToTxnRequest, "AddPartitionsToTxn", [(1, "4[s[42]]")];
    AddOffsetsToTxnRequest, "AddOffsetsToTxn", [(1, "42")];
    TxnOffsetCommitRequest, "TxnOffsetCommit", [(3, "4<S<42t>t>t")];
    EndTxnRequest, "EndTxn", [(1, "42")];
    ProduceRequest, "Produce", [(7, "[s[42888]]4"), (8, "[s[42888[4s]s]]4")];
}

/// Returns the highest version of a request that both this client and the broker support; `lowest` and `highest` are the broker's.
pub(super) fn common_version<R: SupportedRequest>((lowest, highest): (i16, i16)) -> Option<i16> {
    let is_common = |version: &i16| (lowest..=highest).contains(version);
    R::SUPPORTED_VERSIONS
        .iter()
        .map(|&(version, _)| version)
        .rev()
        .find(is_common)
}

/// Starts a request: reserves four bytes for its length and encodes the header.
pub(super) fn begin<R: SupportedRequest>(
    out: &mut BytesMut,
    version: i16,
    correlation_id: i32,
    client_id: &StrBytes,
) -> Result<(), EncodeError> {
    out.put_i32(0);
    RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(client_id.clone()))
        .encode(out, R::header_version(version))
        .map_err(|_| EncodeError(R::NAME))
}

/// Finishes a request that is followed by `following` bytes: writes the length in front.
pub(super) fn end(out: &mut BytesMut, following: usize) {
    let length = (out.len().saturating_sub(4) + following) as i32;
    if let Some(prefix) = out.first_chunk_mut() {
        *prefix = length.to_be_bytes();
    }
}

/// Encodes a request with its length and header.
pub(super) fn encode<R: SupportedRequest>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &StrBytes,
) -> Result<BytesMut, EncodeError> {
    let mut out = BytesMut::with_capacity(256);
    begin::<R>(&mut out, version, correlation_id, client_id)?;
    request
        .encode(&mut out, version)
        .map_err(|_| EncodeError(R::NAME))?;
    end(&mut out, 0);
    Ok(out)
}

/// Decodes a response, which begins with the correlation id.
pub(super) fn decode<R: SupportedRequest>(
    response: &Bytes,
    version: i16,
) -> Result<R::Response, DecodeError> {
    let error = DecodeError {
        request: R::NAME,
        version,
    };
    let shape = R::SUPPORTED_VERSIONS
        .iter()
        .find(|&&(supported, _)| supported == version)
        .map(|&(_, shape)| shape)
        .ok_or(error)?;
    let mut header = response.clone();
    let header_version = R::Response::header_version(version);
    let header_shape = if header_version >= 1 { "4t" } else { "4" };
    let header_len = matching_len(header_shape, &header).ok_or(error)?;
    ResponseHeader::decode(&mut header, header_version).map_err(|_| error)?;
    let mut body = response.clone();
    body.advance(header_len);
    matching_len(shape, &body).ok_or(error)?;
    R::Response::decode(&mut body, version).map_err(|_| error)
}

/// A field of a request has no place in the version. This is a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot encode a {0} request")]
pub(super) struct EncodeError(&'static str);

/// The bytes of a response are invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot decode the response to {request} version {version}")]
pub(super) struct DecodeError {
    request: &'static str,
    version: i16,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
    use kafka_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    use kafka_protocol::messages::{
        BrokerId, JoinGroupResponse, MetadataResponse, ResponseHeader, TopicName,
    };
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn default_responses_match_their_shapes() {
        for (name, version, shape, bytes) in default_responses() {
            assert_eq!(
                matching_len(shape, &bytes),
                Some(bytes.len()),
                "{name} {version}"
            );
        }
    }

    /// Encodes a response with its header.
    fn encoded<R: SupportedRequest>(response: &R::Response, version: i16) -> Bytes {
        let mut bytes = BytesMut::new();
        ResponseHeader::default()
            .with_correlation_id(7)
            .encode(&mut bytes, R::Response::header_version(version))
            .unwrap();
        response.encode(&mut bytes, version).unwrap();
        bytes.freeze()
    }

    fn metadata_response() -> MetadataResponse {
        let partition = MetadataResponsePartition::default()
            .with_leader_id(BrokerId(1))
            .with_replica_nodes(vec![BrokerId(1), BrokerId(2)]);
        let topic = MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_static_str("timeDest"))))
            .with_partitions(vec![partition.clone(), partition]);
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(1))
            .with_host(StrBytes::from_static_str("localhost"))
            .with_port(9092);
        MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_topics(vec![topic])
    }

    #[test]
    fn responses_are_decoded() {
        for &(version, _) in MetadataRequest::SUPPORTED_VERSIONS {
            let bytes = encoded::<MetadataRequest>(&metadata_response(), version);
            let decoded = decode::<MetadataRequest>(&bytes, version).unwrap();
            assert_eq!(decoded.brokers, metadata_response().brokers);
            assert_eq!(decoded.topics.first().unwrap().partitions.len(), 2);
            for length in 0..bytes.len() {
                assert!(decode::<MetadataRequest>(&bytes.slice(..length), version).is_err());
            }
        }
        let member = JoinGroupResponseMember::default().with_metadata(Bytes::from_static(b"x"));
        let response = JoinGroupResponse::default().with_members(vec![member.clone(), member]);
        let bytes = encoded::<JoinGroupRequest>(&response, 5);
        let decoded = decode::<JoinGroupRequest>(&bytes, 5).unwrap();
        assert_eq!(decoded.members.len(), 2);
    }

    #[test]
    fn a_count_beyond_the_bytes_is_rejected() {
        // The correlation id, and an array of 2,147,483,647 topics.
        let bytes = Bytes::from_static(b"\0\0\0\0\x7f\xff\xff\xff");
        assert!(decode::<ProduceRequest>(&bytes, 7).is_err());
    }

    #[test]
    fn the_highest_common_version_is_used() {
        assert_eq!(common_version::<FetchRequest>((4, 18)), Some(11));
        assert_eq!(common_version::<FetchRequest>((0, 10)), Some(10));
        assert_eq!(common_version::<FetchRequest>((0, 9)), None);
        assert_eq!(common_version::<FetchRequest>((12, 18)), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_decoded_or_rejected(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            decode_all(&Bytes::from(bytes));
        }

        /// Bytes close to a valid response reach deeper code than arbitrary ones.
        #[test]
        fn corrupted_responses_are_decoded_or_rejected(index in any::<prop::sample::Index>(), byte in any::<u8>()) {
            for &(version, _) in MetadataRequest::SUPPORTED_VERSIONS {
                let mut bytes = encoded::<MetadataRequest>(&metadata_response(), version).to_vec();
                let index = index.index(bytes.len());
                bytes[index] = byte;
                let _ = decode::<MetadataRequest>(&Bytes::from(bytes), version);
            }
        }
    }
}
