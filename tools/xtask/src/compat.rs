//! `cargo xtask compat`: builds the node as users get it and lets real clients at it (`tools/compat`).

use crate::step;
use anyhow::Result;

pub fn run(args: &[String]) -> Result<bool> {
    // With a broker of the caller's choice there is nothing of ours to build.
    let foreign =
        args.iter().any(|arg| arg.starts_with("--bootstrap") || arg.starts_with("--help"));
    if !foreign {
        step::must(step::cargo().args(["build", "--release", "--package", "broker"]))?;
    }
    let mut compat = step::cargo();
    compat.args(["run", "--quiet", "--package", "compat", "--"]).args(args);
    compat.env("MILLRACE_BIN", step::target_dir().join("release/millrace"));
    step::succeeds(&mut compat)
}
