//! A simulated disk: a tree of directories and files, and which of it is stable.
//!
//! Each directory has the names that running code sees and the names on stable storage. A change of
//! names is one atomic operation on one or two directories; it waits in `pending`, in order, until a
//! directory sync covers it or a power cut decides its fate.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::disk_faults::{DiskFaults, DiskOperation, FaultRule, matches};
use super::file_data::FileData;
use super::node::Crash;
use super::rng::Rng;
use super::unsynced::Unsynced;

/// A capacity from which on nobody counts.
pub(super) const UNLIMITED: u64 = 1 << 40;

/// A file or a directory.
pub(super) enum Inode {
    File(RefCell<FileData>),
    Directory(RefCell<Directory>),
}

#[derive(Default)]
pub(super) struct Directory {
    pub names: BTreeMap<String, Rc<Inode>>,
    stable: BTreeMap<String, Rc<Inode>>,
}

/// One name of one directory gets a new meaning.
struct Change {
    directory: Rc<Inode>,
    name: String,
    inode: Option<Rc<Inode>>,
}

/// What one operation did to names, not durable yet.
struct Pending {
    /// Counts the operations of the disk's life.
    number: u64,
    changes: Vec<Change>,
}

/// A node's disk, for tests to look at and to harm.
pub struct Disk {
    root: Rc<Inode>,
    pending: Vec<Pending>,
    changes: u64,
    faults: DiskFaults,
    rules: Vec<FaultRule>,
    operations: u64,
    crash_at: Option<(u64, Crash)>,
}

impl Disk {
    pub(super) fn new(faults: DiskFaults) -> Disk {
        Disk {
            root: Rc::new(Inode::Directory(RefCell::default())),
            pending: Vec::new(),
            changes: 0,
            faults,
            rules: Vec::new(),
            operations: 0,
            crash_at: None,
        }
    }

    /// How the disk behaves.
    pub fn faults(&self) -> &DiskFaults {
        &self.faults
    }

    /// Changes how the disk behaves from now on.
    pub fn faults_mut(&mut self) -> &mut DiskFaults {
        &mut self.faults
    }

    /// Adds a rule.
    pub fn fail(&mut self, rule: FaultRule) {
        self.rules.push(rule);
    }

    /// Rules that have not come true as often as they say.
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// Forgets rules and crashes that have not come true.
    pub fn forget_rules(&mut self) {
        self.rules.clear();
        self.crash_at = None;
    }

