//! `millrace check`: reads the host and says what to change before a broker runs on it.
//!
//! Runs in the binary: files under /proc and /sys, and one shard that starts, looks and stops. Each finding is one sentence
//! with the remedy, under the subject that has to be changed. Exit code 1 if the broker cannot start here.
#![allow(
    clippy::disallowed_methods,
    reason = "the check reads the host itself; no shard runs in this process"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use runtime::shards::{CpuLatency, Options, Realtime, StartError};
use serde_json::json;

/// How a finding bears on a broker here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Good,
    /// Works, slower or with less headroom.
    Advice,
    /// The broker cannot start.
    Fatal,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Good => "ok",
            Level::Advice => "advice",
            Level::Fatal => "FATAL",
        }
    }
}

/// One thing looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// Verdict.
    pub level: Level,
    /// What was found and, unless good, what to do.
    pub text: String,
}

fn good(subject: &'static str, text: impl Into<String>) -> Finding {
    Finding { subject, level: Level::Good, text: text.into() }
}

fn advice(subject: &'static str, text: impl Into<String>) -> Finding {
    Finding { subject, level: Level::Advice, text: text.into() }
}

fn fatal(subject: &'static str, text: impl Into<String>) -> Finding {
    Finding { subject, level: Level::Fatal, text: text.into() }
}

/// Looks at the host for a broker that keeps its data in `data`.
pub fn inspect(data: &Path) -> Vec<Finding> {
    let trial = Trial::run(data);
    let limits = [open_files(&trial), locked_memory(&trial)];
    let mut findings = vec![kernel(), io_uring(&trial)];
    findings.extend(limits);
    findings.extend([cpus(), directory(data), free_space(&trial)]);
    findings.extend(storage(&existing_parent(data)));
    findings.extend([swappiness(), fresh_memory(), realtime(), cpu_latency()]);
    findings
}

/// What came of starting one shard.
struct Trial {
    refused: Option<StartError>,
    /// Bytes free for the data directory.
    available: Option<u64>,
}

impl Trial {
    fn run(data: &Path) -> Trial {
        let seen = Arc::<OnceLock<u64>>::default();
        let (told, at) = (seen.clone(), existing_parent(data));
        let look = move |_: runtime::shards::Context<()>| {
            let (told, at) = (told.clone(), at.clone());
            async move {
                if let Ok(space) = runtime::fs::disk_space(&at).await {
                    let _ = told.set(space.available);
                }
            }
        };
        let refused = runtime::shards::run(Default::default(), look).err();
        Trial { refused, available: seen.get().copied() }
    }
}

/// Starts a shard that must have what these options say.
fn refused(options: Options) -> Option<StartError> {
    runtime::shards::run(options, |_: runtime::shards::Context<()>| async {}).err()
}

fn realtime() -> Finding {
    match refused(Options { realtime: Realtime::Priority(1), ..Options::default() }) {
        Some(StartError::Realtime { source, .. }) => advice(
            "scheduling",
            format!(
                "no real-time priority ({source}), so other programs delay the shards; set \
                 `LimitRTPRIO=1` in the systemd unit or grant CAP_SYS_NICE"
            ),
        ),
        _ => good("scheduling", "shards run in the real-time class while they sleep often"),
    }
}

fn cpu_latency() -> Finding {
    let wanted = CpuLatency::AtMost(Duration::ZERO);
    match refused(Options { cpu_latency: wanted, ..Options::default() }) {
        Some(StartError::CpuLatency { source }) => advice(
            "wake-up",
            format!(
                "CPUs halt between synced writes ({source}); give the broker's user write access \
                 to /dev/cpu_dma_latency, and each write is some tens of microseconds faster"
            ),
        ),
        _ => good("wake-up", "CPUs are kept awake while synced writes come in"),
    }
}

/// Prints findings as lines or JSON; returns the exit code.
pub fn report(findings: &[Finding], as_json: bool) -> i32 {
    if as_json {
        let rows: Vec<_> = findings
            .iter()
            .map(|f| json!({"subject": f.subject, "level": f.level.name(), "text": f.text}))
            .collect();
        println!("{}", serde_json::Value::from(rows));
    } else {
        for f in findings {
            println!("{:7} {:14} {}", f.level.name(), f.subject, f.text);
        }
    }
    i32::from(findings.iter().any(|f| f.level == Level::Fatal))
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|s| s.trim().to_owned())
}

