//! The header of a record batch: 61 bytes in front of its records.
//!
//! | offset | bytes | field | offset | bytes | field |
//! |---|---|---|---|---|---|
//! | 0 | 8 | baseOffset | 27 | 8 | baseTimestamp |
//! | 8 | 4 | batchLength | 35 | 8 | maxTimestamp |
//! | 12 | 4 | partitionLeaderEpoch | 43 | 8 | producerId |
//! | 16 | 1 | magic | 51 | 2 | producerEpoch |
//! | 17 | 4 | crc | 53 | 4 | baseSequence |
//! | 21 | 2 | attributes | 57 | 4 | records count |
//! | 23 | 4 | lastOffsetDelta | | | |

/// Size of the header in bytes (`DefaultRecordBatch.RECORD_BATCH_OVERHEAD`).
pub(crate) const BATCH_HEADER_SIZE: usize = 61;

/// Bytes of the header that `batchLength` does not count: `baseOffset` and `batchLength` itself (`Records.LOG_OVERHEAD`).
const LOG_OVERHEAD: usize = 12;

/// Start of the bytes that the CRC covers: `attributes`.
const CRC_START: usize = 21;

/// Timestamp of a record without one (`RecordBatch.NO_TIMESTAMP`).
pub(crate) const NO_TIMESTAMP: i64 = -1;

/// Attribute bits 0 to 2: the compression type.
const COMPRESSION_MASK: i16 = 0b111;

/// Attribute bit 3: the timestamp type is LogAppendTime.
const LOG_APPEND_TIME: i16 = 1 << 3;

/// Attribute bit 4: the batch belongs to a transaction.
pub(crate) const TRANSACTIONAL: i16 = 1 << 4;

/// Attribute bit 5: the batch holds a control record.
const CONTROL: i16 = 1 << 5;

/// Largest accepted `baseOffset`. Offsets in a batch are up to 2^31 above it, so every offset and the next one fit an `i64`.
const MAX_BASE_OFFSET: i64 = i64::MAX - (1 << 32);

/// Header of a record batch that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// Offset of the first record at the time of writing. Compaction may have removed that record.
    pub(crate) base_offset: i64,
    /// Size of the batch in bytes, header included.
    pub(crate) size: usize,
    /// Bits: compression type (0-2), LogAppendTime (3), transactional (4), control (5).
    pub(crate) attributes: i16,
    /// Offset of the last record minus `base_offset`; compaction does not change it.
    pub(crate) last_offset_delta: i32,
    /// Milliseconds since 1970. Timestamps of the records are relative to it.
    pub(crate) base_timestamp: i64,
    /// Largest timestamp of the records, or the time of appending if the timestamp type is LogAppendTime.
    pub(crate) max_timestamp: i64,
    /// -1 if the producer was not idempotent.
    pub(crate) producer_id: i64,
    /// Number of records in the batch.
    pub(crate) count: i32,
    crc: u32,
}

/// Result of parsing the bytes at the start of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParsedHeader {
    /// The header of a complete batch.
    Batch(BatchHeader),
    /// A message of format v0 or v1 (before Kafka 0.11), with its magic byte.
    Legacy(u8),
    /// The batch is incomplete, because a broker cuts the last batch of a response at the size limit of the fetch.
    Partial,
}

impl BatchHeader {
    /// Parses the header at the start of `bytes`. Returns `None` if the bytes are not a batch in a known format.
    pub(crate) fn parse(bytes: &[u8]) -> Option<ParsedHeader> {
        let (Some(length), Some(&magic)) = (be(bytes, 8).map(i32::from_be_bytes), bytes.get(16))
        else {
            return Some(ParsedHeader::Partial);
        };
        if magic < 2 {
            return Some(ParsedHeader::Legacy(magic));
        }
        let size = usize::try_from(length).ok()?.checked_add(LOG_OVERHEAD)?;
        if magic > 2 || size < BATCH_HEADER_SIZE {
            return None;
        }
        if size > bytes.len() {
            return Some(ParsedHeader::Partial);
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
        let is_valid = (0..=MAX_BASE_OFFSET).contains(&header.base_offset)
            && header.last_offset_delta >= 0
            && header.count >= 0;
        is_valid.then_some(ParsedHeader::Batch(header))
    }

    /// Returns true if the CRC matches the batch at the start of `bytes`, which must be complete.
    pub(crate) fn is_intact(&self, bytes: &[u8]) -> bool {
        bytes
            .get(CRC_START..self.size)
            .is_some_and(|covered| crc32c::crc32c(covered) == self.crc)
    }

    /// Offset after the last one of the batch.
    pub(crate) fn next_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta) + 1
    }

    /// Id of the compression type (`settings::Compression`).
    pub(crate) fn compression_id(&self) -> u8 {
        (self.attributes & COMPRESSION_MASK) as u8
    }

    /// Returns true if the timestamp of every record is `max_timestamp`, the time at which the broker appended the batch.
    pub(crate) fn has_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Returns true if the batch belongs to a transaction.
    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Returns true for a control batch, which holds a transaction marker and no data.
    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }
}

