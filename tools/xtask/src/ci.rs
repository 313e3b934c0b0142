//! `cargo xtask ci`: what CI runs, which is `.ci/run`; it stands in bash because it also installs Rust's neighbours.

use crate::step;
use anyhow::Result;

pub fn run() -> Result<bool> {
    step::succeeds(step::command("bash").arg(".ci/run"))
}
