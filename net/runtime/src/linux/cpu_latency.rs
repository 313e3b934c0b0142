//! How long this host's CPUs may take to come back from an idle state (Linux's PM QoS).
//!
//! A synced write waits for two interrupts and a request for one; a halted CPU takes tens of
//! microseconds to come back from each, more on a virtual machine. The kernel keeps all CPUs out of
//! the states that take longer than the smallest latency any process asks for, for as long as that
//! process holds the file open: nothing is left behind, even after a kill.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::shards::{Options, StartError};

const DEVICE: &str = "/dev/cpu_dma_latency";

/// The request, which lasts until it is dropped.
#[must_use]
pub struct CpuLatency {
    _device: File,
}

/// Asks for what these options say; at zero idle CPUs poll.
///
/// # Errors
/// `StartError::CpuLatency`: the device is root's, and containers lack it.
pub fn request_for(opts: &Options) -> Result<Option<CpuLatency>, StartError> {
    let request = |latency| request_at(Path::new(DEVICE), latency);
    opts.cpu_latency.map(request).transpose().map_err(|source| StartError::CpuLatency { source })
}

fn request_at(device: &Path, latency: Duration) -> io::Result<CpuLatency> {
    let mut file = OpenOptions::new().write(true).open(device)?;
    // The kernel takes a 32-bit number of microseconds in one write.
    let microseconds = i32::try_from(latency.as_micros()).unwrap_or(i32::MAX);
    file.write_all(&microseconds.to_ne_bytes())?;
    Ok(CpuLatency { _device: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latency_is_written_as_one_number_of_microseconds() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let held = request_at(file.path(), Duration::from_micros(70_000)).unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), 70_000i32.to_ne_bytes());
        drop(held);
    }

    #[test]
    fn a_host_without_the_device_is_an_error_with_its_kind() {
        let dir = tempfile::tempdir().unwrap();
        let refused = request_at(&dir.path().join("nothing"), Duration::ZERO);
        assert_eq!(refused.err().unwrap().kind(), io::ErrorKind::NotFound);
    }
}
