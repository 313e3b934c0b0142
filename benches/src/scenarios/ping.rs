//! Scenario 1: produce and end-to-end latency at fixed rates.

use anyhow::Result;

use super::Stage;
use crate::load::{Engine, OpenLoop, Recorder};
use crate::sample::Sample;

const RATES: [u32; 3] = [1_000, 5_000, 20_000];

pub fn run(stage: &mut Stage<'_>) -> Result<Vec<Sample>> {
    let chosen = stage.settings.rates.clone();
    let rates = if chosen.is_empty() { RATES.to_vec() } else { chosen };
    rates.into_iter().map(|rate| run_rate(stage, rate)).collect()
}

fn run_rate(stage: &mut Stage<'_>, rate: u32) -> Result<Sample> {
    let topic = stage.topic("ping", 1)?;
    let window = stage.window(stage.settings.seconds);
    let plan = OpenLoop {
        topic: topic.clone(),
        partitions: vec![],
        record_bytes: 256,
        per_second: rate.into(),
        in_flight_max: 5,
        batch_bytes: 16 << 10,
        burst: 1,
        begin_ns: crate::clock::now_ns() + 100_000_000,
        end_ns: window.end_ns,
    };
    let mut engine = Engine::new()?;
    stage.add_open_loop(&mut engine, &plan)?;
    stage.add_consumer(&mut engine, &topic, true, window.end_ns)?;
    let mut recorder = Recorder::new(window);
    let usage = stage.run(&mut engine, &mut recorder)?;
    let mut sample = stage.sample(1, &format!("{rate}/s"));
    sample.take_load(&recorder, usage);
    Ok(sample)
}
