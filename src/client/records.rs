//! Records as Kafka stores them: the record batch of format v2 (KIP-98; "Record Batch" in Kafka's protocol guide), read and written
//! without ever making a record an object of its own. Pure. Bytes from outside give `None`, never a panic.

/// Bytes of a batch's header.
pub(crate) const BATCH_HEADER: usize = 61;

/// Of the header, what comes before the bytes that `batchLength` counts.
pub(crate) const LENGTH_END: usize = 12;

/// Where the bytes begin that the CRC covers: at the attributes.
const CRC_FROM: usize = 21;

/// The time of a record that has none (`RecordBatch.NO_TIMESTAMP`).
pub(crate) const NO_TIMESTAMP: i64 = -1;

/// A batch's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// Offset of the first record that was in it; compaction may have taken that one away.
    pub(crate) base_offset: i64,
    /// Bytes of the whole batch, header included.
    pub(crate) size: usize,
    /// Bits: codec (0-2), time is the broker's (3), transactional (4), control (5).
    pub(crate) attributes: i16,
    /// The last offset of the batch is this much above the first.
    pub(crate) last_offset_delta: i32,
    /// Milliseconds since 1970; the records' times are relative to it.
    pub(crate) base_timestamp: i64,
    /// The newest of them, or the broker's time of appending.
    pub(crate) max_timestamp: i64,
    /// Who wrote it; -1 where the producer was not idempotent.
    pub(crate) producer_id: i64,
    /// Records in it.
    pub(crate) count: i32,
    crc: u32,
}

/// What stands at the place of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A batch, whole.
    Batch(BatchHeader),
    /// A message of format v0 or v1 (before Kafka 0.11), as its magic byte says.
    Old(u8),
    /// The rest of a batch was cut off by the size of the fetch.
    Partial,
}

/// The offsets of a batch are this and 32 bits more, so that none of them, nor the one behind it, is beyond what an offset can be.
const MAX_BASE_OFFSET: i64 = i64::MAX - (1 << 32);

impl BatchHeader {
    /// What stands at the beginning of `bytes`; none where it is nothing that Kafka writes.
    pub(crate) fn find(bytes: &[u8]) -> Option<Found> {
        let (Some(length), Some(&magic)) = (be(bytes, 8).map(i32::from_be_bytes), bytes.get(16))
        else {
            return Some(Found::Partial);
        };
        if magic < 2 {
            return Some(Found::Old(magic));
        }
        let size = usize::try_from(length).ok()?.checked_add(LENGTH_END)?;
        if magic > 2 || size < BATCH_HEADER {
            return None;
        }
        if size > bytes.len() {
            return Some(Found::Partial);
        }
        let header = Self {
            base_offset: i64::from_be_bytes(be(bytes, 0)?),
            size,
            crc: u32::from_be_bytes(be(bytes, 17)?),
            attributes: i16::from_be_bytes(be(bytes, 21)?),
            last_offset_delta: i32::from_be_bytes(be(bytes, 23)?),
            base_timestamp: i64::from_be_bytes(be(bytes, 27)?),
            max_timestamp: i64::from_be_bytes(be(bytes, 35)?),
            producer_id: i64::from_be_bytes(be(bytes, 43)?),
            count: i32::from_be_bytes(be(bytes, 57)?),
        };
        let sound = (0..=MAX_BASE_OFFSET).contains(&header.base_offset)
            && header.last_offset_delta >= 0
            && header.count >= 0;
        sound.then_some(Found::Batch(header))
    }

    /// Whether the CRC of the batch at the beginning of `bytes`, which is whole, is that of its bytes.
    pub(crate) fn is_intact(&self, bytes: &[u8]) -> bool {
        bytes
            .get(CRC_FROM..self.size)
            .is_some_and(|covered| crc32c::crc32c(covered) == self.crc)
    }

