//! One partition's log: a directory of segments.
//!
//! Lives on the shard that owns the partition. One task writes (append, retention, deletion,
//! checkpoint); any task of the shard may read meanwhile. Writers queue on a semaphore; state
//! changes happen in synchronous steps between awaits, after the bytes they speak of are written, so
//! a reader sees a state whose bytes are all there.
//!
//! Opening is free: a log is made from its [`LogState`], and the directory is looked at only when
//! something is written or a closed segment is read (`prepare`). An idle log holds no descriptor, no
//! timer and, after [`Log::hibernate`], a few hundred bytes.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use runtime::fs::FileSystem;
use runtime::sync::{Permit, Semaphore};

use super::active_segment::PendingIndexes;
use super::config::LogConfig;
use super::error::LogError;
use super::file_names::{FileKind, segment_path};
use super::leader_epochs::LeaderEpochs;
use super::open_files::OpenFiles;
use super::partition_metadata::TopicId;
use super::producer_snapshot::ProducerEntries;
use super::reaper::Reaper;
use super::state::LogState;
use super::sync_together::TOGETHER_FROM;
use super::time_index::TimestampOffset;

/// What the logs of one shard share.
pub struct LogStore {
    pub(super) files: Rc<OpenFiles>,
    pub(super) reaper: Rc<Reaper>,
    next_log: Cell<u64>,
    pub(super) together_from: usize,
    /// Unset until it was opened; absent where it cannot be synced as a whole. With the data directory.
    pub(super) file_system: OnceCell<Option<(PathBuf, FileSystem)>>,
    /// The sync of the file system that failed.
    pub(super) failed: RefCell<Option<LogError>>,
}

/// Limits of a [`LogStore`].
#[derive(Clone, Debug)]
pub struct LogStoreOptions {
    /// Most segment files kept open on the shard.
    pub open_files_max: usize,
    /// A file that nobody uses for this long is closed before twice this has passed. Longer than what is written waits for
    /// its sync: the kernel may forget an error of a write whose file is closed.
    pub close_idle_after: Duration,
    /// Logs from which on they are synced together ([`LogStore::sync_all`]).
    pub together_from: usize,
}

impl Default for LogStoreOptions {
    fn default() -> LogStoreOptions {
        LogStoreOptions {
            open_files_max: 1024,
            close_idle_after: Duration::from_secs(30),
            together_from: TOGETHER_FROM,
        }
    }
}

impl LogStore {
    /// The store of a shard; starts the background tasks that remove deleted files and close idle ones.
    pub fn new(options: LogStoreOptions) -> Rc<LogStore> {
        Rc::new(LogStore {
            files: OpenFiles::start(options.open_files_max, options.close_idle_after),
            reaper: Reaper::start(),
            next_log: Cell::new(0),
            together_from: options.together_from,
            file_system: OnceCell::new(),
            failed: RefCell::new(None),
        })
    }

    /// Segment files open now.
    pub fn open_files(&self) -> usize {
        self.files.len()
    }

    /// Files and directories that wait to be removed.
    pub fn files_to_remove(&self) -> usize {
        self.reaper.waiting()
    }
}

impl ClosedSegment {
    /// The largest timestamp, for rules about age.
    pub fn largest_ms(&self, now_ms: i64) -> i64 {
        match self.max_timestamp {
            Some(last) if last.timestamp >= 0 => last.timestamp,
            Some(_) => self.seen_ms,
            None => now_ms,
        }
    }
}

/// A segment that is not written any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClosedSegment {
    pub base_offset: i64,
    pub bytes: u64,
    /// Last entry of its time index; `None` until it was read.
    pub max_timestamp: Option<TimestampOffset>,
    /// Stands in for the timestamp of a segment that has none.
    pub seen_ms: i64,
}

/// Where a reader that got so far goes on.
#[derive(Clone, Copy)]
pub(super) struct Hint {
    pub offset: i64,
    pub base_offset: i64,
    pub position: u64,
}

/// Readers of one partition that find their place without the index.
pub(super) const HINTS: usize = 4;

