//! Whole nodes in the simulated world, by seed: clients work, things break, the history is judged.
//!
//! Everything about a run follows from its seed. A seed that fails says what went wrong and how to see it again. Only
//! built with `--cfg simulation`; `cargo xtask sim` does so. [`scenario`] is one run, [`plan`] what a seed stands for.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a tool that measures real time around simulated worlds"
)]

#[cfg(simulation)]
mod cluster;
#[cfg(simulation)]
mod consumer;
#[cfg(simulation)]
mod damage;
#[cfg(simulation)]
mod faults;
#[cfg(simulation)]
mod group;
#[cfg(simulation)]
mod kept;
#[cfg(simulation)]
mod log;
#[cfg(simulation)]
mod mutants;
#[cfg(simulation)]
mod plan;
#[cfg(simulation)]
mod producer;
#[cfg(simulation)]
mod scenario;
#[cfg(simulation)]
mod seeds;
#[cfg(simulation)]
mod shared;
#[cfg(all(simulation, test))]
mod starts;
#[cfg(simulation)]
mod topics;
#[cfg(simulation)]
mod wire;

#[cfg(simulation)]
fn main() -> std::process::ExitCode {
    seeds::main()
}

#[cfg(not(simulation))]
fn main() -> std::process::ExitCode {
    eprintln!("The simulator is built with --cfg simulation: run `cargo xtask sim`.");
    std::process::ExitCode::FAILURE
}
