//! Millrace beside Apache Kafka: load generator, scenarios, interleaved runs, report.
//!
//! One process: it pins itself to the load's CPUs and starts brokers on theirs. See README.md for
//! the rules and the scenarios; `cargo xtask bench --help` for the options.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a load generator lives outside every shard and measures real time and processes"
)]

mod agreement;
mod clock;
mod comparison;
mod device;
mod host;
mod hot_path;
mod interleave;
mod load;
mod metric;
mod report;
mod rivals;
mod sample;
mod scenarios;
mod statistics;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};

use interleave::Plan;
use rivals::{Departure, Durability, Place, System};
use scenarios::{OWN, SHARED, Settings};

#[derive(Clone, Copy, ValueEnum)]
enum Side {
    Kafka,
    Millrace,
}

impl Side {
    fn system(self) -> System {
        match self {
            Side::Kafka => System::Kafka,
            Side::Millrace => System::Millrace,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Level {
    Memory,
    Synced,
}

#[derive(Clone, Copy, ValueEnum)]
enum Leave {
    /// kill -9
    Kill,
    /// SIGTERM: the node may hand its partitions over
    Stop,
    /// SIGSTOP: a host that has fallen silent
    Pause,
}

impl Leave {
    fn departure(self) -> Departure {
        match self {
            Leave::Kill => Departure::Kill,
            Leave::Stop => Departure::Stop,
            Leave::Pause => Departure::Pause,
        }
    }
}

#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "Millrace beside Apache Kafka")]
struct Args {
    /// Scenarios to run, by number; all by default
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<u8>,
    /// One short pair: a look, not a measurement
    #[arg(long)]
    quick: bool,
    /// Pairs of blocks, one block per side in each
    #[arg(long)]
    blocks: Option<usize>,
    /// Rates of scenarios 1 and 3; all by default
    #[arg(long, value_delimiter = ',')]
    rate: Vec<u32>,
    /// Numbers of partitions of scenarios 10 and 14; all by default
    #[arg(long, value_delimiter = ',')]
    partitions: Vec<i32>,
    /// How leaders go in scenario 14
    #[arg(long, value_delimiter = ',', default_value = "kill,stop,pause")]
    departure: Vec<Leave>,
    /// Seconds per measured point
    #[arg(long)]
    seconds: Option<f64>,
    /// Seconds of load on a fresh JVM before its first point
    #[arg(long)]
    warm_up: Option<f64>,
    /// Only this system
    #[arg(long)]
    only: Option<Side>,
    /// This system against itself: the spread below which no difference may be claimed
    #[arg(long)]
    against_itself: Option<Side>,
    /// Durabilities to run
    #[arg(long, value_delimiter = ',', default_value = "synced,memory")]
    durability: Vec<Level>,
    /// Count system calls and CPU per request instead
    #[arg(long)]
    hot_path: bool,
    /// Compare the load generator with kafka-producer-perf-test instead
    #[arg(long)]
    agreement: bool,
    /// Where brokers keep their data
    #[arg(long)]
    data: Option<PathBuf>,
    /// Where the report goes
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Nodes of each system, and replicas of every partition
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=5))]
    nodes: u16,
    #[arg(long, default_value = "0")]
    broker_cpus: String,
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
    #[arg(long, default_value_t = 19092)]
    port: u16,
}

fn main() -> Result<()> {
    let args = Args::parse();
    pin_to(args.load_cpu)?;
    raise_open_files();
    let data = args.data.clone().unwrap_or_else(std::env::temp_dir);
    let home = tempfile::Builder::new().prefix("millrace-bench-").tempdir_in(&data)?;
    let place = Place {
        dir: home.path().to_owned(),
        address: SocketAddr::from(([127, 0, 0, 1], args.port)),
        broker_cpus: args.broker_cpus.clone(),
        nodes: args.nodes,
    };
    let quick = args.quick;
    let settings = Settings {
        seconds: args.seconds.unwrap_or(if quick { 5.0 } else { 15.0 }),
        lead_in: if quick { 1.0 } else { 3.0 },
        warm_up: args.warm_up.unwrap_or(if quick { 10.0 } else { 60.0 }),
        rates: args.rate.clone(),
        partitions: args.partitions.clone(),
        departures: args.departure.iter().map(|leave| leave.departure()).collect(),
        quick,
    };
    match (args.hot_path, args.agreement) {
        (true, _) => count_hot_path(&args, &place, &settings),
        (_, true) => compare_generators(&args, &place, &settings),
        _ => compare_systems(&args, place, settings),
    }
}