    /// The offset behind its last.
    pub(crate) fn next_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta) + 1
    }

    /// Id of the compression type (`settings::Compression`).
    pub(crate) fn compression_id(&self) -> u8 {
        (self.attributes & 7) as u8
    }

    /// All its records have the broker's time of appending.
    pub(crate) fn has_append_time(&self) -> bool {
        self.attributes & 8 != 0
    }

    /// It belongs to a transaction.
    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & 16 != 0
    }

    /// It holds a transaction's marker and no record of anybody's.
    pub(crate) fn is_control(&self) -> bool {
        self.attributes & 32 != 0
    }
}

/// What a producer says of a batch it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeaderFields {
    /// Codec in the three lowest bits.
    pub(crate) attributes: i16,
    /// Time of the first record.
    pub(crate) base_timestamp: i64,
    /// The newest time in it.
    pub(crate) max_timestamp: i64,
    /// Producer id and epoch (KIP-98); -1 where the producer is not idempotent.
    pub(crate) producer: (i64, i16),
    /// Number of the first record for its partition; -1 where the producer is not idempotent.
    pub(crate) base_sequence: i32,
    /// Records in it; at least 1.
    pub(crate) count: i32,
}

impl HeaderFields {
    /// The header in front of `records`, which are encoded, and compressed where the attributes say so.
    pub(crate) fn header(&self, records: &[u8]) -> [u8; BATCH_HEADER] {
        let mut header = [0; BATCH_HEADER];
        let length = (BATCH_HEADER - LENGTH_END).saturating_add(records.len());
        put(&mut header, 8, (length as i32).to_be_bytes());
        // The leader's epoch is the broker's to say.
        put(&mut header, 12, (-1_i32).to_be_bytes());
        put(&mut header, 16, [2]);
        put(&mut header, 21, self.attributes.to_be_bytes());
        put(&mut header, 23, self.count.wrapping_sub(1).to_be_bytes());
        put(&mut header, 27, self.base_timestamp.to_be_bytes());
        put(&mut header, 35, self.max_timestamp.to_be_bytes());
        put(&mut header, 43, self.producer.0.to_be_bytes());
        put(&mut header, 51, self.producer.1.to_be_bytes());
        put(&mut header, 53, self.base_sequence.to_be_bytes());
        put(&mut header, 57, self.count.to_be_bytes());
        let covered = header.get(CRC_FROM..).unwrap_or_default();
        let crc = crc32c::crc32c_append(crc32c::crc32c(covered), records);
        put(&mut header, 17, crc.to_be_bytes());
        header
    }
}

/// A record within a batch: a view of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawRecord<'a> {
    /// Its time, relative to the batch's.
    pub(crate) timestamp_delta: i64,
    /// Its offset, relative to the batch's.
    pub(crate) offset_delta: i32,
    /// Its key.
    pub(crate) key: Option<&'a [u8]>,
    /// Its value.
    pub(crate) value: Option<&'a [u8]>,
    /// Its headers.
    pub(crate) headers: Headers<'a>,
}

impl<'a> RawRecord<'a> {
    /// The record at the beginning of `bytes`, and how many bytes it takes there; none where `bytes` does not begin with a whole one.
    #[inline(always)]
    pub(crate) fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let mut cursor = Cursor { bytes, at: 0 };
        let length = cursor.length()??;
        let end = cursor.at.checked_add(length)?;
        let mut cursor = Cursor {
            bytes: bytes.get(..end)?,
            at: cursor.at.checked_add(1)?,
        };
        let timestamp_delta = cursor.varint()?;
        let offset_delta = cursor.varint()? as i32;
        let key = cursor.bytes()?;
        let value = cursor.bytes()?;
        let headers = Headers(cursor.rest()?);
        let record = Self {
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers,
        };
        Some((record, end))
    }

    /// How many bytes the record at the beginning of `bytes` takes there, its length included, if that can be told; it may be more than
    /// are there.
    pub(crate) fn size(bytes: &[u8]) -> Option<usize> {
        let mut cursor = Cursor { bytes, at: 0 };
        let length = cursor.length()??;
        cursor.at.checked_add(length)
    }
}