    /// Operations that change the disk so far: writes, syncs and changes of names.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// The content of a file as running code sees it.
    pub fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        match &*self.find(path.as_ref()).ok()? {
            Inode::File(data) => Some(data.borrow().content().to_vec()),
            Inode::Directory(_) => None,
        }
    }

    /// Whether a file is on stable storage exactly as running code sees it (its name apart).
    pub fn is_durable(&self, path: impl AsRef<Path>) -> Option<bool> {
        match &*self.find(path.as_ref()).ok()? {
            Inode::File(data) => Some(data.borrow().is_durable()),
            Inode::Directory(_) => None,
        }
    }

    /// The paths of all files that fit a pattern (see [`FaultRule`]), sorted.
    pub fn files(&self, pattern: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.root, &PathBuf::from("/"), pattern, &mut found);
        found
    }

    /// Replaces a file's content durably, as an operator with an editor would; makes it if needed.
    pub fn put(&mut self, path: impl AsRef<Path>, content: &[u8]) -> io::Result<()> {
        let path = path.as_ref();
        if let Some(parent) = path.parent() {
            self.create_dir_all(parent)?;
        }
        let inode = self.open_file(path, true, false)?;
        if let Inode::File(data) = &*inode {
            let mut data = data.borrow_mut();
            data.set_len(content.len());
            data.write(0, content);
            let snapshot = data.snapshot();
            data.made_durable(snapshot);
        }
        self.commit_names();
        Ok(())
    }

    /// Flips one bit of a file, on stable storage too; false if there is no such byte.
    pub fn flip_bit(&mut self, path: impl AsRef<Path>, byte: u64, bit: u8) -> bool {
        self.flip(path, byte, bit).is_some()
    }

    /// The same in a way that can be undone.
    pub fn flip(&mut self, path: impl AsRef<Path>, byte: u64, bit: u8) -> Option<BitFlip> {
        let inode = self.find(path.as_ref()).ok()?;
        let Inode::File(data) = &*inode else { return None };
        let before = *data.borrow().read(byte, 1).first()?;
        let after = before ^ (1 << (bit % 8));
        data.borrow_mut().harm(byte, before, after);
        Some(BitFlip { inode, byte, before, after })
    }

    pub(super) fn crash_at(&mut self, operation: u64, crash: Crash) {
        self.crash_at = Some((operation, crash));
    }

    /// Counts a changing operation; what the node then suffers.
    pub(super) fn count(&mut self) -> Option<Crash> {
        self.operations += 1;
        match self.crash_at {
            Some((at, crash)) if self.operations >= at => {
                self.crash_at = None;
                Some(crash)
            }
            _ => None,
        }
    }

    /// Whether a rule makes this operation fail.
    pub(super) fn ruled(&mut self, operation: DiskOperation, path: &Path) -> io::Result<()> {
        let Some(at) = self.rules.iter().position(|r| r.covers(operation, path)) else {
            return Ok(());
        };
        let error = self.rules[at].error;
        self.rules[at].times = self.rules[at].times.saturating_sub(1);
        if self.rules[at].times == 0 {
            self.rules.remove(at);
        }
        Err(io::Error::new(error, format!("injected into {operation:?} of {}", path.display())))
    }

    /// Bytes of file content.
    pub fn used(&self) -> u64 {
        size(&self.root)
    }

    pub(super) fn room_for(&self, growth: u64) -> io::Result<()> {
        // Adding up a large disk is not free: only where a limit was set.
        let limited = self.faults.capacity < UNLIMITED;
        if limited && growth > 0 && self.used().saturating_add(growth) > self.faults.capacity {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Rc<Inode>> {
        let mut at = Rc::clone(&self.root);
        for name in components(path)? {
            let next = at.directory()?.borrow().names.get(&name).cloned();
            at = next.ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(at)
    }

    /// The directory of a path and its last name.
    fn parent(&self, path: &Path) -> io::Result<(Rc<Inode>, String)> {
        let mut names = components(path)?;
        let name = names.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let mut at = Rc::clone(&self.root);
        for name in names {
            let next = at.directory()?.borrow().names.get(&name).cloned();
            at = next.ok_or(io::ErrorKind::NotFound)?;
        }
        at.directory()?;
        Ok((at, name))
    }

    pub(super) fn open_file(
        &mut self,
        path: &Path,
        create: bool,
        create_new: bool,
    ) -> io::Result<Rc<Inode>> {
        match self.find(path) {
            Ok(_) if create_new => Err(io::ErrorKind::AlreadyExists.into()),
            Ok(inode) => match &*inode {
                Inode::File(_) => Ok(inode),
                Inode::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound && (create || create_new) => {
                let (directory, name) = self.parent(path)?;
                let inode = Rc::new(Inode::File(RefCell::default()));
                self.change(vec![Change { directory, name, inode: Some(Rc::clone(&inode)) }])?;
                Ok(inode)
            }
            Err(e) => Err(e),
        }
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut at = Rc::clone(&self.root);
        for name in components(path)? {
            let next = at.directory()?.borrow().names.get(&name).cloned();
            at = match next {
                Some(next) => next,
                None => {
                    let made = Rc::new(Inode::Directory(RefCell::default()));
                    let inode = Some(Rc::clone(&made));
                    self.change(vec![Change { directory: Rc::clone(&at), name, inode }])?;
                    made
                }
            };
        }
        at.directory().map(drop)
    }

    pub(super) fn remove(&mut self, path: &Path, want_directory: bool) -> io::Result<()> {
        let inode = self.find(path)?;
        match (&*inode, want_directory) {
            (Inode::File(_), true) => return Err(io::ErrorKind::NotADirectory.into()),
            (Inode::Directory(_), false) => return Err(io::ErrorKind::IsADirectory.into()),
            _ => {}
        }
        if let Inode::Directory(directory) = &*inode {
            let below: Vec<(String, Rc<Inode>)> = directory
                .borrow()
                .names
                .iter()
                .map(|(name, inode)| (name.clone(), Rc::clone(inode)))
                .collect();
            for (name, inode) in below {
                let is_dir = matches!(&*inode, Inode::Directory(_));
                self.remove(&path.join(name), is_dir)?;
            }
        }
        let (directory, name) = self.parent(path)?;
        self.change(vec![Change { directory, name, inode: None }])
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        let (old_directory, old_name) = self.parent(from)?;
        let (directory, name) = self.parent(to)?;
        let replaced = directory.directory()?.borrow().names.get(&name).cloned();
        match replaced.as_deref() {
            Some(Inode::Directory(d)) if !d.borrow().names.is_empty() => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            _ => {}
        }
        if let Inode::File(data) = &*inode {
            data.borrow_mut().name = Some(to.to_owned());
        }
        self.change(vec![
            Change { directory: old_directory, name: old_name, inode: None },
            Change { directory, name, inode: Some(inode) },
        ])
    }

    fn change(&mut self, changes: Vec<Change>) -> io::Result<()> {
        for change in &changes {
            let mut directory = change.directory.directory()?.borrow_mut();
            match &change.inode {
                Some(inode) => directory.names.insert(change.name.clone(), Rc::clone(inode)),
                None => directory.names.remove(&change.name),
            };
        }
        self.pending.push(Pending { number: self.changes, changes });
        self.changes += 1;
        Ok(())
    }

    /// Makes the changes in a directory stable, and with them all that they build on: a rename that
    /// touches two directories takes the earlier changes of both along.
    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let directory = self.find(path)?;
        directory.directory()?;
        if self.faults.ordered_metadata {
            self.commit_names();
            return Ok(());
        }
        let mut covered = vec![directory];
        let mut stable = vec![false; self.pending.len()];
        for (index, Pending { changes, .. }) in self.pending.iter().enumerate().rev() {
            let hit = changes.iter().any(|c| covered.iter().any(|d| Rc::ptr_eq(d, &c.directory)));
            if hit {
                stable[index] = true;
                covered.extend(changes.iter().map(|c| Rc::clone(&c.directory)));
            }
        }
        for (pending, stable) in std::mem::take(&mut self.pending).into_iter().zip(stable) {
            if stable {
                make_stable(pending.changes);
            } else {
                self.pending.push(pending);
            }
        }
        Ok(())
    }

    /// What a sync of all of it covers that begins now: everything but direct files, of which the page
    /// cache has nothing.
    pub(super) fn unsynced(&self) -> Unsynced {
        let mut files = Vec::new();
        super::unsynced::find(&self.root, Path::new("/"), &mut files);
        Unsynced { files, names: self.changes }
    }

    /// Names as they were before the operation of this number are stable.
    pub(super) fn names_synced(&mut self, before: u64) {
        for pending in std::mem::take(&mut self.pending) {
            match pending.number < before {
                true => make_stable(pending.changes),
                false => self.pending.push(pending),
            }
        }
    }

    /// A file was synced: on a disk with ordered metadata all earlier names are stable, too.
    pub(super) fn file_synced(&mut self) {
        if self.faults.ordered_metadata {
            self.commit_names();
        }
    }

    fn commit_names(&mut self) {
        self.names_synced(u64::MAX);
    }

    pub(super) fn power_cut(&mut self, rng: &mut Rng) {
        for Pending { changes, .. } in std::mem::take(&mut self.pending) {
            let kept = rng.chance(self.faults.keep_unsynced_name);
            if kept {
                make_stable(changes);
            } else if self.faults.ordered_metadata {
                break;
            }
        }
        cut(&self.root, rng, &self.faults);
    }
}

/// A bit that was flipped in a file, which may have been renamed or removed since.
pub struct BitFlip {
    inode: Rc<Inode>,
    byte: u64,
    before: u8,
    after: u8,
}

impl BitFlip {
    /// Flips the bit back, also on stable storage, unless the byte was written meanwhile.
    pub fn undo(self) {
        let Inode::File(data) = &*self.inode else { return };
        data.borrow_mut().harm(self.byte, self.after, self.before);
    }
}

impl Inode {
    pub(super) fn directory(&self) -> io::Result<&RefCell<Directory>> {
        match self {
            Inode::Directory(directory) => Ok(directory),
            Inode::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }
}

fn make_stable(changes: Vec<Change>) {
    for change in changes {
        let Inode::Directory(directory) = &*change.directory else { continue };
        let mut directory = directory.borrow_mut();
        match change.inode {
            Some(inode) => directory.stable.insert(change.name, inode),
            None => directory.stable.remove(&change.name),
        };
    }
}

/// Leaves of a subtree what is stable.
fn cut(inode: &Rc<Inode>, rng: &mut Rng, faults: &DiskFaults) {
    match &**inode {
        Inode::File(data) => data.borrow_mut().power_cut(rng, faults),
        Inode::Directory(directory) => {
            let stable = {
                let mut directory = directory.borrow_mut();
                directory.names = directory.stable.clone();
                directory.stable.clone()
            };
            for below in stable.values() {
                cut(below, rng, faults);
            }
        }
    }
}

fn size(inode: &Rc<Inode>) -> u64 {
    match &**inode {
        Inode::File(data) => data.borrow().len() as u64,
        Inode::Directory(directory) => directory.borrow().names.values().map(size).sum(),
    }
}

fn collect(inode: &Rc<Inode>, path: &Path, pattern: &str, found: &mut Vec<PathBuf>) {
    match &**inode {
        Inode::File(_) => {
            if matches(pattern, &path.to_string_lossy()) {
                found.push(path.to_owned());
            }
        }
        Inode::Directory(directory) => {
            for (name, below) in &directory.borrow().names {
                collect(below, &path.join(name), pattern, found);
            }
        }
    }
}

/// The names of a path from the root; a relative path begins there, too.
fn components(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                names.push(name.to_str().ok_or(io::ErrorKind::InvalidInput)?.to_owned());
            }
            Component::ParentDir => {
                names.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(names)
}
