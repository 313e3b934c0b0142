//! What a copy has brought of a partition and is not written yet: whole batches without gaps, each checked.

use bytes::Bytes;
use record::{BatchBuilder, BatchError, BatchHeader, BatchView};

use crate::partition::PartitionState;

/// Bytes from which on they are written: such writes pass the page cache by, and use the same memory again and again.
const ENOUGH_BYTES: usize = 256 << 10;
/// Records that a batch without records may stand for.
const GAP_MAX: i64 = i32::MAX as i64;

/// See the module.
pub(super) struct Copied {
    /// Offset behind the last batch.
    pub end: i64,
    /// Leader epoch of the last batch.
    epoch: i32,
    batches: Vec<(BatchHeader, Bytes)>,
    bytes: usize,
}

impl Copied {
    /// Goes on where the partition ends.
    pub fn behind(state: &PartitionState) -> Copied {
        let epoch = state.epochs.latest().map_or(0, |latest| latest.epoch);
        Copied { end: state.high_watermark(), epoch, batches: Vec::new(), bytes: 0 }
    }

    /// Takes in those of the whole batches in `bytes` that lie below `limit` and are not here yet.
    ///
    /// # Errors
    /// One of them is none, or damaged: those before it are taken.
    pub fn take(&mut self, bytes: &Bytes, limit: i64) -> Result<(), BatchError> {
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let view = BatchView::parse(&rest)?;
            view.verify_crc()?;
            let header = view.header;
            let batch = rest.split_to(header.size);
            if header.last_offset() >= limit {
                break;
            }
            if header.last_offset() >= self.end {
                self.fill_gap(header.base_offset);
                self.put(header, batch);
            }
        }
        Ok(())
    }

    /// Stands in for what compaction removed up to `to`.
    pub fn fill_gap(&mut self, to: i64) {
        while self.end < to {
            let batch = without_records(self.end, (to - self.end).min(GAP_MAX), self.epoch);
            let header = BatchHeader::parse(&batch).expect("a batch that was just built");
            self.put(header, batch);
        }
    }

    fn put(&mut self, header: BatchHeader, batch: Bytes) {
        self.end = header.last_offset() + 1;
        self.epoch = header.partition_leader_epoch;
        self.bytes += batch.len();
        self.batches.push((header, batch));
    }

    /// Whether it is worth a write.
    pub fn is_enough(&self) -> bool {
        self.bytes >= ENOUGH_BYTES
    }

    /// What is to be written; nothing is left.
    pub fn drain(&mut self) -> Vec<(BatchHeader, Bytes)> {
        self.bytes = 0;
        std::mem::take(&mut self.batches)
    }
}

/// A batch of `count` offsets and no records, as compaction leaves them.
fn without_records(from: i64, count: i64, leader_epoch: i32) -> Bytes {
    let mut batch = BatchBuilder::new().base_offset(from).leader_epoch(leader_epoch);
    batch.set_last_offset_delta((count - 1) as i32);
    let bytes = batch.finish().expect("nothing is compressed");
    Bytes::copy_from_slice(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_a_batch_that_holds_offsets_and_no_records() {
        let bytes = without_records(40, 3, 7);
        let view = BatchView::parse(&bytes).unwrap();
        view.verify_crc().unwrap();
        assert_eq!((view.header.base_offset, view.header.last_offset()), (40, 42));
        assert_eq!(view.header.partition_leader_epoch, 7);
        assert_eq!(view.records().unwrap().count(), 0);
    }

    #[test]
    fn batches_are_taken_once_without_gaps_and_below_the_limit() {
        let mut copied = Copied { end: 12, epoch: 1, batches: Vec::new(), bytes: 0 };
        let sent = [(10, 2), (12, 3), (20, 5), (25, 5)].map(|(at, n)| without_records(at, n, 3));
        let sent = Bytes::from(sent.concat());
        copied.take(&sent, 28).unwrap();
        copied.take(&sent, 28).unwrap();
        copied.fill_gap(28);
        let ranges: Vec<_> = copied
            .drain()
            .iter()
            .map(|(header, _)| {
                (header.base_offset, header.last_offset(), header.partition_leader_epoch)
            })
            .collect();
        assert_eq!(ranges, [(12, 14, 3), (15, 19, 3), (20, 24, 3), (25, 27, 3)]);
        assert_eq!((copied.end, copied.is_enough(), copied.drain().len()), (28, false, 0));
        let mut damaged = sent.to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(copied.take(&Bytes::from(damaged), 100).is_err());
    }
}
