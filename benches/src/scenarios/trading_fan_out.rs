//! Scenario 2: 20 000 small records a second, ten to a request, to several consumers of everything.

use anyhow::Result;

use super::Stage;
use crate::load::{Engine, OpenLoop, Recorder};
use crate::sample::Sample;

const READERS: [usize; 2] = [2, 8];
const PARTITIONS: i32 = 8;
const RECORD_BYTES: usize = 200;
const PER_SECOND: f64 = 20_000.0;
const BURST: usize = 10;

pub fn run(stage: &mut Stage<'_>) -> Result<Vec<Sample>> {
    READERS.iter().map(|&readers| run_readers(stage, readers)).collect()
}

fn run_readers(stage: &mut Stage<'_>, readers: usize) -> Result<Sample> {
    let topic = stage.topic("trades", PARTITIONS)?;
    let window = stage.window(stage.settings.seconds);
    let plan = OpenLoop {
        topic: topic.clone(),
        partitions: vec![],
        record_bytes: RECORD_BYTES,
        per_second: PER_SECOND,
        in_flight_max: 5,
        batch_bytes: 16 << 10,
        burst: BURST,
        begin_ns: crate::clock::now_ns() + 100_000_000,
        end_ns: window.end_ns,
    };
    let mut engine = Engine::new()?;
    stage.add_open_loop(&mut engine, &plan)?;
    for _ in 0..readers {
        stage.add_consumer(&mut engine, &topic, true, window.end_ns)?;
    }
    let mut recorder = Recorder::new(window);
    let usage = stage.run(&mut engine, &mut recorder)?;
    let mut sample = stage.sample(2, &format!("{readers} consumers"));
    sample.take_load(&recorder, usage);
    Ok(sample)
}
