//! What a start does with a log whose files hold less, or something else, than the checkpoint vouches for.
//!
//! A disk that lost or changed bytes has harmed the records that stood there and nothing else: the log goes on at its
//! end, and with it every other log of the shard, whose checkpoint would wait for this one. What was lost is never
//! passed over in silence: a reader that gets there is told [`LogError::Corrupt`], until retention or
//! [`Log::delete_before`] moves the log start behind it.
//!
//! - A segment that became shorter is filled up with zeros, which are no batch, and closed: what comes stands in one of
//!   its own, where no index leads through the damage. A directory that is gone is made anew and begins so.
//! - Indexes are rebuilt up to the damage, and producers without what stands behind it in its segment.
//! - A list of aborted transactions that became shorter goes on with what is no entry: who reads committed records there
//!   is told, since nobody knows which of them were aborted.
//! - A compacted segment that waits to take the place of others (`.log.swap`) takes it as a damaged one. What it was to
//!   replace beyond the damage stays, as far as it is there.
//! - Leader epochs that cannot be read begin anew.
//!
//! Kafka cuts a damaged segment off when it recovers after a crash, and does not look after a clean stop.

use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use record::layout;
use runtime::fs::{self, File, OpenOptions};

use super::active_segment::PendingIndexes;
use super::error::LogError;
use super::file_names::{FileKind, SWAP_SUFFIX, with_suffix};
use super::offset_index;
use super::partition_log::Log;
use super::prepare::{Listing, REBUILD_READ_BYTES};
use super::segment_scan::SegmentScan;
use super::state::ActiveState;
use super::txn_index::{ENTRY_BYTES, NO_ENTRY};

impl Log {
    /// Gives the active segment the length that the checkpoint vouches for; `found` bytes of it are there.
    pub(super) async fn fill_up(
        &self,
        base: i64,
        expected: u64,
        found: u64,
    ) -> Result<(), LogError> {
        let file = self.path(base, FileKind::Log);
        tracing::error!(
            file = %file.display(), expected, found,
            "a segment is shorter than it was: the records behind are lost, readers of them get CORRUPT_MESSAGE"
        );
        self.write(base, FileKind::Log, 0, Vec::new()).await?;
        self.cut(base, FileKind::Log, expected).await
    }

    /// Gives the active segment's list of aborted transactions the length that the checkpoint vouches for.
    pub(super) async fn fill_up_aborted(
        &self,
        base: i64,
        expected: u64,
        found: u64,
    ) -> Result<(), LogError> {
        let file = self.path(base, FileKind::TxnIndex);
        tracing::error!(
            file = %file.display(), expected, found,
            "a list of aborted transactions is shorter than it was: readers of committed records get CORRUPT_MESSAGE"
        );
        let entries = found - found % ENTRY_BYTES as u64;
        let mark = vec![Bytes::from_static(&NO_ENTRY)];
        self.write(base, FileKind::TxnIndex, entries, mark).await?;
        self.cut(base, FileKind::TxnIndex, expected).await
    }

    /// The offset behind the batches of a `.log.swap`, as far as they follow one another, and its bytes. Readers are
    /// stopped there if that is not where the next segment begins.
    pub(super) async fn end_of_swap(
        &self,
        base: i64,
        path: &Path,
        bytes: u64,
        listing: &Listing,
    ) -> Result<(i64, u64), LogError> {
        let active = self.inner.borrow().state.active.base_offset;
        let file = File::open(path, &OpenOptions { write: true, ..OpenOptions::READ }).await;
        let file = Rc::new(file.map_err(LogError::io("open", path))?);
        let read_bytes = REBUILD_READ_BYTES;
        let mut scan = SegmentScan::new(file.clone(), path.to_owned(), 0, bytes, read_bytes);
        let mut end_offset = base;
        let reason = loop {
            match scan.header().await {
                Ok(Some(header)) if header.base_offset < end_offset => break "an offset goes back",
                Ok(Some(header)) if header.next_offset() > active => break "an offset is too high",
                Ok(Some(header)) => {
                    end_offset = header.next_offset();
                    scan.skip(&header);
                }
                Ok(None) if end_offset > base && is_boundary(end_offset, active, listing) => {
                    return Ok((end_offset, bytes));
                }
                Ok(None) => break "it ends too early",
                Err(error) if error.is_damage() => break "a batch is damaged",
                Err(error) => return Err(error),
            }
        };
        let position = scan.position;
        tracing::error!(
            file = %path.display(), position, reason,
            "a compacted segment is damaged: readers of what was behind get CORRUPT_MESSAGE"
        );
        let mark = Bytes::from_static(&[0; layout::BATCH_OVERHEAD]);
        file.write_all_at(position, mark).await.map_err(LogError::io("write", path))?;
        self.cut_swap_index(base, bytes).await?;
        Ok((end_offset, bytes.max(position + layout::BATCH_OVERHEAD as u64)))
    }

    /// No index leads behind the end of a `.log.swap`.
    async fn cut_swap_index(&self, base: i64, log_bytes: u64) -> Result<(), LogError> {
        let path = with_suffix(&self.path(base, FileKind::Index), SWAP_SUFFIX);
        let bytes = match fs::read(&path).await {
            Ok(bytes) => bytes,
            // It has its last name already, or there is none.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(LogError::io("read", &path)(error)),
        };
        let count = bytes.len() / offset_index::ENTRY_BYTES;
        let is_within = |at| u64::from(offset_index::entry(&bytes, at).1) < log_bytes;
        let within = offset_index::partition_point(count, is_within) * offset_index::ENTRY_BYTES;
        let file = File::open(&path, &OpenOptions { write: true, ..OpenOptions::default() }).await;
        let file = file.map_err(LogError::io("open", &path))?;
        file.set_len(within as u64).await.map_err(LogError::io("truncate", &path))
    }
}

/// Whether a segment begins at `offset`: a group of compacted ones ends there.
fn is_boundary(offset: i64, active: i64, listing: &Listing) -> bool {
    offset == active || listing.contains_key(&(offset, FileKind::Log))
}

/// Index entries for the batches of a segment, up to its end or to what is damaged, the state with them, and whether
/// something is.
pub(super) async fn index_batches(
    scan: &mut SegmentScan,
    active: &ActiveState,
    interval_bytes: u32,
) -> Result<(ActiveState, PendingIndexes, bool), LogError> {
    let mut rebuilt = ActiveState::new(active.base_offset, active.created_ms);
    let (mut indexes, mut is_damaged) = (PendingIndexes::default(), false);
    loop {
        match scan.header().await {
            Ok(Some(header)) => {
                rebuilt.add_batch(&header, interval_bytes, &mut indexes);
                scan.skip(&header);
            }
            Ok(None) => break,
            Err(error) if error.is_damage() => {
                is_damaged = true;
                tracing::error!(%error, "the indexes of a segment end before it");
                rebuilt = ActiveState {
                    index_bytes: rebuilt.index_bytes,
                    time_index_bytes: rebuilt.time_index_bytes,
                    last_time_entry: rebuilt.last_time_entry,
                    ..*active
                };
                break;
            }
            Err(error) => return Err(error),
        }
        runtime::task::yield_if_needed().await;
    }
    rebuilt.txn_index_bytes = active.txn_index_bytes;
    Ok((rebuilt, indexes, is_damaged))
}
