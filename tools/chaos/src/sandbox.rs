//! Namespaces that take everything with them when they end.
//!
//! Chaos becomes `unshare`, which starts it again as the first process of a PID namespace, with mounts and a network of its
//! own. When that process ends, in whatever way, the kernel kills what it has started, and with the last of them go mounts,
//! loop devices, bridges and addresses. `--kill-child` does the same should `unshare` itself be killed.

use crate::args::Args;
use crate::load::Clients;
use crate::{schedule, shell, verdict};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Programs that we need from the host, and Debian's packages of them.
const NEEDS: [(&str, &str); 6] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("mkfs.ext4", "e2fsprogs"),
    ("fallocate", "util-linux"),
];

/// Starts this program again inside; never returns if that works.
pub fn enter(args: &Args) -> Result<bool> {
    if args.list {
        schedule::names().iter().for_each(|name| println!("{name}"));
        return Ok(true);
    }
    if let Some(history) = &args.check {
        return verdict::check_again(history);
    }
    if args.plan {
        schedule::show(args, args.seed.unwrap_or(1));
        return Ok(true);
    }
    check_host()?;
    // Inside there is no network to install anything from.
    Clients::install(args)?;
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]);
    unshare.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).arg("--inside");
    Err(unshare.exec()).context("cannot start unshare")
}

fn check_host() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("namespaces, loop devices and mounts need root; run it with sudo");
    }
    for (program, package) in NEEDS {
        if !shell::on_path(program) {
            bail!("{program} is missing: apt-get install {package}");
        }
    }
    if !Path::new("/dev/fuse").exists() {
        bail!("/dev/fuse is missing: the nodes' disks are served by FUSE (modprobe fuse)");
    }
    if !Path::new("/dev/loop-control").exists() {
        bail!("/dev/loop-control is missing: the nodes' disks are loop devices (modprobe loop)");
    }
    Ok(())
}

/// The first thing inside: names of network namespaces are files, and ours shall not outlive us.
pub fn settle() -> Result<()> {
    fs::create_dir_all("/run/netns")?;
    shell::words("mount -t tmpfs netns /run/netns")?;
    shell::words("ip link set lo up").map(drop)
}
