//! The first look at a log's directory after a start: makes it what the [`LogState`] says.
//!
//! Writes that were not part of the last checkpoint may have left longer files, newer segments and
//! half-done renames; all of it is cut off, because the WAL replays what it held. Segments may also
//! be missing at the front, where retention deleted them after the checkpoint.
//!
//! [`LogState`]: super::LogState

use std::collections::BTreeMap;
use std::path::PathBuf;

use runtime::fs::{self, File, OpenOptions};

use super::damage::index_batches;
use super::error::LogError;
use super::file_names::{
    self, CLEANED_SUFFIX, DELETED_SUFFIX, FileKind, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA,
    SWAP_SUFFIX, with_suffix,
};
use super::leader_epochs::LeaderEpochs;
use super::partition_log::{ClosedSegment, Log};
use super::partition_metadata::{self, DirOwner, owner_of_dir};
use super::producer_snapshot::ProducerEntries;
use super::removal::{Aside, put_aside};
use super::segment_scan::SegmentScan;
use super::state::{ActiveState, LogState};

/// Read size when indexes are rebuilt.
pub(super) const REBUILD_READ_BYTES: usize = 1 << 20;

/// Sizes of the files of a directory, by base offset and kind.
pub(super) type Listing = BTreeMap<(i64, FileKind), u64>;

impl Log {
    /// Makes the directory fit the state, once. The caller holds the lock.
    pub(super) async fn prepare(&self) -> Result<(), LogError> {
        if self.inner.borrow().closed.is_some() {
            return Ok(());
        }
        let dir = self.dir();
        let state = self.inner.borrow().state;
        if !fs::exists(&**dir).await.map_err(LogError::io("look for", &dir))? {
            self.create_dir().await?;
        } else if state.active.log_bytes == 0
            && state.closed_bytes == 0
            && !self.inner.borrow().made_dir
        {
            self.take_over_dir().await?;
        }
        let mut listing = self.list().await?;
        self.remove_beyond(&state, &mut listing).await?;
        let is_damaged = self.cut_active(&state, &listing).await?;
        self.adopt_snapshots(&state, &listing).await?;
        self.adopt_closed(&listing);
        match is_damaged {
            true => self.roll(runtime::time::wall_clock_ms()).await,
            false => Ok(()),
        }
    }

    /// The directory of a log that no checkpoint vouches for may be that of a deleted topic of the same name, which a
    /// crash kept: it goes. If it is its own, the process that made it may have ended before its name was durable.
    async fn take_over_dir(&self) -> Result<(), LogError> {
        let dir = self.dir();
        if owner_of_dir(&dir).await? == DirOwner::Topic(self.topic_id()) {
            return self.sync_parent_dir().await;
        }
        for doomed in put_aside(&[dir.to_path_buf()], Aside::Doomed).await?.into_iter().flatten() {
            self.store.reaper.add_dir(doomed, self.delete_delay());
        }
        self.create_dir().await
    }

    async fn create_dir(&self) -> Result<(), LogError> {
        let dir = self.dir();
        fs::create_dir_all(&**dir).await.map_err(LogError::io("create", &dir))?;
        let (path, text) = self.owner_file();
        fs::write_atomic(&path, text.as_bytes()).await.map_err(LogError::io("write", &path))?;
        self.sync_parent_dir().await
    }

    /// Makes the name of the log's directory durable.
    async fn sync_parent_dir(&self) -> Result<(), LogError> {
        match self.dir().parent() {
            Some(parent) => fs::sync_dir(parent).await.map_err(LogError::io("sync", parent)),
            None => Ok(()),
        }
    }

    /// Path and content of the file that says whose directory it is.
    pub(super) fn owner_file(&self) -> (PathBuf, String) {
        let text = partition_metadata::to_file(&self.topic_id());
        (self.dir().join(PARTITION_METADATA), text)
    }

    /// Lists the directory, after what an interrupted deletion or compaction left is dealt with.
    async fn list(&self) -> Result<Listing, LogError> {
        let dir = self.dir();
        let mut listing = Listing::new();
        let mut swaps = Listing::new();
        for entry in fs::read_dir(&**dir).await.map_err(LogError::io("list", &dir))? {
            let path = dir.join(&entry.name);
            if entry.name.ends_with(DELETED_SUFFIX) {
                self.store.reaper.add_file(path, self.delete_delay());
            } else if entry.name.ends_with(CLEANED_SUFFIX) {
                fs::remove_file(&path).await.map_err(LogError::io("delete", &path))?;
            } else if let Some(name) = entry.name.strip_suffix(SWAP_SUFFIX) {
                swaps.extend(file_names::parse(name).map(|file| (file, entry.len)));
            } else if let Some(file) = file_names::parse(&entry.name) {
                listing.insert(file, entry.len);
            }
        }
        self.finish_compactions(&swaps, &mut listing).await?;
        Ok(listing)
    }

