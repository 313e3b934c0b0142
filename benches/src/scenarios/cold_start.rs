//! Scenario 15: from starting the process to the first acknowledged record, and the memory of a
//! node that has nothing to do. Times count from before the process is made; formatting Kafka's
//! directory, which Millrace does not need, is left out.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Settings;
use crate::host::resident_bytes;
use crate::rivals::{Cluster, Durability, Place, System};
use crate::sample::Sample;

const COUNTS: [i32; 2] = [1, 1_000];
const LIMIT: Duration = Duration::from_secs(180);

pub fn run(system: System, place: &Place, settings: &Settings) -> Result<Vec<Sample>> {
    let counts = if settings.quick { &COUNTS[..1] } else { &COUNTS };
    counts.iter().map(|&count| run_count(system, place, count)).collect()
}

/// What a node needs that nobody has asked for anything yet, in MiB.
fn empty_resident(system: System, place: &Place) -> Result<f64> {
    let dir = tempfile::Builder::new().prefix("empty-").tempdir_in(&place.dir)?;
    let mut cluster = Cluster::format(system, dir.path(), place)?;
    cluster.start()?;
    cluster.ready()?;
    std::thread::sleep(Duration::from_secs(2));
    let resident = resident_bytes(&cluster.pids()) as f64 / (1 << 20) as f64;
    cluster.kill()?;
    Ok(resident)
}

fn run_count(system: System, place: &Place, count: i32) -> Result<Sample> {
    // each system as it comes out of the box
    let durability = match system {
        System::Kafka => Durability::Memory,
        System::Millrace => Durability::Synced,
    };
    let mut sample = Sample::new(15, &format!("{count} partitions"), system, durability);
    let dir = tempfile::Builder::new().prefix("start-").tempdir_in(&place.dir)?;
    let mut cluster = Cluster::format(system, dir.path(), place)?;
    let empty = if count == 1 { empty_resident(system, place)? } else { f64::NAN };
    let ms = |since: Instant| since.elapsed().as_secs_f64() * 1e3;

    cluster.start()?;
    let mut admin = cluster.ready()?;
    sample.set("ready, empty directory", ms(cluster.spawned));
    let configs = system.topic_configs(durability);
    if count == 1 {
        admin.create_topic("first", 1, place.nodes, &configs)?;
        admin.produce_until_acknowledged("first", 0, LIMIT)?;
        sample.set("first ack, empty directory", ms(cluster.spawned));
        sample.set("resident, empty node", empty);
    }
    admin.create_topic("start", count, place.nodes, &configs)?;
    admin.wait_for_leaders("start", count)?;
    for partition in 0..count {
        admin.produce_until_acknowledged("start", partition, LIMIT)?;
    }
    cluster.stop()?;

    cluster.start()?;
    cluster.ready()?.produce_until_acknowledged("start", count - 1, LIMIT)?;
    sample.set("first ack after stop", ms(cluster.spawned));
    cluster.kill()?;

    cluster.start()?;
    cluster.ready()?.produce_until_acknowledged("start", count - 1, LIMIT)?;
    sample.set("first ack after kill -9", ms(cluster.spawned));
    cluster.kill()?;
    Ok(sample)
}
