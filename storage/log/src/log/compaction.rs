//! Compaction of closed segments: the I/O around [`crate::cleaner`].
//!
//! Two passes over the segments before the active one: the first collects the newest offset of each
//! key, the second writes what stays. Segments that have become small are merged. A group of
//! segments is replaced in steps that a crash may interrupt anywhere:
//!
//! 1. `.cleaned` files are written and synced; found at a start, they are deleted;
//! 2. they are renamed to `.swap`, the log last. From `.log.swap` on the group is committed, and a
//!    start finishes the rest; without it, `.swap` files are deleted;
//! 3. the old segments behind the first are renamed to `.deleted`, and the `.swap` files take the
//!    place of the first, the log last.
//!
//! What is damaged, and what is before it, is left alone (`soundness.rs`).
//!
//! The last batch of each group stays, if only as a header, so that the group ends at the offset
//! where the next segment begins. Readers notice a replacement by `Inner::generation`, which is odd
//! while one is under way: then files and what is known of them do not fit each other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use record::{BatchError, BatchView, Codec, Decompressor, Records};
use runtime::fs::{self, File, OpenOptions};

use super::active_segment::PendingIndexes;
use super::error::LogError;
use super::file_names::{CLEANED_SUFFIX, FileKind, SWAP_SUFFIX, with_suffix};
use super::partition_log::{ClosedSegment, Inner, Log};
use super::segment_scan::SegmentScan;
use super::state::ActiveState;
use super::txn_index::AbortedTransaction;
use crate::cleaner::{BatchFilter, Kept, OffsetMap};

const READ_BYTES: usize = 1 << 20;
/// What stays is written in pieces of about this size.
const WRITE_BYTES: usize = 1 << 20;

/// The indexes that go with a `.log`, in the order in which they are renamed.
const INDEXES: [FileKind; 3] = [FileKind::Index, FileKind::TimeIndex, FileKind::TxnIndex];

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of the segments that were rewritten, before and after.
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub segments_before: usize,
    pub segments_after: usize,
    /// Records before this offset have been compared with each other.
    pub cleaned_offset: i64,
}

/// A segment that is being written anew.
struct Cleaned {
    log: File,
    path: PathBuf,
    written: u64,
    buffer: Vec<u8>,
    active: ActiveState,
    indexes: PendingIndexes,
}

/// What there is to compact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    /// Bytes of closed segments that were never compacted and are old enough.
    pub bytes: u64,
    /// Bytes of all closed segments: the ratio is what `min.cleanable.dirty.ratio` is compared with.
    pub total: u64,
    /// Something is older than `max.compaction.lag.ms`, whatever the ratio.
    pub overdue: bool,
}

impl Log {
    /// What there is to compact.
    pub async fn dirty(&self, now_ms: i64) -> Result<Dirty, LogError> {
        let config = self.config();
        if config.min_compaction_lag_ms > 0 || config.max_compaction_lag_ms < i64::MAX {
            self.largest_timestamps().await?;
        }
        let _permit = self.lock().await?;
        self.prepare().await?;
        let inner = self.inner.borrow();
        let cleaned = inner.state.cleaned_offset;
        let closed = inner.closed.as_deref().unwrap_or_default();
        let mut found = Dirty { total: inner.state.closed_bytes, ..Dirty::default() };
        let dirty = closed.iter().filter(|segment| segment.base_offset >= cleaned);
        for segment in dirty.take_while(|segment| inner.is_old_enough(segment, now_ms)) {
            let age = now_ms.saturating_sub(segment.largest_ms(now_ms));
            found.overdue |= age > config.max_compaction_lag_ms;
            found.bytes += segment.bytes;
        }
        Ok(found)
    }

    /// Compacts the closed segments. `stable_offset`: nothing at or behind it is touched, since
    /// transactions are open there. `map_bytes_max` bounds the memory for keys; what does not fit
    /// is left for the next call. Reading goes on meanwhile, appending too.
    pub async fn compact(
        &self,
        now_ms: i64,
        stable_offset: i64,
        map_bytes_max: usize,
    ) -> Result<Compacted, LogError> {
        let _maintenance = self.maintenance.acquire(1).await;
        {
            let _permit = self.lock().await?;
            self.prepare().await?;
        }
        if self.config().min_compaction_lag_ms > 0 {
            self.largest_timestamps().await?;
        }
        loop {
            match self.compact_sound(now_ms, stable_offset, map_bytes_max).await {
                Err(error) if error.is_damage() && self.leave_alone(&error) => {}
                compacted => return compacted,
            }
        }
    }

