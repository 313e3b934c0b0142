//! `cargo xtask chaos`: real nodes under real faults.
//!
//! Three to five `millrace` processes, each in a network namespace of its own and on a disk that we can break, with
//! librdkafka and Java clients as producers and consumers. A seeded schedule brings one fault after the other (`fault`,
//! `schedule`); all that the clients saw goes to the checker that also judges the simulator. What runs, runs in a PID, mount
//! and network namespace that dies with us (`sandbox`), so nothing is left behind, however we end.

// A tool for the outside of the node: real processes, files and clocks are its subject.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod args;
mod cluster;
mod disk;
mod disk_server;
mod fault;
mod load;
mod membership;
mod network;
mod node;
mod raises;
mod recorder;
mod report;
mod run;
mod sandbox;
mod schedule;
mod seeded;
mod shell;
mod timeline;
mod verdict;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let done = if args.inside { run::run(&args) } else { sandbox::enter(&args) };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::from(2)
        }
    }
}
