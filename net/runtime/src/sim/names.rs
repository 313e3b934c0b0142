//! Directories and names on a simulated disk.

use std::io;
use std::path::Path;

use super::disk::Inode;
use super::disk_faults::DiskOperation;
use super::file::{disk, operate};
use crate::fs::{DirEntry, DiskSpace};

pub async fn create_dir_all(path: &Path) -> io::Result<()> {
    let disk = disk();
    operate(&disk, DiskOperation::Name, path, 2).await?;
    disk.borrow_mut().create_dir_all(path)
}

pub async fn remove_file(path: &Path) -> io::Result<()> {
    let disk = disk();
    operate(&disk, DiskOperation::Name, path, 3).await?;
    disk.borrow_mut().remove(path, false)
}

pub async fn remove_dir_all(path: &Path) -> io::Result<()> {
    let disk = disk();
    operate(&disk, DiskOperation::Name, path, 4).await?;
    disk.borrow_mut().remove(path, true)
}

pub async fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let disk = disk();
    operate(&disk, DiskOperation::Name, to, 5).await?;
    disk.borrow_mut().rename(from, to)
}

pub async fn sync_dir(path: &Path) -> io::Result<()> {
    let disk = disk();
    operate(&disk, DiskOperation::Sync, path, 6).await?;
    disk.borrow_mut().sync_dir(path)
}

pub async fn exists(path: &Path) -> io::Result<bool> {
    let disk = disk();
    operate(&disk, DiskOperation::Read, path, 7).await?;
    Ok(disk.borrow().find(path).is_ok())
}

pub async fn read_dir(path: &Path) -> io::Result<Vec<DirEntry>> {
    let disk = disk();
    operate(&disk, DiskOperation::Read, path, 8).await?;
    let inode = disk.borrow().find(path)?;
    let directory = inode.directory()?.borrow();
    let entries = directory.names.iter().map(|(name, inode)| match &**inode {
        Inode::File(data) => {
            DirEntry { name: name.clone(), is_dir: false, len: data.borrow().len() as u64 }
        }
        Inode::Directory(_) => DirEntry { name: name.clone(), is_dir: true, len: 0 },
    });
    Ok(entries.collect())
}

pub async fn disk_space(_: &Path) -> io::Result<DiskSpace> {
    let disk = disk();
    let disk = disk.borrow();
    let total = disk.faults().capacity;
    Ok(DiskSpace { total, available: total.saturating_sub(disk.used()) })
}
