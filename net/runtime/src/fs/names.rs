//! Directories and names.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{File, OpenOptions};
use crate::world;

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The last component of the path.
    pub name: String,
    /// A directory (not a link to one).
    pub is_dir: bool,
    /// Bytes of a file; unspecified for a directory.
    pub len: u64,
}

/// The room of a file system, in bytes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it.
    pub total: u64,
    /// What this process may still fill.
    pub available: u64,
}

/// Makes a directory and its missing parents.
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    world::names::create_dir_all(path.as_ref()).await
}

/// Removes a file's name.
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    world::names::remove_file(path.as_ref()).await
}

/// Removes a directory and all below it.
pub async fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    world::names::remove_dir_all(path.as_ref()).await
}

/// Renames within a file system, atomically replacing a file at `to`.
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    world::names::rename(from.as_ref(), to.as_ref()).await
}

/// Brings the names in a directory to stable storage: what was made, renamed and removed in it.
pub async fn sync_dir(path: impl AsRef<Path>) -> io::Result<()> {
    world::names::sync_dir(path.as_ref()).await
}

/// The names in a directory, sorted; names that are not UTF-8 are an error.
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<Vec<DirEntry>> {
    let mut entries = world::names::read_dir(path.as_ref()).await?;
    entries.sort_unstable();
    Ok(entries)
}

/// Whether something has this name.
pub async fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    world::names::exists(path.as_ref()).await
}

/// The whole content of a file.
pub async fn read(path: impl AsRef<Path>) -> io::Result<Bytes> {
    let file = File::open(path, &OpenOptions::READ).await?;
    let len = usize::try_from(file.len().await?).map_err(io::Error::other)?;
    file.read_at(0, len).await
}

/// Replaces a file so that after any crash either the old or the new content is there: writes
/// `<name>.tmp` beside it, syncs, renames, syncs the directory.
pub async fn write_atomic(path: impl AsRef<Path>, content: &[u8]) -> io::Result<()> {
    let path = path.as_ref();
    let (file, tmp) = write_tmp(path, content).await?;
    file.sync_data().await?;
    file.close().await?;
    rename(&tmp, path).await?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent).await,
        _ => sync_dir(".").await,
    }
}

/// The first step of [`write_atomic`], for many files that one [`FileSystem::sync`] makes durable:
/// writes `<name>.tmp` and returns its path. The rest is the caller's: that sync, the rename, and
/// another sync for the name.
///
/// [`FileSystem::sync`]: super::FileSystem::sync
pub async fn write_beside(path: impl AsRef<Path>, content: &[u8]) -> io::Result<PathBuf> {
    let (file, tmp) = write_tmp(path.as_ref(), content).await?;
    file.close().await?;
    Ok(tmp)
}

/// Where [`write_beside`] and [`write_atomic`] write what is to take the place of `path`.
pub fn beside(path: impl AsRef<Path>) -> PathBuf {
    let mut tmp = path.as_ref().as_os_str().to_owned();
    tmp.push(".tmp");
    PathBuf::from(tmp)
}

async fn write_tmp(path: &Path, content: &[u8]) -> io::Result<(File, PathBuf)> {
    let tmp = beside(path);
    let file = File::open(&tmp, &OpenOptions::REPLACE).await?;
    file.write_all_at(0, Bytes::copy_from_slice(content)).await?;
    Ok((file, tmp))
}

/// The room of the file system that holds `path`.
pub async fn disk_space(path: impl AsRef<Path>) -> io::Result<DiskSpace> {
    world::names::disk_space(path.as_ref()).await
}
