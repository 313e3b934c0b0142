//! Making a log durable for a checkpoint, and closing it as Kafka does.
//!
//! In steps, because many logs are made durable together (`sync_together`): everything is written and
//! what is not durable noted ([`Unsynced`]), then it is synced, then the note is struck off. Whoever
//! drops the note before leaves the log as unsynced as it was.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use runtime::fs::{self, File, OpenOptions};

use super::error::LogError;
use super::file_names::{FileKind, LEADER_EPOCH_CHECKPOINT};
use super::partition_log::Log;
use super::state::LogState;

/// What was written and is not synced.
pub(super) struct Unsynced<'a> {
    log: &'a Log,
    /// Describes it.
    state: LogState,
    /// With the time of the last write on `writes`.
    files: BTreeMap<(i64, FileKind), u64>,
    /// Names in the directory.
    names: bool,
    /// Leader epochs that wait beside their file to take its place.
    epochs: Option<EpochsBeside>,
}

struct EpochsBeside {
    text: String,
    path: PathBuf,
}

impl Log {
    /// Makes everything appended so far durable; returns the state to put into the checkpoint.
    ///
    /// Appends may go on meanwhile; they are not part of the state. A log that was not written
    /// since its last sync costs nothing. When a sync fails the log is closed for ever
    /// ([`LogError::Failed`]) and the node stops.
    pub async fn sync(&self) -> Result<LogState, LogError> {
        let unsynced = {
            let _permit = self.lock().await?;
            if !self.is_dirty() && !self.inner.borrow().dir_dirty {
                return Ok(self.inner.borrow().state_to_keep());
            }
            self.flush_indexes().await?;
            self.write_epochs().await?;
            Unsynced::of(self)
        };
        for (base, kind) in unsynced.files.keys() {
            self.sync_file(*base, *kind).await?;
        }
        if unsynced.names {
            let dir = self.dir();
            fs::sync_dir(&**dir).await.map_err(|error| self.fail(&dir, &error))?;
        }
        Ok(unsynced.made_durable())
    }

