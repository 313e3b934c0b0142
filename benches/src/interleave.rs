//! The order of a comparison: A B, B A, A B, ... in blocks with fresh directories, only one broker
//! alive at a time. A block starts a node, warms it up, runs all shared scenarios on it, stops it,
//! and then runs the scenarios that start their own.

use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use crate::device::synced_writes;
use crate::host::wait_for_calm;
use crate::rivals::{Cluster, Durability, Place, System};
use crate::sample::Sample;
use crate::scenarios::{OWN, SHARED, Settings, Stage, run_own, run_shared, warm_up};

/// How long a block waits for what others have left the device to do.
const CALM_LIMIT: Duration = Duration::from_secs(15);

/// How many synced writes the device is asked for before a block.
const DEVICE_WRITES: u32 = 2_000;

pub struct Plan {
    /// The two sides; equal for a run of one system against itself.
    pub sides: Vec<System>,
    pub pairs: usize,
    pub scenarios: Vec<u8>,
    pub durabilities: Vec<Durability>,
    pub settings: Settings,
    pub place: Place,
}

/// A sample with the side it was measured for; sides differ when a system runs against itself.
pub struct Measured {
    pub side: usize,
    pub sample: Sample,
}

/// What a run found.
pub struct Found {
    pub measured: Vec<Measured>,
    /// Synced writes by the device alone before each block, in microseconds.
    pub device: Histogram<u64>,
}

pub fn run(plan: &Plan) -> Result<Found> {
    for side in &plan.sides {
        side.prepare()?;
    }
    let mut all = Vec::new();
    let mut device = Histogram::new(3)?;
    for pair in 0..plan.pairs {
        let mut order: Vec<usize> = (0..plan.sides.len()).collect();
        if pair % 2 == 1 {
            order.reverse();
        }
        for side in order {
            let system = plan.sides[side];
            wait_for_calm(&plan.place.dir, CALM_LIMIT);
            device.add(synced_writes(&plan.place.dir, DEVICE_WRITES)?)?;
            eprintln!("pair {} of {}: {}", pair + 1, plan.pairs, system.name());
            let samples = run_block(plan, system).with_context(|| system.name().to_owned())?;
            all.extend(samples.into_iter().map(|mut sample| {
                sample.pair = pair;
                Measured { side, sample }
            }));
        }
    }
    Ok(Found { measured: all, device })
}

fn run_block(plan: &Plan, system: System) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let chosen = |list: &[u8]| -> Vec<u8> {
        plan.scenarios.iter().copied().filter(|n| list.contains(n)).collect()
    };
    let shared = chosen(SHARED);
    if !shared.is_empty() {
        run_shared_block(plan, system, &shared, &mut samples)?;
    }
    for number in chosen(OWN) {
        eprintln!("  scenario {number}");
        let done = run_own(number, system, &plan.durabilities, &plan.place, &plan.settings)
            .with_context(|| format!("scenario {number}"))?;
        done.iter().for_each(print);
        samples.extend(done);
    }
    Ok(samples)
}

fn run_shared_block(
    plan: &Plan,
    system: System,
    scenarios: &[u8],
    samples: &mut Vec<Sample>,
) -> Result<()> {
    let place = &plan.place;
    let dir = tempfile::Builder::new().prefix("block-").tempdir_in(&place.dir)?;
    let mut cluster = Cluster::format(system, dir.path(), place)?;
    wait_for_calm(dir.path(), CALM_LIMIT);
    cluster.start()?;
    let done = run_on_nodes(plan, system, scenarios, &mut cluster, samples);
    done.with_context(|| cluster.log_tail())
}

fn run_on_nodes(
    plan: &Plan,
    system: System,
    scenarios: &[u8],
    cluster: &mut Cluster,
    samples: &mut Vec<Sample>,
) -> Result<()> {
    /// Enough for code that is already compiled.
    const NATIVE_WARM_UP: f64 = 5.0;
    let (place, settings) = (&plan.place, &plan.settings);
    cluster.ready()?;
    let warm = match system {
        System::Kafka => settings.warm_up,
        System::Millrace => settings.warm_up.min(NATIVE_WARM_UP),
    };
    let mut stage = Stage::new(cluster, system, Durability::Memory, settings, place)?;
    warm_up(&mut stage, warm).context("warming up")?;
    for &number in scenarios {
        for &durability in &plan.durabilities {
            eprintln!("  scenario {number}, {durability:?}");
            stage.durability = durability;
            let done = run_shared(number, &mut stage);
            let done = done.with_context(|| format!("scenario {number}, {durability:?}"))?;
            done.iter().for_each(print);
            samples.extend(done);
        }
    }
    // what is left is thrown away, and nodes of a cluster wait for each other when they stop
    match place.nodes {
        1 => cluster.stop(),
        _ => cluster.kill(),
    }
}

/// One line per point while the run goes on.
fn print(sample: &Sample) {
    let shown = [
        "produce p50",
        "produce p99",
        "end-to-end p50",
        "end-to-end p99",
        "records/s",
        "requests/s",
        "MB/s in",
        "MB/s out",
        "CPU per request",
        "CPU per GB",
        "device bytes per byte",
        "resident",
        "load turn, longest",
        "create topic",
        "ready, empty directory",
        "first ack, empty directory",
        "first ack after stop",
        "first ack after kill -9",
        "resident, empty node",
        "unavailable p50",
        "unavailable max",
        "acknowledged and lost",
        "in sync again",
        "MB missed",
        "produce p50, quiet",
        "produce p99, quiet",
        "produce p99 over quiet",
    ];
    let found = shown.iter().filter_map(|name| Some((name, sample.metrics.get(*name)?)));
    let text: Vec<String> = found.map(|(name, value)| format!("{name} {value:.1}")).collect();
    let noisy = if sample.usage.is_noisy() { " NOISY" } else { "" };
    let errors = match sample.errors.is_empty() {
        true => String::new(),
        false => format!(" ERRORS {:?}", sample.errors),
    };
    eprintln!("    {}: {}{noisy}{errors}", sample.id.point, text.join(", "));
}
