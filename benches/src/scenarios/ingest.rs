//! Scenarios 4 and 5: how much a broker takes in, and what a gigabyte costs it.

use anyhow::Result;

use super::Stage;
use crate::host::Usage;
use crate::load::{BatchTemplate, Engine, Payload, Recorder, Saturate, SaturatingProducer};
use crate::sample::Sample;
use crate::wire::Connection;

pub struct Ingest {
    scenario: u8,
    record_bytes: usize,
    batch_bytes: usize,
    /// Java's producer fills a request up to 1 MiB with batches of different partitions.
    batches_per_request: usize,
}

pub const BIG_BATCHES: Ingest =
    Ingest { scenario: 4, record_bytes: 1024, batch_bytes: 1 << 20, batches_per_request: 1 };
pub const SMALL_RECORDS: Ingest =
    Ingest { scenario: 5, record_bytes: 100, batch_bytes: 64 << 10, batches_per_request: 16 };

pub const PARTITIONS: i32 = 16;
const PRODUCERS: usize = 4;

pub fn run(stage: &mut Stage<'_>, kind: &Ingest) -> Result<Vec<Sample>> {
    let topic = stage.topic("ingest", PARTITIONS)?;
    let (recorder, usage) = saturate(stage, &topic, kind)?;
    let mut sample = stage.sample(kind.scenario, "maximum");
    sample.take_load(&recorder, usage);
    Ok(vec![sample])
}

/// Four producers write to all partitions of `topic` as fast as they may.
pub fn saturate(stage: &mut Stage<'_>, topic: &str, kind: &Ingest) -> Result<(Recorder, Usage)> {
    let mut payload = Payload::new(u64::from(kind.scenario));
    let window = stage.window(stage.settings.seconds);
    let mut engine = Engine::new()?;
    for producer in 0..PRODUCERS {
        let template = BatchTemplate::fill(&mut payload, kind.record_bytes, kind.batch_bytes)?;
        let identity = stage.identity()?;
        for (leader, mut partitions) in stage.leaders(topic)? {
            let first = producer * partitions.len() / PRODUCERS;
            partitions.rotate_left(first);
            let plan = Saturate {
                topic: topic.to_owned(),
                batches_per_request: kind.batches_per_request.min(partitions.len()),
                partitions,
                in_flight_max: 5,
                end_ns: window.end_ns,
            };
            let template = template.clone();
            let connection = Connection::open(leader)?;
            engine.add(Box::new(SaturatingProducer::new(plan, connection, identity, template)))?;
        }
    }
    let mut recorder = Recorder::new(window);
    let usage = stage.run(&mut engine, &mut recorder)?;
    Ok((recorder, usage))
}
