//! What the device takes for a synced write by itself, measured before each block with no broker
//! alive: below this no durability that syncs can fall, on this machine and in this hour.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use rustix::fs::OFlags;

/// A block of the device, and what an `O_DIRECT` buffer is aligned to.
const BLOCK: usize = 4096;
/// The file is written in place, as a WAL is, over so many blocks.
const BLOCKS: usize = 4096;
const INTERVAL: Duration = Duration::from_millis(1);

/// Latencies in microseconds of synced 4 KiB overwrites, one due each millisecond.
///
/// The CPU polls between them, so that nothing has to wake up but what waits for the device.
/// They count from when they were due, as all latencies here.
///
/// # Errors
/// Those of the file below `dir`, which is gone afterwards.
pub fn synced_writes(dir: &Path, count: u32) -> Result<Histogram<u64>> {
    let path = dir.join("device-probe");
    let found = write_and_time(&path, count);
    let _ = std::fs::remove_file(&path);
    found
}

/// One line for the report.
pub fn describe(latencies: &Histogram<u64>) -> String {
    let at = |quantile| latencies.value_at_quantile(quantile);
    format!(
        "a synced 4 KiB overwrite each millisecond takes p50 {}, p99 {}, p99.9 {} us ({} writes)",
        at(0.5),
        at(0.99),
        at(0.999),
        latencies.len()
    )
}

fn write_and_time(path: &Path, count: u32) -> Result<Histogram<u64>> {
    std::fs::write(path, vec![1; BLOCK * BLOCKS])?;
    File::open(path)?.sync_all()?;
    let flags = (OFlags::DIRECT | OFlags::DSYNC).bits().cast_signed();
    let file = OpenOptions::new().write(true).custom_flags(flags).open(path)?;
    let space = vec![2; 2 * BLOCK];
    let aligned = space.as_ptr().align_offset(BLOCK);
    let block = &space[aligned..aligned + BLOCK];
    let mut latencies = Histogram::new(3)?;
    let start = Instant::now();
    for nth in 0..count {
        let due = start + INTERVAL * nth;
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        file.write_all_at(block, (nth as usize % BLOCKS * BLOCK) as u64)?;
        latencies.saturating_record(due.elapsed().as_micros() as u64);
    }
    Ok(latencies)
}
