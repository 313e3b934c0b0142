//! What the machine did meanwhile: CPU, memory and device bytes of the broker, and how much
//! anybody else was in the way. Everything is read from /proc, so nothing runs inside a broker.

use std::fs::read_to_string;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::clock::now_ns;

/// Counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    at_ns: u64,
    broker_cpu_s: f64,
    load_cpu_s: f64,
    host_busy_s: f64,
    host_steal_s: f64,
    pressure_us: u64,
    broker_write_bytes: u64,
    device_write_bytes: u64,
    broker_rss_bytes: u64,
    broker_switches: u64,
}

/// What happened between two snapshots.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    pub seconds: f64,
    pub broker_cpu_s: f64,
    pub load_cpu_s: f64,
    /// CPU-seconds per second of everybody else.
    pub foreign_cpus: f64,
    pub steal_share: f64,
    /// Share of the time in which some task waited for a CPU.
    pub cpu_pressure: f64,
    /// Bytes that the broker's process caused to be written (/proc/PID/io).
    pub broker_write_bytes: u64,
    /// Bytes that the device wrote, whoever caused them.
    pub device_write_bytes: u64,
    pub rss_bytes: u64,
    pub broker_switches: u64,
}

impl Usage {
    /// Others took so much that the figures of this window prove nothing.
    pub fn is_noisy(&self) -> bool {
        self.foreign_cpus > 0.15 || self.steal_share > 0.02
    }
}

impl Snapshot {
    /// Of all nodes of the system together.
    pub fn take(brokers: &[u32], data: &Path) -> Snapshot {
        let (host_busy_s, host_steal_s) = host_cpu();
        let sum = |of: &dyn Fn(u32) -> u64| brokers.iter().map(|pid| of(*pid)).sum();
        Snapshot {
            at_ns: now_ns(),
            broker_cpu_s: brokers.iter().map(|pid| process_cpu(*pid)).sum(),
            load_cpu_s: process_cpu(std::process::id()),
            host_busy_s,
            host_steal_s,
            pressure_us: cpu_pressure_us(),
            broker_write_bytes: sum(&|pid| field(&proc_text(pid, "io"), "write_bytes:")),
            device_write_bytes: device_written(data),
            broker_rss_bytes: sum(&resident_of),
            broker_switches: sum(&thread_switches),
        }
    }

    pub fn until(&self, end: &Snapshot) -> Usage {
        let seconds = (end.at_ns - self.at_ns) as f64 / 1e9;
        let broker = end.broker_cpu_s - self.broker_cpu_s;
        let load = end.load_cpu_s - self.load_cpu_s;
        let busy = end.host_busy_s - self.host_busy_s;
        let cpus = host_cpus() as f64;
        Usage {
            seconds,
            broker_cpu_s: broker,
            load_cpu_s: load,
            foreign_cpus: ((busy - broker - load) / seconds).max(0.0),
            steal_share: (end.host_steal_s - self.host_steal_s) / seconds / cpus,
            cpu_pressure: (end.pressure_us - self.pressure_us) as f64 / 1e6 / seconds,
            broker_write_bytes: end.broker_write_bytes - self.broker_write_bytes,
            device_write_bytes: end.device_write_bytes - self.device_write_bytes,
            rss_bytes: end.broker_rss_bytes,
            broker_switches: end.broker_switches.saturating_sub(self.broker_switches),
        }
    }
}

/// Resident memory of all nodes together.
pub fn resident_bytes(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| resident_of(*pid)).sum()
}

fn resident_of(pid: u32) -> u64 {
    1024 * field(&proc_text(pid, "status"), "VmRSS:")
}

/// Waits, up to a limit, until the device has nothing to do: what builds, other systems and deleted
/// directories have left (a file system that discards freed blocks tells the device much later)
/// would slow the first syncs of the next node.
pub fn wait_for_calm(data: &Path, limit: std::time::Duration) {
    const CALM: std::time::Duration = std::time::Duration::from_millis(500);
    rustix::fs::sync();
    let (start, mut calm_since) = (std::time::Instant::now(), std::time::Instant::now());
    let mut before = device_operations(data);
    while start.elapsed() < limit && calm_since.elapsed() < CALM {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let now = device_operations(data);
        if now != before {
            (calm_since, before) = (std::time::Instant::now(), now);
        }
    }
}

