//! One topic per number of partitions, one kill after the other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{verification, writers};
use crate::clock::now_ns;
use crate::rivals::{Cluster, Durability, Place, System};
use crate::sample::Sample;
use crate::scenarios::{Settings, Stage, warm_up};
use crate::statistics::median;
use crate::wire::Admin;

const COUNTS: [i32; 3] = [10, 1_000, 10_000];
const REPEATS: usize = 20;
const REPEATS_QUICK: usize = 3;
/// Partitions of the victim that are written to.
const WATCHED_MAX: usize = 20;
const BEFORE: Duration = Duration::from_secs(1);
/// Longer is not waited for.
const UNAVAILABLE_MAX: Duration = Duration::from_secs(120);
const IN_SYNC_LIMIT: Duration = Duration::from_secs(120);

pub fn run(
    system: System,
    durabilities: &[Durability],
    place: &Place,
    settings: &Settings,
) -> Result<Vec<Sample>> {
    const NODES_MIN: u16 = 3;
    if place.nodes < NODES_MIN {
        return Ok(vec![]);
    }
    let mut samples = Vec::new();
    let counts = match settings.partitions.is_empty() {
        true => COUNTS.to_vec(),
        false => settings.partitions.clone(),
    };
    for count in counts {
        for &durability in durabilities {
            samples.push(run_count(system, durability, place, settings, count)?);
        }
    }
    Ok(samples)
}

/// What one kill did.
struct Outcome {
    unavailable_ms: Vec<f64>,
    lost: u64,
    in_sync_again_ms: f64,
}

fn run_count(
    system: System,
    durability: Durability,
    place: &Place,
    settings: &Settings,
    count: i32,
) -> Result<Sample> {
    let dir = tempfile::Builder::new().prefix("failover-").tempdir_in(&place.dir)?;
    let mut cluster = Cluster::format(system, dir.path(), place)?;
    cluster.start()?;
    cluster.ready()?;
    let topic = {
        let mut stage = Stage::new(&cluster, system, durability, settings, place)?;
        if system == System::Kafka {
            warm_up(&mut stage, settings.warm_up)?;
        }
        stage.topic("failover", count)?
    };
    let repeats = if settings.quick { REPEATS_QUICK } else { REPEATS };
    let mut outcomes = Vec::new();
    for _ in 0..repeats {
        let outcome = kill_once(&mut cluster, &topic, count).with_context(|| cluster.log_tail())?;
        outcomes.push(outcome);
    }
    cluster.kill()?;
    let all: Vec<f64> = outcomes.iter().flat_map(|o| o.unavailable_ms.clone()).collect();
    let again: Vec<f64> = outcomes.iter().map(|o| o.in_sync_again_ms).collect();
    let mut sample = Sample::new(14, &format!("{count} partitions"), system, durability);
    sample.set("unavailable p50", median(&all).unwrap_or(f64::NAN));
    sample.set("unavailable max", all.iter().copied().fold(f64::NAN, f64::max));
    sample.set("acknowledged and lost", outcomes.iter().map(|o| o.lost as f64).sum());
    sample.set("in sync again", median(&again).unwrap_or(f64::NAN));
    Ok(sample)
}

/// Kills the node that leads most.
fn kill_once(cluster: &mut Cluster, topic: &str, count: i32) -> Result<Outcome> {
    let mut admin = Admin::connect(cluster.address())?;
    let by_leader = admin.leaders(topic)?;
    let most = by_leader.into_iter().max_by_key(|(_, led)| led.len());
    let (leader, led) = most.context("a topic without leaders")?;
    let victim = cluster.members().iter().find(|m| m.address == leader);
    let victim = victim.context("a leader that was not started")?.id;
    let step = led.len().div_ceil(WATCHED_MAX);
    let watched: Vec<i32> = led.into_iter().step_by(step.max(1)).collect();
    let addresses: Vec<_> = cluster.members().iter().map(|m| m.address).collect();
    drop(admin);

    let mut writers = writers::Writers::open(topic, &watched, &addresses)?;
    writers.run_for(BEFORE)?;
    let killed_ns = now_ns();
    cluster.kill_one(victim)?;
    let back = writers.until_available(leader, killed_ns, UNAVAILABLE_MAX)?;
    let acknowledged = writers.finish()?;

    let lost = verification::count_lost(cluster.address(), topic, &acknowledged)?;
    let restarted = Instant::now();
    cluster.start_one(victim)?;
    cluster.ready()?;
    wait_until_in_sync(cluster, topic, count)?;
    Ok(Outcome {
        unavailable_ms: back.into_iter().map(|ns| ns as f64 / 1e6).collect(),
        lost,
        in_sync_again_ms: restarted.elapsed().as_secs_f64() * 1e3,
    })
}

fn wait_until_in_sync(cluster: &Cluster, topic: &str, count: i32) -> Result<()> {
    let mut admin = Admin::connect(cluster.address())?;
    let (start, replicas) = (Instant::now(), cluster.members().len());
    loop {
        let placed = admin.placed(topic)?;
        let full = placed.iter().filter(|p| p.in_sync == replicas).count();
        if full == count as usize {
            return Ok(());
        }
        if start.elapsed() > IN_SYNC_LIMIT {
            bail!("only {full} of {count} partitions have all replicas in sync");
        }
        // the answer is long where there are many
        std::thread::sleep(Duration::from_millis(50 + count as u64 / 20));
    }
}
