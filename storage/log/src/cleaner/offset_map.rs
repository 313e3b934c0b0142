//! The newest offset of each key, in bounded memory.

use runtime::collections::HashMap;

/// What an entry costs besides its key.
const ENTRY_BYTES: usize = 64;

/// Keys and their newest offsets, up to a number of bytes.
pub struct OffsetMap {
    offsets: HashMap<Box<[u8]>, i64>,
    bytes: usize,
    bytes_max: usize,
    /// Offset behind the last batch that was taken in whole.
    end_offset: i64,
}

impl OffsetMap {
    /// An empty map that may take about `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> OffsetMap {
        OffsetMap { offsets: HashMap::default(), bytes: 0, bytes_max, end_offset: 0 }
    }

    /// Whether no further batch should be taken in.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    /// Notes that `key` was written at `offset`, later than all before.
    pub fn insert(&mut self, key: &[u8], offset: i64) {
        match self.offsets.get_mut(key) {
            Some(newest) => *newest = (*newest).max(offset),
            None => {
                self.bytes += key.len() + ENTRY_BYTES;
                self.offsets.insert(key.into(), offset);
            }
        }
    }

    /// Everything before `offset` has been taken in.
    pub fn set_end(&mut self, offset: i64) {
        self.end_offset = offset;
    }

    /// Offset behind what the map knows.
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// The newest offset of a key.
    pub fn newest(&self, key: &[u8]) -> Option<i64> {
        self.offsets.get(key).copied()
    }

    /// Distinct keys.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }
}
