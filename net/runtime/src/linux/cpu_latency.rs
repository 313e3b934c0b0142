//! How long this host's CPUs may take to come back from an idle state (Linux's PM QoS).
//!
//! A synced write waits for two interrupts and a request for one; a halted CPU takes tens of
//! microseconds to come back from each, more on a virtual machine. The kernel keeps all CPUs out of
//! the states that take longer than the smallest latency any process asks for, for as long as that
//! process holds the file open: nothing is left behind, even after a kill.
//!
//! Polling costs power, so a node that was not told asks for it only while its shards really wait
//! for synced writes, [`WRITES_MIN`] in a second, and lets go when they do not. The thread that
//! waits for the shards to end looks once a [`PERIOD`]; the shards only count.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::shards::{CpuLatency, Options, StartError};

const DEVICE: &str = "/dev/cpu_dma_latency";
/// How often the writes are looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// From so many synced writes in a period on it is worth the power: somebody waits for them.
const WRITES_MIN: u64 = 20;

/// The synced writes of one shard, on a cache line of its own.
#[derive(Clone, Default)]
pub struct SyncedWrites(Arc<Line>);

#[derive(Default)]
#[repr(align(64))]
struct Line(AtomicU64);

impl SyncedWrites {
    pub fn count(&self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the node asks of the host; let go with this.
#[must_use]
pub struct Bound {
    device: PathBuf,
    held: Option<File>,
    /// Only while shards write: what they have written, when it was looked at last.
    shards: Vec<SyncedWrites>,
    seen: u64,
}

impl Bound {
    /// Asks for what these options say. With [`CpuLatency::WhileWriting`] nothing is asked for yet,
    /// and never where the host does not grant it.
    ///
    /// # Errors
    /// `StartError::CpuLatency`: the device is root's, and containers lack it.
    pub fn new(opts: &Options) -> Result<Bound, StartError> {
        let refused = |source| StartError::CpuLatency { source };
        Bound::at(DEVICE.into(), opts.cpu_latency, opts.count).map_err(refused)
    }

    fn at(device: PathBuf, wanted: CpuLatency, shards: usize) -> io::Result<Bound> {
        let mut bound = Bound { device, held: None, shards: Vec::new(), seen: 0 };
        match wanted {
            CpuLatency::OfHost => {}
            CpuLatency::AtMost(latency) => bound.held = Some(ask(&bound.device, latency)?),
            CpuLatency::WhileWriting if writable(&bound.device) => {
                bound.shards.resize_with(shards, SyncedWrites::default);
            }
            CpuLatency::WhileWriting => {}
        }
        Ok(bound)
    }

    /// Where this shard counts its synced writes.
    pub fn writes_of(&self, shard: usize) -> SyncedWrites {
        self.shards.get(shard).cloned().unwrap_or_default()
    }

    /// Follows what the shards write until their threads, which have reported all they had to, have dropped their ends.
    pub fn follow_until_ended<T>(&mut self, reports: &Receiver<T>) {
        while self.follows_writes()
            && matches!(reports.recv_timeout(PERIOD), Err(RecvTimeoutError::Timeout))
        {
            self.look();
        }
    }

    /// Whether [`Bound::look`] has anything to do.
    fn follows_writes(&self) -> bool {
        !self.shards.is_empty()
    }

    /// A period has passed: asks the host, or lets go. A refusal is tried again after the next.
    fn look(&mut self) {
        let written: u64 = self.shards.iter().map(|s| s.0.0.load(Ordering::Relaxed)).sum();
        let busy = written - self.seen >= WRITES_MIN;
        self.seen = written;
        if !busy {
            self.held = None;
        } else if self.held.is_none() {
            self.held = ask(&self.device, Duration::ZERO).ok();
        }
    }
}

fn writable(device: &Path) -> bool {
    OpenOptions::new().write(true).open(device).is_ok()
}

fn ask(device: &Path, latency: Duration) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).open(device)?;
    // The kernel takes a 32-bit number of microseconds in one write.
    let microseconds = i32::try_from(latency.as_micros()).unwrap_or(i32::MAX);
    file.write_all(&microseconds.to_ne_bytes())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latency_is_written_as_one_number_of_microseconds() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let wanted = CpuLatency::AtMost(Duration::from_micros(70_000));
        let bound = Bound::at(file.path().into(), wanted, 1).unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), 70_000i32.to_ne_bytes());
        assert!(bound.held.is_some() && !bound.follows_writes());
    }

    #[test]
    fn a_host_without_the_device_refuses_what_was_asked_for_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let nothing = dir.path().join("nothing");
        let wanted = CpuLatency::AtMost(Duration::ZERO);
        let refused = Bound::at(nothing.clone(), wanted, 1);
        assert_eq!(refused.err().unwrap().kind(), io::ErrorKind::NotFound);
        assert!(!Bound::at(nothing, CpuLatency::WhileWriting, 1).unwrap().follows_writes());
    }

    #[test]
    fn the_host_is_asked_while_the_shards_together_write_and_no_longer() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bound = Bound::at(file.path().into(), CpuLatency::WhileWriting, 2).unwrap();
        assert!(bound.follows_writes());
        let write = |bound: &Bound, shard: usize, times: u64| {
            (0..times).for_each(|_| bound.writes_of(shard).count());
        };
        for _ in 0..2 {
            bound.look();
            assert!(bound.held.is_none(), "nobody writes");
            write(&bound, 0, WRITES_MIN - 1);
            write(&bound, 1, 1);
            bound.look();
            assert!(bound.held.is_some());
            assert_eq!(std::fs::read(file.path()).unwrap(), 0i32.to_ne_bytes());
            write(&bound, 1, WRITES_MIN);
            bound.look();
            assert!(bound.held.is_some(), "it goes on");
            write(&bound, 0, WRITES_MIN - 1);
        }
    }

    #[test]
    fn what_is_left_to_the_host_is_never_asked_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bound = Bound::at(file.path().into(), CpuLatency::OfHost, 1).unwrap();
        (0..WRITES_MIN).for_each(|_| bound.writes_of(0).count());
        bound.look();
        assert!(bound.held.is_none() && std::fs::read(file.path()).unwrap().is_empty());
    }
}
