//! One topic per number of partitions, one departure after the other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{verification, writers};
use crate::clock::now_ns;
use crate::rivals::{Cluster, Departure, Durability, Place, System};
use crate::sample::Sample;
use crate::scenarios::{Settings, Stage, warm_up};
use crate::statistics::median;
use crate::wire::Admin;

const COUNTS: [i32; 3] = [10, 1_000, 10_000];
const REPEATS: usize = 20;
const REPEATS_QUICK: usize = 3;
/// Partitions that are written to.
const WATCHED_MAX: usize = 24;
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
    let mut samples = Vec::new();
    let counts = match settings.partitions.is_empty() {
        true => COUNTS.to_vec(),
        false => settings.partitions.clone(),
    };
    for count in counts {
        for &durability in durabilities {
            samples.extend(run_count(system, durability, place, settings, count)?);
        }
    }
    Ok(samples)
}

/// What one departure did.
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
) -> Result<Vec<Sample>> {
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
    let mut samples = Vec::new();
    for &departure in &settings.departures {
        let mut outcomes = Vec::new();
        for _ in 0..repeats {
            let outcome = depart_once(&mut cluster, &topic, count, departure);
            outcomes.push(outcome.with_context(|| cluster.log_tail())?);
        }
        let point = format!("{}, {count} partitions", departure.name());
        samples.push(summary(Sample::new(14, &point, system, durability), &outcomes));
    }
    cluster.kill()?;
    Ok(samples)
}

fn summary(mut sample: Sample, outcomes: &[Outcome]) -> Sample {
    let all: Vec<f64> = outcomes.iter().flat_map(|o| o.unavailable_ms.clone()).collect();
    let again: Vec<f64> = outcomes.iter().map(|o| o.in_sync_again_ms).collect();
    sample.set("unavailable p50", median(&all).unwrap_or(f64::NAN));
    sample.set("unavailable max", all.iter().copied().fold(f64::NAN, f64::max));
    sample.set("acknowledged and lost", outcomes.iter().map(|o| o.lost as f64).sum());
    sample.set("in sync again", median(&again).unwrap_or(f64::NAN));
    sample
}

/// Takes the node away that leads most, and lets it come back.
fn depart_once(
    cluster: &mut Cluster,
    topic: &str,
    count: i32,
    departure: Departure,
) -> Result<Outcome> {
    let step = count as usize / WATCHED_MAX + 1;
    let watched: Vec<i32> = (0..count).step_by(step).collect();
    let addresses: Vec<_> = cluster.members().iter().map(|m| m.address).collect();
    let mut writers = writers::Writers::open(topic, &watched, &addresses)?;
    writers.run_for(BEFORE, UNAVAILABLE_MAX)?;
    // who acknowledges leads; a node that has just started may tell of leaders of before
    let leader = writers.busiest().context("nobody acknowledges")?;
    let victim = cluster.members().iter().find(|m| m.address == leader);
    let victim = victim.context("a leader that was not started")?.id;
    let since = match departure {
        // it goes on acknowledging until it has handed over
        Departure::Stop => writers::Since::LastAcknowledged,
        Departure::Kill | Departure::Pause => writers::Since::At(now_ns()),
    };
    cluster.take_away(victim, departure)?;
    let back = writers.until_available(leader, since, UNAVAILABLE_MAX)?;
    let acknowledged = writers.finish()?;

    let survivor = addresses.iter().find(|address| **address != leader);
    let survivor = *survivor.context("one node only")?;
    let lost = verification::count_lost(survivor, topic, &acknowledged)
        .with_context(|| format!("after {} of {leader}", departure.name()))?;
    let restarted = cluster.bring_back(victim, departure)?;
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
