//! Scenario 10: what partitions cost: creating them, writing over all of them, memory, restart.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::paced::steady;
use super::{Settings, Stage, warm_up};
use crate::host::resident_bytes;
use crate::load::{Engine, Recorder};
use crate::rivals::{Cluster, Durability, Place, System};
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
    let counts = match (settings.partitions.is_empty(), settings.quick) {
        (false, _) => settings.partitions.clone(),
        (true, true) => COUNTS_QUICK.to_vec(),
        (true, false) => COUNTS.to_vec(),
    };
    for count in counts {
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
    let mut cluster = Cluster::format(system, dir.path(), place)?;
    cluster.start()?;
    cluster.ready()?;
    // every partition gets a record before the window opens
    let lead_in = settings.lead_in.max(f64::from(count) / 2_000.0 + 1.0);
    let settings = Settings { lead_in, ..settings.clone() };
    let mut stage = Stage::new(&cluster, system, durability, &settings, place)?;
    if system == System::Kafka {
        warm_up(&mut stage, settings.warm_up)?;
    }
    let start = Instant::now();
    let topic = stage.topic("partitions", count)?;
    let created = start.elapsed();
    let mut sample = run_load(&mut stage, &topic, count)?;
    sample.set("create topic", created.as_secs_f64() * 1e3);
    sample.set("resident", resident_bytes(&cluster.pids()) as f64 / (1 << 20) as f64);
    cluster.stop()?;
    cluster.start()?;
    let mut admin = cluster.ready()?;
    admin.produce_until_acknowledged(&topic, count - 1, Duration::from_secs(180))?;
    sample.set("first ack after stop", cluster.spawned.elapsed().as_secs_f64() * 1e3);
    cluster.kill()?;
    Ok(sample)
}

fn run_load(stage: &mut Stage<'_>, topic: &str, partitions: i32) -> Result<Sample> {
    let window = stage.window(stage.settings.seconds);
    let plan = steady(topic, window.end_ns);
    let mut engine = Engine::new()?;
    stage.add_open_loop(&mut engine, &plan)?;
    let mut recorder = Recorder::new(window);
    let usage = stage.run(&mut engine, &mut recorder)?;
    let mut sample = stage.sample(10, &format!("{partitions} partitions"));
    sample.take_load(&recorder, usage);
    Ok(sample)
}