    /// Finishes compactions that were committed (`.log.swap` is there) and undoes the others.
    async fn finish_compactions(
        &self,
        swaps: &Listing,
        listing: &mut Listing,
    ) -> Result<(), LogError> {
        for ((base, kind), bytes) in swaps {
            let path = with_suffix(&self.path(*base, *kind), SWAP_SUFFIX);
            let Some(log_bytes) = swaps.get(&(*base, FileKind::Log)) else {
                fs::remove_file(&path).await.map_err(LogError::io("delete", &path))?;
                continue;
            };
            let mut bytes = *bytes;
            if *kind == FileKind::Log {
                let end_offset;
                (end_offset, bytes) = self.end_of_swap(*base, &path, *log_bytes, listing).await?;
                let replaced: Vec<i64> = listing
                    .keys()
                    .filter(|(other, _)| *base < *other && *other < end_offset)
                    .map(|(other, _)| *other)
                    .collect();
                self.finish_swap(*base, &replaced).await?;
                listing.retain(|(other, _), _| !replaced.contains(other));
            }
            listing.insert((*base, *kind), bytes);
        }
        Ok(())
    }

    /// Removes segments behind the active one and those that the state does not know, and indexes without a segment.
    async fn remove_beyond(&self, state: &LogState, listing: &mut Listing) -> Result<(), LogError> {
        let active = state.active.base_offset;
        // A log that began anew behind what it had begins with its active segment: what lies before is of its past.
        let has_closed = state.closed_bytes > 0 || state.log_start_offset < active;
        let is_closed = |base: i64, listing: &Listing| {
            has_closed && base < active && listing.contains_key(&(base, FileKind::Log))
        };
        let keep = |base: i64, kind: FileKind, listing: &Listing| match kind {
            FileKind::Snapshot => {
                base == state.end_offset || base == active || is_closed(base, listing)
            }
            _ => base == active || is_closed(base, listing),
        };
        let doomed: Vec<(i64, FileKind)> =
            listing.keys().filter(|(base, kind)| !keep(*base, *kind, listing)).copied().collect();
        for (base, kind) in doomed {
            let path = self.path(base, kind);
            fs::remove_file(&path).await.map_err(LogError::io("delete", &path))?;
            listing.remove(&(base, kind));
        }
        Ok(())
    }

    /// Cuts the files of the active segment to what the state vouches for; returns whether it is damaged.
    async fn cut_active(&self, state: &LogState, listing: &Listing) -> Result<bool, LogError> {
        let active = &state.active;
        let base = active.base_offset;
        let (mut rebuild, mut is_damaged) = (false, false);
        for (kind, bytes) in [
            (FileKind::Log, active.log_bytes),
            (FileKind::Index, active.index_bytes),
            (FileKind::TimeIndex, active.time_index_bytes),
            (FileKind::TxnIndex, active.txn_index_bytes),
        ] {
            let expected = u64::from(bytes);
            let found = listing.get(&(base, kind)).copied().unwrap_or(0);
            if found > expected {
                self.cut(base, kind, expected).await?;
            } else if found < expected {
                match kind {
                    FileKind::Log => {
                        self.fill_up(base, expected, found).await?;
                        is_damaged = true;
                    }
                    FileKind::TxnIndex => {
                        self.fill_up_aborted(base, expected, found).await?;
                        is_damaged = true;
                    }
                    _ => {
                        let file = self.path(base, kind);
                        tracing::warn!(file = %file.display(), expected, found, "an index is rebuilt");
                        rebuild = true;
                    }
                }
            }
        }
        Ok((rebuild && self.rebuild_indexes(active).await?) | is_damaged)
    }

    pub(super) async fn cut(&self, base: i64, kind: FileKind, bytes: u64) -> Result<(), LogError> {
        let path = self.path(base, kind);
        let options = OpenOptions { write: true, ..OpenOptions::default() };
        let file = File::open(&path, &options).await.map_err(LogError::io("open", &path))?;
        file.set_len(bytes).await.map_err(LogError::io("truncate", &path))?;
        self.inner.borrow_mut().mark_dirty(base, kind);
        Ok(())
    }

