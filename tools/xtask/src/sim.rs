//! `cargo xtask sim`: whole nodes in the simulated world, by seed.
//!
//! The simulator is the same code built with `--cfg simulation` into a target folder of its own, optimised but with
//! its assertions. `--minutes` turns it into a time-bounded search: fresh seeds in rounds until the time is over. Other
//! arguments go to the simulator as they stand.

use crate::step;
use crate::tally::Tally;
use anyhow::{Context, Result, ensure};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(clap::Args)]
pub struct Args {
    /// Search fresh seeds for this long, at least
    #[arg(long)]
    minutes: Option<f64>,
    /// Build with seeded defects compiled in (`--cfg mutants`), for `--mutant`
    #[arg(long)]
    mutants: bool,
    /// Handed to the simulator: --seeds N, --seed S, ...
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// One profile for simulator runs and simulated tests, so that they share one build.
pub const PROFILE: [&str; 2] = ["--profile", "simulation"];
const SEEDS_PER_ROUND: u64 = 50;

/// Cargo, building for the simulated world.
pub fn cargo() -> Command {
    world("--cfg simulation", "simulation")
}

fn world(flags: &str, folder: &str) -> Command {
    let mut cargo = step::cargo();
    cargo.env("RUSTFLAGS", flags).env("CARGO_TARGET_DIR", step::target_dir().join(folder));
    cargo
}

pub fn run(args: &Args) -> Result<bool> {
    let (flags, folder) = match args.mutants {
        true => ("--cfg simulation --cfg mutants", "mutants"),
        false => ("--cfg simulation", "simulation"),
    };
    step::must(world(flags, folder).args(["build", "--package", "simulator"]).args(PROFILE))?;
    let program = step::target_dir().join(folder).join("simulation/simulator");
    match args.minutes {
        None => step::succeeds(step::command(&program).args(&args.args)),
        Some(minutes) => search(&program, Duration::from_secs_f64(minutes * 60.0), &args.args),
    }
}

/// Rounds of seeds that nobody has run before (they start at the clock) until the time is over or one fails.
fn search(program: &std::path::Path, time: Duration, args: &[String]) -> Result<bool> {
    let end = Instant::now() + time;
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).context("clock before 1970")?;
    let mut first = clock.as_secs() * 1_000;
    let mut tally = Tally::default();
    while Instant::now() < end {
        let mut round = step::command(program);
        round.args(["--first", &first.to_string(), "--seeds", &SEEDS_PER_ROUND.to_string()]);
        let before = tally;
        if !tally.run(round.args(args))? {
            break;
        }
        ensure!(tally != before, "the simulator did not say how many seeds passed");
        first += SEEDS_PER_ROUND;
    }
    println!("{tally}");
    Ok(tally.green())
}
