//! Scenario 12: readers that begin at the first record of a backlog while a producer goes on.
//!
//! The backlog is what a saturating producer writes in a window. It is larger than the tail that a
//! broker keeps in its own memory; whether the page cache holds it is up to the machine.

use anyhow::Result;

use super::paced::Paced;
use super::{Stage, ingest};
use crate::sample::Sample;

const READERS: [usize; 2] = [1, 4];

pub fn run(stage: &mut Stage<'_>) -> Result<Vec<Sample>> {
    READERS.iter().map(|&readers| run_readers(stage, readers)).collect()
}

fn run_readers(stage: &mut Stage<'_>, readers: usize) -> Result<Sample> {
    let topic = stage.topic("backlog", ingest::PARTITIONS)?;
    ingest::saturate(stage, &topic, &ingest::BIG_BATCHES)?;
    let paced = Paced {
        record_bytes: 1024,
        per_second: 30e6 / 1024.0,
        batch_bytes: 64 << 10,
        burst: 60,
        readers,
        every_record: false,
    };
    paced.run(stage, &topic, 12, &format!("{readers} reader(s)"))
}
