//! The newest committed batches of one partition, as slices of the payloads of the WAL frames that carried them.
//!
//! Reads at the tail never touch a file; destage takes batches from here. A batch leaves when it is destaged and the
//! shard's budget asks for room. A slice pins its payload (a large frame itself, a copy of what is in a small one), and
//! payloads are released oldest first because destage and eviction run in offset order.
//!
//! Invariants: batches ascend without gaps (`b[i].last_offset + 1 == b[i + 1].base_offset` unless the log start moved
//! past them); `destaged` counts a prefix.

use std::collections::VecDeque;

use bytes::Bytes;

/// One committed batch.
#[derive(Clone, Debug)]
pub struct TailBatch {
    /// First offset.
    pub base_offset: i64,
    /// Last offset.
    pub last_offset: i64,
    /// The stored batch.
    pub bytes: Bytes,
}

/// See the module.
#[derive(Debug, Default)]
pub struct TailCache {
    batches: VecDeque<TailBatch>,
    /// Batches at the front that stand in segments too.
    destaged: usize,
    bytes: usize,
    destaged_bytes: usize,
}

impl TailCache {
    /// Adds a batch behind the last one.
    pub fn push(&mut self, batch: TailBatch) {
        if let Some(last) = self.batches.back() {
            assert_eq!(
                last.last_offset + 1,
                batch.base_offset,
                "tail cache: batch at {} does not follow {}",
                batch.base_offset,
                last.last_offset
            );
        }
        self.bytes += batch.bytes.len();
        self.batches.push_back(batch);
    }

    /// First offset held; absent when empty.
    pub fn start(&self) -> Option<i64> {
        self.batches.front().map(|b| b.base_offset)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes held that stand in no segment yet.
    pub fn undestaged_bytes(&self) -> usize {
        self.bytes - self.destaged_bytes
    }

    /// True when there is something to destage.
    pub fn is_dirty(&self) -> bool {
        self.destaged < self.batches.len()
    }

    /// Batches from the one that holds `offset` on, each whole, while their sum stays within `bytes_max`; the first
    /// one in any case when `at_least_one`. Stops before the batch that holds `limit`. None if `offset` lies before
    /// the cache.
    pub fn read(
        &self,
        offset: i64,
        limit: i64,
        bytes_max: usize,
        at_least_one: bool,
        out: &mut Vec<Bytes>,
    ) -> Option<usize> {
        if self.start()? > offset {
            return None;
        }
        let first = self.batches.partition_point(|b| b.last_offset < offset);
        let mut total = 0;
        for b in self.batches.range(first..) {
            let forced = at_least_one && total == 0;
            if b.last_offset >= limit || (total + b.bytes.len() > bytes_max && !forced) {
                break;
            }
            total += b.bytes.len();
            out.push(b.bytes.clone());
        }
        Some(total)
    }

    /// The batches that stand in no segment yet, oldest first, at most about `bytes_max` (at least one).
    pub fn undestaged(&self, bytes_max: usize) -> Vec<TailBatch> {
        let mut total = 0;
        let mut out = Vec::new();
        for b in self.batches.range(self.destaged..) {
            if !out.is_empty() && total + b.bytes.len() > bytes_max {
                break;
            }
            total += b.bytes.len();
            out.push(b.clone());
        }
        out
    }

    /// Everything below `end` stands in segments now.
    pub fn mark_destaged(&mut self, end: i64) {
        while let Some(b) = self.batches.get(self.destaged) {
            if b.last_offset >= end {
                break;
            }
            self.destaged_bytes += b.bytes.len();
            self.destaged += 1;
        }
    }

    /// Drops destaged batches from the front until `bytes` more are free; returns the bytes freed.
    pub fn evict(&mut self, bytes: usize) -> usize {
        let mut freed = 0;
        while freed < bytes && self.destaged > 0 {
            freed += self.pop_front();
        }
        freed
    }

    /// Drops batches that lie wholly below the new log start; returns the bytes freed.
    pub fn trim(&mut self, log_start_offset: i64) -> usize {
        let mut freed = 0;
        while self.batches.front().is_some_and(|b| b.last_offset < log_start_offset) {
            freed += self.pop_front();
        }
        freed
    }

    /// Drops everything, destaged or not: the partition is gone. Returns the bytes freed.
    pub fn clear(&mut self) -> usize {
        std::mem::take(self).bytes
    }

    fn pop_front(&mut self) -> usize {
        let Some(b) = self.batches.pop_front() else {
            return 0;
        };
        self.bytes -= b.bytes.len();
        if self.destaged > 0 {
            self.destaged -= 1;
            self.destaged_bytes -= b.bytes.len();
        }
        b.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(n: i64) -> TailCache {
        let mut c = TailCache::default();
        for i in 0..n {
            let bytes = Bytes::from(vec![i as u8; 10]);
            c.push(TailBatch { base_offset: i * 2, last_offset: i * 2 + 1, bytes });
        }
        c
    }

    #[test]
    fn what_a_cleared_cache_held_is_freed_once() {
        let mut c = cache(3);
        c.mark_destaged(2);
        assert_eq!((c.clear(), c.clear()), (30, 0));
        c.mark_destaged(6);
        assert_eq!((c.evict(30), c.bytes(), c.undestaged_bytes()), (0, 0, 0));
    }

    #[test]
    fn a_read_starts_in_the_batch_that_holds_the_offset_and_stops_at_the_limit() {
        let c = cache(5);
        let mut out = Vec::new();
        assert_eq!(c.read(3, 8, 1000, true, &mut out), Some(30));
        assert_eq!(out[0][0], 1);
        out.clear();
        assert_eq!(c.read(0, 10, 25, true, &mut out), Some(20));
        out.clear();
        assert_eq!(c.read(0, 10, 5, true, &mut out), Some(10), "the first batch always fits");
        assert_eq!(c.read(0, 10, 5, false, &mut out), Some(0));
    }

    #[test]
    fn only_destaged_batches_are_evicted_and_counts_stay_true() {
        let mut c = cache(4);
        assert_eq!(c.evict(1000), 0);
        c.mark_destaged(4);
        assert_eq!(c.undestaged(1000).len(), 2);
        assert_eq!(c.undestaged_bytes(), 20);
        assert_eq!(c.evict(15), 20);
        assert_eq!((c.bytes(), c.start()), (20, Some(4)));
        let mut out = Vec::new();
        assert_eq!(c.read(1, 8, 100, true, &mut out), None, "evicted offsets are not here");
        assert_eq!(c.trim(6), 10);
        assert!(c.is_dirty());
    }
}