    /// Compacts what is behind the damage that is known.
    async fn compact_sound(
        &self,
        now_ms: i64,
        stable_offset: i64,
        map_bytes_max: usize,
    ) -> Result<Compacted, LogError> {
        let (segments, dirty_from) = self.inner.borrow().compactible(stable_offset, now_ms);
        let (segments, is_damaged) = self.inner.borrow().behind_damage(segments);
        let Some(last) = segments.last() else { return Ok(Compacted::default()) };
        let end_offset = self.inner.borrow().segment_after(last.base_offset).unwrap_or(0);
        let start = segments[0].base_offset;
        let aborted = self.aborted_transactions(start, end_offset).await?;
        let map =
            self.build_map(&segments, dirty_from, end_offset, &aborted, map_bytes_max).await?;
        let producers = self.survey(&segments, &aborted).await?;
        let delete_retention_ms = self.config().delete_retention_ms;
        let mut filter = BatchFilter::new(&map, &aborted, now_ms, delete_retention_ms);
        if is_damaged {
            filter.keep_tombstones();
        }
        let mut compacted = Compacted { cleaned_offset: map.end_offset(), ..Compacted::default() };
        let groups = self.inner.borrow().groups(&segments, map.end_offset());
        for group in groups {
            let cleaned = self.clean_group(&group, &mut filter, &producers, &aborted).await?;
            let Some(cleaned) = cleaned else { continue };
            compacted.segments_before += group.len();
            compacted.segments_after += 1;
            compacted.bytes_before += group.iter().map(|segment| segment.bytes).sum::<u64>();
            compacted.bytes_after += cleaned.bytes;
            let _permit = self.lock().await?;
            self.swap_in(&group, cleaned).await?;
        }
        self.inner.borrow_mut().state.cleaned_offset = compacted.cleaned_offset;
        Ok(compacted)
    }

    pub(super) async fn scan_closed(
        &self,
        segment: &ClosedSegment,
    ) -> Result<SegmentScan, LogError> {
        let path = self.path(segment.base_offset, FileKind::Log);
        let key = (self.id, segment.base_offset, FileKind::Log);
        let file = self.store.files.open(key, &path, false).await?;
        Ok(SegmentScan::new(file, path, 0, segment.bytes, READ_BYTES))
    }

    /// The newest offsets of the keys from `dirty_from` on, as far as the memory goes.
    async fn build_map(
        &self,
        segments: &[ClosedSegment],
        dirty_from: i64,
        end_offset: i64,
        aborted: &[AbortedTransaction],
        map_bytes_max: usize,
    ) -> Result<OffsetMap, LogError> {
        let mut map = OffsetMap::new(map_bytes_max);
        let mut decompressor = Decompressor::default();
        for segment in segments.iter().filter(|segment| segment.base_offset >= dirty_from) {
            let mut scan = self.scan_closed(segment).await?;
            while let Some((header, bytes)) = scan.next_sound().await? {
                if map.is_full() {
                    return Ok(map);
                }
                if !header.is_control() && !BatchFilter::is_aborted(&header, aborted) {
                    collect_keys(&bytes, &mut decompressor, &mut map)
                        .map_err(|error| scan.corrupt(error.to_string()))?;
                }
                map.set_end(header.next_offset());
                runtime::task::yield_if_needed().await;
            }
        }
        map.set_end(end_offset);
        Ok(map)
    }

    /// Writes what stays of a group to `.cleaned` files, synced; `None` if all of it stays.
    async fn clean_group(
        &self,
        group: &[ClosedSegment],
        filter: &mut BatchFilter<'_>,
        producers: &BTreeMap<i64, i64>,
        aborted: &[AbortedTransaction],
    ) -> Result<Option<ClosedSegment>, LogError> {
        let base = group[0].base_offset;
        let end_offset = {
            let inner = self.inner.borrow();
            inner.segment_after(group[group.len() - 1].base_offset).unwrap_or(base)
        };
        let path = with_suffix(&self.path(base, FileKind::Log), CLEANED_SUFFIX);
        let mut cleaned = Cleaned::create(path, base).await?;
        let interval = self.config().index_interval_bytes;
        let mut changed = group.len() > 1;
        for segment in group {
            let mut scan = self.scan_closed(segment).await?;
            while let Some((header, bytes)) = scan.next_sound().await? {
                let keep_header = header.next_offset() >= end_offset
                    || producers.get(&header.producer_id) == Some(&header.base_offset);
                let kept = filter.apply(&bytes, keep_header);
                match kept.map_err(|error| scan.corrupt(error.to_string()))? {
                    Kept::All => cleaned.push(&bytes, interval).await?,
                    Kept::Rewritten(bytes) => {
                        changed = true;
                        cleaned.push(&bytes, interval).await?;
                    }
                    Kept::Nothing => changed = true,
                }
                runtime::task::yield_if_needed().await;
            }
        }
        if !changed {
            let path = cleaned.path.clone();
            drop(cleaned);
            fs::remove_file(&path).await.map_err(LogError::io("delete", &path))?;
            return Ok(None);
        }
        for entry in aborted.iter().filter(|entry| (base..end_offset).contains(&entry.last_offset))
        {
            entry.push_to(&mut cleaned.indexes.txn_index);
        }
        self.finish_cleaned(cleaned, base, group[0].seen_ms).await.map(Some)
    }

