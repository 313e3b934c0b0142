//! The sparse index from offset to file position (Kafka's `OffsetIndex`).
//!
//! Entries of 8 bytes, big-endian: offset relative to the segment's base, position in the `.log`.
//! The offset of an entry is the **last** offset of the batch that starts at the position.

/// Size of an entry.
pub(crate) const ENTRY_BYTES: usize = 8;

/// Appends an entry to `out`.
pub(crate) fn push(out: &mut Vec<u8>, relative_offset: i32, position: u32) {
    out.extend_from_slice(&relative_offset.to_be_bytes());
    out.extend_from_slice(&position.to_be_bytes());
}

/// Entry `at` of a run of entries: relative offset and position.
pub(crate) fn entry(entries: &[u8], at: usize) -> (i32, u32) {
    let bytes = &entries[at * ENTRY_BYTES..][..ENTRY_BYTES];
    let offset = i32::from_be_bytes(bytes[..4].try_into().expect("4 bytes"));
    let position = u32::from_be_bytes(bytes[4..].try_into().expect("4 bytes"));
    (offset, position)
}

/// Position of the last entry at or before `relative_offset`, if the run has one.
pub(crate) fn lookup(entries: &[u8], relative_offset: i64) -> Option<u32> {
    let count = entries.len() / ENTRY_BYTES;
    let after = partition_point(count, |at| i64::from(entry(entries, at).0) <= relative_offset);
    after.checked_sub(1).map(|at| entry(entries, at).1)
}

/// The first of `count` entries for which `before` is false; it is true for all before that one.
pub(crate) fn partition_point(count: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entry_at_or_before_an_offset_is_found() {
        let mut entries = Vec::new();
        for at in 1..=5 {
            push(&mut entries, at * 10, at as u32 * 1000);
        }
        assert_eq!(entries.len(), 40);
        assert_eq!(entries[..8], [0, 0, 0, 10, 0, 0, 3, 232]);
        let found: Vec<Option<u32>> = [0, 9, 10, 11, 49, 50, 1 << 40]
            .into_iter()
            .map(|offset| lookup(&entries, offset))
            .collect();
        let expected = [None, None, Some(1000), Some(1000), Some(4000), Some(5000), Some(5000)];
        assert_eq!(found, expected);
        assert_eq!(lookup(&[], 3), None);
    }
}
