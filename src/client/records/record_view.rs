//! One record inside a record batch, read and written.

use super::headers::Headers;
use super::varint::{Reader, varint_len, write_varint};

/// A record inside a batch: borrowed fields, with timestamp and offset relative to the batch header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordView<'a> {
    /// Timestamp minus `baseTimestamp`.
    pub(crate) timestamp_delta: i64,
    /// Offset minus `baseOffset`.
    pub(crate) offset_delta: i32,
    /// `None` is a null key.
    pub(crate) key: Option<&'a [u8]>,
    /// `None` is a null value.
    pub(crate) value: Option<&'a [u8]>,
    /// Headers, still encoded.
    pub(crate) headers: Headers<'a>,
}

impl<'a> RecordView<'a> {
    /// Reads the record at the start of `bytes` and returns it with its size in bytes. Returns `None` if `bytes` does not start with a
    /// complete record.
    #[inline(always)]
    pub(crate) fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let mut reader = Reader { bytes, position: 0 };
        let length = reader.length()??;
        let end = reader.position.checked_add(length)?;
        let mut reader = Reader {
            bytes: bytes.get(..end)?,
            // Skips the attributes, of which Kafka uses none.
            position: reader.position.checked_add(1)?,
        };
        let timestamp_delta = reader.varint()?;
        let offset_delta = reader.varint()? as i32;
        let key = reader.bytes()?;
        let value = reader.bytes()?;
        let headers = Headers(reader.rest()?);
        let record = Self {
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers,
        };
        Some((record, end))
    }

    /// Returns the size in bytes of the record at the start of `bytes`, length prefix included, which may exceed `bytes`. Returns `None` if
    /// the length prefix cannot be read.
    pub(crate) fn size(bytes: &[u8]) -> Option<usize> {
        let mut reader = Reader::new(bytes);
        let length = reader.length()??;
        reader.position.checked_add(length)
    }
}

/// Appends a record to encoded records. Used for batches that are split, merged or rewritten; routed records are encoded by
/// `batch::RecordSet`, which is faster.
pub(crate) fn write_record(out: &mut Vec<u8>, record: &RecordView<'_>) {
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
    // The attributes, of which Kafka uses none.
    out.push(0);
    write_varint(out, record.timestamp_delta);
    write_varint(out, offset_delta);
    for bytes in [key, value] {
        write_varint(out, length_of(bytes));
        out.extend_from_slice(bytes.unwrap_or_default());
    }
    out.extend_from_slice(record.headers.0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_rejected(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            RecordView::size(&bytes);
            if let Some((record, size)) = RecordView::read(&bytes) {
                prop_assert!(size <= bytes.len());
                prop_assert!(record.headers.iter().count() <= bytes.len());
            }
        }
    }
}
