//! A disk that promises more than it has, as thin volumes do: the file system on it takes writes into its cache, and
//! syncing them fails with an error of the device once what is beneath has run out.
//!
//! An ext4 on a loop device over a sparse file on a small tmpfs; only root may have it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::namespace::{self, AS_ROOT};
use super::small_disk::Foreign;

const SCRIPT: &str = "mount -t tmpfs -o size=192m tmpfs \"$1\" && mkdir \"$1/disk\" \
    && truncate -s 1g \"$1/image\" && mkfs.ext4 -q -F \"$1/image\" \
    && mount -o loop,errors=remount-ro \"$1/image\" \"$1/disk\"";

pub struct ThinDisk {
    point: PathBuf,
}

/// Runs `body` of test `name` with such a disk.
pub fn with(name: &str, body: impl FnOnce(&ThinDisk)) {
    namespace::with(name, &[AS_ROOT], SCRIPT, |point| body(&ThinDisk { point: point.to_owned() }));
}

impl ThinDisk {
    /// The file system.
    pub fn path(&self) -> PathBuf {
        self.point.join("disk")
    }

    /// Takes what is left beneath the file system, which does not know of it.
    pub fn run_out(&self) -> Foreign {
        Foreign::fill(&self.point, "foreign")
    }

    /// Makes the file system find itself broken, as the kernel does when its metadata make no sense: it is read-only from
    /// now on.
    pub fn turn_read_only(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("Linux says");
        let disk = self.path();
        let at_disk = |line: &&str| line.split(' ').nth(1).is_some_and(|at| Path::new(at) == disk);
        let mount = mounts.lines().find(at_disk).expect("it is mounted");
        let device = mount.split(' ').next().and_then(|device| device.strip_prefix("/dev/"));
        let device = device.expect("it is a device");
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        std::fs::write(trigger, "a test").expect("ext4 can be told so");
    }

    /// Mounts it anew, as after a reboot.
    pub fn mount_again(&self) {
        let script = "umount \"$1/disk\" && mount -o loop \"$1/image\" \"$1/disk\"";
        let mut sh = Command::new("sh");
        let status = sh.args(["-c", script, "sh"]).arg(&self.point).status().expect("a shell");
        assert!(status.success());
    }
}
