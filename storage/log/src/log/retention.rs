//! Deleting old segments (`UnifiedLog.deleteOldSegments` of Kafka).
//!
//! A segment goes when it lies before the log start offset, when the log without it still has
//! `retention.bytes`, or when its largest timestamp is older than `retention.ms`; always from the
//! oldest on, and the active segment only after a new one was begun.
//!
//! In two steps: a log start is wanted first, and segments go once a durable checkpoint has it. So a crash brings back
//! no log start that is older than one that was told to clients. Deleting is a rename; the bytes go later, slowly
//! (`reaper`).

use super::error::LogError;
use super::file_names::FileKind;
use super::partition_log::{Inner, Log};

/// What retention did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    pub deleted_segments: usize,
    pub deleted_bytes: u64,
    pub log_start_offset: i64,
    /// More goes once a checkpoint has been written: to be called again after it.
    pub waits_for_checkpoint: bool,
}

/// A segment as the rules see it.
struct Candidate {
    base_offset: i64,
    /// Base offset of the next segment, or the end of the log.
    end_offset: i64,
    bytes: u64,
    largest_timestamp: i64,
    is_active: bool,
}

impl Log {
    /// Deletes the segments that the settings and the log start offset no longer want, as far as the
    /// last checkpoint ([`Log::mark_checkpointed`]) knows that the log begins behind them; the next one
    /// will know it of the others.
    pub async fn retain(&self, now_ms: i64) -> Result<Retained, LogError> {
        if self.has_nothing_to_delete(now_ms) {
            let log_start_offset = self.log_start_offset();
            return Ok(Retained { log_start_offset, ..Retained::default() });
        }
        let _maintenance = self.maintenance.acquire(1).await;
        self.largest_timestamps().await?;
        let _permit = self.lock().await?;
        self.prepare().await?;
        let candidates = self.inner.borrow().candidates(now_ms);
        let count = self.inner.borrow().deletable(&candidates, now_ms);
        let doomed = &candidates[..count];
        if doomed.last().is_some_and(|last| last.is_active) {
            self.roll(now_ms).await?;
        }
        let mut retained = Retained::default();
        let (base, start) = {
            let mut inner = self.inner.borrow_mut();
            if let Some(last) = doomed.last() {
                inner.wanted_start = inner.wanted_start.max(last.end_offset);
            }
            (inner.checkpointed_base, inner.checkpointed_start)
        };
        let is_free = |doomed: &&Candidate| doomed.base_offset < base && doomed.end_offset <= start;
        for segment in doomed.iter().take_while(is_free) {
            self.delete_segment(segment).await?;
            retained.deleted_segments += 1;
            retained.deleted_bytes += segment.bytes;
        }
        retained.log_start_offset = self.log_start_offset();
        retained.waits_for_checkpoint = retained.deleted_segments < doomed.len();
        Ok(retained)
    }

    /// Whether that is clear without looking at the directory.
    fn has_nothing_to_delete(&self, now_ms: i64) -> bool {
        let inner = self.inner.borrow();
        let state = &inner.state;
        let active = &state.active;
        if active.log_bytes == 0 && state.closed_bytes == 0 {
            return true;
        }
        let config = &inner.config;
        let by_size = config.delete
            && config.retention_bytes >= 0
            && state.closed_bytes + u64::from(active.log_bytes) > config.retention_bytes as u64;
        let unlimited = !config.delete || config.retention_ms < 0;
        let only_active = state.closed_bytes == 0;
        let active_is_young =
            now_ms.saturating_sub(active.max_timestamp.timestamp) <= config.retention_ms;
        !by_size
            && (unlimited || (only_active && active_is_young))
            && (only_active || state.log_start_offset == 0)
    }

    async fn delete_segment(&self, segment: &Candidate) -> Result<(), LogError> {
        let base = segment.base_offset;
        // The log first: an index without a log is recognised as left over.
        for kind in FileKind::ALL {
            self.doom(base, kind).await?;
        }
        // Names become durable in any order: were the next segment to go before this one has, a power cut could bring
        // this one back and leave a gap behind it.
        self.sync_own_dir().await?;
        self.store.files.close_segment(self.id, base);
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        if let Some(closed) = &mut inner.closed {
            closed.retain(|other| other.base_offset != base);
        }
        inner.state.closed_bytes -= segment.bytes;
        inner.dirty.retain(|(other, _), _| *other != base);
        inner.forget_hints_before(segment.end_offset);
        Ok(())
    }
}

impl Inner {
    fn candidates(&self, now_ms: i64) -> Vec<Candidate> {
        let active = &self.state.active;
        let closed = self.closed.as_deref().unwrap_or_default();
        let mut candidates: Vec<Candidate> = closed
            .iter()
            .map(|segment| Candidate {
                base_offset: segment.base_offset,
                end_offset: 0,
                bytes: segment.bytes,
                largest_timestamp: segment.largest_ms(now_ms),
                is_active: false,
            })
            .collect();
        let timestamp = active.max_timestamp.timestamp;
        candidates.push(Candidate {
            base_offset: active.base_offset,
            end_offset: 0,
            bytes: u64::from(active.log_bytes),
            largest_timestamp: if timestamp >= 0 { timestamp } else { active.created_ms },
            is_active: true,
        });
        let mut end = self.state.end_offset;
        for candidate in candidates.iter_mut().rev() {
            candidate.end_offset = end;
            end = candidate.base_offset;
        }
        candidates
    }

    /// How many of the candidates, from the oldest on, go.
    fn deletable(&self, candidates: &[Candidate], now_ms: i64) -> usize {
        let config = &self.config;
        let before_start = count_while(candidates, |segment| {
            !segment.is_active && segment.end_offset <= self.state.log_start_offset
        });
        if !config.delete {
            return before_start;
        }
        let rest = &candidates[before_start..];
        let mut by_size = 0;
        if config.retention_bytes >= 0 {
            let total: u64 = rest.iter().map(|segment| segment.bytes).sum();
            let mut surplus = total as i64 - config.retention_bytes;
            by_size = count_while(rest, |segment| {
                let goes = surplus >= segment.bytes as i64;
                surplus -= segment.bytes as i64;
                goes
            });
        }
        let rest = &rest[by_size..];
        let mut by_time = 0;
        if config.retention_ms >= 0 {
            by_time = count_while(rest, |segment| {
                now_ms.saturating_sub(segment.largest_timestamp) > config.retention_ms
            });
        }
        before_start + by_size + by_time
    }
}

/// The candidates from the oldest on that a rule condemns; an empty active segment stays.
fn count_while(candidates: &[Candidate], mut goes: impl FnMut(&Candidate) -> bool) -> usize {
    let empty = |segment: &&Candidate| segment.is_active && segment.bytes == 0;
    candidates.iter().take_while(|segment| !empty(segment) && goes(segment)).count()
}
