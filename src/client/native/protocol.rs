//! What this client speaks: each request in the versions that the brokers of Kafka 2.1 to 4.x have between them, and for each version the
//! shape of the answer. Requests and answers are written and read by the crate `kafka-protocol`. Its readers believe the counts that
//! they meet and allocate for them at once; so an answer's bytes are held against the shape first, which allocates nothing.

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

/// A request that this client sends.
pub(super) trait SupportedRequest: Request {
    /// Its name in Kafka's protocol guide.
    const NAME: &'static str;
    /// The versions that are spoken, the older first, and the shape of each one's answer (see [`fits`]).
    const SUPPORTED_VERSIONS: &'static [(i16, &'static str)];
}

macro_rules! spoken {
    ($($request:ty, $name:literal, $versions:expr;)*) => {$(
        impl SupportedRequest for $request {
            const NAME: &'static str = $name;
            const SUPPORTED_VERSIONS: &'static [(i16, &'static str)] = &$versions;
        }
    )*};
}

// Why these: Metadata 10 brought topic ids (KIP-516), JoinGroup 5 and its like static members (KIP-345), Fetch 10 and Produce 7 zstd
// (KIP-110), CreateTopics 4 the broker's default replication (KIP-464), OffsetFetch 7 stable offsets (KIP-447), OffsetCommit 9 the members
// of KIP-848, InitProducerId 3 a new epoch for an idempotent producer (KIP-360), TxnOffsetCommit 3 the member's generation in it (KIP-447).
spoken! {
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

/// The newest version that both sides speak.
pub(super) fn common_version<R: SupportedRequest>((lowest, highest): (i16, i16)) -> Option<i16> {
    let both = |version: &i16| (lowest..=highest).contains(version);
    R::SUPPORTED_VERSIONS
        .iter()
        .map(|&(version, _)| version)
        .rev()
        .find(both)
}

/// Begins a request: room for its length, and the header.
pub(super) fn begin<R: SupportedRequest>(
    out: &mut BytesMut,
    version: i16,
    correlation: i32,
    client_id: &StrBytes,
) -> Result<(), EncodeError> {
    out.put_i32(0);
    RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(client_id.clone()))
        .encode(out, R::header_version(version))
        .map_err(|_| EncodeError(R::NAME))
}

/// Ends a request that is followed by `more` bytes of payload: its length goes to its beginning.
pub(super) fn end(out: &mut BytesMut, more: usize) {
    let length = (out.len().saturating_sub(4) + more) as i32;
    if let Some(place) = out.first_chunk_mut() {
        *place = length.to_be_bytes();
    }
}

/// A whole request.
pub(super) fn encode<R: SupportedRequest>(
    request: &R,
    version: i16,
    correlation: i32,
    client_id: &StrBytes,
) -> Result<BytesMut, EncodeError> {
    let mut out = BytesMut::with_capacity(256);
    begin::<R>(&mut out, version, correlation, client_id)?;
    request
        .encode(&mut out, version)
        .map_err(|_| EncodeError(R::NAME))?;
    end(&mut out, 0);
    Ok(out)
}

/// An answer, from its correlation id on.
pub(super) fn decode<R: SupportedRequest>(
    answer: &Bytes,
    version: i16,
) -> Result<R::Response, DecodeError> {
    let unreadable = DecodeError {
        request: R::NAME,
        version,
    };
    let shape = R::SUPPORTED_VERSIONS
        .iter()
        .find(|&&(spoken, _)| spoken == version)
        .map(|&(_, shape)| shape)
        .ok_or(unreadable)?;
    let mut body = answer.clone();
    let header_version = R::Response::header_version(version);
    let header = if header_version >= 1 { "4t" } else { "4" };
    let end = fits(header, &body).ok_or(unreadable)?;
    ResponseHeader::decode(&mut body, header_version).map_err(|_| unreadable)?;
    let mut body = answer.clone();
    body.advance(end);
    fits(shape, &body).ok_or(unreadable)?;
    R::Response::decode(&mut body, version).map_err(|_| unreadable)
}

