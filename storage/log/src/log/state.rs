//! What a checkpoint keeps of a log: enough to open it without touching the disk.

use super::time_index::TimestampOffset;

/// The durable state of one log. Everything behind it in the files is of no value: what it held is
/// replayed from the WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogState {
    /// First offset that may be read; records before it were deleted.
    pub log_start_offset: i64,
    /// Offset of the next batch.
    pub end_offset: i64,
    /// Bytes of all closed segments.
    pub closed_bytes: u64,
    pub active: ActiveState,
    /// Records before this offset have been compacted.
    pub cleaned_offset: i64,
    /// Newest leader epoch in the log, -1 if none.
    pub latest_epoch: i32,
}

/// The part of [`LogState`] about the segment that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveState {
    pub base_offset: i64,
    pub log_bytes: u32,
    pub index_bytes: u32,
    pub time_index_bytes: u32,
    pub txn_index_bytes: u32,
    /// Bytes of batches since the last index entry.
    pub bytes_since_index: u32,
    /// Largest timestamp so far, with the last offset of the batch that brought it.
    pub max_timestamp: TimestampOffset,
    /// Last entry of the time index.
    pub last_time_entry: TimestampOffset,
    /// Largest timestamp of the first batch; starts the clock of `segment.ms`.
    pub first_timestamp: i64,
    /// Wall clock at the creation of the segment, for batches without timestamps.
    pub created_ms: i64,
}

impl LogState {
    /// An empty log that begins at `start_offset`.
    pub fn new(start_offset: i64, now_ms: i64) -> LogState {
        LogState {
            log_start_offset: start_offset,
            end_offset: start_offset,
            closed_bytes: 0,
            cleaned_offset: start_offset,
            active: ActiveState::new(start_offset, now_ms),
            latest_epoch: -1,
        }
    }

    /// Size of [`LogState::encode`].
    pub const ENCODED_BYTES: usize = 8 * 4 + 4 + 8 + 4 * 5 + 8 * 6;

    /// The fields in order, little-endian.
    pub fn encode(&self) -> [u8; Self::ENCODED_BYTES] {
        let mut out = Encoder { bytes: [0; Self::ENCODED_BYTES], at: 0 };
        let active = &self.active;
        out.put(&self.log_start_offset.to_le_bytes());
        out.put(&self.end_offset.to_le_bytes());
        out.put(&self.closed_bytes.to_le_bytes());
        out.put(&self.cleaned_offset.to_le_bytes());
        out.put(&self.latest_epoch.to_le_bytes());
        out.put(&active.base_offset.to_le_bytes());
        for field in [
            active.log_bytes,
            active.index_bytes,
            active.time_index_bytes,
            active.txn_index_bytes,
            active.bytes_since_index,
        ] {
            out.put(&field.to_le_bytes());
        }
        for field in [
            active.max_timestamp.timestamp,
            active.max_timestamp.offset,
            active.last_time_entry.timestamp,
            active.last_time_entry.offset,
            active.first_timestamp,
            active.created_ms,
        ] {
            out.put(&field.to_le_bytes());
        }
        debug_assert_eq!(out.at, Self::ENCODED_BYTES);
        out.bytes
    }

    /// Inverse of [`LogState::encode`].
    pub fn decode(bytes: &[u8; Self::ENCODED_BYTES]) -> LogState {
        let mut input = Decoder { bytes, at: 0 };
        LogState {
            log_start_offset: input.i64(),
            end_offset: input.i64(),
            closed_bytes: input.i64() as u64,
            cleaned_offset: input.i64(),
            latest_epoch: input.u32() as i32,
            active: ActiveState {
                base_offset: input.i64(),
                log_bytes: input.u32(),
                index_bytes: input.u32(),
                time_index_bytes: input.u32(),
                txn_index_bytes: input.u32(),
                bytes_since_index: input.u32(),
                max_timestamp: TimestampOffset { timestamp: input.i64(), offset: input.i64() },
                last_time_entry: TimestampOffset { timestamp: input.i64(), offset: input.i64() },
                first_timestamp: input.i64(),
                created_ms: input.i64(),
            },
        }
    }
}

impl ActiveState {
    /// An empty segment.
    pub fn new(base_offset: i64, now_ms: i64) -> ActiveState {
        let none = TimestampOffset { timestamp: -1, offset: base_offset };
        ActiveState {
            base_offset,
            log_bytes: 0,
            index_bytes: 0,
            time_index_bytes: 0,
            txn_index_bytes: 0,
            bytes_since_index: 0,
            max_timestamp: none,
            last_time_entry: none,
            first_timestamp: -1,
            created_ms: now_ms,
        }
    }
}

struct Encoder {
    bytes: [u8; LogState::ENCODED_BYTES],
    at: usize,
}

impl Encoder {
    fn put(&mut self, field: &[u8]) {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
    }
}

struct Decoder<'a> {
    bytes: &'a [u8; LogState::ENCODED_BYTES],
    at: usize,
}

impl Decoder<'_> {
    fn i64(&mut self) -> i64 {
        self.at += 8;
        i64::from_le_bytes(self.bytes[self.at - 8..self.at].try_into().expect("8 bytes"))
    }

    fn u32(&mut self) -> u32 {
        self.at += 4;
        u32::from_le_bytes(self.bytes[self.at - 4..self.at].try_into().expect("4 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_back_as_written() {
        let mut state = LogState::new(5, 1000);
        state.end_offset = 77;
        state.closed_bytes = 1 << 40;
        state.cleaned_offset = 50;
        state.latest_epoch = 3;
        state.active.log_bytes = 123;
        state.active.index_bytes = 16;
        state.active.time_index_bytes = 24;
        state.active.txn_index_bytes = 34;
        state.active.bytes_since_index = 9;
        state.active.max_timestamp = TimestampOffset { timestamp: 8, offset: 9 };
        state.active.last_time_entry = TimestampOffset { timestamp: 6, offset: 7 };
        state.active.first_timestamp = -1;
        assert_eq!(LogState::decode(&state.encode()), state);
    }
}
