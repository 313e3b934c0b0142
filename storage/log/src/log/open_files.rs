//! The open segment files of one shard: a bounded cache, least recently used first out.
//!
//! Idle partitions hold no descriptor: one background task closes what was not used between two of its looks, and
//! sleeps without a timer while nothing is open. A file that is evicted while an operation uses it closes when the
//! operation ends.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::time::Duration;

use runtime::collections::HashMap;
use runtime::fs::{File, OpenOptions};
use runtime::sync::Notify;
use runtime::task::{self, Class};
use runtime::time;

use super::error::LogError;
use super::file_names::FileKind;

/// Log, base offset, kind.
pub(crate) type FileKey = (u64, i64, FileKind);

pub(crate) struct OpenFiles {
    capacity: usize,
    inner: RefCell<Inner>,
    /// Something is open now, and nothing was.
    first: Rc<Notify>,
    /// Ends with this value.
    task: RefCell<Option<task::Task<()>>>,
}

#[derive(Default)]
struct Inner {
    files: HashMap<FileKey, (u64, Rc<File>)>,
    /// Keys by time of last use.
    by_use: BTreeMap<u64, FileKey>,
    clock: u64,
}

impl OpenFiles {
    /// Keeps at most `capacity` files open. What is not used for `idle` is closed before twice that has passed.
    pub fn start(capacity: usize, idle: Duration) -> Rc<OpenFiles> {
        assert!(capacity > 0, "no file may be open");
        let first = Rc::new(Notify::new());
        let files = Rc::new(OpenFiles {
            capacity,
            inner: RefCell::default(),
            first: Rc::clone(&first),
            task: RefCell::default(),
        });
        let run = close_idle(Rc::downgrade(&files), first, idle);
        *files.task.borrow_mut() = Some(task::spawn(Class::Background, run));
        files
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
        if self.len() == 0 {
            self.first.notify_one();
        }
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

async fn close_idle(files: Weak<OpenFiles>, first: Rc<Notify>, idle: Duration) {
    let mut seen = 0;
    loop {
        let Some(strong) = files.upgrade() else { return };
        seen = strong.inner.borrow_mut().close_unused_since(seen);
        let is_empty = strong.len() == 0;
        drop(strong);
        match is_empty {
            true => first.notified().await,
            false => time::sleep(idle).await,
        }
    }
}

impl Inner {
    /// Closes what was used last at `seen` or before; returns the time of the last use of all.
    fn close_unused_since(&mut self, seen: u64) -> u64 {
        while let Some((used, key)) = self.by_use.first_key_value()
            && *used <= seen
        {
            let key = *key;
            self.remove(key);
        }
        self.clock
    }

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
