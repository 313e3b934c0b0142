//! The three files of a report.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::html;
use super::table::text;
use crate::comparison::Row;
use crate::interleave::Measured;
use crate::sample::Sample;

/// What the figures depend on.
#[derive(Clone, Debug, Serialize)]
pub struct Conditions {
    pub facts: Vec<(String, String)>,
    pub systems: Vec<String>,
    pub seconds: f64,
    pub warm_up: f64,
    pub pairs: usize,
    pub broker_cpus: String,
    pub load_cpus: String,
}

#[derive(Serialize)]
struct Json<'a> {
    conditions: &'a Conditions,
    rows: &'a [Row],
    samples: Vec<JsonSample<'a>>,
}

#[derive(Serialize)]
struct JsonSample<'a> {
    side: usize,
    #[serde(flatten)]
    sample: &'a Sample,
}

pub fn write(dir: &Path, conditions: &Conditions, rows: &[Row], all: &[Measured]) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let samples = all.iter().map(|m| JsonSample { side: m.side, sample: &m.sample }).collect();
    let json = serde_json::to_vec(&Json { conditions, rows, samples })?;
    std::fs::write(dir.join("report.json"), json)?;
    std::fs::write(dir.join("report.txt"), text(conditions, rows, all))?;
    std::fs::write(dir.join("report.html"), html::page(conditions, rows, all)?)?;
    Ok(())
}
