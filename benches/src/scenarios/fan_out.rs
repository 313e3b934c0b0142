//! Scenario 13: one stream in, several full copies out, at a fixed rate.

use anyhow::Result;

use super::Stage;
use crate::load::{Engine, OpenLoop, Recorder};
use crate::sample::Sample;

const READERS: [usize; 3] = [1, 3, 8];
const PARTITIONS: i32 = 8;
const RECORD_BYTES: usize = 1024;
const BURST: usize = 62;
const BYTES_PER_SECOND: f64 = 40e6;

pub fn run(stage: &mut Stage<'_>) -> Result<Vec<Sample>> {
    READERS.iter().map(|&readers| run_readers(stage, readers)).collect()
}

fn run_readers(stage: &mut Stage<'_>, readers: usize) -> Result<Sample> {
    let topic = stage.topic("fan-out", PARTITIONS)?;
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
    let mut sample = stage.sample(13, &format!("1 in, {readers} out"));
    sample.take_load(&recorder, usage);
    Ok(sample)
}
