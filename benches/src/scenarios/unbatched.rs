//! Scenario 6: requests per second when every record is a request of its own.

use anyhow::{Context, Result};

use super::Stage;
use crate::load::{BatchTemplate, Engine, Payload, Recorder, Saturate, SaturatingProducer};
use crate::sample::Sample;
use crate::wire::Connection;

const PARTITIONS: i32 = 16;
const CONNECTIONS: i32 = 64;

pub fn run(stage: &mut Stage<'_>) -> Result<Vec<Sample>> {
    let topic = stage.topic("unbatched", PARTITIONS)?;
    let mut payload = Payload::new(6);
    let window = stage.window(stage.settings.seconds);
    let mut engine = Engine::new()?;
    let by_leader = stage.leaders(&topic)?;
    let leader_of = |partition: i32| {
        let led = by_leader.iter().find(|(_, partitions)| partitions.contains(&partition));
        led.map(|(leader, _)| *leader).context("a partition without a leader")
    };
    for connection in 0..CONNECTIONS {
        let template = BatchTemplate::fill(&mut payload, 100, 0)?;
        let partition = connection % PARTITIONS;
        let plan = Saturate {
            topic: topic.clone(),
            partitions: vec![partition],
            batches_per_request: 1,
            in_flight_max: 5,
            end_ns: window.end_ns,
        };
        let (connection, identity) = (Connection::open(leader_of(partition)?)?, stage.identity()?);
        engine.add(Box::new(SaturatingProducer::new(plan, connection, identity, template)))?;
    }
    let mut recorder = Recorder::new(window);
    let usage = stage.run(&mut engine, &mut recorder)?;
    let mut sample = stage.sample(6, "maximum");
    sample.take_load(&recorder, usage);
    Ok(vec![sample])
}
