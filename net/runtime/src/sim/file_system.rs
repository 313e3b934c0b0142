//! All of a simulated disk at once.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::disk::Disk;
use super::disk_faults::DiskOperation;
use super::file::{disk, operate};

pub struct FileSystem {
    disk: Rc<RefCell<Disk>>,
    dir: PathBuf,
}

impl FileSystem {
    pub async fn open(dir: &Path) -> io::Result<Option<FileSystem>> {
        let disk = disk();
        disk.borrow().find(dir)?.directory()?;
        Ok(Some(FileSystem { disk, dir: dir.to_owned() }))
    }

    /// One file after another, and the names last: each step takes its time, may be the last one of
    /// this machine, and may fail, which ends nothing but is told.
    pub async fn sync(&self) -> io::Result<()> {
        let unsynced = self.disk.borrow().unsynced();
        let mut failed = None;
        for file in unsynced.files {
            let synced = operate(&self.disk, DiskOperation::Sync, &file.path, 10).await;
            file.end(synced.is_ok());
            failed = failed.or(synced.err());
        }
        operate(&self.disk, DiskOperation::Sync, &self.dir, 11).await?;
        match failed {
            Some(error) => Err(error),
            None => {
                self.disk.borrow_mut().names_synced(unsynced.names);
                Ok(())
            }
        }
    }
}
