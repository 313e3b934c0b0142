//! All of a file system at once.

use std::io;
use std::path::Path;

use crate::world;

/// The file system that holds a directory, to make many files and names on it durable by one sync.
///
/// What other programs have written to it is synced with it, so it may take long; it runs on a thread
/// of its own.
pub struct FileSystem(world::file_system::FileSystem);

impl FileSystem {
    /// Opens the file system of the directory `dir`; `None` where a sync of all of it is not known to
    /// do what one of each file and directory does, and to tell of every write that failed.
    ///
    /// To be opened before the writes that it is for: errors are told from then on.
    pub async fn open(dir: impl AsRef<Path>) -> io::Result<Option<FileSystem>> {
        let opened = world::file_system::FileSystem::open(dir.as_ref()).await?;
        Ok(opened.map(FileSystem))
    }

    /// Brings to stable storage whatever was written, made, renamed or removed before the call.
    ///
    /// An error, of this call or of one of another handle, may concern any file: the kernel takes for
    /// clean what it could not write, so no later sync makes up for it.
    pub async fn sync(&self) -> io::Result<()> {
        self.0.sync().await
    }
}
