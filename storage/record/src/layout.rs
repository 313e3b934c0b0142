//! Byte positions inside a record batch of format 2 (Kafka class `DefaultRecordBatch`).
//!
//! Each position is derived from the one before. The checksum covers everything from
//! [`ATTRIBUTES`] to the end, so [`BASE_OFFSET`] and [`PARTITION_LEADER_EPOCH`] may be written
//! without touching it, while [`ATTRIBUTES`] and [`MAX_TIMESTAMP`] may not.

pub const BASE_OFFSET: usize = 0;
pub const BATCH_LENGTH: usize = BASE_OFFSET + 8;
pub const PARTITION_LEADER_EPOCH: usize = BATCH_LENGTH + 4;
pub const MAGIC: usize = PARTITION_LEADER_EPOCH + 4;
pub const CRC: usize = MAGIC + 1;
pub const ATTRIBUTES: usize = CRC + 4;
pub const LAST_OFFSET_DELTA: usize = ATTRIBUTES + 2;
pub const BASE_TIMESTAMP: usize = LAST_OFFSET_DELTA + 4;
pub const MAX_TIMESTAMP: usize = BASE_TIMESTAMP + 8;
pub const PRODUCER_ID: usize = MAX_TIMESTAMP + 8;
pub const PRODUCER_EPOCH: usize = PRODUCER_ID + 8;
pub const BASE_SEQUENCE: usize = PRODUCER_EPOCH + 2;
pub const RECORDS_COUNT: usize = BASE_SEQUENCE + 4;
/// Where the records begin: also the smallest size of a batch.
pub const RECORDS: usize = RECORDS_COUNT + 4;

/// Base offset and length: the bytes of a batch that its length field does not count.
pub const LOG_OVERHEAD: usize = PARTITION_LEADER_EPOCH;
/// Size of a batch without records.
pub const BATCH_OVERHEAD: usize = RECORDS;
/// The smallest value of a length field in any format: below it the length itself is corrupt.
pub const LENGTH_MIN: i32 = 14;

/// The only format this node stores.
pub const MAGIC_V2: i8 = 2;

/// "No timestamp" in a record or batch.
pub const NO_TIMESTAMP: i64 = -1;
pub const NO_PRODUCER_ID: i64 = -1;
pub const NO_PRODUCER_EPOCH: i16 = -1;
pub const NO_SEQUENCE: i32 = -1;

const _: () = assert!(BATCH_OVERHEAD == 61 && CRC == 17 && ATTRIBUTES == 21);

#[inline(always)]
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[inline(always)]
pub(crate) fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(array(bytes, at))
}

#[inline(always)]
pub(crate) fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(array(bytes, at))
}

#[inline(always)]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

#[inline(always)]
pub(crate) fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(array(bytes, at))
}
