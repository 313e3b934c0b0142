//! A file system of a few MiB that a test can fill, without being root.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::namespace::{self, AS_ANYBODY, AS_ROOT};

/// Runs `body` of test `name` with the path of an empty file system of so many MiB.
pub fn with(name: &str, mebibytes: u32, body: impl FnOnce(&Path)) {
    let script = format!("mount -t tmpfs -o size={mebibytes}m tmpfs \"$1\"");
    namespace::with(name, &[AS_ROOT, AS_ANYBODY], &script, body);
}

/// Another program's file that takes all the space there is. Removed when dropped.
pub struct Foreign(PathBuf);

impl Foreign {
    pub fn fill(disk: &Path, name: &str) -> Foreign {
        let path = disk.join(name);
        let mut file = File::create(&path).expect("a name is free");
        let block = [0x55; 4096];
        loop {
            match file.write_all(&block) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::StorageFull => return Foreign(path),
                Err(e) => panic!("filling the disk: {e}"),
            }
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