fn kernel() -> Finding {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= (5, 15) => {
            good("kernel", format!("Linux {release}"))
        }
        (Some(_), Some(_)) => {
            fatal("kernel", format!("Linux {release} is too old; run Linux 5.15 or newer"))
        }
        _ => advice("kernel", format!("the release `{release}` cannot be read")),
    }
}

fn io_uring(trial: &Trial) -> Finding {
    if let Some(setting) = read("/proc/sys/kernel/io_uring_disabled").filter(|s| s != "0") {
        return fatal(
            "io_uring",
            format!(
                "switched off (kernel.io_uring_disabled = {setting}); run \
                 `sysctl -w kernel.io_uring_disabled=0` as root"
            ),
        );
    }
    match &trial.refused {
        None => good("io_uring", "a shard starts and stops"),
        Some(StartError::NofileTooLow { .. } | StartError::MemlockTooLow { .. }) => {
            advice("io_uring", "not tried: a limit is too low; raise it and check again")
        }
        Some(error) => fatal("io_uring", error.to_string()),
    }
}

/// Soft and hard limit of this process.
pub(super) fn limit(name: &str) -> Option<(u64, u64)> {
    let limits = read("/proc/self/limits")?;
    let line = limits.lines().find(|l| l.starts_with(name))?;
    let mut fields = line[name.len()..].split_whitespace().map(|f| match f {
        "unlimited" => u64::MAX,
        n => n.parse().unwrap_or(0),
    });
    Some((fields.next()?, fields.next()?))
}

fn open_files(trial: &Trial) -> Finding {
    if let Some(error @ StartError::NofileTooLow { .. }) = &trial.refused {
        return fatal("open files", error.to_string());
    }
    match limit("Max open files") {
        Some((_, hard)) if hard >= 65_536 => good("open files", format!("hard limit {hard}")),
        Some((_, hard)) => advice(
            "open files",
            format!(
                "the hard limit is {hard}; set `LimitNOFILE=1048576` in the systemd unit for \
                 many connections"
            ),
        ),
        None => advice("open files", "the limit cannot be read from /proc/self/limits"),
    }
}

fn locked_memory(trial: &Trial) -> Finding {
    const ENOUGH: u64 = 64 << 20;
    if let Some(error @ StartError::MemlockTooLow { .. }) = &trial.refused {
        return fatal("locked memory", error.to_string());
    }
    match limit("Max locked memory") {
        Some((_, u64::MAX)) => good("locked memory", "unlimited"),
        Some((_, hard)) if hard >= ENOUGH => good("locked memory", format!("{hard} bytes")),
        Some((_, hard)) => advice(
            "locked memory",
            format!("the hard limit is {hard} bytes; set `LimitMEMLOCK=infinity` in the unit"),
        ),
        None => advice("locked memory", "the limit cannot be read from /proc/self/limits"),
    }
}

fn cpus() -> Finding {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    match governor.as_deref() {
        Some("powersave") => advice(
            "cpus",
            format!(
                "{count} usable, governor powersave; run `cpupower frequency-set -g performance` \
                 for low latency"
            ),
        ),
        _ => good("cpus", format!("{count} usable, one shard each")),
    }
}

fn swappiness() -> Finding {
    match read("/proc/swaps").map(|s| s.lines().count()) {
        Some(0 | 1) | None => good("swap", "none"),
        Some(_) => advice("swap", "swap is on; run `swapoff -a` or set vm.swappiness=1"),
    }
}

/// A guest that gives free pages back waits for its host whenever it takes one again.
fn fresh_memory() -> Finding {
    let devices = fs::read_dir("/sys/bus/virtio/drivers/virtio_balloon").into_iter().flatten();
    let features = devices.flatten().filter_map(|device| read(device.path().join("features")));
    match features.into_iter().any(|bits| reports_free_pages(&bits)) {
        true => advice(
            "memory",
            "this virtual machine gives free pages back to its host (free page reporting) and waits \
             for each that it takes again, milliseconds for a huge page; have the host leave the \
             memory with the guest",
        ),
        false => good("memory", "free pages stay here"),
    }
}