    /// The first step of [`Log::sync`] or [`Log::close`] where one sync of the file system does the rest.
    pub(super) async fn write_out(&self, closes: bool) -> Result<Unsynced<'_>, LogError> {
        let _permit = self.lock().await?;
        if closes {
            self.write_last_files().await?;
        }
        self.flush_indexes().await?;
        let epochs = self.write_epochs_beside().await?;
        let mut unsynced = Unsynced::of(self);
        unsynced.epochs = epochs;
        Ok(unsynced)
    }

    async fn sync_file(&self, base: i64, kind: FileKind) -> Result<(), LogError> {
        let path = self.path(base, kind);
        let file = if kind == FileKind::Snapshot {
            let options = OpenOptions { write: true, ..OpenOptions::default() };
            File::open(&path, &options).await.map(Rc::new).map_err(LogError::io("open", &path))
        } else {
            self.store.files.open((self.id, base, kind), &path, false).await
        };
        match file {
            _ if runtime::mutant::is("checkpoint-without-sync") => Ok(()),
            // Retention was faster.
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
            Ok(file) => file.sync_data().await.map_err(|error| self.fail(&path, &error)),
        }
    }

    fn fail(&self, path: &std::path::Path, error: &std::io::Error) -> LogError {
        let failed = LogError::Failed { file: path.to_path_buf(), message: error.to_string() };
        self.inner.borrow_mut().failed.get_or_insert(failed).clone()
    }

    async fn write_epochs(&self) -> Result<(), LogError> {
        let Some(text) = self.unsaved_epochs() else { return Ok(()) };
        let path = self.dir().join(LEADER_EPOCH_CHECKPOINT);
        fs::write_atomic(&path, text.as_bytes()).await.map_err(LogError::io("write", &path))?;
        self.inner.borrow_mut().epochs_dirty = false;
        Ok(())
    }

    /// They stay dirty until they are in their place.
    async fn write_epochs_beside(&self) -> Result<Option<EpochsBeside>, LogError> {
        let Some(text) = self.unsaved_epochs() else { return Ok(None) };
        let path = self.dir().join(LEADER_EPOCH_CHECKPOINT);
        let written = fs::write_beside(&path, text.as_bytes()).await;
        let path = written.map_err(LogError::io("write", &path))?;
        Ok(Some(EpochsBeside { text, path }))
    }

    fn unsaved_epochs(&self) -> Option<String> {
        let inner = self.inner.borrow();
        inner.epochs.as_ref().filter(|_| inner.epochs_dirty).map(|epochs| epochs.to_file())
    }

    /// Closes the log for a clean stop: everything is durable, and the files are what Kafka leaves
    /// behind (the last entry of the time index, a producer snapshot at the end of the log).
    /// Nothing may be appended afterwards.
    pub async fn close(&self) -> Result<LogState, LogError> {
        {
            let _permit = self.lock().await?;
            self.write_last_files().await?;
        }
        let state = self.sync().await?;
        self.forget_files();
        Ok(state)
    }

    /// Whether closing the log writes files.
    pub(super) fn has_last_files(&self) -> bool {
        let inner = self.inner.borrow();
        inner.closed.is_some() && inner.state.active.log_bytes > 0
    }

    /// Writes what Kafka leaves behind, unless the log was not touched. The caller holds the lock.
    async fn write_last_files(&self) -> Result<(), LogError> {
        if !self.has_last_files() {
            return Ok(());
        }
        let state = {
            let mut inner = self.inner.borrow_mut();
            let inner = &mut *inner;
            let before = inner.state;
            inner.state.active.add_time_entry(&mut inner.pending);
            before
        };
        self.flush_indexes().await?;
        for kind in [FileKind::Log, FileKind::Index, FileKind::TimeIndex] {
            self.write(state.active.base_offset, kind, 0, Vec::new()).await?;
        }
        if self.inner.borrow().producers.is_some() {
            let now_ms = runtime::time::wall_clock_ms();
            self.write_snapshot(state.end_offset, now_ms).await?;
            self.remove_loose_snapshot(state.end_offset).await?;
        }
        Ok(())
    }

    /// Closes its descriptors.
    pub(super) fn forget_files(&self) {
        self.store.files.close_log(self.id);
    }
}

impl<'a> Unsynced<'a> {
    /// Takes over what `log` has written. The caller holds the lock.
    fn of(log: &'a Log) -> Unsynced<'a> {
        let mut inner = log.inner.borrow_mut();
        let names = std::mem::take(&mut inner.dir_dirty);
        let state = inner.state_to_keep();
        Unsynced { log, state, files: inner.dirty.clone(), names, epochs: None }
    }

    /// Puts the leader epochs in their place, which only a further sync makes durable: says whether it
    /// is needed. Their content is durable, or a power cut could leave an empty file.
    pub async fn place_epochs(&mut self) -> Result<bool, LogError> {
        let Some(EpochsBeside { text, path }) = self.epochs.take() else { return Ok(false) };
        let _permit = self.log.lock().await?;
        let unsaved = self.log.unsaved_epochs();
        if unsaved.is_none() {
            // another sync was faster
            return Ok(false);
        }
        self.names = true;
        let place = self.log.dir().join(LEADER_EPOCH_CHECKPOINT);
        if unsaved.as_ref() == Some(&text) {
            fs::rename(&path, &place).await.map_err(LogError::io("rename", &path))?;
            self.log.inner.borrow_mut().epochs_dirty = false;
        } else {
            self.log.write_epochs().await?;
        }
        Ok(true)
    }

    /// All of it was synced: returns the state that describes it.
    pub fn made_durable(mut self) -> LogState {
        let mut inner = self.log.inner.borrow_mut();
        for (file, written) in &self.files {
            if inner.dirty.get(file) == Some(written) {
                inner.dirty.remove(file);
            }
        }
        drop(inner);
        self.names = false;
        self.state
    }
}

impl Drop for Unsynced<'_> {
    fn drop(&mut self) {
        self.log.inner.borrow_mut().dir_dirty |= self.names;
    }
}
