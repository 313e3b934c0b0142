//! `cargo xtask compat`: real clients, of many makers, against a fresh node.
//!
//! Every client is installed by its ordinary package manager into a cache, runs with its defaults, and gets a node of
//! its own on an empty directory. The scenarios are written once (`scenarios`, `membership`); the programs in
//! `clients/` show how each library does a thing. The same run against Apache Kafka (`--broker kafka`) says which
//! failures are the client's own. The results become the matrix in the README (`--update`).

// A tool for the outside of the node: real processes, files and clocks are its subject.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod args;
mod cache;
mod clients;
mod differential;
mod jars;
mod matrix;
mod membership;
mod node;
mod outcome;
mod own_client;
mod process;
mod program;
mod run;
mod scenarios;
mod segment_files;
mod toolchain;
mod tools;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run::run(&args::Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compat: {error:#}");
            ExitCode::from(2)
        }
    }
}
