//! Arithmetic of producer sequences.

/// The sequence number `by` after `sequence`; wraps from `i32::MAX` to 0 as Kafka's producers do.
pub fn increment_sequence(sequence: i32, by: i32) -> i32 {
    if sequence > i32::MAX - by { by - (i32::MAX - sequence) - 1 } else { sequence + by }
}
