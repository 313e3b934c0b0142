//! What of a simulated disk is not durable, as a sync of all of it finds it.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::disk::Inode;
use super::file_data::Snapshot;

/// What a sync of the whole disk covers.
pub(super) struct Unsynced {
    pub files: Vec<UnsyncedFile>,
    /// Operations on names up to, and without, this number.
    pub names: u64,
}

/// A file that is not durable as it is.
pub(super) struct UnsyncedFile {
    pub path: PathBuf,
    inode: Rc<Inode>,
    snapshot: Snapshot,
}

impl UnsyncedFile {
    /// Its sync is over.
    pub fn end(self, is_durable: bool) {
        let Inode::File(data) = &*self.inode else { return };
        match is_durable {
            true => data.borrow_mut().made_durable(self.snapshot),
            false => data.borrow_mut().sync_failed(self.snapshot),
        }
    }
}

/// Adds the files at and below `path`; not direct files, of which the page cache has nothing.
pub(super) fn find(inode: &Rc<Inode>, path: &Path, found: &mut Vec<UnsyncedFile>) {
    match &**inode {
        Inode::File(data) => {
            let data_ref = data.borrow();
            if !data_ref.is_direct && !data_ref.is_durable() {
                let snapshot = data_ref.snapshot();
                found.push(UnsyncedFile {
                    path: path.to_owned(),
                    inode: Rc::clone(inode),
                    snapshot,
                });
            }
        }
        Inode::Directory(directory) => {
            for (name, below) in &directory.borrow().names {
                find(below, &path.join(name), found);
            }
        }
    }
}
