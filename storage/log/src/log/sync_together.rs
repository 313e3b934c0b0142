//! Making many logs durable by one sync of their file system.
//!
//! A sync of a file or a directory costs a flush of the device, and a log needs up to six of them: when
//! thousands of logs were written, that is minutes. Then everything is written first and one `syncfs`
//! does the rest. Lives on the shard of the logs; the caller (the destage task, a stop) runs one of
//! these at a time.
//!
//! What makes every crash point safe, with a checkpoint that is stored only after [`LogStore::sync_all`]
//! returned, and the WAL let go only after that:
//! - A state is taken when its bytes are written, and before the sync begins: the sync covers what it
//!   describes, with the names of new files. Until then the last checkpoint and the WAL have it all.
//! - A file that takes the place of another by a rename (`leader-epoch-checkpoint`) is renamed only when
//!   its content is durable, else a power cut could keep the name and lose the content; a second
//!   sync covers the name.
//! - The same for `partition.metadata` of directories that are new ([`LogStore::make_dirs`]): it stands
//!   before the first segment is written, so a directory with records and no owner means damage.
//! - A sync that failed says that something written since the last one is lost, and not what. It is
//!   the last one of this store: none of its logs gets into a checkpoint again, and the node ends.

use std::path::Path;
use std::rc::Rc;

use futures_util::future::join_all;
use runtime::fs::{self, FileSystem};

use super::error::LogError;
use super::partition_log::{Log, LogStore};
use super::state::LogState;
use super::sync::Unsynced;

/// From so many changed logs on their file system is synced: single syncs of fewer take less than a
/// second, and do not wait for what other programs write to the same file system.
pub const TOGETHER_FROM: usize = 256;
/// Logs that are worked on side by side: they wait for the device, not for this shard.
pub(super) const SIDE_BY_SIDE: usize = 32;

/// How logs are left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    Open,
    /// As Kafka leaves them at a clean stop ([`Log::close`]).
    Closed,
}

impl LogStore {
    /// Makes [`LogStore::sync_all`] and [`LogStore::make_dirs`] able to sync the file system that has
    /// `data_dir`. To be called before anything is written.
    pub async fn open_file_system(&self, data_dir: &Path) -> Result<(), LogError> {
        let opened = FileSystem::open(data_dir).await.map_err(LogError::io("open", data_dir))?;
        let _ = self.file_system.set(opened.map(|disk| (data_dir.to_owned(), disk)));
        Ok(())
    }

    /// Makes logs durable, as [`Log::sync`] or [`Log::close`] of each; returns their states for the
    /// checkpoint, `None` for a log that was deleted.
    pub async fn sync_all(
        &self,
        logs: &[Rc<Log>],
        leave: Leave,
    ) -> Result<Vec<Option<LogState>>, LogError> {
        self.check()?;
        let closes = leave == Leave::Closed;
        let owing = |log: &&Rc<Log>| log.owes_sync() || (closes && log.has_last_files());
        if self.are_many(logs.iter().filter(owing).count()) {
            return self.sync_together(logs, closes).await;
        }
        match leave {
            Leave::Open => side_by_side(logs, Log::sync).await,
            Leave::Closed => side_by_side(logs, Log::close).await,
        }
    }

    async fn sync_together(
        &self,
        logs: &[Rc<Log>],
        closes: bool,
    ) -> Result<Vec<Option<LogState>>, LogError> {
        let mut written = side_by_side(logs, |log| log.write_out(closes)).await?;
        if !runtime::mutant::is("written-out-not-synced") {
            self.sync_file_system().await?;
        }
        let placed = join_all(written.iter_mut().flatten().map(Unsynced::place_epochs)).await;
        let mut has_names = false;
        for placed in placed {
            has_names |= if_there(placed)?.unwrap_or(false);
        }
        if has_names {
            self.sync_file_system().await?;
        }
        if closes {
            logs.iter().for_each(|log| log.forget_files());
        }
        Ok(written.into_iter().map(|unsynced| unsynced.map(Unsynced::made_durable)).collect())
    }

