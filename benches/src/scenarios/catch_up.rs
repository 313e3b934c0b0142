//! Scenario 12: readers that begin at the first record of a backlog while a producer goes on.
//!
//! The backlog is what a saturating producer writes in a window. It is larger than the tail that a
//! broker keeps in its own memory; whether the page cache holds it is up to the machine.

use anyhow::Result;

use super::{Stage, ingest};
use crate::load::{Engine, OpenLoop, Recorder};
use crate::sample::Sample;

const READERS: [usize; 2] = [1, 4];
const RECORD_BYTES: usize = 1024;
const BYTES_PER_SECOND: f64 = 30e6;
const BURST: usize = 60;

pub fn run(stage: &mut Stage<'_>) -> Result<Vec<Sample>> {
    READERS.iter().map(|&readers| run_readers(stage, readers)).collect()
}

fn run_readers(stage: &mut Stage<'_>, readers: usize) -> Result<Sample> {
    let topic = stage.topic("backlog", ingest::PARTITIONS)?;
    ingest::saturate(stage, &topic, &ingest::BIG_BATCHES)?;
    let window = stage.window(stage.settings.seconds);
    let plan = OpenLoop {
        topic: topic.clone(),
        partitions: vec![],
        record_bytes: RECORD_BYTES,
        per_second: BYTES_PER_SECOND / RECORD_BYTES as f64,
        in_flight_max: 5,
        batch_bytes: 64 << 10,
        burst: BURST,
        begin_ns: crate::clock::now_ns() + 100_000_000,
        end_ns: window.end_ns,
    };
    let mut engine = Engine::new()?;
    stage.add_open_loop(&mut engine, &plan)?;
    for _ in 0..readers {
        stage.add_consumer(&mut engine, &topic, false, window.end_ns)?;
    }
    let mut recorder = Recorder::new(window);
    let usage = stage.run(&mut engine, &mut recorder)?;
    let mut sample = stage.sample(12, &format!("{readers} reader(s)"));
    sample.take_load(&recorder, usage);
    Ok(sample)
}
