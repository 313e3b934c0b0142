//! Formatting, as rustfmt sees it.

use super::run::Findings;
use super::tree::Tree;
use crate::step;
use anyhow::{Context, Result};

pub fn sources_are_formatted(_tree: &Tree) -> Result<Findings> {
    let mut fmt = step::cargo();
    let output = fmt
        .args(["fmt", "--all", "--check", "--", "--files-with-diff"])
        .output()
        .context("cannot start cargo fmt")?;
    let files = String::from_utf8_lossy(&output.stdout);
    let root = step::root();
    let mut findings: Findings = files
        .lines()
        .map(|file| file.strip_prefix(&format!("{}/", root.display())).unwrap_or(file))
        .map(|file| format!("{file}: run cargo fmt"))
        .collect();
    findings.sort();
    findings.dedup();
    if findings.is_empty() && !output.status.success() {
        findings.push(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(findings)
}
