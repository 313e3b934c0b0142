//! `cargo xtask bench`: the load generator and its scenarios, always as a release build.

use crate::step;
use anyhow::Result;

pub fn run(args: &[String]) -> Result<bool> {
    step::must(step::cargo().args([
        "build",
        "--release",
        "--package",
        "broker",
        "--package",
        "benches",
    ]))?;
    let mut benches = step::cargo();
    benches.args(["run", "--quiet", "--release", "--package", "benches", "--"]).args(args);
    benches.env("MILLRACE_BIN", step::target_dir().join("release/millrace"));
    step::succeeds(&mut benches)
}
