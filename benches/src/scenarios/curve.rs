//! Scenario 3: latency at rising rates. Records of a millisecond gather into one batch, as linger 1
//! and a sticky partitioner have it.

use anyhow::Result;

use super::Stage;
use crate::load::{Engine, OpenLoop, Recorder};
use crate::sample::Sample;

const PARTITIONS: i32 = 16;
/// Records per second.
const RATES: [u32; 4] = [2_000, 10_000, 30_000, 80_000];
const LINGERS_PER_SECOND: u32 = 1_000;

pub fn run(stage: &mut Stage<'_>) -> Result<Vec<Sample>> {
    let chosen = stage.settings.rates.clone();
    let rates = if chosen.is_empty() { RATES.to_vec() } else { chosen };
    rates.into_iter().map(|rate| run_rate(stage, rate)).collect()
}

fn run_rate(stage: &mut Stage<'_>, rate: u32) -> Result<Sample> {
    let topic = stage.topic("curve", PARTITIONS)?;
    let window = stage.window(stage.settings.seconds);
    let plan = OpenLoop {
        topic: topic.clone(),
        partitions: vec![],
        record_bytes: 1024,
        per_second: rate.into(),
        in_flight_max: 5,
        batch_bytes: 128 << 10,
        burst: (rate / LINGERS_PER_SECOND).max(1) as usize,
        begin_ns: crate::clock::now_ns() + 100_000_000,
        end_ns: window.end_ns,
    };
    let mut engine = Engine::new()?;
    stage.add_open_loop(&mut engine, &plan)?;
    stage.add_consumer(&mut engine, &topic, true, window.end_ns)?;
    let mut recorder = Recorder::new(window);
    let usage = stage.run(&mut engine, &mut recorder)?;
    let mut sample = stage.sample(3, &format!("{rate}/s"));
    sample.take_load(&recorder, usage);
    Ok(sample)
}
