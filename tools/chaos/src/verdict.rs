//! What the checker says of a run.

use crate::raises::Raises;
use anyhow::{Context, Result};
use checker::{Anomaly, Metrics, Options, Report};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Anomalies that are told one by one; of the rest only how many.
const TOLD_MAX: usize = 20;

/// What stands in front of these.
pub const EXPLAINED: &str = "librdkafka raised its epoch by itself and wrote again";

pub struct Verdict {
    pub metrics: Metrics,
    pub anomalies: usize,
    /// The first ones, in words.
    pub told: Vec<String>,
    /// Records that a client wrote twice by itself ([`crate::raises`]), in words; no anomalies.
    pub explained: Vec<String>,
}

/// Judges a history; `read_to_the_end` says that the last readers came through.
pub fn judge(path: &Path, read_to_the_end: bool) -> Result<Verdict> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let history = checker::json::read(BufReader::with_capacity(1 << 20, file), read_to_the_end)?;
    let Report { anomalies, metrics } = checker::check_with(&history, Options::default());
    let raises = match anomalies.is_empty() {
        true => Raises::default(),
        false => Raises::beside(path)?,
    };
    let (explained, anomalies): (Vec<_>, Vec<_>) =
        anomalies.into_iter().partition(|a| raises.explain(a, &history));
    let in_words = |anomalies: Vec<Anomaly>| {
        let report = Report { anomalies, ..Report::default() };
        report.describe(&history, TOLD_MAX).lines().map(str::to_owned).collect()
    };
    let found = anomalies.len();
    Ok(Verdict {
        metrics,
        anomalies: found,
        told: in_words(anomalies),
        explained: in_words(explained),
    })
}

/// The history of an earlier run.
pub fn check_again(path: &Path) -> Result<bool> {
    let verdict = judge(path, true)?;
    println!("{:#?}", verdict.metrics);
    verdict.explained.iter().for_each(|told| println!("{EXPLAINED}: {told}"));
    verdict.told.iter().for_each(|told| println!("{told}"));
    println!("{} anomalies", verdict.anomalies);
    Ok(verdict.anomalies == 0)
}
