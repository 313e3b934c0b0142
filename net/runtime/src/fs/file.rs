//! Buffered files.

use std::io;
use std::path::Path;

use bytes::Bytes;

use crate::world;

/// How to open a [`File`].
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Readable.
    pub read: bool,
    /// Writable.
    pub write: bool,
    /// Make the file if it is not there (needs `write`).
    pub create: bool,
    /// Make the file; an error if it is there (needs `write`).
    pub create_new: bool,
    /// Cut to length zero (needs `write`).
    pub truncate: bool,
}

impl OpenOptions {
    /// For reading.
    pub const READ: OpenOptions =
        OpenOptions { read: true, write: false, create: false, create_new: false, truncate: false };
    /// For reading and writing; made if missing.
    pub const READ_WRITE_CREATE: OpenOptions =
        OpenOptions { read: true, write: true, create: true, create_new: false, truncate: false };
    /// For writing an empty file; made if missing, cut if there.
    pub const REPLACE: OpenOptions =
        OpenOptions { read: false, write: true, create: true, create_new: false, truncate: true };
}

/// A file read and written through the page cache. Operations may overlap; each takes `&self`.
///
/// Dropping it closes the descriptor once the operations in progress have ended.
pub struct File(world::file::File);

impl File {
    /// Opens `path`.
    pub async fn open(path: impl AsRef<Path>, options: &OpenOptions) -> io::Result<File> {
        Ok(File(world::file::File::open(path.as_ref(), options).await?))
    }

    /// Up to `len` bytes from `pos`; fewer only at the end of the file. One copy, from the page
    /// cache into the result.
    pub async fn read_at(&self, pos: u64, len: usize) -> io::Result<Bytes> {
        self.0.read_at(pos, len).await
    }

    /// Writes all of `bytes` at `pos`, extending the file as needed. In the page cache when it
    /// returns, not on stable storage.
    pub async fn write_all_at(&self, pos: u64, bytes: Bytes) -> io::Result<()> {
        self.0.write_at(pos, vec![bytes]).await
    }

    /// Writes all of `bufs` one after another from `pos`, as one operation where possible.
    pub async fn write_vectored_at(&self, pos: u64, bufs: Vec<Bytes>) -> io::Result<()> {
        self.0.write_at(pos, bufs).await
    }

    /// Brings the bytes and the length of the file to stable storage (`fdatasync`). After an error
    /// it is unknown what is there, and a repetition proves nothing: stop.
    pub async fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data().await
    }

    /// Cuts or extends (with zeros) to `len` bytes.
    pub async fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len).await
    }

    /// The length in bytes.
    pub async fn len(&self) -> io::Result<u64> {
        self.0.len().await
    }

    /// Whether the length is zero.
    pub async fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len().await? == 0)
    }

    /// Closes and reports what closing reports.
    pub async fn close(self) -> io::Result<()> {
        self.0.close().await
    }
}
