//! Encoding of Kafka's consumer protocol: `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`.
//!
//! Each is a version followed by fields in the non-flexible encoding. The bytes come from other members of the group, so nothing is
//! allocated for a length before the bytes have been checked to be present.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::member::Member;
use crate::client::settings::AssignorName;

/// Version that is written, the latest one. Later versions can only append fields.
const VERSION: i16 = 3;
/// First version with the partitions that a member owns.
const VERSION_OWNED: i16 = 1;
/// First version with the generation of these partitions (KIP-792).
const VERSION_GENERATION: i16 = 2;

/// Kafka's `Topic.MAX_NAME_LENGTH`, in bytes. The name is cloned for each partition, so the memory for it needs a bound.
const MAX_TOPIC_NAME_BYTES: usize = 249;

/// The bytes of a subscription or an assignment are invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is invalid: {reason}")]
pub(crate) struct ConsumerProtocolError {
    what: String,
    reason: &'static str,
}

/// Encodes a subscription for JoinGroup with this assignor. `owned` are the partitions that the member keeps; a `generation` of -1 means
/// none.
pub(crate) fn encode_subscription(
    assignor: AssignorName,
    topics: &[String],
    owned: &[(String, i32)],
    generation: i32,
) -> Bytes {
    let topics: BTreeSet<&str> = topics.iter().map(String::as_str).collect();
    let mut bytes = BytesMut::new();
    bytes.put_i16(VERSION);
    put_length(&mut bytes, topics.len());
    for topic in topics {
        put_string(&mut bytes, topic);
    }
    match assignor {
        AssignorName::Range | AssignorName::RoundRobin => bytes.put_i32(-1),
        // Readers of versions below 2 expect the generation in the user data.
        AssignorName::CooperativeSticky => {
            put_length(&mut bytes, size_of::<i32>());
            bytes.put_i32(generation);
        }
    }
    put_partitions(&mut bytes, owned);
    bytes.put_i32(generation);
    // The rack is null.
    bytes.put_i16(-1);
    bytes.freeze()
}

/// Decodes the subscription of a member.
pub(crate) fn decode_subscription(
    id: &str,
    instance_id: Option<&str>,
    bytes: &[u8],
) -> Result<Member, ConsumerProtocolError> {
    let read = || -> Result<Member, &'static str> {
        let mut bytes = bytes;
        let version = take_version(&mut bytes)?;
        let mut topics = Vec::new();
        for _ in 0..take_length(&mut bytes)?.ok_or("the list of topics is null")? {
            topics.push(take_topic(&mut bytes)?);
        }
        let user_data = match take_length(&mut bytes)? {
            None => &[],
            Some(length) => take(&mut bytes, length)?,
        };
        let owned = if version >= VERSION_OWNED {
            take_partitions(&mut bytes)?
        } else {
            Vec::new()
        };
        let mut generation = -1;
        if version >= VERSION_GENERATION {
            generation = bytes.try_get_i32().map_err(|_| TRUNCATED)?;
        }
        if generation < 0 {
            generation = (&*user_data).try_get_i32().unwrap_or(-1);
        }
        Ok(Member {
            id: id.to_owned(),
            instance_id: instance_id.map(str::to_owned),
            topics,
            owned,
            generation,
        })
    };
    read().map_err(|reason| ConsumerProtocolError {
        what: format!("the subscription of group member {id}"),
        reason,
    })
}

/// Encodes an assignment, which the group's leader sends to a member.
pub(crate) fn encode_assignment(partitions: &[(String, i32)]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(VERSION);
    put_partitions(&mut bytes, partitions);
    // The user data is null.
    bytes.put_i32(-1);
    bytes.freeze()
}

/// Decodes the assignment of this member.
pub(crate) fn decode_assignment(bytes: &[u8]) -> Result<Vec<(String, i32)>, ConsumerProtocolError> {
    let read = || {
        let mut bytes = bytes;
        take_version(&mut bytes)?;
        take_partitions(&mut bytes)
    };
    read().map_err(|reason| ConsumerProtocolError {
        what: "the assignment from the group leader".to_owned(),
        reason,
    })
}

fn put_length(bytes: &mut BytesMut, length: usize) {
    // Our own lists are far shorter than 2^31.
    bytes.put_i32(i32::try_from(length).unwrap_or(i32::MAX));
}

fn put_string(bytes: &mut BytesMut, text: &str) {
    // Topic names have at most 249 bytes.
    bytes.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
    bytes.put_slice(text.as_bytes());
}

fn put_partitions(bytes: &mut BytesMut, partitions: &[(String, i32)]) {
    let mut topics = BTreeMap::<&str, BTreeSet<i32>>::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().insert(*partition);
    }
    put_length(bytes, topics.len());
    for (topic, partitions) in topics {
        put_string(bytes, topic);
        put_length(bytes, partitions.len());
        for partition in partitions {
            bytes.put_i32(partition);
        }
    }
}

const TRUNCATED: &str = "it is truncated";

fn take_version(bytes: &mut &[u8]) -> Result<i16, &'static str> {
    match bytes.try_get_i16() {
        Ok(version @ 0..) => Ok(version),
        Ok(_) => Err("its version is negative"),
        Err(_) => Err(TRUNCATED),
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], &'static str> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(TRUNCATED)?;
    *bytes = rest;
    Ok(taken)
}

/// Reads a number of elements or bytes; `None` for null.
fn take_length(bytes: &mut &[u8]) -> Result<Option<usize>, &'static str> {
    match bytes.try_get_i32().map_err(|_| TRUNCATED)? {
        -1 => Ok(None),
        length => usize::try_from(length)
            .map(Some)
            .map_err(|_| "a length is negative"),
    }
}

fn take_topic(bytes: &mut &[u8]) -> Result<String, &'static str> {
    let length = bytes.try_get_i16().map_err(|_| TRUNCATED)?;
    let length = usize::try_from(length).map_err(|_| "a topic name is null")?;
    if length > MAX_TOPIC_NAME_BYTES {
        return Err("a topic name is longer than 249 bytes");
    }
    let name = std::str::from_utf8(take(bytes, length)?);
    name.map(str::to_owned)
        .map_err(|_| "a topic name is not UTF-8")
}

fn take_partitions(bytes: &mut &[u8]) -> Result<Vec<(String, i32)>, &'static str> {
    let mut partitions = Vec::new();
    for _ in 0..take_length(bytes)?.ok_or("the list of topics is null")? {
        let topic = take_topic(bytes)?;
        for _ in 0..take_length(bytes)?.ok_or("a list of partitions is null")? {
            let partition = bytes.try_get_i32().map_err(|_| TRUNCATED)?;
            partitions.push((topic.clone(), partition));
        }
    }
    Ok(partitions)
}
