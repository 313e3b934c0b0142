//! Which `__consumer_offsets` partition a group belongs to.

/// `abs(hashCode(group_id)) % partitions` as Kafka computes it: Java's `String.hashCode` over UTF-16
/// units, and an `abs` that maps `i32::MIN` to 0. `partitions` must be above 0.
pub fn partition_of(group_id: &str, partitions: i32) -> i32 {
    assert!(partitions > 0, "a topic has {partitions} partitions");
    let hash = group_id
        .encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % partitions
}

#[cfg(test)]
mod tests {
    use super::partition_of;

    #[test]
    fn groups_fall_on_the_partitions_that_kafka_chose() {
        // observed as directories `__consumer_offsets-N` written by Apache Kafka 4.3.1
        assert_eq!(partition_of("golden", 50), 43);
        assert_eq!(partition_of("", 50), 0);
        // "polygenelubricants" hashes to i32::MIN in Java
        assert_eq!(partition_of("polygenelubricants", 50), 0);
        // a character outside the basic plane counts as two UTF-16 units
        assert_eq!(partition_of("\u{1F600}", 1_000_003), 1_772_899 % 1_000_003);
    }
}
