//! How partition directories go: renamed first, removed later.
//!
//! A directory that is to be deleted is renamed, the name is made durable, and only then are its files removed, slowly,
//! by the shard's [`Reaper`]: a power cut must not bring the old name back with a part of what was there. A start finds
//! by the suffix what an earlier one did not get to. Directories that go together (the partitions of a topic) share one
//! sync of the directory that holds them.
//!
//! [`Reaper`]: super::reaper::Reaper

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use runtime::fs;

use super::error::LogError;
use super::file_names::{DELETED_DIR_SUFFIX, STRAY_DIR_SUFFIX};
use super::partition_log::{Log, LogStore};
use super::sync_together::SIDE_BY_SIDE;

/// What becomes of directories that are renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    /// They are removed, now or by a later start ([`LogStore::resume_deletions`]).
    Doomed,
    /// Nothing knows them any more, and nothing here touches them again; an operator decides. Kafka renames stray
    /// partitions so.
    Stray,
}

impl LogStore {
    /// Deletes logs: their directories vanish at once, also for a later start, and their files in the background. Of
    /// several errors the first is returned; what could be deleted is.
    pub async fn delete_all(&self, logs: &[Rc<Log>]) -> Result<(), LogError> {
        let mut failed = None;
        let mut doomed = Vec::with_capacity(logs.len());
        for together in logs.chunks(SIDE_BY_SIDE) {
            let renamed = join_all(together.iter().map(|log| log.doom_dir())).await;
            for (log, renamed) in together.iter().zip(renamed) {
                match renamed {
                    Ok(Some(dir)) => doomed.push((dir, log.delete_delay())),
                    Ok(None) | Err(LogError::Deleted { .. }) => {}
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        sync_parents(doomed.iter().map(|(dir, _)| &**dir)).await?;
        for (dir, delay) in doomed {
            self.reaper.add_dir(dir, delay);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Deletes directories that no log here has: they vanish at once, also for a later start, and their files in the
    /// background. One that is not there is passed over.
    pub async fn delete_dirs(&self, dirs: &[PathBuf]) -> Result<(), LogError> {
        for dir in put_aside(dirs, Aside::Doomed).await?.into_iter().flatten() {
            self.reaper.add_dir(dir, Duration::ZERO);
        }
        Ok(())
    }

    /// Hands partition directories that an earlier start was deleting to the background task.
    pub async fn resume_deletions(&self, data_dir: &Path) -> Result<(), LogError> {
        let listed = fs::read_dir(data_dir).await.map_err(LogError::io("list", data_dir))?;
        let doomed =
            |entry: &fs::DirEntry| entry.is_dir && entry.name.ends_with(DELETED_DIR_SUFFIX);
        let doomed: Vec<_> = listed.into_iter().filter(doomed).collect();
        if !doomed.is_empty() {
            // Who renamed them may have been killed before that was durable.
            fs::sync_dir(data_dir).await.map_err(LogError::io("sync", data_dir))?;
        }
        for entry in doomed {
            self.reaper.add_dir(data_dir.join(&entry.name), Duration::ZERO);
        }
        Ok(())
    }
}

impl Log {
    /// Closes the log and renames its directory, if it has one; the name is not durable yet.
    async fn doom_dir(&self) -> Result<Option<PathBuf>, LogError> {
        let _permit = self.lock().await?;
        let dir = self.dir();
        self.inner.borrow_mut().failed = Some(LogError::Deleted { dir: dir.to_path_buf() });
        self.store.files.close_log(self.id);
        if !fs::exists(&**dir).await.map_err(LogError::io("look for", &dir))? {
            return Ok(None);
        }
        rename(&dir, Aside::Doomed).await.map(Some)
    }
}

/// Renames partition directories, durably on return; returns the new names in the order of the old ones. A directory
/// that is not there is passed over.
pub async fn put_aside(dirs: &[PathBuf], aside: Aside) -> Result<Vec<Option<PathBuf>>, LogError> {
    let mut renamed = Vec::with_capacity(dirs.len());
    for dir in dirs {
        renamed.push(match rename(dir, aside).await {
            Err(error) if error.is_not_found() => None,
            renamed => Some(renamed?),
        });
    }
    sync_parents(renamed.iter().flatten().map(PathBuf::as_path)).await?;
    Ok(renamed)
}

async fn rename(dir: &Path, aside: Aside) -> Result<PathBuf, LogError> {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    let unique: String =
        runtime::random::uuid_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let suffix = match aside {
        Aside::Doomed => DELETED_DIR_SUFFIX,
        Aside::Stray => STRAY_DIR_SUFFIX,
    };
    name.push(format!(".{unique}{suffix}"));
    let aside = dir.with_file_name(name);
    fs::rename(dir, &aside).await.map_err(LogError::io("rename", dir))?;
    Ok(aside)
}

/// Makes the names of directories durable.
async fn sync_parents<'a>(dirs: impl Iterator<Item = &'a Path>) -> Result<(), LogError> {
    let parents: BTreeSet<&Path> = dirs.filter_map(Path::parent).collect();
    for parent in parents {
        fs::sync_dir(parent).await.map_err(LogError::io("sync", parent))?;
    }
    Ok(())
}
