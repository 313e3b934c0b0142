//! Samples of both sides brought together, point by point.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::interleave::Measured;
use crate::metric::METRICS;
use crate::rivals::{Durability, System};
use crate::sample::{PointId, Sample};
use crate::statistics::{bootstrap_interval, median};

/// Which durabilities stand beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Matching {
    /// Both acknowledge from memory.
    D0,
    /// Both sync first.
    D1,
    /// Millrace syncs, Kafka does not: stronger, and yet.
    D2,
    /// One system against itself.
    AA,
}

impl Matching {
    fn durabilities(self) -> (Durability, Durability) {
        match self {
            Matching::D0 => (Durability::Memory, Durability::Memory),
            Matching::D1 => (Durability::Synced, Durability::Synced),
            Matching::D2 => (Durability::Memory, Durability::Synced),
            Matching::AA => (Durability::Synced, Durability::Synced),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub id: PointId,
    pub matching: Matching,
    pub metric: &'static str,
    pub unit: &'static str,
    /// Medians over blocks.
    pub left: f64,
    pub right: f64,
    /// right / left per pair: median and 95 % interval.
    pub ratio: f64,
    pub interval: Option<(f64, f64)>,
    pub pairs: usize,
    /// Pairs left out because of foreign load; if all were noisy none is, and `noisy` is set.
    pub rejected: usize,
    pub noisy: bool,
}

/// Rows of all comparisons: side 0 is the left (Kafka), side 1 the right (Millrace).
pub fn compare(measured: &[Measured], sides: &[System]) -> Vec<Row> {
    let [left, right] = sides else {
        return Vec::new();
    };
    let matchings: &[Matching] = match left == right {
        true => &[Matching::AA],
        false => &[Matching::D2, Matching::D0, Matching::D1],
    };
    let ids: BTreeSet<&PointId> = measured.iter().map(|m| &m.sample.id).collect();
    let mut rows = Vec::new();
    for id in ids {
        for &matching in matchings {
            let (l, r) = matching.durabilities();
            let l = of(measured, id, 0, l);
            let r = of(measured, id, 1, r);
            rows.extend(METRICS.iter().filter_map(|m| row(id, matching, m.name, m.unit, &l, &r)));
        }
    }
    rows
}

type ByPair<'a> = BTreeMap<usize, &'a Sample>;

fn of<'a>(all: &'a [Measured], id: &PointId, side: usize, durability: Durability) -> ByPair<'a> {
    let matching = all
        .iter()
        .filter(|m| m.side == side && m.sample.id == *id && m.sample.durability == durability);
    matching.map(|m| (m.sample.pair, &m.sample)).collect()
}

fn row(
    id: &PointId,
    matching: Matching,
    metric: &'static str,
    unit: &'static str,
    left: &ByPair<'_>,
    right: &ByPair<'_>,
) -> Option<Row> {
    let value = |sample: &Sample| sample.metrics.get(metric).copied();
    let both: Vec<(f64, f64, bool)> = left
        .iter()
        .filter_map(|(pair, l)| {
            let r = right.get(pair)?;
            Some((value(l)?, value(r)?, l.usage.is_noisy() || r.usage.is_noisy()))
        })
        .collect();
    let quiet: Vec<_> = both.iter().copied().filter(|(_, _, noisy)| !noisy).collect();
    let noisy = quiet.is_empty();
    let used = if noisy { &both } else { &quiet };
    let ratios: Vec<f64> = used.iter().map(|(l, r, _)| r / l).collect();
    let lefts: Vec<f64> = used.iter().map(|p| p.0).collect();
    let rights: Vec<f64> = used.iter().map(|p| p.1).collect();
    Some(Row {
        id: id.clone(),
        matching,
        metric,
        unit,
        left: median(&lefts)?,
        right: median(&rights)?,
        ratio: median(&ratios)?,
        interval: bootstrap_interval(&ratios),
        pairs: used.len(),
        rejected: if noisy { 0 } else { both.len() - quiet.len() },
        noisy,
    })
}