/// A record's headers, in the form that batches have them in: a count, then name and value of each with their lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Headers<'a>(pub(crate) &'a [u8]);

impl Default for Headers<'_> {
    fn default() -> Self {
        Headers(&[0])
    }
}

impl<'a> Headers<'a> {
    /// Name and value of each, in their order; a value may be none. What cannot be read ends the list.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let mut cursor = Cursor {
            bytes: self.0,
            at: 0,
        };
        let mut left = cursor.varint().unwrap_or_default();
        std::iter::from_fn(move || {
            left = left.checked_sub(1).filter(|left| *left >= 0)?;
            Some((cursor.bytes()??, cursor.bytes()?))
        })
    }

    /// How many there are.
    pub(crate) fn len(self) -> usize {
        let mut cursor = Cursor {
            bytes: self.0,
            at: 0,
        };
        usize::try_from(cursor.varint().unwrap_or_default()).unwrap_or_default()
    }

    /// Their bytes without the count.
    fn entries(self) -> &'a [u8] {
        let mut cursor = Cursor {
            bytes: self.0,
            at: 0,
        };
        match cursor.varint() {
            Some(_) => cursor.rest().unwrap_or_default(),
            None => &[],
        }
    }
}

/// Headers being put together; the buffer is used again.
#[derive(Debug, Clone)]
pub(crate) struct HeadersBuffer(Vec<u8>);

impl Default for HeadersBuffer {
    fn default() -> Self {
        Self(vec![0])
    }
}

impl HeadersBuffer {
    /// `headers`, and room for `more` behind them.
    pub(crate) fn extend(headers: Headers<'_>, more: usize) -> Self {
        let mut bytes = Vec::with_capacity(headers.0.len() + 64 * more);
        write_varint(&mut bytes, (headers.len() + more) as i64);
        bytes.extend_from_slice(headers.entries());
        Self(bytes)
    }

    /// Begins a list of so many.
    pub(crate) fn begin(&mut self, count: usize) {
        self.0.clear();
        write_varint(&mut self.0, count as i64);
    }

    /// One of those that were announced.
    pub(crate) fn push(&mut self, name: &[u8], value: Option<&[u8]>) {
        write_varint(&mut self.0, name.len() as i64);
        self.0.extend_from_slice(name);
        write_varint(&mut self.0, value.map_or(-1, |value| value.len() as i64));
        self.0.extend_from_slice(value.unwrap_or_default());
    }

    /// What was put together.
    pub(crate) fn headers(&self) -> Headers<'_> {
        Headers(&self.0)
    }
}

/// Reads on from a place.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A zig-zag varint.
    #[inline(always)]
    fn varint(&mut self) -> Option<i64> {
        let first = *self.bytes.get(self.at)?;
        self.at += 1;
        if first < 0x80 {
            return Some(unzigzag(u64::from(first)));
        }
        self.long_varint(first)
    }

    #[inline]
    fn long_varint(&mut self, first: u8) -> Option<i64> {
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(unzigzag(value));
            }
            shift += 7;
            if shift > 63 {
                return None;
            }
        }
    }

    /// A length; -1 stands for nothing there.
    #[inline(always)]
    fn length(&mut self) -> Option<Option<usize>> {
        match self.varint()? {
            -1 => Some(None),
            length => usize::try_from(length).ok().map(Some),
        }
    }

    /// A length and so many bytes.
    #[inline(always)]
    #[allow(clippy::option_option, reason = "unreadable and absent are two things")]
    fn bytes(&mut self) -> Option<Option<&'a [u8]>> {
        let Some(length) = self.length()? else {
            return Some(None);
        };
        let end = self.at.checked_add(length)?;
        let bytes = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(Some(bytes))
    }

    fn rest(&self) -> Option<&'a [u8]> {
        self.bytes.get(self.at..)
    }
}

#[inline(always)]
fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