    async fn finish_cleaned(
        &self,
        mut cleaned: Cleaned,
        base: i64,
        seen_ms: i64,
    ) -> Result<ClosedSegment, LogError> {
        cleaned.flush().await?;
        cleaned.active.add_time_entry(&mut cleaned.indexes);
        let synced = cleaned.log.sync_data().await;
        synced.map_err(LogError::io("sync", &cleaned.path))?;
        let PendingIndexes { index, time_index, txn_index } = cleaned.indexes;
        for (kind, bytes) in INDEXES.into_iter().zip([index, time_index, txn_index]) {
            if kind == FileKind::TxnIndex && bytes.is_empty() {
                continue;
            }
            let path = with_suffix(&self.path(base, kind), CLEANED_SUFFIX);
            let io = |operation| LogError::io(operation, &path);
            let file = File::open(&path, &OpenOptions::REPLACE).await.map_err(io("create"))?;
            file.write_all_at(0, Bytes::from(bytes)).await.map_err(io("write"))?;
            file.sync_data().await.map_err(io("sync"))?;
        }
        Ok(ClosedSegment {
            base_offset: base,
            bytes: cleaned.written,
            max_timestamp: Some(cleaned.active.last_time_entry),
            seen_ms,
        })
    }

    /// Puts a cleaned segment in the place of its group. The caller holds the lock.
    async fn swap_in(
        &self,
        group: &[ClosedSegment],
        cleaned: ClosedSegment,
    ) -> Result<(), LogError> {
        let base = cleaned.base_offset;
        for kind in INDEXES.into_iter().chain([FileKind::Log]) {
            let path = self.path(base, kind);
            rename(&with_suffix(&path, CLEANED_SUFFIX), &with_suffix(&path, SWAP_SUFFIX)).await?;
        }
        self.sync_own_dir().await?;
        let others: Vec<i64> = group[1..].iter().map(|segment| segment.base_offset).collect();
        let mut replacement = Replacement::begin(self);
        self.inner.borrow_mut().replace(group, cleaned);
        self.finish_swap(base, &others).await?;
        replacement.done = true;
        Ok(())
    }

    /// The number of replacements so far, twice, when none is under way.
    pub(super) async fn generation(&self) -> Result<u64, LogError> {
        loop {
            let generation = self.inner.borrow().generation;
            if generation.is_multiple_of(2) {
                return Ok(generation);
            }
            // who replaces holds it
            drop(self.lock().await?);
        }
    }

    /// Makes `.swap` files the segment `base`, in place of it and of the segments `others`.
    pub(super) async fn finish_swap(&self, base: i64, others: &[i64]) -> Result<(), LogError> {
        for other in others {
            for kind in FileKind::ALL {
                self.doom(*other, kind).await?;
            }
            self.store.files.close_segment(self.id, *other);
        }
        // Without `.swap` nothing says any more that these are replaced: they must not come back.
        if !others.is_empty() {
            self.sync_own_dir().await?;
        }
        for kind in INDEXES.into_iter().chain([FileKind::Log]) {
            let path = self.path(base, kind);
            rename(&with_suffix(&path, SWAP_SUFFIX), &path).await?;
        }
        self.store.files.close_segment(self.id, base);
        self.sync_own_dir().await
    }

    pub(super) async fn sync_own_dir(&self) -> Result<(), LogError> {
        let dir = self.dir();
        fs::sync_dir(&**dir).await.map_err(LogError::io("sync", &dir))
    }
}

/// Renames a file if it is there.
async fn rename(from: &PathBuf, to: &PathBuf) -> Result<(), LogError> {
    match fs::rename(from, to).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        renamed => renamed.map_err(LogError::io("rename", from)),
    }
}

fn collect_keys(
    bytes: &[u8],
    decompressor: &mut Decompressor,
    map: &mut OffsetMap,
) -> Result<(), BatchError> {
    let batch = BatchView::parse(bytes)?;
    if batch.header.records_count == 0 {
        return Ok(());
    }
    let plain = match batch.header.attributes.codec()? {
        Codec::None => batch.records_bytes(),
        codec => decompressor.decompress(codec, batch.records_bytes())?,
    };
    let mut records = Records::new(&batch.header, plain);
    while let Some(record) = records.next() {
        let record = record?;
        if let Some(key) = record.key {
            map.insert(key, records.offset_of(&record));
        }
    }
    Ok(())
}

