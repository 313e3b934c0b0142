//! The command: which seeds run, what is said about them.

use crate::scenario::{self, Verdict};
use crate::{cluster, kept, log, mutants};
use clap::Parser;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

/// Seeds that run if nobody says how many.
const SEEDS: u64 = 20;

#[derive(Parser)]
struct Args {
    /// Run so many seeds (default: 20, or as many as a mutant may take)
    #[arg(long)]
    seeds: Option<u64>,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Run this seed only
    #[arg(long)]
    seed: Option<u64>,
    /// Run every seed twice: both runs must be the same
    #[arg(long)]
    meta: bool,
    /// Three to seven nodes instead of one
    #[arg(long)]
    cluster: bool,
    /// Print what the nodes say, as far as this filter lets it through: debug, raft_group=trace, ...
    #[arg(long)]
    log: Option<String>,
    /// Run the seeds that once failed
    #[arg(long)]
    kept: bool,
    /// Run with this seeded defect (see --mutants)
    #[arg(long)]
    mutant: Option<String>,
    /// Hunt every seeded defect of one node, or with --cluster of clusters, over the seeds: each must be caught
    #[arg(long)]
    mutants: bool,
}

#[derive(Default)]
struct Summary {
    cluster: bool,
    passed: u64,
    failed: u64,
    virtual_time: Duration,
    crashes: u64,
    acknowledged: u64,
    marks: BTreeMap<&'static str, u64>,
}

pub fn main() -> ExitCode {
    let args = Args::parse();
    if args.mutants {
        quiet_panics();
        let caught =
            mutants::hunt_all(args.cluster, args.first, args.seeds.unwrap_or(mutants::SEEDS));
        return if caught { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if let Some(filter) = &args.log {
        log::print(filter);
    }
    if args.kept {
        return run_kept();
    }
    if let Some(name) = &args.mutant {
        let Some(mutant) = mutants::ALL.iter().find(|mutant| mutant.name == name) else {
            println!("there is no mutant {name}");
            return ExitCode::FAILURE;
        };
        mutants::choose(mutant.name);
    }
    let (first, count) =
        args.seed.map_or((args.first, args.seeds.unwrap_or(SEEDS)), |seed| (seed, 1));
    let scenario = if args.cluster { cluster::run } else { scenario::run };
    let mut summary = Summary { cluster: args.cluster, ..Summary::default() };
    for seed in first..first.saturating_add(count) {
        summary.add(seed, &run(seed, args.meta, scenario));
    }
    summary.print(count);
    if summary.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the seeds that once failed.
fn run_kept() -> ExitCode {
    let (mut one, mut several) = (Summary::default(), Summary::default());
    several.cluster = true;
    for kept in kept::ALL {
        let summary = if kept.cluster { &mut several } else { &mut one };
        let failed = summary.failed;
        summary.add(kept.seed, &kept.run());
        if summary.failed > failed {
            println!("  it once found: {}", kept.found);
        }
    }
    let (passed, failed) = (one.passed + several.passed, one.failed + several.failed);
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A mutant that panics is caught; what it has to say stands in the table.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

/// A run that panics is one that failed.
pub fn run(seed: u64, twice: bool, scenario: fn(u64) -> Verdict) -> Result<Verdict, String> {
    let once = || {
        catch_unwind(AssertUnwindSafe(|| scenario(seed))).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            format!("panicked: {}", text.unwrap_or("without words"))
        })
    };
    let verdict = once()?;
    if twice {
        let (first, second) = (verdict.trace_hash, once()?.trace_hash);
        if first != second {
            return Err(format!("two runs differ: trace {first:016x}, then {second:016x}"));
        }
    }
    Ok(verdict)
}

impl Summary {
    fn add(&mut self, seed: u64, verdict: &Result<Verdict, String>) {
        let failure = match verdict {
            Ok(verdict) => {
                self.virtual_time += verdict.virtual_time;
                self.crashes += verdict.crashes;
                self.acknowledged += verdict.acknowledged;
                for (mark, times) in &verdict.marks {
                    *self.marks.entry(mark).or_default() += times;
                }
                verdict.failure.as_ref()
            }
            Err(panic) => Some(panic),
        };
        match failure {
            None => self.passed += 1,
            Some(failure) => {
                self.failed += 1;
                println!("seed {seed} FAILED: {failure}");
                let cluster = if self.cluster { "--cluster " } else { "" };
                println!("  again: cargo xtask sim {cluster}--seed {seed}");
            }
        }
    }

    fn print(&self, seeds: u64) {
        let hours = self.virtual_time.as_secs_f64() / 3600.0;
        println!(
            "{seeds} seeds, {hours:.2} simulated hours, {} crashes, {} records acknowledged",
            self.crashes, self.acknowledged
        );
        for (mark, times) in &self.marks {
            println!("  sometimes: {mark} ({times})");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cluster_of_a_seed_is_one_run_and_no_other() {
        let (one, two) = (crate::cluster::run(1), crate::cluster::run(1));
        assert_eq!(one.trace_hash, two.trace_hash);
    }

    #[test]
    fn a_seed_is_one_run_and_no_other() {
        for seed in 1..4 {
            let (one, two) = (crate::scenario::run(seed), crate::scenario::run(seed));
            assert_eq!(one.trace_hash, two.trace_hash, "seed {seed}");
            assert_eq!(one.failure, None, "seed {seed}");
        }
    }
}