#[inline(always)]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Bytes of a varint.
#[inline(always)]
pub(crate) fn varint_len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends a record to the body of a batch. For what is rare: what is routed is written in place (`batch`).
pub(crate) fn write_record(out: &mut Vec<u8>, record: &RawRecord<'_>) {
    let (key, value) = (record.key, record.value);
    let length_of = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
    let size_of =
        |bytes: Option<&[u8]>| varint_len(length_of(bytes)) + bytes.map_or(0, <[u8]>::len);
    let offset_delta = i64::from(record.offset_delta);
    let length = 1
        + varint_len(record.timestamp_delta)
        + varint_len(offset_delta)
        + size_of(key)
        + size_of(value)
        + record.headers.0.len();
    write_varint(out, length as i64);
    out.push(0);
    write_varint(out, record.timestamp_delta);
    write_varint(out, offset_delta);
    for bytes in [key, value] {
        write_varint(out, length_of(bytes));
        out.extend_from_slice(bytes.unwrap_or_default());
    }
    out.extend_from_slice(record.headers.0);
}

fn write_varint(out: &mut Vec<u8>, value: i64) {
    let mut bytes = [0; 10];
    let mut writer = Writer {
        out: &mut bytes,
        at: 0,
    };
    writer.varint(value);
    let end = writer.at;
    out.extend_from_slice(bytes.get(..end).unwrap_or_default());
}

/// Writes into a buffer that has room for all of it; what has none is left out.
pub(crate) struct Writer<'a> {
    /// The room.
    pub(crate) out: &'a mut [u8],
    /// Where the next byte goes.
    pub(crate) at: usize,
}

impl Writer<'_> {
    /// A byte.
    #[inline(always)]
    pub(crate) fn byte(&mut self, byte: u8) {
        if let Some(place) = self.out.get_mut(self.at) {
            *place = byte;
            self.at += 1;
        }
    }

    /// A zig-zag varint.
    #[inline(always)]
    pub(crate) fn varint(&mut self, value: i64) {
        let mut value = zigzag(value);
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    /// Bytes as they are. Short ones, which most keys, values and prefixes are, are copied in two overlapping pieces of a fixed size: a
    /// call of `memcpy` costs more than that, with musl's several times more.
    #[inline(always)]
    pub(crate) fn copy(&mut self, bytes: &[u8]) {
        let length = bytes.len();
        let Some(out) = self.out.get_mut(self.at..self.at + length) else {
            return;
        };
        self.at += length;
        match length {
            16..=32 => ends::<16>(out, bytes),
            8..=15 => ends::<8>(out, bytes),
            4..=7 => ends::<4>(out, bytes),
            0..=3 => {
                for (place, &byte) in out.iter_mut().zip(bytes) {
                    *place = byte;
                }
            }
            _ => out.copy_from_slice(bytes),
        }
    }
}

/// Copies the first and the last `N` bytes, which are all of them where there are `N` to `2 * N`.
#[inline(always)]
fn ends<const N: usize>(out: &mut [u8], bytes: &[u8]) {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) {
        if let Some(place) = out.first_chunk_mut() {
            *place = *first;
        }
        if let Some(place) = out.last_chunk_mut() {
            *place = *last;
        }
    }
}

