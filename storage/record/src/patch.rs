//! Writing header fields of a batch in place.
//!
//! Base offset and leader epoch lie before the checksummed region: stamping them costs two
//! stores. Timestamps and attributes lie inside: the checksum is corrected without reading the
//! records, because CRC is linear (`crc(new) = crc(old) ^ shift(crc(old head) ^ crc(new head),
//! bytes behind the head)`); for small batches reading them again is cheaper.

use crate::header::{Attributes, BatchHeader, TimestampType};
use crate::layout;

/// Below this many bytes behind the patched head the checksum is computed anew.
const RECOMPUTE_BYTES_MAX: usize = 16 * 1024;

/// Writes base offset and leader epoch; the checksum stays right.
///
/// Panics if `batch` is shorter than a batch header.
pub fn stamp(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    batch[layout::BASE_OFFSET..layout::BATCH_LENGTH].copy_from_slice(&base_offset.to_be_bytes());
    batch[layout::PARTITION_LEADER_EPOCH..layout::MAGIC]
        .copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Writes the largest timestamp with type `CreateTime` and corrects the checksum.
///
/// Panics if `batch` is not exactly one batch.
pub fn set_max_timestamp(batch: &mut [u8], max_timestamp: i64) {
    rewrite(batch, TimestampType::CreateTime, max_timestamp);
}

/// Makes `now` the time of every record of the batch (type `LogAppendTime`) and corrects the
/// checksum.
///
/// Panics if `batch` is not exactly one batch.
pub fn set_log_append_time(batch: &mut [u8], now: i64) {
    rewrite(batch, TimestampType::LogAppendTime, now);
}

fn rewrite(batch: &mut [u8], t: TimestampType, max_timestamp: i64) {
    let attributes = Attributes(layout::i16_at(batch, layout::ATTRIBUTES));
    TimestampPatch::of(batch, attributes.with_timestamp_type(t), max_timestamp).apply(batch);
}

/// Field values that replace those of a batch as sent, checksum included: made while the batch
/// lies in the request, applied to the copy in the WAL frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampPatch {
    pub attributes: Attributes,
    pub max_timestamp: i64,
    pub crc: u32,
}

impl TimestampPatch {
    /// `batch` is exactly one batch with a right checksum.
    pub fn of(batch: &[u8], attributes: Attributes, max_timestamp: i64) -> Self {
        let old = &batch[layout::ATTRIBUTES..layout::RECORDS];
        let mut new = [0u8; layout::RECORDS - layout::ATTRIBUTES];
        new.copy_from_slice(old);
        new[..2].copy_from_slice(&attributes.0.to_be_bytes());
        let at = layout::MAX_TIMESTAMP - layout::ATTRIBUTES;
        new[at..at + 8].copy_from_slice(&max_timestamp.to_be_bytes());

        let records = &batch[layout::RECORDS..];
        let crc = if records.len() <= RECOMPUTE_BYTES_MAX {
            ::crc32c::crc32c_append(::crc32c::crc32c(&new), records)
        } else {
            let difference = ::crc32c::crc32c(old) ^ ::crc32c::crc32c(&new);
            let stored = layout::u32_at(batch, layout::CRC);
            stored ^ ::crc32c::crc32c_combine(difference, 0, records.len())
        };
        Self { attributes, max_timestamp, crc }
    }

    /// Panics if `batch` is shorter than a batch header.
    pub fn apply(&self, batch: &mut [u8]) {
        batch[layout::CRC..layout::ATTRIBUTES].copy_from_slice(&self.crc.to_be_bytes());
        batch[layout::ATTRIBUTES..layout::LAST_OFFSET_DELTA]
            .copy_from_slice(&self.attributes.0.to_be_bytes());
        batch[layout::MAX_TIMESTAMP..layout::PRODUCER_ID]
            .copy_from_slice(&self.max_timestamp.to_be_bytes());
    }

    /// `header` as it reads after the patch.
    pub fn applied_to(&self, header: BatchHeader) -> BatchHeader {
        BatchHeader {
            attributes: self.attributes,
            max_timestamp: self.max_timestamp,
            crc: self.crc,
            ..header
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, validate};

    fn batch(value_bytes: usize) -> Vec<u8> {
        let mut b = BatchBuilder::new();
        b.push(7_000, None, Some(&vec![b'x'; value_bytes]), &[]).unwrap();
        b.push(9_000, None, Some(b"y"), &[]).unwrap();
        b.finish().unwrap().to_vec()
    }

    #[test]
    fn a_stamped_batch_keeps_its_checksum() {
        let mut b = batch(10);
        stamp(&mut b, 123, 4);
        let h = validate(&b).unwrap();
        assert_eq!((h.base_offset, h.partition_leader_epoch, h.last_offset()), (123, 4, 124));
    }

    #[test]
    fn a_changed_timestamp_gets_a_right_checksum_in_small_and_large_batches() {
        for value_bytes in [0, 1, 100, RECOMPUTE_BYTES_MAX, RECOMPUTE_BYTES_MAX + 1, 300_000] {
            let mut b = batch(value_bytes);
            set_log_append_time(&mut b, 1_234_567);
            let h = validate(&b).unwrap();
            assert_eq!(h.max_timestamp, 1_234_567);
            assert_eq!(h.timestamp_type(), TimestampType::LogAppendTime);
            set_max_timestamp(&mut b, 9_000);
            let h = validate(&b).unwrap();
            assert_eq!((h.max_timestamp, h.timestamp_type()), (9_000, TimestampType::CreateTime));
            assert_eq!(b, batch(value_bytes));
        }
    }
}
