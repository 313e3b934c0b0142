//! The program of `cargo xtask compat`; what it does stands at the head of the library.

use clap::Parser;
use compat::{args, run};
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
