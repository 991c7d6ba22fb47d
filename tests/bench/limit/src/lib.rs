//! The part of Kafka's protocol that the bench suite's programs `limit` and `latency` need: requests and record batches (message format
//! v2), at the lowest cost. It is not a client: one broker, no compression, and malformed data ends the program.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Every error ends the program.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Size of a batch's header, before its first record.
const BATCH_HEADER: usize = 61;
/// Offset in a batch from which on its checksum covers it.
const CHECKSUM_START: usize = 21;
/// Maximum bytes of a fetch response.
const FETCH_BYTES: i32 = 4 << 20;
/// Milliseconds that a fetch waits for a first record.
const FETCH_WAIT: i32 = 100;

/// Returns a variable of the environment.
pub fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}").into())
}

/// A connection to the broker. Responses arrive in the order of the requests.
pub struct Connection {
    stream: TcpStream,
    response: Vec<u8>,
}

impl Connection {
    /// Connects to `host:port`.
    pub fn open(broker: &str) -> Result<Self> {
        let stream = TcpStream::connect(broker)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            response: Vec::new(),
        })
    }

    /// Returns the same connection for another thread: one sends, the other receives.
    pub fn share(&self) -> Result<Self> {
        Ok(Self {
            stream: self.stream.try_clone()?,
            response: Vec::new(),
        })
    }

    /// Requests the records of the topic's partition 0 from an offset on (Fetch, version 4).
    pub fn send_fetch(&mut self, topic: &str, offset: i64) -> Result<()> {
        let mut request = Request::new(1, 4);
        request.i32(-1);
        request.i32(FETCH_WAIT);
        request.i32(1);
        request.i32(FETCH_BYTES);
        request.i8(0);
        request.i32(1);
        request.string(topic);
        request.i32(1);
        request.i32(0);
        request.i64(offset);
        request.i32(FETCH_BYTES);
        self.stream.write_all(request.finish(0))?;
        Ok(())
    }

    /// Returns the batches of a fetch response, the last of which can be incomplete.
    pub fn receive_fetch(&mut self) -> Result<&[u8]> {
        let response = self.receive()?;
        // Correlation id, throttle time, number of topics.
        let mut at = 12;
        at += 2 + usize::try_from(i16_at(response, at))?;
        // Number of partitions, partition index.
        at += 8;
        check(i16_at(response, at))?;
        // High watermark, last stable offset, number of aborted transactions.
        at += 2 + 8 + 8 + 4;
        let length = usize::try_from(i32_at(response, at))?;
        Ok(&response[at + 4..at + 4 + length])
    }

    /// Sends a batch to the topic's partition 0 with acks=all (Produce, version 3).
    pub fn send_produce(&mut self, topic: &str, batch: &[u8]) -> Result<()> {
        let mut request = Request::new(0, 3);
        request.i16(-1);
        request.i16(-1);
        request.i32(30_000);
        request.i32(1);
        request.string(topic);
        request.i32(1);
        request.i32(0);
        request.i32(i32::try_from(batch.len())?);
        self.stream.write_all(request.finish(batch.len()))?;
        self.stream.write_all(batch)?;
        Ok(())
    }

    /// Waits for the acknowledgement of a batch.
    pub fn receive_produce(&mut self) -> Result<()> {
        let response = self.receive()?;
        // Correlation id, number of topics, topic, number of partitions, partition index.
        let mut at = 8;
        at += 2 + usize::try_from(i16_at(response, at))? + 8;
        check(i16_at(response, at))
    }

    fn receive(&mut self) -> Result<&[u8]> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length))?;
        // It never shrinks: bytes that were cut off would have to be zeroed again.
        if self.response.len() < length {
            self.response.resize(length, 0);
        }
        self.stream.read_exact(&mut self.response[..length])?;
        Ok(&self.response[..length])
    }
}

fn check(code: i16) -> Result<()> {
    match code {
        0 => Ok(()),
        code => Err(format!("the broker responds with error {code}").into()),
    }
}

struct Request(Vec<u8>);

impl Request {
    fn new(api: i16, version: i16) -> Self {
        let mut request = Self(vec![0; 4]);
        request.i16(api);
        request.i16(version);
        request.i32(0);
        request.string("bench");
        request
    }

    fn i8(&mut self, value: i8) {
        self.0.extend(value.to_be_bytes());
    }

    fn i16(&mut self, value: i16) {
        self.0.extend(value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.0.extend(value.to_be_bytes());
    }

    fn string(&mut self, value: &str) {
        self.i16(value.len() as i16);
        self.0.extend(value.as_bytes());
    }

    /// Returns the request's bytes; `more` bytes follow them.
    fn finish(&mut self, more: usize) -> &[u8] {
        let length = (self.0.len() - 4 + more) as i32;
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        &self.0
    }
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    i64::from_be_bytes(value)
}

/// Takes the next complete batch from the front of a fetch response.
pub fn next_batch<'a>(batches: &mut &'a [u8]) -> Option<Batch<'a>> {
    if batches.len() < BATCH_HEADER {
        return None;
    }
    let length = 12 + i32_at(batches, 8) as usize;
    let bytes = batches.get(..length)?;
    *batches = &batches[length..];
    Some(Batch(bytes))
}