/// A request that does not fit its version: a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {0} request cannot be written")]
pub(super) struct EncodeError(&'static str);

/// An answer that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer to a {request} request of version {version} cannot be read")]
pub(super) struct DecodeError {
    request: &'static str,
    version: i16,
}

/// Whether `bytes` begin with what `shape` says, and how many of them that is. In a shape, a digit stands for a number of so many bytes, `g`
/// for an id of 16; `s` and `b` for text and bytes, `S` for text with the compact length of flexible versions (KIP-482), `[…]` and `<…>` for
/// arrays of the two kinds, `t` for tagged fields, `?{…}` for something that may be missing.
fn fits(shape: &str, bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    walk(shape.as_bytes(), &mut rest)?;
    Some(bytes.len() - rest.len())
}

/// Goes through one group of the shape, to its closing bracket or to its end, and gives the shape behind it.
fn walk<'s>(mut shape: &'s [u8], bytes: &mut &[u8]) -> Option<&'s [u8]> {
    while let Some((&element, behind)) = shape.split_first() {
        shape = behind;
        match element {
            b'1' | b'2' | b'4' | b'8' => skip(bytes, usize::from(element - b'0'))?,
            b'g' => skip(bytes, 16)?,
            b's' => {
                let length = i16::from_be_bytes(take(bytes)?);
                skip(bytes, usize::try_from(length.max(0)).ok()?)?;
            }
            b'b' => {
                let length = i32::from_be_bytes(take(bytes)?);
                skip(bytes, usize::try_from(length.max(0)).ok()?)?;
            }
            b'S' => {
                let length = varint(bytes)?.saturating_sub(1);
                skip(bytes, length as usize)?;
            }
            b't' => {
                for _ in 0..varint(bytes)? {
                    varint(bytes)?;
                    let length = varint(bytes)?;
                    skip(bytes, length as usize)?;
                }
            }
            b'[' => {
                let count = i32::from_be_bytes(take(bytes)?).max(0).unsigned_abs();
                shape = repeat(shape, bytes, count)?;
            }
            b'<' => {
                let count = varint(bytes)?.saturating_sub(1);
                shape = repeat(shape, bytes, count)?;
            }
            b'?' => {
                let [there] = take(bytes)?;
                shape = repeat(shape.get(1..)?, bytes, u32::from(there == 1))?;
            }
            _ => return Some(shape),
        }
    }
    Some(shape)
}

/// The group that `shape` begins with, `count` times; gives the shape behind it.
fn repeat<'s>(shape: &'s [u8], bytes: &mut &[u8], count: u32) -> Option<&'s [u8]> {
    for _ in 0..count {
        // Each takes a byte or more: a count that is too high ends with the bytes.
        walk(shape, bytes)?;
    }
    let mut depth = 0_usize;
    for (place, &element) in shape.iter().enumerate() {
        match element {
            b'[' | b'<' | b'{' => depth += 1,
            b']' | b'>' | b'}' if depth == 0 => return shape.get(place + 1..),
            b']' | b'>' | b'}' => depth -= 1,
            _ => (),
        }
    }
    None
}

