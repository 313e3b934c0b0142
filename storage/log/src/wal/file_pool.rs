//! The files of a stream: which exist, which come next, which can be used again.
//!
//! Pure bookkeeping; `stream` performs the I/O. Frames get their place before the file they go to
//! exists, so the pool plans: for each number from the oldest needed file to one beyond the newest
//! used one it holds a size, and names the first planned file that is not open yet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use runtime::fs::DirectFile;

use super::options::WalOptions;

/// A file on disk, zeroed or recycled, under a number.
#[derive(Clone)]
pub(crate) struct WalFile {
    pub path: PathBuf,
    pub bytes: u64,
    /// Absent for files of an earlier start that only wait to be released.
    pub handle: Option<Rc<DirectFile>>,
}

/// A file to be made ready, and what from.
pub(crate) struct Preparation {
    pub number: u64,
    pub bytes: u64,
    /// A released file to rename; `None`: write a new one full of zeroes.
    pub recycled: Option<WalFile>,
}

pub(crate) struct FilePool {
    options: WalOptions,
    /// Size of every file that frames are in or will go to; the last one is the look-ahead.
    planned: BTreeMap<u64, u64>,
    /// Planned files that exist.
    open: BTreeMap<u64, WalFile>,
    released: Vec<WalFile>,
    doomed: Vec<WalFile>,
    /// Number and offset where the next frame goes.
    pub number: u64,
    pub offset: u64,
}

/// Name of the file with this number.
pub(crate) fn file_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.wal"))
}

/// Inverse of [`file_path`] for a file name.
pub(crate) fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

impl FilePool {
    /// A pool whose next frame goes to `offset` of file `number`.
    pub fn new(options: WalOptions, number: u64, offset: u64) -> FilePool {
        let planned = BTreeMap::from([(number, options.first_file_bytes)]);
        FilePool {
            options,
            planned,
            open: BTreeMap::new(),
            released: Vec::new(),
            doomed: Vec::new(),
            number,
            offset,
        }
    }

    /// Adopts a file that an earlier start left. Files before `oldest_needed` are released.
    pub fn adopt(&mut self, number: u64, file: WalFile, oldest_needed: u64) {
        if number < oldest_needed {
            self.release(file);
        } else if number <= self.number + 1 {
            self.planned.insert(number, file.bytes);
            self.open.insert(number, file);
        } else {
            self.doomed.push(file);
        }
    }

    /// Takes the place for a frame of `bytes` and moves on. `bytes` fits into `file_bytes`.
    pub fn place(&mut self, bytes: u64) -> (u64, u64) {
        if self.offset + bytes > self.planned[&self.number] {
            self.move_to_next_file(bytes);
        }
        let place = (self.number, self.offset);
        self.offset += bytes;
        place
    }

    fn move_to_next_file(&mut self, bytes: u64) {
        self.plan_ahead();
        let next = self.number + 1;
        if self.planned[&next] < bytes {
            self.planned.insert(next, self.options.file_bytes);
            self.doomed.extend(self.open.remove(&next));
        }
        self.number = next;
        self.offset = 0;
        self.plan_ahead();
    }

    /// Plans the file behind the one in use.
    pub fn plan_ahead(&mut self) {
        let doubled = self.planned[&self.number].saturating_mul(2);
        let bytes = doubled.clamp(self.options.first_file_bytes, self.options.file_bytes);
        self.planned.entry(self.number + 1).or_insert(bytes);
    }

    /// The first planned file that does not exist, with a released file if one is large enough.
    pub fn next_preparation(&mut self) -> Option<Preparation> {
        let (&number, &bytes) = self.planned.iter().find(|(n, _)| !self.open.contains_key(n))?;
        let fit = self.released.iter().position(|file| file.bytes >= bytes);
        Some(Preparation { number, bytes, recycled: fit.map(|at| self.released.swap_remove(at)) })
    }

    /// Takes a prepared file in. If the plan has outgrown it meanwhile, it is dropped.
    pub fn supply(&mut self, number: u64, file: WalFile) {
        match self.planned.get_mut(&number) {
            Some(bytes) if *bytes <= file.bytes => {
                if number > self.number {
                    *bytes = file.bytes;
                }
                self.open.insert(number, file);
            }
            _ => self.doomed.push(file),
        }
    }

    pub fn get(&self, number: u64) -> Option<&WalFile> {
        self.open.get(&number)
    }

    /// Releases every file before `number`.
    pub fn release_before(&mut self, number: u64) {
        let number = number.min(self.number);
        let keep = self.open.split_off(&number);
        for file in std::mem::replace(&mut self.open, keep).into_values() {
            self.release(file);
        }
        self.planned = self.planned.split_off(&number);
    }

    fn release(&mut self, file: WalFile) {
        let worth_keeping = file.bytes >= self.options.file_bytes;
        if worth_keeping && self.released.len() < self.options.spare_files_max {
            self.released.push(file);
        } else {
            self.doomed.push(file);
        }
    }

    /// The next file to delete.
    pub fn next_doomed(&mut self) -> Option<WalFile> {
        self.doomed.pop()
    }

    /// Bytes of all files that hold frames still needed.
    pub fn live_bytes(&self) -> u64 {
        let full: u64 = self.planned.range(..self.number).map(|(_, bytes)| bytes).sum();
        full + self.offset
    }
}
