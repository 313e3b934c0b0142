//! `cargo xtask chaos`: builds the node as users get it and brings faults over it (`tools/chaos`).

use crate::step;
use anyhow::Result;

pub fn run(args: &[String]) -> Result<bool> {
    // A broker of the caller's choice is not built.
    let binary = match std::env::var_os("MILLRACE_BIN") {
        Some(binary) => binary.into(),
        None => {
            step::must(step::cargo().args(["build", "--release", "--package", "broker"]))?;
            step::target_dir().join("release/millrace")
        }
    };
    let mut chaos = step::cargo();
    chaos.args(["run", "--quiet", "--package", "chaos", "--"]).args(args);
    step::succeeds(chaos.env("MILLRACE_BIN", binary))
}
