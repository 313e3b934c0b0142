//! `cargo xtask test`: from a fresh machine with Rust and a C compiler to tests that have run.
//!
//! Two builds: the workspace as it runs, and the crates whose behaviour depends on it once more in the simulated world
//! (`--cfg simulation`, a target folder of its own). A failing test never hides another one: all binaries run.

use crate::tally::Tally;
use crate::{host, sim, step};
use anyhow::Result;

#[derive(clap::Args)]
pub struct Args {
    /// Only these packages (default: all)
    #[arg(short, long)]
    package: Vec<String>,
    /// Arguments for the test binaries, after `--`
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Crates with tests that need the simulated world.
const SIMULATED: [&str; 3] = ["runtime", "storage", "simulator"];

pub fn run(args: &Args) -> Result<bool> {
    host::prepare()?;
    let mut tally = Tally::default();
    tally.run(&mut real(args))?;
    let simulated: Vec<&str> = SIMULATED.into_iter().filter(|name| wanted(args, name)).collect();
    if !simulated.is_empty() {
        let mut test = sim::cargo();
        test.args(["test", "--no-fail-fast"]).args(sim::PROFILE);
        test.args(simulated.iter().flat_map(|name| ["--package", name]));
        test.arg("--").args(&args.rest);
        tally.run(&mut test)?;
    }
    println!("{tally}");
    Ok(tally.green())
}

fn real(args: &Args) -> std::process::Command {
    let mut test = step::cargo();
    test.args(["test", "--no-fail-fast"]);
    if args.package.is_empty() {
        test.arg("--workspace");
    }
    test.args(args.package.iter().flat_map(|name| ["--package", name]));
    test.arg("--").args(&args.rest);
    test
}

fn wanted(args: &Args, name: &str) -> bool {
    args.package.is_empty() || args.package.iter().any(|package| package == name)
}