/// From here until it is dropped readers must not trust what they planned.
struct Replacement<'a> {
    log: &'a Log,
    done: bool,
}

impl Replacement<'_> {
    fn begin(log: &Log) -> Replacement<'_> {
        log.inner.borrow_mut().generation += 1;
        Replacement { log, done: false }
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        let mut inner = self.log.inner.borrow_mut();
        inner.generation += 1;
        if !self.done {
            // Some files are swapped and some are not: preparing the log anew finishes it.
            inner.closed = None;
        }
    }
}

impl Cleaned {
    async fn create(path: PathBuf, base: i64) -> Result<Cleaned, LogError> {
        let log = File::open(&path, &OpenOptions::REPLACE).await;
        let log = log.map_err(LogError::io("create", &path))?;
        Ok(Cleaned {
            log,
            path,
            written: 0,
            buffer: Vec::new(),
            active: ActiveState::new(base, 0),
            indexes: PendingIndexes::default(),
        })
    }

    async fn push(&mut self, batch: &[u8], index_interval_bytes: u32) -> Result<(), LogError> {
        let header = record::BatchHeader::parse(batch)
            .map_err(|source| LogError::BadBatch { offset: self.active.base_offset, source })?;
        self.active.add_batch(&header, index_interval_bytes, &mut self.indexes);
        self.buffer.extend_from_slice(batch);
        if self.buffer.len() >= WRITE_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), LogError> {
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        let len = bytes.len() as u64;
        let written = self.log.write_all_at(self.written, bytes).await;
        written.map_err(LogError::io("write", &self.path))?;
        self.written += len;
        Ok(())
    }
}

impl Inner {
    /// The closed segments that lie before `stable_offset`, and from where on they are dirty.
    fn compactible(&self, stable_offset: i64, now_ms: i64) -> (Vec<ClosedSegment>, i64) {
        let closed = self.closed.as_deref().unwrap_or_default();
        let ends = closed
            .iter()
            .skip(1)
            .map(|segment| segment.base_offset)
            .chain([self.state.active.base_offset]);
        let segments = closed
            .iter()
            .zip(ends)
            .take_while(|(_, end)| *end <= stable_offset.min(self.checkpointed_base))
            .take_while(|(segment, _)| self.is_old_enough(segment, now_ms))
            .map(|(segment, _)| *segment)
            .collect();
        // A segment that was compacted in part is dirty as a whole.
        let cleaned = self.state.cleaned_offset;
        let after = closed.partition_point(|segment| segment.base_offset <= cleaned);
        let dirty = closed.get(after.saturating_sub(1)).map_or(0, |segment| segment.base_offset);
        (segments, if cleaned >= self.state.active.base_offset { cleaned } else { dirty })
    }

    /// Whether `min.compaction.lag.ms` has passed for all of it.
    fn is_old_enough(&self, segment: &ClosedSegment, now_ms: i64) -> bool {
        let lag = self.config.min_compaction_lag_ms;
        lag <= 0 || segment.largest_ms(now_ms) <= now_ms.saturating_sub(lag)
    }

    /// Neighbours that fit into one segment together; only those that begin before `end_offset`.
    fn groups(&self, segments: &[ClosedSegment], end_offset: i64) -> Vec<Vec<ClosedSegment>> {
        let mut groups: Vec<Vec<ClosedSegment>> = Vec::new();
        for segment in segments.iter().filter(|segment| segment.base_offset < end_offset) {
            let end = self.segment_after(segment.base_offset).unwrap_or(end_offset);
            let joins = groups.last().is_some_and(|group| {
                let bytes: u64 = group.iter().map(|member| member.bytes).sum();
                bytes + segment.bytes <= u64::from(self.config.segment_bytes)
                    && end - group[0].base_offset <= i64::from(i32::MAX)
            });
            match groups.last_mut() {
                Some(group) if joins => group.push(*segment),
                _ => groups.push(vec![*segment]),
            }
        }
        groups
    }

    fn replace(&mut self, group: &[ClosedSegment], cleaned: ClosedSegment) {
        let bases: Vec<i64> = group.iter().map(|segment| segment.base_offset).collect();
        let closed = self.closed.as_mut().expect("the log is prepared");
        closed.retain(|segment| !bases.contains(&segment.base_offset));
        let at = closed.partition_point(|segment| segment.base_offset < cleaned.base_offset);
        closed.insert(at, cleaned);
        let before: u64 = group.iter().map(|segment| segment.bytes).sum();
        self.state.closed_bytes = self.state.closed_bytes - before + cleaned.bytes;
        self.hints = Default::default();
        self.dirty.retain(|(base, kind), _| {
            *kind == FileKind::Snapshot && *base == cleaned.base_offset || !bases.contains(base)
        });
    }
}
