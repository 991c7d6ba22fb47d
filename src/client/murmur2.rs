//! The hash that Kafka's Java producer uses to partition keyed records (`org.apache.kafka.common.utils.Utils.murmur2`), so that a key maps
//! to the same partition whichever client writes it.

/// Returns the partition of a key; `partitions` is the partition count, at least 1.
pub(crate) fn partition(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff)
        .checked_rem(partitions)
        .unwrap_or_default()
}

fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    // The length is, like in Java, taken modulo 2^32.
    let mut hash = 0x9747_b28c ^ (data.len() as u32);
    let mut words = data.chunks_exact(4);
    for word in words.by_ref() {
        let &[a, b, c, d] = word else { continue };
        let mut k = u32::from_le_bytes([a, b, c, d]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, &byte) in rest.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, expected: i32) {
        assert_eq!(murmur2(key.as_bytes()), expected, "{key}");
    }

    /// Test vectors of Kafka's `UtilsTest.testMurmur2`.
    #[test]
    fn vectors_of_kafka() {
        check("21", -973_932_308);
        check("foobar", -790_332_482);
        check("a-little-bit-long-string", -985_981_536);
        check("a-little-bit-longer-string", -1_486_304_829);
        check(
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        );
        check("abc", 479_470_107);
    }

    #[test]
    fn partitions_are_in_range() {
        for key in ["", "21", "foobar", "abc"] {
            for partitions in [1, 2, 3, 50] {
                assert!((0..partitions).contains(&partition(key.as_bytes(), partitions)));
            }
        }
    }
}
