//! All of a file system at once: `syncfs`.
//!
//! Linux notes a failed write-back at the file system since 5.8, and `syncfs` tells it to each open
//! descriptor once, so the descriptor is held from before the first write: whether the pages were
//! written by this call or long before, and whether their file is still open, makes no difference.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use super::names::{blocking, blocking_apart};

pub struct FileSystem {
    dir: Arc<OwnedFd>,
}

impl FileSystem {
    pub async fn open(dir: &Path) -> io::Result<Option<FileSystem>> {
        let dir = dir.to_owned();
        let dir: OwnedFd = blocking(move || std::fs::File::open(dir)).await?.into();
        let dependable = is_dependable(&dir)?;
        Ok(dependable.then(|| FileSystem { dir: Arc::new(dir) }))
    }

    pub async fn sync(&self) -> io::Result<()> {
        let dir = Arc::clone(&self.dir);
        blocking_apart(move || {
            // SAFETY: the descriptor is open.
            match unsafe { libc::syncfs(dir.as_raw_fd()) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        })
        .await?
    }
}

/// On these `syncfs` writes all data, commits the journal and flushes the device's cache. FUSE does not
/// ask its server to sync, and overlayfs does not pass on what its upper layer could not write.
fn is_dependable(dir: &OwnedFd) -> io::Result<bool> {
    // SAFETY: an all-zero statfs is valid; it is valid for writing.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: see above.
    if unsafe { libc::fstatfs(dir.as_raw_fd(), &mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let known = [libc::EXT4_SUPER_MAGIC, libc::XFS_SUPER_MAGIC, libc::BTRFS_SUPER_MAGIC];
    Ok(known.contains(&stat.f_type))
}
