//! How a batch changes the segment that is written: index entries, and when to begin a new one.
//!
//! Pure. The rules are Kafka's `LogSegment.append` and `LogSegment.shouldRoll`, so that the files
//! come out byte for byte the same.

use record::BatchHeader;

use super::config::LogConfig;
use super::offset_index;
use super::state::ActiveState;
use super::time_index::{self, TimestampOffset};

/// Index bytes that are not in the files yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PendingIndexes {
    pub index: Vec<u8>,
    pub time_index: Vec<u8>,
    pub txn_index: Vec<u8>,
}

impl PendingIndexes {
    pub fn is_empty(&self) -> bool {
        self.index.is_empty() && self.time_index.is_empty() && self.txn_index.is_empty()
    }

    pub fn extend(&mut self, other: &PendingIndexes) {
        self.index.extend_from_slice(&other.index);
        self.time_index.extend_from_slice(&other.time_index);
        self.txn_index.extend_from_slice(&other.txn_index);
    }
}

impl ActiveState {
    /// Whether a batch must go to a new segment.
    pub(crate) fn should_roll(&self, batch: &BatchHeader, config: &LogConfig, now_ms: i64) -> bool {
        if self.log_bytes == 0 {
            return false;
        }
        let grown = self.log_bytes as usize + batch.size > config.segment_bytes as usize;
        let too_far = batch.last_offset() - self.base_offset > i64::from(i32::MAX);
        let waited = self.waited_ms(batch.max_timestamp, now_ms) > config.segment_ms;
        grown || too_far || waited || self.is_index_full(config)
    }

    /// Milliseconds between the first batch of the segment and this one.
    fn waited_ms(&self, timestamp: i64, now_ms: i64) -> i64 {
        if self.first_timestamp >= 0 {
            timestamp - self.first_timestamp
        } else {
            now_ms - self.created_ms
        }
    }

    fn is_index_full(&self, config: &LogConfig) -> bool {
        let bytes = config.segment_index_bytes as usize;
        let entries = self.index_bytes as usize / offset_index::ENTRY_BYTES;
        let time_entries = self.time_index_bytes as usize / time_index::ENTRY_BYTES;
        // The time index keeps one entry for the closing of the segment.
        entries >= bytes / offset_index::ENTRY_BYTES
            || time_entries + 1 >= bytes / time_index::ENTRY_BYTES
    }

    /// Takes in a batch that is written at the end of the segment.
    pub(crate) fn add_batch(
        &mut self,
        batch: &BatchHeader,
        index_interval_bytes: u32,
        pending: &mut PendingIndexes,
    ) {
        if self.log_bytes == 0 {
            self.first_timestamp = batch.max_timestamp;
        }
        if batch.max_timestamp > self.max_timestamp.timestamp {
            let offset = batch.last_offset();
            self.max_timestamp = TimestampOffset { timestamp: batch.max_timestamp, offset };
        }
        if self.bytes_since_index > index_interval_bytes {
            let relative = (batch.last_offset() - self.base_offset) as i32;
            let beyond =
                if runtime::mutant::is("index-points-too-far") { batch.size as u32 } else { 0 };
            offset_index::push(&mut pending.index, relative, self.log_bytes + beyond);
            self.index_bytes += offset_index::ENTRY_BYTES as u32;
            self.add_time_entry(pending);
            self.bytes_since_index = 0;
        }
        self.log_bytes += batch.size as u32;
        self.bytes_since_index += batch.size as u32;
    }

    /// Adds the largest timestamp so far to the time index if it is news; also done on closing.
    pub(crate) fn add_time_entry(&mut self, pending: &mut PendingIndexes) {
        if self.max_timestamp.timestamp > self.last_time_entry.timestamp {
            let TimestampOffset { timestamp, offset } = self.max_timestamp;
            time_index::push(
                &mut pending.time_index,
                timestamp,
                (offset - self.base_offset) as i32,
            );
            self.time_index_bytes += time_index::ENTRY_BYTES as u32;
            self.last_time_entry = self.max_timestamp;
        }
    }
}
