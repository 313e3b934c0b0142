//! The sparse index from timestamp to offset (Kafka's `TimeIndex`).
//!
//! Entries of 12 bytes, big-endian: timestamp, offset relative to the segment's base. An entry says
//! that the largest timestamp up to and including that offset is the entry's.

use super::offset_index::partition_point;

/// Size of an entry.
pub(crate) const ENTRY_BYTES: usize = 12;

/// A timestamp and the offset it belongs to. `timestamp` is -1 when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp: i64,
    pub offset: i64,
}

/// Appends an entry to `out`.
pub(crate) fn push(out: &mut Vec<u8>, timestamp: i64, relative_offset: i32) {
    out.extend_from_slice(&timestamp.to_be_bytes());
    out.extend_from_slice(&relative_offset.to_be_bytes());
}

/// Entry `at` of a run of entries: timestamp and relative offset.
pub(crate) fn entry(entries: &[u8], at: usize) -> (i64, i32) {
    let bytes = &entries[at * ENTRY_BYTES..][..ENTRY_BYTES];
    let timestamp = i64::from_be_bytes(bytes[..8].try_into().expect("8 bytes"));
    let offset = i32::from_be_bytes(bytes[8..].try_into().expect("4 bytes"));
    (timestamp, offset)
}

/// The last entry whose timestamp is at or before `timestamp`, if the run has one.
pub(crate) fn lookup(entries: &[u8], timestamp: i64) -> Option<(i64, i32)> {
    let count = entries.len() / ENTRY_BYTES;
    let after = partition_point(count, |at| entry(entries, at).0 <= timestamp);
    after.checked_sub(1).map(|at| entry(entries, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entry_at_or_before_a_timestamp_is_found() {
        let mut entries = Vec::new();
        push(&mut entries, 1000, 3);
        push(&mut entries, 2000, 9);
        assert_eq!(entries.len(), 24);
        assert_eq!(entries[..12], [0, 0, 0, 0, 0, 0, 3, 232, 0, 0, 0, 3]);
        assert_eq!(lookup(&entries, 999), None);
        assert_eq!(lookup(&entries, 1000), Some((1000, 3)));
        assert_eq!(lookup(&entries, 1999), Some((1000, 3)));
        assert_eq!(lookup(&entries, i64::MAX), Some((2000, 9)));
    }
}
