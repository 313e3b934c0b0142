//! Scenarios 2 and 13: one stream in, several full copies out, at a fixed rate.

use anyhow::Result;

use super::Stage;
use super::paced::Paced;
use crate::sample::Sample;

const PARTITIONS: i32 = 8;

/// Scenario 2: 20 000 small records a second, ten to a request, to consumers that look at every record.
pub fn run_trades(stage: &mut Stage<'_>) -> Result<Vec<Sample>> {
    let paced = |readers| Paced {
        record_bytes: 200,
        per_second: 20_000.0,
        batch_bytes: 16 << 10,
        burst: 10,
        readers,
        every_record: true,
    };
    let mut samples = Vec::new();
    for readers in [2, 8] {
        let topic = stage.topic("trades", PARTITIONS)?;
        samples.push(paced(readers).run(stage, &topic, 2, &format!("{readers} consumers"))?);
    }
    Ok(samples)
}

/// Scenario 13: 40 MB/s of 1 KiB records, in batches of almost 64 KiB.
pub fn run(stage: &mut Stage<'_>) -> Result<Vec<Sample>> {
    let paced = |readers| Paced {
        record_bytes: 1024,
        per_second: 40e6 / 1024.0,
        batch_bytes: 64 << 10,
        burst: 62,
        readers,
        every_record: false,
    };
    let mut samples = Vec::new();
    for readers in [1, 3, 8] {
        let topic = stage.topic("fan-out", PARTITIONS)?;
        samples.push(paced(readers).run(stage, &topic, 13, &format!("1 in, {readers} out"))?);
    }
    Ok(samples)
}