fn durabilities(args: &Args) -> Vec<Durability> {
    let level = |level: &Level| match level {
        Level::Memory => Durability::Memory,
        Level::Synced => Durability::Synced,
    };
    args.durability.iter().map(level).collect()
}

fn compare_systems(args: &Args, place: Place, settings: Settings) -> Result<()> {
    let sides = match (args.only, args.against_itself) {
        (Some(side), _) => vec![side.system()],
        (None, Some(side)) => vec![side.system(); 2],
        (None, None) => vec![System::Kafka, System::Millrace],
    };
    let known: Vec<u8> = SHARED.iter().chain(OWN).copied().collect();
    let scenarios = if args.scenario.is_empty() { known.clone() } else { args.scenario.clone() };
    if let Some(unknown) = scenarios.iter().find(|n| !known.contains(n)) {
        bail!("there is no scenario {unknown} here; there are {known:?}");
    }
    let mut conditions = report::Conditions {
        facts: host::facts(&place.dir),
        systems: sides.iter().map(|s| s.describe(place.nodes)).collect(),
        seconds: settings.seconds,
        warm_up: settings.warm_up,
        pairs: args.blocks.unwrap_or(if settings.quick { 1 } else { 8 }),
        broker_cpus: place.broker_cpus.clone(),
        load_cpus: args.load_cpu.to_string(),
    };
    let durabilities = durabilities(args);
    let plan = Plan { pairs: conditions.pairs, sides, scenarios, durabilities, settings, place };
    let interleave::Found { measured, device } = interleave::run(&plan)?;
    conditions.facts.push(("device alone".to_owned(), device::describe(&device)));
    let rows = comparison::compare(&measured, &plan.sides);
    report::write(&args.out, &conditions, &rows, &measured)?;
    println!("{}", report::text(&conditions, &rows, &measured));
    println!("report: {}", args.out.join("report.html").display());
    Ok(())
}

fn compare_generators(args: &Args, place: &Place, settings: &Settings) -> Result<()> {
    let system = args.only.unwrap_or(Side::Kafka).system();
    for durability in durabilities(args) {
        for found in agreement::run(system, durability, place, settings)? {
            println!(
                "{} {durability:?}: {:.0} MB/s here, {:.0} MB/s by kafka-producer-perf-test",
                system.name(),
                found.ours,
                found.theirs
            );
        }
    }
    Ok(())
}

fn count_hot_path(args: &Args, place: &Place, settings: &Settings) -> Result<()> {
    let system = args.only.unwrap_or(Side::Millrace).system();
    for durability in durabilities(args) {
        for cost in hot_path::run(system, durability, place, settings)? {
            println!(
                "{} {durability:?}, {}: {} requests, {:.1} us CPU and {:.2} context switches each",
                system.name(),
                cost.shape,
                cost.requests,
                cost.cpu_us,
                cost.switches
            );
            let [allocations, allocated, copies, copied] = cost.memory;
            println!(
                "    {allocations:8.2} allocations of {allocated:.0} B in all, {copies:.2} copies \
                 from 64 B on of {copied:.0} B in all"
            );
            for (name, count) in &cost.syscalls {
                if *count >= 0.005 {
                    println!("    {count:8.3} {name}");
                }
            }
        }
    }
    Ok(())
}

fn pin_to(cpu: usize) -> Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set)
        .with_context(|| format!("pinning the load to CPU {cpu}"))
}

/// Kafka keeps three files open per partition; children inherit the limit.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let old = getrlimit(Resource::Nofile);
    let wanted = Some(200_000);
    // as root beyond the hard limit; else as far as it goes
    let raised = Rlimit { current: wanted, maximum: wanted.max(old.maximum) };
    if setrlimit(Resource::Nofile, raised).is_err() {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: old.maximum, maximum: old.maximum });
    }
}
