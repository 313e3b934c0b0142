//! Directories and names, on the shard's helper thread: these calls may wait for the disk.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::{DirEntry, DiskSpace};

/// Runs `f` on the shard's helper thread. If the future is dropped, `f` still runs.
pub(super) async fn blocking<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    #[cfg(feature = "glommio")]
    return glommio::executor().spawn_blocking(f).await;
    #[cfg(not(feature = "glommio"))]
    return super::blocking::run(f).await;
}

/// Runs `f`, which may take seconds, on a thread of its own: nothing waits behind it.
pub(super) async fn blocking_apart<R: Send + 'static>(
    f: impl FnOnce() -> R + Send + 'static,
) -> io::Result<R> {
    #[cfg(feature = "glommio")]
    return Ok(glommio::executor().spawn_blocking(f).await);
    #[cfg(not(feature = "glommio"))]
    return super::blocking::run_apart(f).await;
}

async fn with_path<R: Send + 'static>(
    path: &Path,
    f: impl FnOnce(PathBuf) -> io::Result<R> + Send + 'static,
) -> io::Result<R> {
    let path = path.to_owned();
    blocking(move || f(path)).await
}

pub async fn create_dir_all(path: &Path) -> io::Result<()> {
    with_path(path, std::fs::create_dir_all).await
}

pub async fn remove_file(path: &Path) -> io::Result<()> {
    with_path(path, std::fs::remove_file).await
}

pub async fn remove_dir_all(path: &Path) -> io::Result<()> {
    with_path(path, std::fs::remove_dir_all).await
}

pub async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let to = to.to_owned();
    with_path(from, move |from| std::fs::rename(from, to)).await
}

pub async fn sync_dir(path: &Path) -> io::Result<()> {
    with_path(path, |path| std::fs::File::open(path)?.sync_all()).await
}

pub async fn exists(path: &Path) -> io::Result<bool> {
    with_path(path, |path| path.try_exists()).await
}

pub async fn read_dir(path: &Path) -> io::Result<Vec<DirEntry>> {
    with_path(path, |path| {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                // Removed since it was listed.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            let name = entry.file_name().into_string().map_err(|name| {
                let message = format!("the name {name:?} is not UTF-8");
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?;
            entries.push(DirEntry { name, is_dir: metadata.is_dir(), len: metadata.len() });
        }
        Ok(entries)
    })
    .await
}

pub async fn disk_space(path: &Path) -> io::Result<DiskSpace> {
    with_path(path, |path| {
        let path = super::file::c_path(&path)?;
        // SAFETY: an all-zero statvfs is valid.
        let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: the path is a C string and `stat` is valid for writing.
        if unsafe { libc::statvfs(path.as_ptr(), &mut stat) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(DiskSpace {
            total: stat.f_blocks * stat.f_frsize,
            available: stat.f_bavail * stat.f_frsize,
        })
    })
    .await
}