pub(super) struct Inner {
    pub config: Rc<LogConfig>,
    /// Counts pending index bytes as if they were in the files.
    pub state: LogState,
    pub pending: PendingIndexes,
    /// Oldest first; `None` until the directory was listed.
    pub closed: Option<Vec<ClosedSegment>>,
    pub epochs: Option<LeaderEpochs>,
    pub epochs_dirty: bool,
    /// Exact for `state.end_offset`; `None` when not known.
    pub producers: Option<ProducerEntries>,
    /// A snapshot that belongs to no segment, left by a clean stop.
    pub loose_snapshot: Option<i64>,
    /// Files written since their last sync, with the time of the last write on `writes`.
    pub dirty: BTreeMap<(i64, FileKind), u64>,
    pub writes: u64,
    pub dir_dirty: bool,
    /// This process made the directory, and its name and owner are durable.
    pub made_dir: bool,
    pub hints: [Option<Hint>; HINTS],
    pub next_hint: usize,
    pub failed: Option<LogError>,
    /// Changes when a segment is replaced: what a reader planned before is void.
    pub generation: u64,
    /// Base offset of the last closed segment that compaction found damaged.
    pub damaged: Option<i64>,
    /// Base offset of the active segment in the last durable checkpoint. A start may go back to
    /// it, so no segment from it on is deleted or rewritten.
    pub checkpointed_base: i64,
    /// Log start in the last durable checkpoint: a start never goes back before it, so segments that it leaves out may go.
    pub checkpointed_start: i64,
    /// Log start that retention wants. The next checkpoint says so, and then it is so.
    pub wanted_start: i64,
}

/// One partition's log.
pub struct Log {
    pub(super) store: Rc<LogStore>,
    pub(super) id: u64,
    dir: RefCell<Rc<PathBuf>>,
    topic_id: TopicId,
    pub(super) inner: RefCell<Inner>,
    mutation: Semaphore,
    /// Held by what removes or replaces closed segments.
    pub(super) maintenance: Semaphore,
}

impl Log {
    /// Opens the log in `dir` as `state` describes it; touches no file.
    ///
    /// `state` is what the last checkpoint kept, or [`LogState::new`] for a log that never was in
    /// a checkpoint. Whatever else is in the directory is cut off before the first write.
    pub fn open(
        store: &Rc<LogStore>,
        dir: PathBuf,
        topic_id: TopicId,
        config: Rc<LogConfig>,
        state: LogState,
    ) -> Rc<Log> {
        let id = store.next_log.get();
        store.next_log.set(id + 1);
        // A log that is empty has no producers; else they are known once they are needed.
        let is_new = state.end_offset == state.active.base_offset && state.closed_bytes == 0;
        Rc::new(Log {
            store: Rc::clone(store),
            id,
            dir: RefCell::new(Rc::new(dir)),
            topic_id,
            inner: RefCell::new(Inner {
                config,
                state,
                pending: PendingIndexes::default(),
                closed: None,
                epochs: None,
                epochs_dirty: false,
                producers: is_new.then(ProducerEntries::default),
                loose_snapshot: None,
                dirty: BTreeMap::new(),
                writes: 0,
                dir_dirty: false,
                made_dir: false,
                hints: [None; HINTS],
                next_hint: 0,
                failed: None,
                generation: 0,
                damaged: None,
                checkpointed_base: state.active.base_offset,
                checkpointed_start: state.log_start_offset,
                wanted_start: state.log_start_offset,
            }),
            mutation: Semaphore::new(1),
            maintenance: Semaphore::new(1),
        })
    }

    /// Its directory.
    pub fn dir(&self) -> Rc<PathBuf> {
        Rc::clone(&self.dir.borrow())
    }

    /// The id of its topic.
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// The settings it obeys.
    pub fn config(&self) -> Rc<LogConfig> {
        Rc::clone(&self.inner.borrow().config)
    }

    /// New settings take effect with the next append or retention.
    pub fn set_config(&self, config: Rc<LogConfig>) {
        self.inner.borrow_mut().config = config;
    }

    /// First offset that may be read.
    pub fn log_start_offset(&self) -> i64 {
        self.inner.borrow().state.log_start_offset
    }

    /// Offset of the batch that will be appended next.
    pub fn end_offset(&self) -> i64 {
        self.inner.borrow().state.end_offset
    }

    /// Bytes of all batches, also of those before the log start offset that are still there.
    pub fn bytes(&self) -> u64 {
        let inner = self.inner.borrow();
        inner.state.closed_bytes + u64::from(inner.state.active.log_bytes)
    }

    /// Whether something was written since the last [`Log::sync`].
    pub fn is_dirty(&self) -> bool {
        let inner = self.inner.borrow();
        !inner.dirty.is_empty() || !inner.pending.is_empty() || inner.epochs_dirty
    }

    /// The checkpoint with this state of the log, from [`Log::sync`], is durable. Only segments that
    /// it knows as closed are deleted or compacted, and the log begins where it says: what retention
    /// wanted to go cannot be read any more.
    pub fn mark_checkpointed(&self, state: &LogState) {
        {
            let mut inner = self.inner.borrow_mut();
            inner.checkpointed_base = state.active.base_offset;
            inner.checkpointed_start = state.log_start_offset;
        }
        self.delete_before(state.log_start_offset);
    }

