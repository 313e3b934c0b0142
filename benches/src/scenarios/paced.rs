//! A load at a fixed rate with readers beside it: what scenarios 2, 12 and 13 measure, each with its own numbers.

use anyhow::Result;

use super::Stage;
use crate::load::{Engine, OpenLoop, Recorder};
use crate::sample::Sample;

/// Requests of a producer that wait for their answers, as Kafka's producer has them.
const IN_FLIGHT_MAX: usize = 5;
/// So long the connections have before the first record is due.
const BEFORE_NS: u64 = 100_000_000;

/// 2 000 records of 1 KiB a second over all partitions of a topic: scenarios 10 and 20.
pub fn steady(topic: &str, end_ns: u64) -> OpenLoop {
    OpenLoop {
        topic: topic.to_owned(),
        partitions: vec![],
        record_bytes: 1024,
        per_second: 2_000.0,
        in_flight_max: IN_FLIGHT_MAX,
        batch_bytes: 16 << 10,
        burst: 1,
        begin_ns: crate::clock::now_ns() + BEFORE_NS,
        end_ns,
    }
}

/// The records, and who reads them.
pub struct Paced {
    pub record_bytes: usize,
    pub per_second: f64,
    pub batch_bytes: usize,
    /// Records that become due together.
    pub burst: usize,
    pub readers: usize,
    /// Each record is taken out of its batch and looked at, or batches are only received.
    pub every_record: bool,
}

impl Paced {
    /// Writes to `topic` and reads it from its beginning for a window; `scenario` and `variant` name the sample.
    pub fn run(
        &self,
        stage: &mut Stage<'_>,
        topic: &str,
        scenario: u8,
        variant: &str,
    ) -> Result<Sample> {
        let window = stage.window(stage.settings.seconds);
        let plan = OpenLoop {
            topic: topic.to_owned(),
            partitions: vec![],
            record_bytes: self.record_bytes,
            per_second: self.per_second,
            in_flight_max: IN_FLIGHT_MAX,
            batch_bytes: self.batch_bytes,
            burst: self.burst,
            begin_ns: crate::clock::now_ns() + BEFORE_NS,
            end_ns: window.end_ns,
        };
        let mut engine = Engine::new()?;
        stage.add_open_loop(&mut engine, &plan)?;
        for _ in 0..self.readers {
            stage.add_consumer(&mut engine, topic, self.every_record, window.end_ns)?;
        }
        let mut recorder = Recorder::new(window);
        let usage = stage.run(&mut engine, &mut recorder)?;
        let mut sample = stage.sample(scenario, variant);
        sample.take_load(&recorder, usage);
        Ok(sample)
    }
}