    /// Rebuilds both indexes of the active segment from its batches (`LogSegment.recover`); returns whether it is damaged.
    async fn rebuild_indexes(&self, active: &ActiveState) -> Result<bool, LogError> {
        let base = active.base_offset;
        let path = self.path(base, FileKind::Log);
        let file = self.store.files.open((self.id, base, FileKind::Log), &path, false).await?;
        let limit = u64::from(active.log_bytes);
        let mut scan = SegmentScan::new(file, path, 0, limit, REBUILD_READ_BYTES);
        let interval = self.config().index_interval_bytes;
        let (rebuilt, indexes, is_damaged) = index_batches(&mut scan, active, interval).await?;
        for (kind, bytes) in
            [(FileKind::Index, &indexes.index), (FileKind::TimeIndex, &indexes.time_index)]
        {
            self.write(base, kind, 0, vec![bytes.clone().into()]).await?;
            self.cut(base, kind, bytes.len() as u64).await?;
        }
        self.inner.borrow_mut().state.active = rebuilt;
        Ok(is_damaged)
    }

    /// Takes up the producers that a clean stop or the last roll left.
    async fn adopt_snapshots(&self, state: &LogState, listing: &Listing) -> Result<(), LogError> {
        let end = state.end_offset;
        if !listing.contains_key(&(end, FileKind::Snapshot)) {
            return Ok(());
        }
        let path = self.path(end, FileKind::Snapshot);
        let bytes = fs::read(&path).await.map_err(LogError::io("read", &path))?;
        let mut inner = self.inner.borrow_mut();
        if let Some(producers) = ProducerEntries::decode(&bytes) {
            inner.producers = Some(producers);
        }
        if end != state.active.base_offset {
            inner.loose_snapshot = Some(end);
        }
        Ok(())
    }

    fn adopt_closed(&self, listing: &Listing) {
        let mut inner = self.inner.borrow_mut();
        let active = inner.state.active.base_offset;
        let seen_ms = runtime::time::wall_clock_ms();
        let closed: Vec<ClosedSegment> = listing
            .iter()
            .filter(|((base, kind), _)| *kind == FileKind::Log && *base < active)
            .map(|((base_offset, _), bytes)| ClosedSegment {
                base_offset: *base_offset,
                bytes: *bytes,
                max_timestamp: None,
                seen_ms,
            })
            .collect();
        let first = closed.first().map_or(active, |segment| segment.base_offset);
        inner.state.log_start_offset = inner.state.log_start_offset.max(first);
        inner.state.closed_bytes = closed.iter().map(|segment| segment.bytes).sum();
        inner.closed = Some(closed);
    }

    /// Reads the leader epochs, once; those behind the end of the log are dropped.
    pub(super) async fn load_epochs(&self) -> Result<(), LogError> {
        if self.inner.borrow().epochs.is_some() {
            return Ok(());
        }
        let path = self.dir().join(LEADER_EPOCH_CHECKPOINT);
        let (mut epochs, mut is_damaged) = (LeaderEpochs::default(), false);
        if fs::exists(&path).await.map_err(LogError::io("look for", &path))? {
            let bytes = fs::read(&path).await.map_err(LogError::io("read", &path))?;
            let read = LeaderEpochs::from_file(&String::from_utf8_lossy(&bytes));
            is_damaged = read.is_none();
            epochs = read.unwrap_or_default();
        }
        if is_damaged {
            tracing::error!(file = %path.display(), "it is no list of leader epochs: one is begun anew");
        }
        let mut inner = self.inner.borrow_mut();
        if inner.epochs.is_none() {
            let changed = is_damaged
                | epochs.truncate_from_end(inner.state.end_offset)
                | epochs.truncate_from_start(inner.state.log_start_offset);
            inner.epochs_dirty |= changed;
            inner.epochs = Some(epochs);
        }
        Ok(())
    }

    /// The log's leader epochs.
    pub async fn leader_epochs(&self) -> Result<LeaderEpochs, LogError> {
        self.load_epochs().await?;
        Ok(self.inner.borrow().epochs.clone().unwrap_or_default())
    }

    /// `path` renamed so that the background task removes it, now or after a restart.
    pub(super) async fn doom(&self, base: i64, kind: FileKind) -> Result<(), LogError> {
        let path = self.path(base, kind);
        let doomed = with_suffix(&path, DELETED_SUFFIX);
        match fs::rename(&path, &doomed).await {
            Ok(()) => self.store.reaper.add_file(doomed, self.delete_delay()),
            // Not every segment has every file.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(LogError::io("rename", &path)(error)),
        }
        Ok(())
    }
}
