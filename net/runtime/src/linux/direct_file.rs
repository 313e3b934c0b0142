//! Direct files: opened and pre-zeroed through the ring, written by the chosen back end.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::file::{c_path, file_len};
use super::ring::{Ring, is_transient};
use super::shard::Shard;
use crate::fs::{ALIGNMENT, AlignedBuf, WriteBackend};

/// Bytes zeroed at a time.
const ZERO_CHUNK: usize = 1 << 20;

pub struct DirectFile {
    fd: Rc<OwnedFd>,
    len: u64,
    direct: bool,
    backend: Backend,
}

enum Backend {
    IoUring,
    /// The thread's own reference to the descriptor, which may outlive the file.
    CommitThread(Arc<OwnedFd>),
}

impl DirectFile {
    pub async fn open(path: &Path, size: u64, backend: WriteBackend) -> io::Result<DirectFile> {
        let shard = Shard::current();
        let ring = &shard.ring;
        let flags = libc::O_RDWR | libc::O_CREAT;
        let (fd, direct) = match ring.open(c_path(path)?, flags | libc::O_DIRECT, 0o644).await {
            Ok(fd) => (fd, true),
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                (ring.open(c_path(path)?, flags, 0o644).await?, false)
            }
            Err(e) => return Err(e),
        };
        let fd = Rc::new(fd);
        let found = file_len(&fd)?;
        if found < size {
            zero(ring, &fd, found, size).await?;
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
            super::names::sync_dir(parent.unwrap_or(Path::new("."))).await?;
        }
        let backend = match backend {
            WriteBackend::IoUring => Backend::IoUring,
            WriteBackend::CommitThread => Backend::CommitThread(Arc::new(fd.try_clone()?)),
        };
        Ok(DirectFile { fd, len: found.max(size), direct, backend })
    }

    pub async fn write_durable(&self, pos: u64, bufs: Vec<Bytes>) -> io::Result<()> {
        let shard = Shard::current();
        shard.writes.count();
        match &self.backend {
            Backend::IoUring => shard.ring.write(&self.fd, pos, bufs, libc::RWF_DSYNC).await,
            Backend::CommitThread(fd) => {
                shard.commit_thread()?.write(Arc::clone(fd), pos, bufs).await
            }
        }
    }

    pub async fn write_durable_alone(&self, pos: u64, bufs: Vec<Bytes>) -> io::Result<()> {
        if let Backend::CommitThread(fd) = &self.backend {
            let shard = Shard::current();
            let commit = shard.commit_thread()?;
            if commit.may_write_here(&bufs) && shard.has_nothing_else() {
                shard.writes.count();
                return commit.write_here(fd, pos, bufs);
            }
        }
        self.write_durable(pos, bufs).await
    }

    pub async fn read_at(&self, pos: u64, len: usize) -> io::Result<AlignedBuf> {
        let shard = Shard::current();
        let mut into = AlignedBuf::with_capacity(len);
        while into.len() < len {
            let (from, left) = (pos + into.len() as u64, len - into.len());
            let (result, back) = shard.ring.read_aligned(&self.fd, from, into, left).await;
            into = back;
            match result {
                Ok(0) => break,
                // Only the end of the file is not aligned.
                Ok(n) if !n.is_multiple_of(ALIGNMENT) => break,
                Ok(_) => {}
                Err(e) if is_transient(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(into)
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_direct(&self) -> bool {
        self.direct
    }
}

/// Really writes zeros from `from` (rounded down) to `size`: space that is only reserved would make
/// the first durable write to each block pay for the conversion of its extent.
async fn zero(ring: &Rc<Ring>, fd: &Rc<OwnedFd>, from: u64, size: u64) -> io::Result<()> {
    let zeros = AlignedBuf::zeroed(ZERO_CHUNK).freeze();
    // A partial last block cannot be written directly without its neighbours: begin at its start.
    // It holds nothing, for a file shorter than its size was never handed to a writer.
    let mut pos = from - from % ALIGNMENT as u64;
    while pos < size {
        let len = (size - pos).min(ZERO_CHUNK as u64) as usize;
        ring.write(fd, pos, vec![zeros.slice(..len)], 0).await?;
        pos += len as u64;
    }
    ring.sync_data(fd).await
}