fn skip(bytes: &mut &[u8], count: usize) -> Option<()> {
    *bytes = bytes.get(count..)?;
    Some(())
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let taken = *bytes.first_chunk()?;
    skip(bytes, N)?;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    for shift in [0, 7, 14, 21, 28] {
        let [byte] = take(bytes)?;
        value |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Each request's reader, for all of its versions.
#[cfg(any(test, fuzzing))]
pub(super) fn read_all(bytes: &Bytes) {
    macro_rules! read {
        ($($request:ty)*) => {$(
            for &(version, _) in <$request>::SUPPORTED_VERSIONS {
                let _ = decode::<$request>(bytes, version);
            }
        )*};
    }
    read!(ApiVersionsRequest MetadataRequest FindCoordinatorRequest JoinGroupRequest SyncGroupRequest HeartbeatRequest
        LeaveGroupRequest OffsetCommitRequest OffsetFetchRequest ListOffsetsRequest CreateTopicsRequest InitProducerIdRequest
        ConsumerGroupHeartbeatRequest AddPartitionsToTxnRequest AddOffsetsToTxnRequest TxnOffsetCommitRequest EndTxnRequest
        FetchRequest ProduceRequest);
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

    /// An empty answer of each request in each version, as the crate writes it, is one that fits; so is one with something in it.
    #[test]
    fn shapes_are_those_of_the_answers() {
        macro_rules! check {
            ($($request:ty)*) => {$(
                for &(version, shape) in <$request>::SUPPORTED_VERSIONS {
                    let answer = <$request as Request>::Response::default();
                    let mut bytes = BytesMut::new();
                    answer.encode(&mut bytes, version).unwrap();
                    assert_eq!(fits(shape, &bytes), Some(bytes.len()), "{} {version}", <$request>::NAME);
                }
            )*};
        }
        check!(ApiVersionsRequest MetadataRequest FindCoordinatorRequest JoinGroupRequest SyncGroupRequest HeartbeatRequest
            LeaveGroupRequest OffsetCommitRequest OffsetFetchRequest ListOffsetsRequest CreateTopicsRequest InitProducerIdRequest
            ConsumerGroupHeartbeatRequest FetchRequest ProduceRequest);
    }

    fn answer<R: SupportedRequest>(response: &R::Response, version: i16) -> Bytes {
        let mut bytes = BytesMut::new();
        ResponseHeader::default()
            .with_correlation_id(7)
            .encode(&mut bytes, R::Response::header_version(version))
            .unwrap();
        response.encode(&mut bytes, version).unwrap();
        bytes.freeze()
    }

    fn metadata() -> MetadataResponse {
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
    fn answers_are_read() {
        for &(version, _) in MetadataRequest::SUPPORTED_VERSIONS {
            let bytes = answer::<MetadataRequest>(&metadata(), version);
            let read = decode::<MetadataRequest>(&bytes, version).unwrap();
            assert_eq!(read.brokers, metadata().brokers);
            assert_eq!(read.topics.first().unwrap().partitions.len(), 2);
            for short in 0..bytes.len() {
                assert!(decode::<MetadataRequest>(&bytes.slice(..short), version).is_err());
            }
        }
        let member = JoinGroupResponseMember::default().with_metadata(Bytes::from_static(b"x"));
        let joined = JoinGroupResponse::default().with_members(vec![member.clone(), member]);
        let read = decode::<JoinGroupRequest>(&answer::<JoinGroupRequest>(&joined, 5), 5).unwrap();
        assert_eq!(read.members.len(), 2);
    }

    #[test]
    fn a_count_that_lies_is_refused() {
        // Correlation id, and then an array of 2,147,483,647 topics.
        let bytes = Bytes::from_static(b"\0\0\0\0\x7f\xff\xff\xff");
        assert!(decode::<ProduceRequest>(&bytes, 7).is_err());
    }

    #[test]
    fn versions_meet() {
        assert_eq!(common_version::<FetchRequest>((4, 18)), Some(11));
        assert_eq!(common_version::<FetchRequest>((0, 10)), Some(10));
        assert_eq!(common_version::<FetchRequest>((0, 9)), None);
        assert_eq!(common_version::<FetchRequest>((12, 18)), None);
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            read_all(&Bytes::from(bytes));
        }

        /// Close to a real one.
        #[test]
        fn a_changed_answer_is_read_or_refused(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
            for &(version, _) in MetadataRequest::SUPPORTED_VERSIONS {
                let mut bytes = answer::<MetadataRequest>(&metadata(), version).to_vec();
                let place = place.index(bytes.len());
                bytes[place] = byte;
                let _ = decode::<MetadataRequest>(&Bytes::from(bytes), version);
            }
        }
    }
}
