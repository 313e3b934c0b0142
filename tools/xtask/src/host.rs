//! What the build and the tests need from the machine, and how it gets there.
//!
//! Rust and a C compiler are the reader's; the rest (make for liburing, a locked-memory limit for io_uring) is looked
//! for. As root on a machine with a known package manager a missing program is installed; otherwise one sentence says
//! what to run. Limits are never changed behind the reader's back, only explained.

use crate::step;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Stdio;

/// A program that has to be on the PATH and the package that brings it.
struct Need {
    programs: &'static [&'static str],
    package: &'static str,
    why: &'static str,
}

const NEEDS: [Need; 3] = [
    Need { programs: &["cc", "gcc", "clang"], package: "gcc", why: "zstd and liburing are C" },
    Need { programs: &["make"], package: "make", why: "liburing is built with it" },
    Need { programs: &["git"], package: "git", why: "the list of files comes from it" },
];

/// Package managers with the arguments that install without a question.
const MANAGERS: [(&str, &[&str]); 5] = [
    ("apt-get", &["install", "-y", "-q", "--no-install-recommends"]),
    ("dnf", &["install", "-y", "-q"]),
    ("apk", &["add", "--quiet"]),
    ("pacman", &["-S", "--noconfirm", "--needed"]),
    ("zypper", &["--non-interactive", "install"]),
];

const MEMLOCK_KIB_MIN: u64 = 512;
const NOFILE_MIN: u64 = 1024;

/// Makes the machine fit to build and test, or says in one sentence what is in the way.
pub fn prepare() -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("Millrace runs on Linux only (io_uring); use a Linux machine, container or VM");
    }
    for need in &NEEDS {
        if !need.programs.iter().any(|program| on_path(program)) {
            install(need)?;
        }
    }
    check_io_uring()?;
    check_limits()
}

pub fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn install(need: &Need) -> Result<()> {
    let Need { programs, package, why } = need;
    let manager = MANAGERS.iter().find(|(manager, _)| on_path(manager));
    let Some((manager, args)) = manager else {
        bail!("{} is missing ({why}); install it with your package manager", programs[0]);
    };
    let line = format!("{manager} {} {package}", args.join(" "));
    if !is_root()? {
        bail!("{} is missing ({why}); run: sudo {line}", programs[0]);
    }
    if *manager == "apt-get" {
        step::must(step::command("apt-get").args(["update", "-q"]))?;
    }
    step::must(step::command(manager).args(*args).arg(package))
}

pub fn is_root() -> Result<bool> {
    Ok(step::output(step::command("id").arg("-u"))?.trim() == "0")
}

fn check_io_uring() -> Result<()> {
    let switch = Path::new("/proc/sys/kernel/io_uring_disabled");
    match std::fs::read_to_string(switch).as_deref().map(str::trim) {
        Ok("2") => {
            bail!("the kernel refuses io_uring; run: sudo sysctl kernel.io_uring_disabled=0")
        }
        Ok("1") if !is_root()? => {
            bail!(
                "the kernel refuses io_uring to users; run: sudo sysctl kernel.io_uring_disabled=0"
            )
        }
        _ => Ok(()),
    }
}

/// The limits of a shell that we start are those that the tests inherit.
fn check_limits() -> Result<()> {
    let memlock = limit("-l")?;
    if memlock.is_some_and(|kib| kib < MEMLOCK_KIB_MIN) {
        bail!(
            "the limit of locked memory is below {MEMLOCK_KIB_MIN} KiB; run: ulimit -l {MEMLOCK_KIB_MIN}"
        );
    }
    let nofile = limit("-n")?;
    if nofile.is_some_and(|files| files < NOFILE_MIN) {
        bail!("the limit of open files is below {NOFILE_MIN}; run: ulimit -n {NOFILE_MIN}");
    }
    Ok(())
}

/// A soft limit of this process, or nothing if it is unlimited.
fn limit(flag: &str) -> Result<Option<u64>> {
    let mut shell = step::command("sh");
    let text = step::output(shell.arg("-c").arg(format!("ulimit {flag}")).stdin(Stdio::null()))?;
    Ok(text.trim().parse().ok())
}