/// Waits, up to a limit, until what was written before has reached the device.
pub fn settle(limit: std::time::Duration) {
    const CALM_KB: u64 = 64 << 10;
    let start = std::time::Instant::now();
    while start.elapsed() < limit {
        let text = read_to_string("/proc/meminfo").unwrap_or_default();
        if field(&text, "Dirty:") + field(&text, "Writeback:") < CALM_KB {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// Facts of the machine for the report.
pub fn facts(data: &Path) -> Vec<(String, String)> {
    let line = |path: &str| read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpu_info = line("/proc/cpuinfo");
    let model = cpu_info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": "));
    let memory = field(&line("/proc/meminfo"), "MemTotal:") / 1024;
    let cpus = host_cpus();
    let (device, kind) = mount_of(data);
    vec![
        ("kernel".to_owned(), line("/proc/sys/kernel/osrelease")),
        ("cpu".to_owned(), format!("{cpus} x {}", model.map_or("unknown", |(_, m)| m))),
        ("memory".to_owned(), format!("{memory} MiB")),
        ("data directory".to_owned(), format!("{device}, {kind}")),
        (
            "write cache".to_owned(),
            line(&format!("/sys/block/{}/queue/write_cache", disk(&device))),
        ),
    ]
}

/// CPUs of the machine, not only of this pinned process.
fn host_cpus() -> usize {
    let info = read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines().filter(|line| line.starts_with("processor")).count().max(1)
}

fn disk(device: &str) -> &str {
    device.trim_start_matches("/dev/").trim_end_matches(|c: char| c.is_ascii_digit())
}

/// Device and file system of the longest mount point above `path`.
fn mount_of(path: &Path) -> (String, String) {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mounts = read_to_string("/proc/mounts").unwrap_or_default();
    let parse = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        Some((words.next()?, words.next()?, words.next()?))
    };
    let above = mounts.lines().filter_map(parse).filter(|(_, at, _)| path.starts_with(at));
    let found = above.max_by_key(|(_, at, _)| at.len());
    found.map_or(Default::default(), |(device, _, kind)| (device, kind))
}

fn proc_text(pid: u32, name: &str) -> String {
    read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default()
}

/// The first number behind `name` at the start of a line.
fn field(text: &str, name: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time of a whole process.
fn process_cpu(pid: u32) -> f64 {
    let text = proc_text(pid, "stat");
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let number = |n: usize| rest.split_whitespace().nth(n).and_then(|w| w.parse::<f64>().ok());
    (number(11).unwrap_or(0.0) + number(12).unwrap_or(0.0)) / TICKS_PER_SECOND
}

fn thread_switches(pid: u32) -> u64 {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    let switches = |entry: std::fs::DirEntry| {
        let status = read_to_string(entry.path().join("status")).unwrap_or_default();
        field(&status, "voluntary_ctxt_switches:") + field(&status, "nonvoluntary_ctxt_switches:")
    };
    tasks.flatten().map(switches).sum()
}

/// Busy and stolen seconds of all CPUs.
fn host_cpu() -> (f64, f64) {
    let text = read_to_string("/proc/stat").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = first.split_whitespace().skip(1).filter_map(|w| w.parse().ok()).collect();
    let at = |n: usize| ticks.get(n).copied().unwrap_or(0.0) / TICKS_PER_SECOND;
    // user, nice, system, irq, softirq
    (at(0) + at(1) + at(2) + at(5) + at(6), at(7))
}

fn cpu_pressure_us() -> u64 {
    let text = read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let some = text.lines().find(|line| line.starts_with("some")).unwrap_or_default();
    some.split("total=").nth(1).and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

fn device_written(data: &Path) -> u64 {
    const SECTOR: u64 = 512;
    device_statistics(data).get(6).copied().unwrap_or(0) * SECTOR
}

/// Writes, discards and flushes that have ended, and what is in flight.
fn device_operations(data: &Path) -> [u64; 4] {
    let fields = device_statistics(data);
    [4, 11, 15, 8].map(|at| fields.get(at).copied().unwrap_or(0))
}

/// The device's fields of /proc/diskstats, behind its name.
fn device_statistics(data: &Path) -> Vec<u64> {
    let (device, _) = mount_of(data);
    let name = device.trim_start_matches("/dev/").to_owned();
    let text = read_to_string("/proc/diskstats").unwrap_or_default();
    let words = text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
    let line = words.into_iter().find(|w| w.get(2).is_some_and(|n| *n == name));
    line.map(|w| w[3..].iter().map(|n| n.parse().unwrap_or(0)).collect()).unwrap_or_default()
}