    /// Records before `offset` are deleted (Kafka's DeleteRecords): they cannot be read any more.
    /// Their segments go with the next retention. Returns the new log start offset.
    pub fn delete_before(&self, offset: i64) -> i64 {
        let mut inner = self.inner.borrow_mut();
        if offset > inner.state.log_start_offset {
            inner.state.log_start_offset = offset;
            let changed =
                inner.epochs.as_mut().is_some_and(|epochs| epochs.truncate_from_start(offset));
            inner.epochs_dirty |= changed;
        }
        inner.state.log_start_offset
    }

    /// `file.delete.delay.ms`.
    pub(super) fn delete_delay(&self) -> Duration {
        Duration::from_millis(self.inner.borrow().config.file_delete_delay_ms)
    }

    /// Gives back what an idle log does not need: descriptors, lists, caches. One whose segments are being compacted or
    /// retained is not idle: preparing it anew would take the files of a compaction for those of one that crashed.
    pub async fn hibernate(&self) -> Result<(), LogError> {
        let Some(_maintenance) = self.maintenance.try_acquire(1) else {
            return Ok(());
        };
        let _permit = self.lock().await?;
        self.flush_indexes().await?;
        self.store.files.close_log(self.id);
        let mut inner = self.inner.borrow_mut();
        inner.pending = PendingIndexes::default();
        inner.hints = [None; HINTS];
        if inner.dirty.is_empty() && !inner.epochs_dirty {
            inner.closed = None;
            inner.epochs = None;
            if inner.producers.as_ref().is_some_and(|producers| !producers.is_empty()) {
                inner.producers = None;
            }
        }
        Ok(())
    }

    /// The right to write, and whether writing makes sense.
    pub(super) async fn lock(&self) -> Result<Permit, LogError> {
        let permit = self.mutation.acquire(1).await;
        self.check()?;
        Ok(permit)
    }

    /// The error that closed the log, if one did.
    pub(super) fn check(&self) -> Result<(), LogError> {
        match &self.inner.borrow().failed {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    pub(super) fn path(&self, base_offset: i64, kind: FileKind) -> PathBuf {
        segment_path(&self.dir.borrow(), base_offset, kind)
    }

    /// Writes to a file of a segment, made if it is not there.
    pub(super) async fn write(
        &self,
        base_offset: i64,
        kind: FileKind,
        position: u64,
        bufs: Vec<Bytes>,
    ) -> Result<(), LogError> {
        let path = self.path(base_offset, kind);
        let file = self.store.files.open((self.id, base_offset, kind), &path, true).await?;
        file.write_vectored_at(position, bufs).await.map_err(LogError::io("write", &path))?;
        self.inner.borrow_mut().mark_dirty(base_offset, kind);
        Ok(())
    }

    /// Writes pending index bytes to the files of the active segment, which exist afterwards.
    pub(super) async fn flush_indexes(&self) -> Result<(), LogError> {
        let (pending, active) = {
            let inner = self.inner.borrow();
            if inner.pending.is_empty() {
                return Ok(());
            }
            (inner.pending.clone(), inner.state.active)
        };
        let base = active.base_offset;
        for (kind, bytes, end) in [
            (FileKind::Index, pending.index, active.index_bytes),
            (FileKind::TimeIndex, pending.time_index, active.time_index_bytes),
            (FileKind::TxnIndex, pending.txn_index, active.txn_index_bytes),
        ] {
            if !bytes.is_empty() {
                let position = u64::from(end) - bytes.len() as u64;
                self.write(base, kind, position, vec![Bytes::from(bytes)]).await?;
            }
        }
        self.inner.borrow_mut().pending = PendingIndexes::default();
        Ok(())
    }
}

impl Inner {
    /// What the next checkpoint says.
    pub fn state_to_keep(&self) -> LogState {
        let log_start_offset = self.state.log_start_offset.max(self.wanted_start);
        LogState { log_start_offset, ..self.state }
    }

    pub fn mark_dirty(&mut self, base_offset: i64, kind: FileKind) {
        self.writes += 1;
        if self.dirty.insert((base_offset, kind), self.writes).is_none() {
            // The file may be new.
            self.dir_dirty = true;
        }
    }

    pub fn add_hint(&mut self, hint: Hint) {
        if let Some(old) = self.hints.iter_mut().flatten().find(|old| old.offset == hint.offset) {
            *old = hint;
            return;
        }
        self.hints[self.next_hint] = Some(hint);
        self.next_hint = (self.next_hint + 1) % HINTS;
    }

    pub fn forget_hints_before(&mut self, base_offset: i64) {
        for hint in &mut self.hints {
            if hint.is_some_and(|hint| hint.base_offset < base_offset) {
                *hint = None;
            }
        }
    }
}
