//! Zigzag varints and length-prefixed bytes, read and written.

/// Reads the fields of records from borrowed bytes. After a failed read the position is undefined.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Reads a zigzag varint of up to 64 bits.
    #[inline(always)]
    pub(super) fn varint(&mut self) -> Option<i64> {
        let first = *self.bytes.get(self.position)?;
        self.position += 1;
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
            let byte = *self.bytes.get(self.position)?;
            self.position += 1;
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

    /// Reads a length; -1 stands for null.
    #[inline(always)]
    pub(super) fn length(&mut self) -> Option<Option<usize>> {
        match self.varint()? {
            -1 => Some(None),
            length => usize::try_from(length).ok().map(Some),
        }
    }

    /// Reads a length and that many bytes.
    #[inline(always)]
    #[allow(
        clippy::option_option,
        reason = "the outer one is a failed read, the inner one null"
    )]
    pub(super) fn bytes(&mut self) -> Option<Option<&'a [u8]>> {
        let Some(length) = self.length()? else {
            return Some(None);
        };
        let end = self.position.checked_add(length)?;
        let bytes = self.bytes.get(self.position..end)?;
        self.position = end;
        Some(Some(bytes))
    }

    /// The bytes after the position.
    pub(super) fn rest(&self) -> Option<&'a [u8]> {
        self.bytes.get(self.position..)
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

/// Number of bytes of an encoded varint.
#[inline(always)]
pub(crate) fn varint_len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends a varint to a vector.
pub(super) fn write_varint(out: &mut Vec<u8>, value: i64) {
    let mut bytes = [0; 10];
    let mut writer = Writer {
        out: &mut bytes,
        position: 0,
    };
    writer.varint(value);
    let end = writer.position;
    out.extend_from_slice(bytes.get(..end).unwrap_or_default());
}

/// Writes into a buffer that the caller has made large enough. Writes that do not fit are dropped instead of panicking.
pub(crate) struct Writer<'a> {
    pub(crate) out: &'a mut [u8],
    /// Position of the next byte.
    pub(crate) position: usize,
}

impl Writer<'_> {
    /// Writes one byte.
    #[inline(always)]
    pub(crate) fn byte(&mut self, byte: u8) {
        if let Some(target) = self.out.get_mut(self.position) {
            *target = byte;
            self.position += 1;
        }
    }

    /// Writes a zigzag varint.
    #[inline(always)]
    pub(crate) fn varint(&mut self, value: i64) {
        let mut value = zigzag(value);
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    /// Writes bytes. Up to 32 bytes, the size of most keys, values and prefixes, are copied as two overlapping chunks of a fixed size,
    /// because a call of `memcpy` costs more than that, and several times more with musl.
    #[inline(always)]
    pub(crate) fn copy(&mut self, bytes: &[u8]) {
        let length = bytes.len();
        let Some(out) = self.out.get_mut(self.position..self.position + length) else {
            return;
        };
        self.position += length;
        match length {
            16..=32 => copy_ends::<16>(out, bytes),
            8..=15 => copy_ends::<8>(out, bytes),
            4..=7 => copy_ends::<4>(out, bytes),
            0..=3 => {
                for (target, &byte) in out.iter_mut().zip(bytes) {
                    *target = byte;
                }
            }
            _ => out.copy_from_slice(bytes),
        }
    }
}

/// Copies the first and the last `N` bytes, which together are all bytes if there are `N` to `2 * N`.
#[inline(always)]
fn copy_ends<const N: usize>(out: &mut [u8], bytes: &[u8]) {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) {
        if let Some(target) = out.first_chunk_mut() {
            *target = *first;
        }
        if let Some(target) = out.last_chunk_mut() {
            *target = *last;
        }
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
        let mut reader = Reader::new(bytes);
        assert_eq!(reader.varint(), Some(value));
        assert_eq!(reader.position, bytes.len());
    }

    /// Expected bytes from the encoding of Protocol Buffers ("ZigZag"), which Kafka's protocol guide refers to.
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
            assert_eq!(Reader::new(endless).varint(), None);
        }
    }

    proptest! {
        #[test]
        fn any_length_is_copied(bytes in prop::collection::vec(any::<u8>(), 0..80), before in 0..5_usize) {
            let mut out = vec![0; before + bytes.len()];
            let mut writer = Writer { out: &mut out, position: before };
            writer.copy(&bytes);
            prop_assert_eq!(writer.position, before + bytes.len());
            prop_assert_eq!(out.get(before..).unwrap(), bytes.as_slice());
        }
    }
}
