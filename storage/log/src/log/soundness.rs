//! What compaction leaves alone: closed segments that are damaged, and all before them.
//!
//! Nobody knows which keys stood in what was lost, nor, where a list of aborted transactions is damaged, which records
//! before it count. So those segments stay as they are, for readers to be told (`damage.rs`). What is behind them is
//! compacted among itself, or a log that is written for ever would grow for ever; its tombstones stay, since what they
//! delete may be before the damage. It is over when the damaged segment is gone (retention, `Log::delete_before`); after
//! a start it is found anew.
//!
//! A list of aborted transactions has no checksum and no end of its own: that it lacks one shows in the log alone, where
//! the marker of the abort is. Kafka leaves the whole partition alone (`LogCleanerManager`, uncleanable partitions), and
//! does not look for the markers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use record::{BatchHeader, BatchView, ControlType};

use super::error::LogError;
use super::file_names::{self, FileKind};
use super::partition_log::{ClosedSegment, Inner, Log};
use super::txn_index::AbortedTransaction;

impl Log {
    /// The last batch of each producer, whose header stays, for its sequence. That records were aborted and `aborted`
    /// does not know it is damage.
    pub(super) async fn survey(
        &self,
        segments: &[ClosedSegment],
        aborted: &[AbortedTransaction],
    ) -> Result<BTreeMap<i64, i64>, LogError> {
        let (mut last, mut open) = (BTreeMap::new(), BTreeSet::new());
        for segment in segments {
            let mut scan = self.scan_closed(segment).await?;
            while let Some(header) = scan.header().await? {
                if header.is_control() {
                    let end = end_of_transaction(&scan.peek(header.size).await?);
                    // Who wrote nothing here has a marker and no entry.
                    let has_written = end.is_some() && open.remove(&header.producer_id);
                    if end == Some(ControlType::Abort)
                        && has_written
                        && !is_listed(&header, aborted)
                    {
                        return Err(LogError::Corrupt {
                            file: self.path(segment.base_offset, FileKind::TxnIndex),
                            position: 0,
                            reason: format!("it lacks the abort at {}", header.base_offset),
                        });
                    }
                } else if header.has_producer_id() {
                    last.insert(header.producer_id, header.base_offset);
                    if header.is_transactional() {
                        open.insert(header.producer_id);
                    }
                }
                scan.skip(&header);
                runtime::task::yield_if_needed().await;
            }
        }
        Ok(last)
    }

    /// Remembers which closed segment the error tells of; false if that is none, or was known.
    pub(super) fn leave_alone(&self, error: &LogError) -> bool {
        let (LogError::Corrupt { file, .. } | LogError::Truncated { file, .. }) = error else {
            return false;
        };
        let mut inner = self.inner.borrow_mut();
        let Some(base) = segment_of(file).filter(|base| inner.is_closed(*base)) else {
            return false;
        };
        let is_news = inner.damaged.is_none_or(|known| known < base);
        if is_news {
            tracing::error!(%error, "up to the end of this segment nothing is compacted");
            inner.damaged = Some(base);
        }
        is_news
    }
}

impl Inner {
    /// Of these segments those behind the last damaged one, and whether records are left of that one or before it.
    pub(super) fn behind_damage(&self, segments: Vec<ClosedSegment>) -> (Vec<ClosedSegment>, bool) {
        match self.damaged.filter(|base| self.is_closed(*base)) {
            None => (segments, false),
            Some(base) => {
                let behind = segments.into_iter().filter(|segment| segment.base_offset > base);
                let next = self.segment_after(base);
                (behind.collect(), next.is_none_or(|next| next > self.state.log_start_offset))
            }
        }
    }

    fn is_closed(&self, base: i64) -> bool {
        let closed = self.closed.as_deref().unwrap_or_default();
        closed.iter().any(|segment| segment.base_offset == base)
    }
}

fn segment_of(file: &Path) -> Option<i64> {
    let (base, _) = file_names::parse(file.file_name()?.to_str()?)?;
    Some(base)
}

/// Whether a control batch commits or aborts a transaction.
fn end_of_transaction(bytes: &[u8]) -> Option<ControlType> {
    let record = BatchView::parse(bytes).ok()?.records().ok()?.next()?.ok()?;
    let control = ControlType::parse(record.key?)?;
    matches!(control, ControlType::Abort | ControlType::Commit).then_some(control)
}

fn is_listed(marker: &BatchHeader, aborted: &[AbortedTransaction]) -> bool {
    aborted.iter().any(|entry| {
        entry.producer_id == marker.producer_id && entry.last_offset == marker.base_offset
    })
}
