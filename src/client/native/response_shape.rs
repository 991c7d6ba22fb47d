//! Checks the structure of a response before it is decoded, without allocating.
//!
//! The crate `kafka-protocol` allocates for the element count of an array before it has seen the elements, so a broken count could
//! exhaust the memory.
//!
//! A shape describes a response: a digit is an integer of that many bytes, `g` a UUID of 16 bytes, `s` and `b` are a string and bytes, `S`
//! is a string with the compact length of flexible versions (KIP-482), `[…]` and `<…>` are an array and a compact array, `t` are tagged
//! fields, and `?{…}` is a nullable structure.

/// Checks that `bytes` begin with a value of this shape, and returns the length of the value.
pub(super) fn matching_len(shape: &str, bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    skip_group(shape.as_bytes(), &mut rest)?;
    Some(bytes.len() - rest.len())
}

/// Skips the values of a shape up to its closing bracket or its end, and returns the shape after that.
fn skip_group<'s>(mut shape: &'s [u8], bytes: &mut &[u8]) -> Option<&'s [u8]> {
    while let Some((&element, rest)) = shape.split_first() {
        shape = rest;
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
                let length = take_varint(bytes)?.saturating_sub(1);
                skip(bytes, length as usize)?;
            }
            b't' => {
                for _ in 0..take_varint(bytes)? {
                    let _tag = take_varint(bytes)?;
                    let length = take_varint(bytes)?;
                    skip(bytes, length as usize)?;
                }
            }
            b'[' => {
                let count = i32::from_be_bytes(take(bytes)?).max(0).unsigned_abs();
                shape = skip_groups(shape, bytes, count)?;
            }
            b'<' => {
                let count = take_varint(bytes)?.saturating_sub(1);
                shape = skip_groups(shape, bytes, count)?;
            }
            b'?' => {
                let [is_present] = take(bytes)?;
                shape = skip_groups(shape.get(1..)?, bytes, u32::from(is_present == 1))?;
            }
            _ => return Some(shape),
        }
    }
    Some(shape)
}

/// Skips `count` values of the group that `shape` begins with, and returns the shape after the group.
fn skip_groups<'s>(shape: &'s [u8], bytes: &mut &[u8], count: u32) -> Option<&'s [u8]> {
    for _ in 0..count {
        // Each value takes at least one byte, so a count that is too high ends with the bytes.
        skip_group(shape, bytes)?;
    }
    let mut depth = 0_usize;
    for (index, &element) in shape.iter().enumerate() {
        match element {
            b'[' | b'<' | b'{' => depth += 1,
            b']' | b'>' | b'}' if depth == 0 => return shape.get(index + 1..),
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

fn take_varint(bytes: &mut &[u8]) -> Option<u32> {
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