    /// Makes the directories of logs that were never written to, if those are many: what
    /// [`Log::append`] does with several syncs each. Leaves alone what is there.
    pub async fn make_dirs(&self, logs: &[Rc<Log>]) -> Result<(), LogError> {
        let new: Vec<Rc<Log>> = logs.iter().filter(|log| log.is_new()).cloned().collect();
        if !self.are_many(new.len()) {
            return Ok(());
        }
        self.check()?;
        let begun = side_by_side(&new, Log::begin_dir).await?;
        let made = begun.into_iter().zip(new).filter(|(begun, _)| *begun == Some(true));
        let made: Vec<Rc<Log>> = made.map(|(_, log)| log).collect();
        if made.is_empty() {
            return Ok(());
        }
        self.sync_file_system().await?;
        side_by_side(&made, Log::finish_dir).await?;
        self.sync_file_system().await?;
        made.iter().for_each(|log| log.inner.borrow_mut().made_dir = true);
        Ok(())
    }

    fn are_many(&self, logs: usize) -> bool {
        logs >= self.together_from && self.file_system.get().is_some_and(Option::is_some)
    }

    async fn sync_file_system(&self) -> Result<(), LogError> {
        let Some(Some((data_dir, disk))) = self.file_system.get() else { return Ok(()) };
        disk.sync().await.map_err(|error| {
            let message = error.to_string();
            let failed = LogError::Failed { file: data_dir.clone(), message };
            self.failed.borrow_mut().get_or_insert(failed).clone()
        })
    }

    /// The error of the sync that failed, if one did.
    fn check(&self) -> Result<(), LogError> {
        match &*self.failed.borrow() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

impl Log {
    /// Whether something of it is not durable.
    fn owes_sync(&self) -> bool {
        self.is_dirty() || self.inner.borrow().dir_dirty
    }

    /// Whether it holds nothing and its directory was not looked at.
    fn is_new(&self) -> bool {
        let inner = self.inner.borrow();
        inner.closed.is_none() && inner.state.active.log_bytes == 0 && inner.state.closed_bytes == 0
    }

    /// Makes the directory, with its owner beside the place where it belongs; false if it is there.
    async fn begin_dir(&self) -> Result<bool, LogError> {
        let _permit = self.lock().await?;
        let dir = self.dir();
        if fs::exists(&**dir).await.map_err(LogError::io("look for", &dir))? {
            return Ok(false);
        }
        fs::create_dir_all(&**dir).await.map_err(LogError::io("create", &dir))?;
        let (path, text) = self.owner_file();
        let written = fs::write_beside(&path, text.as_bytes()).await;
        written.map_err(LogError::io("write", &path))?;
        Ok(true)
    }

    /// The owner takes its place.
    async fn finish_dir(&self) -> Result<(), LogError> {
        let _permit = self.lock().await?;
        let (path, _) = self.owner_file();
        let beside = fs::beside(&path);
        fs::rename(&beside, &path).await.map_err(LogError::io("rename", &beside))
    }
}

/// Does something with all logs, some side by side; `None` for a log that was deleted.
async fn side_by_side<'a, T, F: Future<Output = Result<T, LogError>>>(
    logs: &'a [Rc<Log>],
    work: impl Fn(&'a Log) -> F,
) -> Result<Vec<Option<T>>, LogError> {
    let mut done = Vec::with_capacity(logs.len());
    for together in logs.chunks(SIDE_BY_SIDE) {
        for outcome in join_all(together.iter().map(|log| work(log))).await {
            done.push(if_there(outcome)?);
        }
        runtime::task::yield_if_needed().await;
    }
    Ok(done)
}

fn if_there<T>(outcome: Result<T, LogError>) -> Result<Option<T>, LogError> {
    match outcome {
        Err(LogError::Deleted { .. }) => Ok(None),
        other => other.map(Some),
    }
}
