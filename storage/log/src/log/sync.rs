//! Making a log durable for a checkpoint, and closing it as Kafka does.

use std::rc::Rc;

use runtime::fs::{self, File, OpenOptions};

use super::error::LogError;
use super::file_names::{FileKind, LEADER_EPOCH_CHECKPOINT};
use super::partition_log::Log;
use super::state::LogState;

impl Log {
    /// Makes everything appended so far durable; returns the state to put into the checkpoint.
    ///
    /// Appends may go on meanwhile; they are not part of the state. A log that was not written
    /// since its last sync costs nothing. When a sync fails the log is closed for ever
    /// ([`LogError::Failed`]) and the node stops.
    pub async fn sync(&self) -> Result<LogState, LogError> {
        let (state, dirty, mut names) = {
            let _permit = self.lock().await?;
            if !self.is_dirty() && !self.inner.borrow().dir_dirty {
                return Ok(self.inner.borrow().state);
            }
            self.flush_indexes().await?;
            self.write_epochs().await?;
            let mut inner = self.inner.borrow_mut();
            let unsynced = std::mem::take(&mut inner.dir_dirty);
            (inner.state, inner.dirty.clone(), UnsyncedNames { log: self, unsynced })
        };
        for ((base, kind), written) in dirty {
            self.sync_file(base, kind).await?;
            let mut inner = self.inner.borrow_mut();
            if inner.dirty.get(&(base, kind)) == Some(&written) {
                inner.dirty.remove(&(base, kind));
            }
        }
        if names.unsynced {
            let dir = self.dir();
            let synced = fs::sync_dir(&**dir).await;
            synced.map_err(|error| self.fail(&dir, &error))?;
            names.unsynced = false;
        }
        Ok(state)
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
        let text = {
            let inner = self.inner.borrow();
            match &inner.epochs {
                Some(epochs) if inner.epochs_dirty => epochs.to_file(),
                _ => return Ok(()),
            }
        };
        let path = self.dir().join(LEADER_EPOCH_CHECKPOINT);
        fs::write_atomic(&path, text.as_bytes()).await.map_err(LogError::io("write", &path))?;
        self.inner.borrow_mut().epochs_dirty = false;
        Ok(())
    }

    /// Closes the log for a clean stop: everything is durable, and the files are what Kafka leaves
    /// behind (the last entry of the time index, a producer snapshot at the end of the log).
    /// Nothing may be appended afterwards.
    pub async fn close(&self) -> Result<LogState, LogError> {
        {
            let _permit = self.lock().await?;
            let state = self.inner.borrow().state;
            let untouched = self.inner.borrow().closed.is_none();
            if !untouched && state.active.log_bytes > 0 {
                {
                    let mut inner = self.inner.borrow_mut();
                    let inner = &mut *inner;
                    inner.state.active.add_time_entry(&mut inner.pending);
                }
                self.flush_indexes().await?;
                for kind in [FileKind::Log, FileKind::Index, FileKind::TimeIndex] {
                    self.write(state.active.base_offset, kind, 0, Vec::new()).await?;
                }
                if self.inner.borrow().producers.is_some() {
                    let now_ms = runtime::time::wall_clock_ms();
                    self.write_snapshot(state.end_offset, now_ms).await?;
                    self.remove_loose_snapshot(state.end_offset).await?;
                }
            }
        }
        let state = self.sync().await?;
        self.store.files.close_log(self.id);
        Ok(state)
    }
}

/// Names in the directory that a sync has taken over; given back if it is abandoned.
struct UnsyncedNames<'a> {
    log: &'a Log,
    unsynced: bool,
}

impl Drop for UnsyncedNames<'_> {
    fn drop(&mut self) {
        self.log.inner.borrow_mut().dir_dirty |= self.unsynced;
    }
}
