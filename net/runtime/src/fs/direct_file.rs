//! Files of fixed size for a write-ahead log: direct, durable writes in place.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::aligned_buf::{ALIGNMENT, AlignedBuf};
use crate::world;

/// Who performs the durable writes of a [`DirectFile`].
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub enum WriteBackend {
    /// The shard's own io_uring ring (`writev` with `RWF_DSYNC`). No extra thread of ours, but the
    /// kernel syncs an asynchronous direct write on a worker of the CPU that the disk interrupts:
    /// where that CPU is busy, each write waits for its next tick (4 ms).
    IoUring,
    /// A thread per shard that blocks in `pwritev2` with `RWF_DSYNC`, or the shard itself
    /// ([`DirectFile::write_durable_alone`]). As fast on idle cores, and not slower on busy ones.
    #[default]
    CommitThread,
}

/// A file that is written past the page cache; a write that has returned survives a power cut.
pub struct DirectFile(world::direct_file::DirectFile);

impl DirectFile {
    /// Opens `path`, making it if missing, and sees to it that it is at least `size` bytes (a
    /// multiple of [`ALIGNMENT`]) of really written zeros or older content, durable with its name.
    ///
    /// Where the file system has no direct I/O, writes go through the page cache and are synced
    /// each; [`DirectFile::is_direct`] tells.
    pub async fn open(
        path: impl AsRef<Path>,
        size: u64,
        backend: WriteBackend,
    ) -> io::Result<DirectFile> {
        if !size.is_multiple_of(ALIGNMENT as u64) {
            return Err(unaligned("size"));
        }
        let file = world::direct_file::DirectFile::open(path.as_ref(), size, backend).await?;
        Ok(DirectFile(file))
    }

    /// Writes all of `bufs` one after another from `pos`; on stable storage when it returns.
    ///
    /// `pos` and every buffer's address and length are multiples of [`ALIGNMENT`], else
    /// `InvalidInput`. The file does not grow: writing past its end is `InvalidInput`. A power cut
    /// during the write leaves any subset of its sectors. After an error it is unknown what is on
    /// the disk: stop, never repeat. A future that is dropped lets its write run to the end.
    pub async fn write_durable(&self, pos: u64, bufs: Vec<Bytes>) -> io::Result<()> {
        match self.check(pos, &bufs)? {
            0 => Ok(()),
            _ => self.0.write_durable(pos, bufs).await,
        }
    }

    /// As [`DirectFile::write_durable`]. Says that nobody waits for anything but this write, so the
    /// shard may wait with it: with [`WriteBackend::CommitThread`], if no other task is ready and
    /// the disk has been quick, the write is made on the spot and saves two switches of threads.
    pub async fn write_durable_alone(&self, pos: u64, bufs: Vec<Bytes>) -> io::Result<()> {
        match self.check(pos, &bufs)? {
            0 => Ok(()),
            _ => self.0.write_durable_alone(pos, bufs).await,
        }
    }

    /// The length of a write that is aligned and within the file.
    fn check(&self, pos: u64, bufs: &[Bytes]) -> io::Result<u64> {
        if !pos.is_multiple_of(ALIGNMENT as u64) {
            return Err(unaligned("position"));
        }
        for buf in bufs {
            if !buf.len().is_multiple_of(ALIGNMENT)
                || !(buf.as_ptr() as usize).is_multiple_of(ALIGNMENT)
            {
                return Err(unaligned("buffer"));
            }
        }
        let len: u64 = bufs.iter().map(|b| b.len() as u64).sum();
        if pos.saturating_add(len) > self.0.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a write of {len} bytes at {pos} ends past {} bytes", self.0.len()),
            ));
        }
        Ok(len)
    }

    /// Up to `len` bytes from `pos`, both multiples of [`ALIGNMENT`]; fewer only at the end.
    pub async fn read_at(&self, pos: u64, len: usize) -> io::Result<AlignedBuf> {
        if !pos.is_multiple_of(ALIGNMENT as u64) || !len.is_multiple_of(ALIGNMENT) {
            return Err(unaligned("position or length"));
        }
        self.0.read_at(pos, len).await
    }

    /// The length in bytes, fixed while open.
    #[allow(clippy::len_without_is_empty, reason = "a log file is never empty")]
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether writes bypass the page cache; false on file systems without direct I/O.
    pub fn is_direct(&self) -> bool {
        self.0.is_direct()
    }
}

fn unaligned(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("the {what} of direct I/O is not a multiple of {ALIGNMENT}"),
    )
}
