//! `cargo xtask`: every chore of the repository, in Rust and in one place.
//!
//! `test` sets up what the tests need and runs them; `tidy` checks the rules of the house; `compat`, `chaos`, `sim` and `bench`
//! build what their tool needs, in the profile it needs, and hand their arguments on; `ci` runs all that CI runs.
//! Each ends with `N passed, N failed` and an exit code that says the same. Nothing here is linked into the broker.

// A build tool: it lives outside every shard, so the real file system, clock and processes are its business.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod bench;
mod chaos;
mod ci;
mod compat;
mod host;
mod proto_doc;
mod sim;
mod step;
mod tally;
mod test;
mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the Millrace repository")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the tests need and run all of them
    Test(test::Args),
    /// Check the rules of the house: arrows, names, sizes, formats, documents
    Tidy(tidy::Args),
    /// Real clients, of many makers, against a fresh node
    #[command(disable_help_flag = true)]
    Compat(Passed),
    /// Real nodes in network namespaces under rotating faults, judged by the checker
    #[command(disable_help_flag = true)]
    Chaos(Passed),
    /// Whole nodes under seeded faults in virtual time
    Sim(sim::Args),
    /// Load scenarios against Millrace and Apache Kafka
    #[command(disable_help_flag = true)]
    Bench(Passed),
    /// Everything that CI runs
    Ci,
}

/// Arguments that another program of the repository understands.
#[derive(clap::Args)]
struct Passed {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Test(args) => test::run(&args),
        Command::Tidy(args) => tidy::run(&args),
        Command::Compat(passed) => compat::run(&passed.args),
        Command::Chaos(passed) => chaos::run(&passed.args),
        Command::Sim(args) => sim::run(&args),
        Command::Bench(passed) => bench::run(&passed.args),
        Command::Ci => ci::run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}