/// A fetched batch.
pub struct Batch<'a>(&'a [u8]);

impl<'a> Batch<'a> {
    /// Returns the offset after its last record.
    pub fn next_offset(&self) -> i64 {
        i64_at(self.0, 0) + i64::from(i32_at(self.0, 23)) + 1
    }

    /// Returns its records after checking its checksum.
    pub fn records(&self) -> Result<Records<'a>> {
        if i32_at(self.0, 17) as u32 != crc32c::crc32c(&self.0[CHECKSUM_START..]) {
            return Err("a batch's checksum is wrong".into());
        }
        Ok(Records {
            bytes: self.0,
            at: BATCH_HEADER,
            left: i32_at(self.0, 57),
            base_timestamp: i64_at(self.0, 27),
        })
    }
}

/// A view of a record in its batch.
pub struct Record<'a> {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The key, if the record has one.
    pub key: Option<&'a [u8]>,
    /// The value; empty if the record has none.
    pub value: &'a [u8],
    /// The encoded headers, beginning with their number.
    pub headers: &'a [u8],
}

/// The records of a batch.
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    left: i32,
    base_timestamp: i64,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Record<'a>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let bytes = self.bytes;
        let mut at = self.at;
        let length = read_varint(bytes, &mut at) as usize;
        let end = at + length;
        // The attributes, of which no bit is used.
        at += 1;
        let timestamp = self.base_timestamp + read_varint(bytes, &mut at);
        read_varint(bytes, &mut at);
        let key = read_bytes(bytes, &mut at);
        let value = read_bytes(bytes, &mut at).unwrap_or_default();
        self.at = end;
        Some(Record {
            timestamp,
            key,
            value,
            headers: &bytes[at..end],
        })
    }
}

#[inline(always)]
fn read_bytes<'a>(bytes: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let length = usize::try_from(read_varint(bytes, at)).ok()?;
    let found = &bytes[*at..*at + length];
    *at += length;
    Some(found)
}

#[inline(always)]
fn read_varint(bytes: &[u8], at: &mut usize) -> i64 {
    let mut value = 0_u64;
    let mut shift = 0;
    loop {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return (value >> 1) as i64 ^ -((value & 1) as i64);
        }
        shift += 7;
    }
}

#[inline(always)]
fn write_varint(out: &mut Vec<u8>, value: i64) {
    let mut left = zigzag(value);
    while left >= 128 {
        out.push(left as u8 | 128);
        left >>= 7;
    }
    out.push(left as u8);
}

#[inline(always)]
fn varint_length(value: i64) -> usize {
    (70 - (zigzag(value) | 1).leading_zeros() as usize) / 7
}

#[inline(always)]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// A batch under construction.
pub struct NewBatch {
    bytes: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl NewBatch {
    /// Returns an empty batch with room for `capacity` bytes; reuses the buffer `bytes` of an earlier batch.
    pub fn new(mut bytes: Vec<u8>, capacity: usize) -> Self {
        bytes.clear();
        bytes.reserve(capacity);
        bytes.resize(BATCH_HEADER, 0);
        Self {
            bytes,
            count: 0,
            base_timestamp: 0,
            max_timestamp: 0,
        }
    }

    /// True if it has no record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Size in bytes so far.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a record with a prefix before its value.
    #[inline(always)]
    pub fn push(&mut self, record: &Record<'_>, prefix: &[u8]) {
        if self.count == 0 {
            self.base_timestamp = record.timestamp;
            self.max_timestamp = record.timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        let timestamp = record.timestamp - self.base_timestamp;
        let offset = i64::from(self.count);
        let (key, key_length) = match record.key {
            Some(key) => (key, key.len() as i64),
            None => (&[][..], -1),
        };
        let value_length = (prefix.len() + record.value.len()) as i64;
        let length = 1
            + varint_length(timestamp)
            + varint_length(offset)
            + varint_length(key_length)
            + key.len()
            + varint_length(value_length)
            + value_length as usize
            + record.headers.len();
        let out = &mut self.bytes;
        write_varint(out, length as i64);
        out.push(0);
        write_varint(out, timestamp);
        write_varint(out, offset);
        write_varint(out, key_length);
        out.extend_from_slice(key);
        write_varint(out, value_length);
        out.extend_from_slice(prefix);
        out.extend_from_slice(record.value);
        out.extend_from_slice(record.headers);
        self.count += 1;
    }

    /// Completes the header and returns the bytes.
    pub fn finish(mut self) -> Vec<u8> {
        let bytes = &mut self.bytes;
        let length = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[12..16].copy_from_slice(&(-1_i32).to_be_bytes());
        bytes[16] = 2;
        bytes[23..27].copy_from_slice(&(self.count - 1).to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        // No producer id, epoch and sequence number: not idempotent.
        bytes[43..57].fill(0xff);
        bytes[57..61].copy_from_slice(&self.count.to_be_bytes());
        let checksum = crc32c::crc32c(&bytes[CHECKSUM_START..]);
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
        self.bytes
    }
}
