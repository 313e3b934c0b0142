//! What the checker says of a run.

use anyhow::{Context, Result};
use checker::{Metrics, Options};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Anomalies that are told one by one; of the rest only how many.
const TOLD_MAX: usize = 20;

pub struct Verdict {
    pub metrics: Metrics,
    pub anomalies: usize,
    /// The first ones, in words.
    pub told: Vec<String>,
}

/// Judges a history; `read_to_the_end` says that the last readers came through.
pub fn judge(path: &Path, read_to_the_end: bool) -> Result<Verdict> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let history = checker::json::read(BufReader::with_capacity(1 << 20, file), read_to_the_end)?;
    let report = checker::check_with(&history, Options::default());
    let told = report.describe(&history, TOLD_MAX).lines().map(str::to_owned).collect();
    Ok(Verdict { anomalies: report.anomalies.len(), told, metrics: report.metrics })
}

/// The history of an earlier run.
pub fn check_again(path: &Path) -> Result<bool> {
    let verdict = judge(path, true)?;
    println!("{:#?}", verdict.metrics);
    verdict.told.iter().for_each(|told| println!("{told}"));
    println!("{} anomalies", verdict.anomalies);
    Ok(verdict.anomalies == 0)
}
