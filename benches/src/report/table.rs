//! The text report.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::Conditions;
use crate::comparison::Row;
use crate::interleave::Measured;
use crate::metric::METRICS;
use crate::scenarios::title;

pub fn text(conditions: &Conditions, rows: &[Row], all: &[Measured]) -> String {
    let mut out = String::new();
    for (name, value) in &conditions.facts {
        let _ = writeln!(out, "{name}: {value}");
    }
    for (side, system) in conditions.systems.iter().enumerate() {
        let _ = writeln!(out, "side {side}: {system}");
    }
    let _ = writeln!(
        out,
        "broker on CPU {}, load on CPU {}; {} pair(s) of blocks, {:.0} s per point, warmed up {:.0} s\n",
        conditions.broker_cpus,
        conditions.load_cpus,
        conditions.pairs,
        conditions.seconds,
        conditions.warm_up
    );
    let mut scenarios: Vec<u8> = all.iter().map(|m| m.sample.id.scenario).collect();
    scenarios.sort_unstable();
    scenarios.dedup();
    for scenario in scenarios {
        let _ = writeln!(out, "scenario {scenario}: {}", title(scenario));
        let compared: Vec<&Row> = rows.iter().filter(|r| r.id.scenario == scenario).collect();
        let table = match compared.is_empty() {
            true => samples_table(scenario, all),
            false => rows_table(&compared),
        };
        let _ = writeln!(out, "{table}\n");
    }
    out
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn rows_table(rows: &[&Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["point", "", "metric", "left", "right", "ratio", "95 %", "pairs"]);
    for row in rows {
        let interval = row.interval.map_or(String::new(), |(a, b)| format!("{a:.2}-{b:.2}"));
        let pairs = match (row.noisy, row.rejected) {
            (true, _) => format!("{} noisy", row.pairs),
            (false, 0) => row.pairs.to_string(),
            (false, rejected) => format!("{} (-{rejected})", row.pairs),
        };
        table.add_row([
            Cell::new(&row.id.point),
            Cell::new(format!("{:?}", row.matching)),
            Cell::new(named(row.metric, row.unit)),
            right(number(row.left)),
            right(number(row.right)),
            right(format!("{:.2}", row.ratio)),
            right(interval),
            right(pairs),
        ]);
    }
    table
}

/// One system alone: its samples as they are.
fn samples_table(scenario: u8, all: &[Measured]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["point", "system", "durability", "metric", "value"]);
    for Measured { sample, .. } in all.iter().filter(|m| m.sample.id.scenario == scenario) {
        for metric in METRICS {
            let Some(value) = sample.metrics.get(metric.name) else {
                continue;
            };
            table.add_row([
                Cell::new(&sample.id.point),
                Cell::new(sample.system.name()),
                Cell::new(format!("{:?}", sample.durability)),
                Cell::new(named(metric.name, metric.unit)),
                right(number(*value)),
            ]);
        }
    }
    table
}

pub fn named(metric: &str, unit: &str) -> String {
    if unit.is_empty() || metric.contains("/s") {
        metric.to_owned()
    } else {
        format!("{metric} ({unit})")
    }
}

pub fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
