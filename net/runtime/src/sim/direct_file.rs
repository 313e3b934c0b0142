//! Direct files on a simulated disk: durable when a write returns, and not before.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::disk_faults::DiskOperation;
use super::file::Handle;
use super::kernel::Kernel;
use crate::fs::{ALIGNMENT, AlignedBuf, OpenOptions, WriteBackend};

pub struct DirectFile {
    handle: Handle,
    len: u64,
}

impl DirectFile {
    pub async fn open(path: &Path, size: u64, _: WriteBackend) -> io::Result<DirectFile> {
        let handle = Handle::open(path, &OpenOptions::READ_WRITE_CREATE).await?;
        handle.data().borrow_mut().is_direct = true;
        let found = handle.data().borrow().len() as u64;
        if found < size {
            zero(&handle, found, size).await?;
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
            super::names::sync_dir(parent.unwrap_or(Path::new("/"))).await?;
        }
        Ok(DirectFile { handle, len: found.max(size) })
    }

    pub async fn write_durable(&self, pos: u64, bufs: Vec<Bytes>) -> io::Result<()> {
        self.handle.store(pos, &bufs)?;
        self.handle.operate(DiskOperation::Write, pos).await?;
        let len = bufs.iter().map(|b| b.len() as u64).sum();
        if crate::mutant::is("wal-write-not-synced") {
            return Ok(());
        }
        let snapshot = self.handle.data().borrow().snapshot_range(pos, len);
        self.handle.sync(snapshot).await
    }

    pub async fn write_durable_alone(&self, pos: u64, bufs: Vec<Bytes>) -> io::Result<()> {
        self.write_durable(pos, bufs).await
    }

    pub async fn read_at(&self, pos: u64, len: usize) -> io::Result<AlignedBuf> {
        self.handle.operate(DiskOperation::Read, pos).await?;
        let mut into = AlignedBuf::with_capacity(len);
        into.extend_from_slice(self.handle.data().borrow().read(pos, len));
        Ok(into)
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_direct(&self) -> bool {
        true
    }
}

/// Zeroes the rest of a file; a crash on the way leaves any part of it.
async fn zero(handle: &Handle, found: u64, size: u64) -> io::Result<()> {
    if !handle.data().borrow().is_durable() {
        let snapshot = handle.data().borrow().snapshot();
        handle.sync(snapshot).await?;
    }
    handle.room_for(size - found)?;
    let blocks = (size - found) / ALIGNMENT as u64;
    let part = found + Kernel::current().below(blocks + 1) * ALIGNMENT as u64;
    handle.data().borrow_mut().extend_durably(part.min(size) as usize);
    handle.operate(DiskOperation::Write, found).await?;
    handle.operate(DiskOperation::Sync, found).await?;
    handle.data().borrow_mut().extend_durably(size as usize);
    handle.synced();
    Ok(())
}
