//! The bytes of Kafka's consumer protocol (`ConsumerProtocolSubscription`, `ConsumerProtocolAssignment`): a version and fields in the old
//! encoding. They come from any member of the group, so they are read here without believing a length before its bytes are there.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Member;
use crate::client::settings::AssignorName;

/// The newest version, which we write, as Java does. A newer one only has further fields behind these.
const VERSION: i16 = 3;
/// The first version with the partitions that a member has.
const VERSION_OWNED: i16 = 1;
/// The first version with the generation in which it got them (KIP-792).
const VERSION_GENERATION: i16 = 2;

/// Kafka's `Topic.MAX_NAME_LENGTH`, in bytes. A longer one would be there once for each of its partitions.
const LONGEST_NAME: usize = 249;

/// A member's or the leader's bytes cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be read: {reason}")]
pub(crate) struct Malformed {
    what: String,
    reason: &'static str,
}

/// A subscription, for joining a group by this assignor. `owned` is what the member has and did not let go of, -1 no generation.
pub(crate) fn subscription(
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
        // Members that are older than version 2 look for it here.
        AssignorName::CooperativeSticky => {
            put_length(&mut bytes, size_of::<i32>());
            bytes.put_i32(generation);
        }
    }
    put_partitions(&mut bytes, owned);
    bytes.put_i32(generation);
    // No rack.
    bytes.put_i16(-1);
    bytes.freeze()
}

/// Reads the subscription of this member.
pub(crate) fn parse_subscription(
    id: &str,
    instance_id: Option<&str>,
    bytes: &[u8],
) -> Result<Member, Malformed> {
    let read = || -> Result<Member, &'static str> {
        let mut bytes = bytes;
        let version = take_version(&mut bytes)?;
        let mut topics = Vec::new();
        for _ in 0..take_length(&mut bytes)?.ok_or("no topics")? {
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
            generation = bytes.try_get_i32().map_err(|_| CUT_OFF)?;
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
    read().map_err(|reason| Malformed {
        what: format!("the subscription of the group's member {id}"),
        reason,
    })
}

/// An assignment, as the leader gives it to a member.
pub(crate) fn assignment(partitions: &[(String, i32)]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(VERSION);
    put_partitions(&mut bytes, partitions);
    // No user data.
    bytes.put_i32(-1);
    bytes.freeze()
}

/// Reads the partitions that the leader gave us.
pub(crate) fn parse_assignment(bytes: &[u8]) -> Result<Vec<(String, i32)>, Malformed> {
    let read = || {
        let mut bytes = bytes;
        take_version(&mut bytes)?;
        take_partitions(&mut bytes)
    };
    read().map_err(|reason| Malformed {
        what: "the assignment of the group's leader".to_owned(),
        reason,
    })
}

fn put_length(bytes: &mut BytesMut, length: usize) {
    // Of what is ours: far below 2^31.
    bytes.put_i32(i32::try_from(length).unwrap_or(i32::MAX));
}

fn put_string(bytes: &mut BytesMut, text: &str) {
    // Names of topics have at most 249 bytes.
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

const CUT_OFF: &str = "it is cut off";

fn take_version(bytes: &mut &[u8]) -> Result<i16, &'static str> {
    match bytes.try_get_i16() {
        Ok(version @ 0..) => Ok(version),
        Ok(_) => Err("its version is below 0"),
        Err(_) => Err(CUT_OFF),
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], &'static str> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(CUT_OFF)?;
    *bytes = rest;
    Ok(taken)
}

/// A number of elements or bytes; none for what is not there.
fn take_length(bytes: &mut &[u8]) -> Result<Option<usize>, &'static str> {
    match bytes.try_get_i32().map_err(|_| CUT_OFF)? {
        -1 => Ok(None),
        length => usize::try_from(length)
            .map(Some)
            .map_err(|_| "a length below 0"),
    }
}

fn take_topic(bytes: &mut &[u8]) -> Result<String, &'static str> {
    let length = bytes.try_get_i16().map_err(|_| CUT_OFF)?;
    let length = usize::try_from(length).map_err(|_| "a topic without a name")?;
    if length > LONGEST_NAME {
        return Err("a topic's name is longer than 249 bytes");
    }
    let name = std::str::from_utf8(take(bytes, length)?);
    name.map(str::to_owned)
        .map_err(|_| "a topic's name is not UTF-8")
}

fn take_partitions(bytes: &mut &[u8]) -> Result<Vec<(String, i32)>, &'static str> {
    let mut partitions = Vec::new();
    for _ in 0..take_length(bytes)?.ok_or("no partitions")? {
        let topic = take_topic(bytes)?;
        for _ in 0..take_length(bytes)?.ok_or("a topic without partitions")? {
            let partition = bytes.try_get_i32().map_err(|_| CUT_OFF)?;
            partitions.push((topic.clone(), partition));
        }
    }
    Ok(partitions)
}
