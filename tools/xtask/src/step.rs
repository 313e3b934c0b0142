//! One command of a chore: where it runs, what is shown, what is read from it.
//!
//! Every command runs in the root of the repository with the caller's environment. `CARGO` is the cargo that started
//! us, so a toolchain override holds for what we start too.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the repository: two folders above this crate.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Where cargo puts what it builds, the default profile's parent.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

pub fn cargo() -> Command {
    command(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
}

pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Says what is run, so that a person can run it alone.
pub fn show(command: &Command) {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    eprintln!("$ {}", line.join(" "));
}

/// Runs to the end with the caller's output; true if it exits with 0.
pub fn succeeds(command: &mut Command) -> Result<bool> {
    show(command);
    let status = command.status().with_context(|| not_started(command))?;
    Ok(status.success())
}

pub fn must(command: &mut Command) -> Result<()> {
    if succeeds(command)? {
        return Ok(());
    }
    bail!("{} failed", command.get_program().to_string_lossy())
}

/// Standard output of a command that has to succeed.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| not_started(command))?;
    if !output.status.success() {
        show(command);
        bail!("{} failed", command.get_program().to_string_lossy());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs to the end, passes standard output on line by line, and gives each line to `each`; true if it exits with 0.
pub fn watched(command: &mut Command, mut each: impl FnMut(&str)) -> Result<bool> {
    show(command);
    let child = command.stdout(Stdio::piped()).spawn();
    let mut child = child.with_context(|| not_started(command))?;
    let output = child.stdout.take().context("no standard output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        each(&line);
    }
    Ok(child.wait()?.success())
}

fn not_started(command: &Command) -> String {
    format!("cannot start {}", command.get_program().to_string_lossy())
}