#[inline]
fn be<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn put<const N: usize>(header: &mut [u8; BATCH_HEADER], at: usize, bytes: [u8; N]) {
    if let Some(place) = header.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = bytes;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_varint(value: i64, bytes: &[u8]) {
        let mut written = Vec::new();
        write_varint(&mut written, value);
        assert_eq!(written, bytes);
        assert_eq!(varint_len(value), bytes.len());
        let mut cursor = Cursor { bytes, at: 0 };
        assert_eq!(cursor.varint(), Some(value));
        assert_eq!(cursor.at, bytes.len());
    }

    /// As protocol buffers have them ("ZigZag"), which Kafka's guide refers to.
    #[test]
    fn varints() {
        check_varint(0, &[0]);
        check_varint(-1, &[1]);
        check_varint(1, &[2]);
        check_varint(63, &[0x7e]);
        check_varint(-64, &[0x7f]);
        check_varint(64, &[0x80, 1]);
        check_varint(i64::MAX, &[0xfe, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
        check_varint(i64::MIN, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
        for endless in [&[0x80; 11][..], &[0xff; 11], &[0x80], &[]] {
            let mut cursor = Cursor {
                bytes: endless,
                at: 0,
            };
            assert_eq!(cursor.varint(), None);
        }
    }

    /// A batch of one record, put together by Kafka's protocol guide; its CRC is left at zero.
    const BATCH: [u8; 73] = [
        0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 61, 0, 0, 0, 7, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 9, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 0, 0, 0, 1, 22, 0, 0, 0, 2, 97, 2, 49, 2, 2, 104, 0,
    ];

    #[test]
    fn a_header_is_found() {
        let Some(Found::Batch(header)) = BatchHeader::find(&BATCH) else {
            unreachable!("no batch");
        };
        assert_eq!((header.base_offset, header.size, header.count), (5, 73, 1));
        assert_eq!((header.base_timestamp, header.next_offset()), (9, 6));
        for short in 0..BATCH.len() {
            assert_eq!(
                BatchHeader::find(BATCH.get(..short).unwrap()),
                Some(Found::Partial)
            );
        }
        for (magic, found) in [
            (0, Some(Found::Old(0))),
            (1, Some(Found::Old(1))),
            (3, None),
        ] {
            let mut bytes = BATCH;
            bytes[16] = magic;
            assert_eq!(BatchHeader::find(&bytes), found);
        }
        // An offset that has no next one, and one before the first.
        for high in [0x7f, 0xff] {
            let mut bytes = BATCH;
            bytes[..8].fill(0xff);
            bytes[0] = high;
            assert_eq!(BatchHeader::find(&bytes), None);
        }
    }

    #[test]
    fn a_batch_that_is_written_is_intact_and_a_changed_one_is_not() {
        let records = b"\x16\0\0\0\x02a\x021\x02\x02h\0";
        let stamp = HeaderFields {
            attributes: 0,
            base_timestamp: 9,
            max_timestamp: 9,
            producer: (-1, -1),
            base_sequence: -1,
            count: 1,
        };
        let batch = [stamp.header(records).as_slice(), records].concat();
        let Some(Found::Batch(header)) = BatchHeader::find(&batch) else {
            unreachable!("no batch");
        };
        assert!(header.is_intact(&batch));
        for place in CRC_FROM..batch.len() {
            let mut changed = batch.clone();
            changed[place] ^= 1;
            assert!(!header.is_intact(&changed));
        }
    }

    #[test]
    fn headers_are_listed_and_extended() {
        let mut buffer = HeadersBuffer::default();
        assert_eq!(buffer.headers().iter().count(), 0);
        buffer.begin(2);
        buffer.push(b"a", Some(b"1"));
        buffer.push(b"", None);
        let mut extended = HeadersBuffer::extend(buffer.headers(), 1);
        extended.push(b"b", Some(b""));
        let expected: [(&[u8], Option<&[u8]>); 3] =
            [(b"a", Some(b"1")), (b"", None), (b"b", Some(b""))];
        assert_eq!(extended.headers().iter().collect::<Vec<_>>(), expected);
        // Behind a count that is too high there is nothing.
        assert_eq!(Headers(&[20, 2, b'a', 0]).iter().count(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            BatchHeader::find(&bytes);
            RawRecord::size(&bytes);
            if let Some((record, size)) = RawRecord::read(&bytes) {
                prop_assert!(size <= bytes.len());
                prop_assert!(record.headers.iter().count() <= bytes.len());
            }
            Headers(&bytes).iter().count();
        }

        #[test]
        fn any_length_is_copied(bytes in prop::collection::vec(any::<u8>(), 0..80), before in 0..5_usize) {
            let mut out = vec![0; before + bytes.len()];
            let mut writer = Writer { out: &mut out, at: before };
            writer.copy(&bytes);
            prop_assert_eq!(writer.at, before + bytes.len());
            prop_assert_eq!(out.get(before..).unwrap(), bytes.as_slice());
        }
    }
}
