//! Scenario 9: the same 50 MB/s from few and from many producers. What falls due within 5 ms goes
//! together, so many producers send small batches.

use anyhow::Result;

use super::Stage;
use crate::load::{Engine, OpenLoop, Recorder};
use crate::sample::Sample;

const PRODUCERS: [u32; 3] = [4, 50, 500];
const PARTITIONS: i32 = 16;
const RECORD_BYTES: usize = 1024;
const BYTES_PER_SECOND: f64 = 50e6;
const LINGER_SECONDS: f64 = 0.005;

pub fn run(stage: &mut Stage<'_>) -> Result<Vec<Sample>> {
    PRODUCERS.iter().map(|&producers| run_producers(stage, producers)).collect()
}

fn run_producers(stage: &mut Stage<'_>, producers: u32) -> Result<Sample> {
    let topic = stage.topic("producers", PARTITIONS)?;
    let window = stage.window(stage.settings.seconds);
    let per_second = BYTES_PER_SECOND / RECORD_BYTES as f64 / f64::from(producers);
    let begin_ns = crate::clock::now_ns() + 100_000_000;
    let mut engine = Engine::new()?;
    for number in 0..producers {
        let plan = OpenLoop {
            topic: topic.clone(),
            partitions: vec![],
            record_bytes: RECORD_BYTES,
            per_second,
            in_flight_max: 5,
            batch_bytes: 64 << 10,
            burst: ((per_second * LINGER_SECONDS) as usize).max(1),
            // not all at the same moment
            begin_ns: begin_ns + u64::from(number) * 1_000_000_000 / u64::from(producers),
            end_ns: window.end_ns,
        };
        stage.add_open_loop(&mut engine, &plan)?;
    }
    let mut recorder = Recorder::new(window);
    let usage = stage.run(&mut engine, &mut recorder)?;
    let mut sample = stage.sample(9, &format!("{producers} producers"));
    sample.take_load(&recorder, usage);
    Ok(sample)
}
