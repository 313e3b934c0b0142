//! A file system of a few MiB that a test can fill, without being root.
//!
//! The test runs itself again in a mount namespace of its own (and, unless it is root, a user namespace), where a tmpfs
//! may be mounted; the namespace and all in it vanish with the process. Where neither is allowed the test says so and
//! proves nothing.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set in the inner run; where the file system is mounted.
const MOUNTED: &str = "MILLRACE_TEST_SMALL_DISK";
const MOUNT: &str = "mount -t tmpfs -o size=\"$1\"m tmpfs \"$2\" && shift 2 && exec \"$@\"";
const WAYS: [&[&str]; 2] = [&["--mount"], &["--mount", "--user", "--map-root-user"]];

/// Runs `body` of test `name` with the path of an empty file system of so many MiB.
pub fn with(name: &str, mebibytes: u32, body: impl FnOnce(&Path)) {
    if let Some(mounted) = std::env::var_os(MOUNTED) {
        return body(Path::new(&mounted));
    }
    let point = tempfile::tempdir().expect("a temporary directory");
    let Some(way) = WAYS.into_iter().find(|way| mounts(way, mebibytes, point.path(), &["true"]))
    else {
        return eprintln!("{name}: PROVED NOTHING, no namespace may mount a tmpfs on this host");
    };
    let binary = std::env::current_exe().expect("this test has a path");
    let binary = binary.to_str().expect("in UTF-8");
    let inner = [binary, "--exact", name, "--nocapture", "--test-threads=1"];
    assert!(mounts(way, mebibytes, point.path(), &inner), "the inner run failed");
}

fn mounts(way: &[&str], mebibytes: u32, point: &Path, command: &[&str]) -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(way).args(["--", "sh", "-c", MOUNT, "sh", &mebibytes.to_string()]).arg(point);
    unshare.args(command).env(MOUNTED, point);
    unshare.status().is_ok_and(|status| status.success())
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
