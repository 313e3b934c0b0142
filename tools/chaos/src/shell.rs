//! Other programs of the host: what they are asked, and what they said if they could not.

use anyhow::{Context, Result, bail};
use std::process::Command;

/// Runs a program to its end; its output if it succeeded.
pub fn run(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", args.join(" "), told.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Words of a command line without quotes.
pub fn words(line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command")?;
    run(program, &words.collect::<Vec<_>>())
}

pub fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.extend(["/sbin".into(), "/usr/sbin".into()]);
    folders.iter().any(|folder| folder.join(program).is_file())
}