/// Header fields of a batch to be written, chosen by its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeaderFields {
    /// Compression type and flags.
    pub(crate) attributes: i16,
    /// Timestamp of the first record.
    pub(crate) base_timestamp: i64,
    /// Largest timestamp of the records.
    pub(crate) max_timestamp: i64,
    /// `producerId` and `producerEpoch` (KIP-98); -1 if the producer is not idempotent.
    pub(crate) producer: (i64, i16),
    /// Sequence number of the first record; -1 if the producer is not idempotent.
    pub(crate) base_sequence: i32,
    /// Number of records in the batch, at least 1.
    pub(crate) count: i32,
}

impl HeaderFields {
    /// Returns the fields of an uncompressed batch without producer id, epoch and sequence number.
    pub(crate) fn uncompressed(base_timestamp: i64, max_timestamp: i64, count: i32) -> Self {
        Self {
            attributes: 0,
            base_timestamp,
            max_timestamp,
            producer: (-1, -1),
            base_sequence: -1,
            count,
        }
    }

    /// Returns the encoded header for `records`, which are already encoded, and compressed if the attributes say so.
    pub(crate) fn encode(&self, records: &[u8]) -> [u8; BATCH_HEADER_SIZE] {
        let mut header = [0; BATCH_HEADER_SIZE];
        let length = (BATCH_HEADER_SIZE - LOG_OVERHEAD).saturating_add(records.len());
        put(&mut header, 8, (length as i32).to_be_bytes());
        // The broker sets partitionLeaderEpoch.
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
        let covered = header.get(CRC_START..).unwrap_or_default();
        let crc = crc32c::crc32c_append(crc32c::crc32c(covered), records);
        put(&mut header, 17, crc.to_be_bytes());
        header
    }
}

#[inline]
fn be<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

fn put<const N: usize>(header: &mut [u8; BATCH_HEADER_SIZE], offset: usize, bytes: [u8; N]) {
    if let Some(field) = header.get_mut(offset..).and_then(<[u8]>::first_chunk_mut) {
        *field = bytes;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    /// A batch of one record, assembled by hand from Kafka's protocol guide; its CRC is left at zero.
    const BATCH: [u8; 73] = [
        0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 61, 0, 0, 0, 7, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 9, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 0, 0, 0, 1, 22, 0, 0, 0, 2, 97, 2, 49, 2, 2, 104, 0,
    ];

    #[test]
    fn a_header_is_parsed() {
        let Some(ParsedHeader::Batch(header)) = BatchHeader::parse(&BATCH) else {
            unreachable!("no batch");
        };
        assert_eq!((header.base_offset, header.size, header.count), (5, 73, 1));
        assert_eq!((header.base_timestamp, header.next_offset()), (9, 6));
        for short in 0..BATCH.len() {
            assert_eq!(
                BatchHeader::parse(BATCH.get(..short).unwrap()),
                Some(ParsedHeader::Partial)
            );
        }
        for (magic, expected) in [
            (0, Some(ParsedHeader::Legacy(0))),
            (1, Some(ParsedHeader::Legacy(1))),
            (3, None),
        ] {
            let mut bytes = BATCH;
            bytes[16] = magic;
            assert_eq!(BatchHeader::parse(&bytes), expected);
        }
        // A base offset without a next offset, and a negative one.
        for high in [0x7f, 0xff] {
            let mut bytes = BATCH;
            bytes[..8].fill(0xff);
            bytes[0] = high;
            assert_eq!(BatchHeader::parse(&bytes), None);
        }
    }

    #[test]
    fn a_written_batch_is_intact_and_a_changed_one_is_not() {
        let records = b"\x16\0\0\0\x02a\x021\x02\x02h\0";
        let fields = HeaderFields {
            attributes: 0,
            base_timestamp: 9,
            max_timestamp: 9,
            producer: (-1, -1),
            base_sequence: -1,
            count: 1,
        };
        let batch = [fields.encode(records).as_slice(), records].concat();
        let Some(ParsedHeader::Batch(header)) = BatchHeader::parse(&batch) else {
            unreachable!("no batch");
        };
        assert!(header.is_intact(&batch));
        for position in CRC_START..batch.len() {
            let mut changed = batch.clone();
            changed[position] ^= 1;
            assert!(!header.is_intact(&changed));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_rejected(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            BatchHeader::parse(&bytes);
        }
    }
}
