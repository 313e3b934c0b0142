//! Scenario 10: what partitions cost: creating them, writing over all of them, memory, restart.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Place, Settings, Stage, warm_up};
use crate::host::resident_bytes;
use crate::load::{Engine, OpenLoop, OpenLoopProducer, Recorder};
use crate::rivals::{Durability, System};
use crate::sample::Sample;

const COUNTS: [i32; 3] = [10, 1_000, 10_000];
const COUNTS_QUICK: [i32; 2] = [10, 1_000];

pub fn run(
    system: System,
    durabilities: &[Durability],
    place: &Place,
    settings: &Settings,
) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let counts: &[i32] = if settings.quick { &COUNTS_QUICK } else { &COUNTS };
    for &count in counts {
        for &durability in durabilities {
            samples.push(run_count(system, durability, place, settings, count)?);
        }
    }
    Ok(samples)
}

fn run_count(
    system: System,
    durability: Durability,
    place: &Place,
    settings: &Settings,
    count: i32,
) -> Result<Sample> {
    let dir = tempfile::Builder::new().prefix("partitions-").tempdir_in(&place.dir)?;
    system.format(dir.path(), place.address)?;
    let mut node = system.start(dir.path(), place.address, &place.broker_cpus)?;
    node.ready()?;
    // every partition gets a record before the window opens
    let lead_in = settings.lead_in.max(f64::from(count) / 2_000.0 + 1.0);
    let settings = Settings { lead_in, ..settings.clone() };
    let mut stage = Stage::new(&node, system, durability, &settings, place)?;
    if system == System::Kafka {
        warm_up(&mut stage, settings.warm_up)?;
    }
    let start = Instant::now();
    let topic = stage.topic("partitions", count)?;
    let created = start.elapsed();
    let mut sample = run_load(&mut stage, &topic, count)?;
    sample.set("create topic", created.as_secs_f64() * 1e3);
    sample.set("resident", resident_bytes(node.pid()) as f64 / (1 << 20) as f64);
    node.stop()?;
    let mut node = system.start(dir.path(), place.address, &place.broker_cpus)?;
    let mut admin = node.ready()?;
    admin.produce_until_acknowledged(&topic, count - 1, Duration::from_secs(180))?;
    sample.set("first ack after stop", node.spawned.elapsed().as_secs_f64() * 1e3);
    node.stop()?;
    Ok(sample)
}

fn run_load(stage: &mut Stage<'_>, topic: &str, partitions: i32) -> Result<Sample> {
    let window = stage.window(stage.settings.seconds);
    let plan = OpenLoop {
        topic: topic.to_owned(),
        partitions,
        record_bytes: 1024,
        per_second: 2_000.0,
        in_flight_max: 5,
        batch_bytes: 16 << 10,
        burst: 1,
        begin_ns: crate::clock::now_ns() + 100_000_000,
        end_ns: window.end_ns,
    };
    let identity = stage.identity()?;
    let mut engine = Engine::new()?;
    engine.add(Box::new(OpenLoopProducer::new(plan, stage.connect()?, Some(identity))))?;
    let mut recorder = Recorder::new(window);
    let usage = stage.run(&mut engine, &mut recorder)?;
    let mut sample = stage.sample(10, &format!("{partitions} partitions"));
    sample.take_load(&recorder, usage);
    Ok(sample)
}
