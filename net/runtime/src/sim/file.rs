//! Buffered files on a simulated disk.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;

use super::disk::{Disk, Inode};
use super::disk_faults::DiskOperation;
use super::file_data::FileData;
use super::kernel::Kernel;
use super::rng::mix;
use crate::fs::OpenOptions;

pub struct File {
    handle: Handle,
}

/// An open file.
pub(super) struct Handle {
    pub path: PathBuf,
    disk: Rc<RefCell<Disk>>,
    inode: Rc<Inode>,
}

/// The disk of the node that runs.
pub(super) fn disk() -> Rc<RefCell<Disk>> {
    let kernel = Kernel::current();
    let node = kernel.place().node;
    let nodes = kernel.nodes.borrow();
    Rc::clone(&nodes[node].disk)
}

/// The time and the luck of an operation: waits as long as it takes and fails if it must.
pub(super) async fn operate(
    disk: &Rc<RefCell<Disk>>,
    operation: DiskOperation,
    path: &Path,
    detail: u64,
) -> io::Result<()> {
    let (time, failure) = {
        let kernel = Kernel::current();
        let fact =
            path.as_os_str().as_encoded_bytes().iter().fold(detail, |h, &b| mix(h ^ u64::from(b)));
        kernel.trace(fact ^ operation as u64);
        let mut disk = disk.borrow_mut();
        if operation != DiskOperation::Read
            && let Some(crash) = disk.count()
        {
            kernel.doom(kernel.place(), crash);
        }
        let faults = disk.faults().clone();
        let (range, error) = match operation {
            DiskOperation::Read => (faults.read, faults.read_error),
            DiskOperation::Write => (faults.write, faults.write_error),
            DiskOperation::Sync => (faults.sync, faults.sync_error),
            DiskOperation::Name => (faults.write, 0.0),
        };
        let range = range.start.as_nanos() as u64..range.end.as_nanos() as u64;
        let mut time = kernel.rng.borrow_mut().within(&range);
        if kernel.chance(faults.stall) {
            time += faults.stall_time.as_nanos() as u64;
        }
        let failure = if kernel.chance(error) {
            Err(io::Error::other(format!("simulated failure of {operation:?}")))
        } else {
            disk.ruled(operation, path)
        };
        (time, failure)
    };
    super::time::sleep_until(super::time::now_ns() + time).await;
    failure
}

impl Handle {
    pub async fn open(path: &Path, options: &OpenOptions) -> io::Result<Handle> {
        let disk = disk();
        let makes = options.create || options.create_new || options.truncate;
        if makes {
            operate(&disk, DiskOperation::Name, path, 1).await?;
        }
        let inode = disk.borrow_mut().open_file(path, options.create, options.create_new)?;
        let handle = Handle { path: path.to_owned(), disk, inode };
        if let Some(name) = &mut handle.data().borrow_mut().name {
            *name = path.to_owned();
        }
        if options.truncate {
            handle.data().borrow_mut().set_len(0);
        }
        Ok(handle)
    }

    pub fn data(&self) -> &RefCell<FileData> {
        match &*self.inode {
            Inode::File(data) => data,
            Inode::Directory(_) => unreachable!("directories are not opened"),
        }
    }

    pub async fn operate(&self, operation: DiskOperation, detail: u64) -> io::Result<()> {
        // Rules are about names that files have now.
        let name = self.data().borrow().name.clone();
        operate(&self.disk, operation, name.as_deref().unwrap_or(&self.path), detail).await
    }

    /// Whether the disk has room for so many bytes more.
    pub fn room_for(&self, growth: u64) -> io::Result<()> {
        self.disk.borrow().room_for(growth)
    }

    /// On a disk with ordered metadata a finished sync covers the names, too.
    pub fn synced(&self) {
        self.disk.borrow_mut().file_synced();
    }

    /// Puts bytes where reads see them.
    pub fn store(&self, pos: u64, bufs: &[Bytes]) -> io::Result<()> {
        let total: u64 = bufs.iter().map(|b| b.len() as u64).sum();
        let growth = (pos + total).saturating_sub(self.data().borrow().len() as u64);
        self.disk.borrow().room_for(if total == 0 { 0 } else { growth })?;
        let mut pos = pos;
        for buf in bufs {
            self.data().borrow_mut().write(pos, buf);
            pos += buf.len() as u64;
        }
        Ok(())
    }

    /// Waits for a sync of what `snapshot` covers and records its success.
    pub async fn sync(&self, snapshot: super::file_data::Snapshot) -> io::Result<()> {
        if let Err(e) = self.operate(DiskOperation::Sync, 0).await {
            self.data().borrow_mut().sync_failed(snapshot);
            return Err(e);
        }
        self.data().borrow_mut().made_durable(snapshot);
        self.disk.borrow_mut().file_synced();
        Ok(())
    }
}

impl File {
    pub async fn open(path: &Path, options: &OpenOptions) -> io::Result<File> {
        Ok(File { handle: Handle::open(path, options).await? })
    }

    pub async fn read_at(&self, pos: u64, len: usize) -> io::Result<Bytes> {
        self.handle.operate(DiskOperation::Read, pos).await?;
        Ok(Bytes::copy_from_slice(self.handle.data().borrow().read(pos, len)))
    }

    pub async fn write_at(&self, pos: u64, bufs: Vec<Bytes>) -> io::Result<()> {
        // The bytes are in the page cache before the writer knows.
        let operation = self.handle.operate(DiskOperation::Write, pos);
        if let Err(e) = self.handle.store(pos, &bufs) {
            operation.await?;
            return Err(e);
        }
        operation.await
    }

    pub async fn sync_data(&self) -> io::Result<()> {
        let snapshot = self.handle.data().borrow().snapshot();
        self.handle.sync(snapshot).await
    }

    pub async fn set_len(&self, len: u64) -> io::Result<()> {
        self.handle.operate(DiskOperation::Name, len).await?;
        let grown = len.saturating_sub(self.handle.data().borrow().len() as u64);
        self.handle.disk.borrow().room_for(grown)?;
        self.handle.data().borrow_mut().set_len(len as usize);
        Ok(())
    }

    pub async fn len(&self) -> io::Result<u64> {
        Ok(self.handle.data().borrow().len() as u64)
    }

    pub async fn close(self) -> io::Result<()> {
        Ok(())
    }
}
