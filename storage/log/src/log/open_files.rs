//! The open segment files of one shard: a bounded cache, least recently used first out.
//!
//! Idle partitions hold no descriptor. A file that is evicted while an operation uses it closes
//! when the operation ends.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use runtime::collections::HashMap;
use runtime::fs::{File, OpenOptions};

use super::error::LogError;
use super::file_names::FileKind;

/// Log, base offset, kind.
pub(crate) type FileKey = (u64, i64, FileKind);

pub(crate) struct OpenFiles {
    capacity: usize,
    inner: RefCell<Inner>,
}

#[derive(Default)]
struct Inner {
    files: HashMap<FileKey, (u64, Rc<File>)>,
    /// Keys by time of last use.
    by_use: BTreeMap<u64, FileKey>,
    clock: u64,
}

impl OpenFiles {
    pub fn new(capacity: usize) -> OpenFiles {
        assert!(capacity > 0, "no file may be open");
        OpenFiles { capacity, inner: RefCell::default() }
    }

    /// The file, opened for reading and writing if it is not open. Made if `create` says so.
    pub async fn open(
        &self,
        key: FileKey,
        path: &Path,
        create: bool,
    ) -> Result<Rc<File>, LogError> {
        if let Some(file) = self.inner.borrow_mut().touch(key) {
            return Ok(file);
        }
        let options = OpenOptions { read: true, write: true, create, ..OpenOptions::default() };
        let file = File::open(path, &options).await.map_err(LogError::io("open", path))?;
        let file = Rc::new(file);
        self.inner.borrow_mut().insert(key, Rc::clone(&file), self.capacity);
        Ok(file)
    }

    /// Closes what is open of one segment.
    pub fn close_segment(&self, log: u64, base_offset: i64) {
        for kind in FileKind::ALL {
            self.inner.borrow_mut().remove((log, base_offset, kind));
        }
    }

    /// Closes what is open of one log.
    pub fn close_log(&self, log: u64) {
        let mut inner = self.inner.borrow_mut();
        let keys: Vec<FileKey> = inner.files.keys().filter(|key| key.0 == log).copied().collect();
        for key in keys {
            inner.remove(key);
        }
    }

    /// How many files are open.
    pub fn len(&self) -> usize {
        self.inner.borrow().files.len()
    }
}

impl Inner {
    fn touch(&mut self, key: FileKey) -> Option<Rc<File>> {
        let (used, file) = self.files.get_mut(&key)?;
        self.by_use.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.by_use.insert(self.clock, key);
        Some(Rc::clone(file))
    }

    fn insert(&mut self, key: FileKey, file: Rc<File>, capacity: usize) {
        self.remove(key);
        while self.files.len() >= capacity {
            let Some((_, oldest)) = self.by_use.first_key_value() else { break };
            let oldest = *oldest;
            self.remove(oldest);
        }
        self.clock += 1;
        self.by_use.insert(self.clock, key);
        self.files.insert(key, (self.clock, file));
    }

    fn remove(&mut self, key: FileKey) {
        if let Some((used, _)) = self.files.remove(&key) {
            self.by_use.remove(&used);
        }
    }
}
