//! Record headers: names and values in the encoded form in which records carry them.

use super::varint::{Reader, write_varint};

/// Encoded headers of a record: a varint count, then name and value of each with their lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Headers<'a>(pub(crate) &'a [u8]);

impl Default for Headers<'_> {
    fn default() -> Self {
        Headers(&[0])
    }
}

impl<'a> Headers<'a> {
    /// Iterates over names and values, where `None` is a null value. Stops at the first header that cannot be read.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let mut reader = Reader::new(self.0);
        let mut left = reader.varint().unwrap_or_default();
        std::iter::from_fn(move || {
            left = left.checked_sub(1).filter(|left| *left >= 0)?;
            Some((reader.bytes()??, reader.bytes()?))
        })
    }

    /// Number of headers.
    pub(crate) fn len(self) -> usize {
        let count = Reader::new(self.0).varint().unwrap_or_default();
        usize::try_from(count).unwrap_or_default()
    }

    /// The encoded headers without the count.
    fn entries(self) -> &'a [u8] {
        let mut reader = Reader::new(self.0);
        match reader.varint() {
            Some(_) => reader.rest().unwrap_or_default(),
            None => &[],
        }
    }
}

/// A reusable buffer in which headers are encoded.
#[derive(Debug, Clone)]
pub(crate) struct HeadersBuffer(Vec<u8>);

impl Default for HeadersBuffer {
    fn default() -> Self {
        Self(vec![0])
    }
}

impl HeadersBuffer {
    /// Encodes headers given as separate names and values.
    pub(crate) fn from_pairs(headers: &[(&str, &[u8])]) -> Self {
        let mut buffer = Self::default();
        buffer.begin(headers.len());
        for (name, value) in headers {
            buffer.push(name.as_bytes(), Some(value));
        }
        buffer
    }

    /// Copies `headers`; exactly `additional` more must be pushed.
    pub(crate) fn from_headers(headers: Headers<'_>, additional: usize) -> Self {
        let mut bytes = Vec::with_capacity(headers.0.len() + 64 * additional);
        write_varint(&mut bytes, (headers.len() + additional) as i64);
        bytes.extend_from_slice(headers.entries());
        Self(bytes)
    }

    /// Clears the buffer; exactly `count` headers must be pushed.
    pub(crate) fn begin(&mut self, count: usize) {
        self.0.clear();
        write_varint(&mut self.0, count as i64);
    }

    /// Appends a header; `None` is a null value.
    pub(crate) fn push(&mut self, name: &[u8], value: Option<&[u8]>) {
        write_varint(&mut self.0, name.len() as i64);
        self.0.extend_from_slice(name);
        write_varint(&mut self.0, value.map_or(-1, |value| value.len() as i64));
        self.0.extend_from_slice(value.unwrap_or_default());
    }

    /// The encoded headers.
    pub(crate) fn headers(&self) -> Headers<'_> {
        Headers(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_are_listed_and_extended() {
        let mut buffer = HeadersBuffer::default();
        assert_eq!(buffer.headers().iter().count(), 0);
        buffer.begin(2);
        buffer.push(b"a", Some(b"1"));
        buffer.push(b"", None);
        let mut extended = HeadersBuffer::from_headers(buffer.headers(), 1);
        extended.push(b"b", Some(b""));
        let expected: [(&[u8], Option<&[u8]>); 3] =
            [(b"a", Some(b"1")), (b"", None), (b"b", Some(b""))];
        assert_eq!(extended.headers().iter().collect::<Vec<_>>(), expected);
        // The count is higher than the number of headers.
        assert_eq!(Headers(&[20, 2, b'a', 0]).iter().count(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_rejected(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Headers(&bytes).iter().count() <= bytes.len());
        }
    }
}
