//! What a simulated disk may do wrong.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

/// How a node's disk behaves. The default is a healthy disk that forgets unsynced data when the
/// power is cut.
#[derive(Clone, Debug)]
pub struct DiskFaults {
    /// How long an operation takes: reads, writes to the page cache, syncs and durable writes.
    pub read: Range<Duration>,
    /// See `read`.
    pub write: Range<Duration>,
    /// See `read`.
    pub sync: Range<Duration>,
    /// Chance of an operation to stall, and for how long.
    pub stall: f64,
    /// See `stall`.
    pub stall_time: Duration,
    /// Chance of a read, a write or a sync to fail.
    pub read_error: f64,
    /// See `read_error`.
    pub write_error: f64,
    /// See `read_error`.
    pub sync_error: f64,
    /// Chance of a sector that was written and not synced to survive a power cut.
    pub keep_unsynced_sector: f64,
    /// Chance of a sector that does not survive to be torn: a prefix of the new bytes.
    pub tear_sector: f64,
    /// Chance of a change of a name that was not synced to survive a power cut.
    pub keep_unsynced_name: f64,
    /// Names become durable in order and with any sync, as on ext4 and XFS.
    pub ordered_metadata: bool,
    /// Bytes of file content the disk holds.
    pub capacity: u64,
}

impl Default for DiskFaults {
    fn default() -> Self {
        let us = Duration::from_micros;
        DiskFaults {
            read: us(20)..us(150),
            write: us(1)..us(20),
            sync: us(50)..us(1500),
            stall: 0.0,
            stall_time: Duration::from_millis(500),
            read_error: 0.0,
            write_error: 0.0,
            sync_error: 0.0,
            keep_unsynced_sector: 0.5,
            tear_sector: 0.3,
            keep_unsynced_name: 0.5,
            ordered_metadata: false,
            capacity: super::disk::UNLIMITED,
        }
    }
}

/// A kind of operation on a disk.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum DiskOperation {
    /// Reading bytes.
    Read,
    /// Writing bytes, also durably.
    Write,
    /// Syncing a file, and the durable part of a durable write.
    Sync,
    /// Making, renaming, removing, syncing names; opening files; cutting files to size.
    Name,
}

/// Makes operations on some paths fail.
///
/// A pattern is matched against the whole path, for an open file the one that it was last renamed to: without `*` it must
/// occur in it, with `*` its parts
/// must occur in order, the last one at the end (`wal/`, `*.log`, `*/orders-*/*.index`).
#[derive(Clone, Debug)]
pub struct FaultRule {
    /// Which paths.
    pub path: String,
    /// Which operations.
    pub operation: DiskOperation,
    /// What they say.
    pub error: io::ErrorKind,
    /// How many of them fail; the rule is gone afterwards.
    pub times: u32,
}

impl FaultRule {
    pub(super) fn covers(&self, operation: DiskOperation, path: &Path) -> bool {
        self.operation == operation && matches(&self.path, &path.to_string_lossy())
    }
}

/// Whether `path` fits `pattern` as [`FaultRule`] says.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    if !pattern.contains('*') {
        return path.contains(pattern);
    }
    let mut rest = path;
    let parts: Vec<&str> = pattern.split('*').collect();
    let (last, parts) = parts.split_last().expect("split gives at least one part");
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_documented() {
        assert!(matches("wal/", "/data/wal/0"));
        assert!(!matches("wal/", "/data/log/0"));
        assert!(matches("*.log", "/data/t-0/000.log"));
        assert!(!matches("*.log", "/data/t-0/000.log.tmp"));
        assert!(matches("*/orders-*/*.index", "/data/orders-3/0.index"));
        assert!(!matches("*/orders-*/*.index", "/data/bills-3/0.index"));
    }
}
