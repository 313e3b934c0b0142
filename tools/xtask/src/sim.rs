//! `cargo xtask sim`: whole nodes in the simulated world, by seed.
//!
//! The simulator is the same code built with `--cfg simulation` into a target folder of its own, optimised but with
//! its assertions; seeded defects (`--cfg mutants`) are compiled in and none is chosen, so that `--mutants`, which hunts
//! them all, needs no build of its own. `--minutes` and `--fresh` turn it into a search of fresh seeds, in rounds on every
//! core: until the time is over, or until so many have run; `--minutes` runs the seeds that once failed before. Other
//! arguments go to the simulator as they stand.

use crate::step;
use crate::tally::Tally;
use anyhow::{Context, Result, bail, ensure};
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(clap::Args)]
pub struct Args {
    /// Search fresh seeds for this long, at least
    #[arg(long)]
    minutes: Option<f64>,
    /// Search so many fresh seeds, at least
    #[arg(long, conflicts_with = "minutes")]
    fresh: Option<u64>,
    /// Hunt the seeded defects: each must be caught
    #[arg(long)]
    mutants: bool,
    /// Handed to the simulator: --seeds N, --seed S, ...
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// One profile for simulator runs and simulated tests, so that they share one build.
pub const PROFILE: [&str; 2] = ["--profile", "simulation"];
const SEEDS_PER_ROUND: u64 = 50;
/// In the target folder: other flags, other builds.
const FOLDER: &str = "simulation";

/// Cargo, building for the simulated world.
pub fn cargo() -> Command {
    let mut cargo = step::cargo();
    cargo.env("RUSTFLAGS", "--cfg simulation --cfg mutants");
    cargo.env("CARGO_TARGET_DIR", step::target_dir().join(FOLDER));
    cargo
}

pub fn run(args: &Args) -> Result<bool> {
    step::must(cargo().args(["build", "--package", "simulator"]).args(PROFILE))?;
    let program = step::target_dir().join(FOLDER).join("simulation/simulator");
    match (args.minutes, args.fresh) {
        (None, None) => {
            let mutants = args.mutants.then_some("--mutants");
            step::succeeds(step::command(&program).args(mutants).args(&args.args))
        }
        (Some(minutes), _) => {
            let mut tally = Tally::default();
            tally.run(step::command(&program).arg("--kept"))?;
            let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
            tally.add(search(&program, |_| Instant::now() >= end, &args.args)?);
            tell(tally)
        }
        (None, Some(count)) => tell(search(&program, |begun| begun >= count, &args.args)?),
    }
}

fn tell(tally: Tally) -> Result<bool> {
    println!("{tally}");
    Ok(tally.green())
}

/// Rounds of seeds that nobody has run before (they start at the clock), on every core, until it is `over` after so many
/// seeds that were begun, or one fails.
fn search(
    program: &std::path::Path,
    over: impl Fn(u64) -> bool + Sync,
    args: &[String],
) -> Result<Tally> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).context("clock before 1970")?;
    let from = clock.as_secs() * 1_000;
    let next = AtomicU64::new(from);
    println!("seeds from {from} on");
    let failed = AtomicBool::new(false);
    let rounds = || -> Result<Tally> {
        let mut tally = Tally::default();
        while !over(next.load(Relaxed) - from) && !failed.load(Relaxed) {
            let first = next.fetch_add(SEEDS_PER_ROUND, Relaxed);
            let mut round = step::command(program);
            round.args(["--first", &first.to_string(), "--seeds", &SEEDS_PER_ROUND.to_string()]);
            let before = tally;
            let green = tally.run(round.args(args))?;
            ensure!(tally != before, "the simulator did not say how many seeds passed");
            if !green {
                failed.store(true, Relaxed);
            }
        }
        Ok(tally)
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let tallies: Vec<Result<Tally>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(rounds)).collect();
        let ended = workers.into_iter().map(|worker| worker.join());
        ended.map(|tally| tally.unwrap_or_else(|_| bail!("a round panicked"))).collect()
    });
    let mut all = Tally::default();
    for tally in tallies {
        all.add(tally?);
    }
    Ok(all)
}
