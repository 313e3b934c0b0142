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
//! - Leader epochs that cannot be read begin anew.
//!
//! Kafka cuts a damaged segment off when it recovers after a crash, and does not look after a clean stop.

use super::active_segment::PendingIndexes;
use super::error::LogError;
use super::file_names::FileKind;
use super::partition_log::Log;
use super::segment_scan::SegmentScan;
use super::state::ActiveState;

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
