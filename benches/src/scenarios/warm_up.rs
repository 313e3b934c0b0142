//! Load before anything is measured: a JVM compiles its hot paths while it runs them.

use anyhow::Result;

use super::Stage;
use crate::load::{
    BatchTemplate, Engine, OpenLoop, Payload, Recorder, Saturate, SaturatingProducer, Window,
};
use crate::wire::Connection;

/// Small requests, a paced stream with a consumer, and large batches, all at once.
pub fn warm_up(stage: &mut Stage<'_>, seconds: f64) -> Result<()> {
    let topic = stage.topic("warm-up", 4)?;
    let begin_ns = crate::clock::now_ns() + 100_000_000;
    let window = Window { start_ns: begin_ns, end_ns: begin_ns + (seconds * 1e9) as u64 };
    let mut engine = Engine::new()?;
    let by_leader = stage.leaders(&topic)?;
    let led = by_leader.iter().flat_map(|(leader, led)| led.iter().map(move |p| (*leader, *p)));
    for (leader, partition) in led {
        let large = partition == 3;
        let bytes = if large { 256 << 10 } else { 0 };
        let template = BatchTemplate::fill(&mut Payload::new(1), 256, bytes)?;
        let plan = Saturate {
            topic: topic.clone(),
            partitions: vec![partition],
            batches_per_request: 1,
            in_flight_max: if large { 1 } else { 5 },
            end_ns: window.end_ns,
        };
        let (connection, identity) = (Connection::open(leader)?, stage.identity()?);
        engine.add(Box::new(SaturatingProducer::new(plan, connection, identity, template)))?;
    }
    let paced = stage.topic("warm-up", 1)?;
    let plan = OpenLoop {
        topic: paced.clone(),
        partitions: vec![],
        record_bytes: 256,
        per_second: 2_000.0,
        in_flight_max: 5,
        batch_bytes: 16 << 10,
        burst: 1,
        begin_ns,
        end_ns: window.end_ns,
    };
    stage.add_open_loop(&mut engine, &plan)?;
    stage.add_consumer(&mut engine, &paced, true, window.end_ns)?;
    stage.run(&mut engine, &mut Recorder::new(window))?;
    Ok(())
}