/// `VIRTIO_BALLOON_F_REPORTING`, bit 5; the kernel prints bit 0 first.
fn reports_free_pages(features: &str) -> bool {
    features.trim().as_bytes().get(5) == Some(&b'1')
}

/// Whether this user may write there, or make the directory.
fn directory(data: &Path) -> Finding {
    let at = existing_parent(data);
    let probe = at.join(format!(".millrace-check-{}", std::process::id()));
    let written = fs::write(&probe, []);
    let _ = fs::remove_file(&probe);
    match written {
        Ok(()) => good("data", format!("{} can be written to", at.display())),
        Err(e) => fatal(
            "data",
            format!("{}: {e}; give it to the broker's user or choose another --data", at.display()),
        ),
    }
}

/// Less than this is used up within minutes.
const FREE_BYTES_MIN: u64 = 4 << 30;

fn free_space(trial: &Trial) -> Finding {
    match trial.available {
        Some(bytes) if bytes >= FREE_BYTES_MIN => {
            good("free space", format!("{} GiB", bytes >> 30))
        }
        Some(bytes) => advice(
            "free space",
            format!(
                "{} MiB; make room, producers are refused below millrace.disk.reserve.bytes",
                bytes >> 20
            ),
        ),
        None => advice("free space", "unknown until a shard starts"),
    }
}

fn existing_parent(path: &Path) -> PathBuf {
    let mut at = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    while !at.exists() && at.pop() {}
    at
}

fn storage(dir: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some((device, fs_type)) = mount_of(dir) else {
        return vec![advice(
            "storage",
            format!("the file system of {} is not in /proc/self/mountinfo", dir.display()),
        )];
    };
    findings.push(match fs_type.as_str() {
        "xfs" => good("file system", "xfs"),
        "ext4" => advice("file system", "ext4 works; xfs has fewer latency outliers"),
        "tmpfs" => advice("file system", "tmpfs loses everything at a power cut; use a disk"),
        other => advice("file system", format!("{other} is not tried; use xfs or ext4")),
    });
    let cache = format!("/sys/dev/block/{device}/queue/write_cache");
    let parent_cache = format!("/sys/dev/block/{device}/../queue/write_cache");
    findings.push(match read(cache).or_else(|| read(parent_cache)).as_deref() {
        Some("write through") => good("disk cache", "write through: a sync costs a plain write"),
        Some("write back") => advice(
            "disk cache",
            "write back (volatile): each commit flushes it; drives with power-loss protection \
             commit faster",
        ),
        _ => advice("disk cache", "the device does not say whether its cache is volatile"),
    });
    findings
}

/// `major:minor` and type of the file system that holds `dir`.
fn mount_of(dir: &Path) -> Option<(String, String)> {
    let mounts = read("/proc/self/mountinfo")?;
    let mut best: Option<(usize, String, String)> = None;
    for line in mounts.lines() {
        let (head, tail) = line.split_once(" - ")?;
        let mut head = head.split(' ').skip(2);
        let (device, _root, point) = (head.next()?, head.next()?, head.next()?);
        let longer = best.as_ref().is_none_or(|b| point.len() >= b.0);
        if dir.starts_with(point) && longer {
            let fs_type = tail.split(' ').next()?.to_owned();
            best = Some((point.len(), device.to_owned(), fs_type));
        }
    }
    best.map(|(_, device, fs_type)| (device, fs_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_that_is_not_good_says_what_was_found() {
        let findings = inspect(Path::new("/tmp/does/not/exist/yet"));
        assert!(findings.len() >= 10);
        assert!(findings.iter().all(|f| !f.text.is_empty()));
        assert_eq!(report(&[fatal("x", "y")], true), 1);
        assert_eq!(report(&[good("x", "y"), advice("x", "z")], false), 0);
    }

    #[test]
    fn a_balloon_that_reports_free_pages_has_its_sixth_bit_set() {
        assert!(reports_free_pages("01100101000\n"));
        assert!(!reports_free_pages("01100001000\n"));
        assert!(!reports_free_pages(""));
    }
}
