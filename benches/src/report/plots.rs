//! Plots as SVG text: latency by percentile, and ratios with their intervals.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::comparison::{Matching, Row};
use crate::interleave::Measured;
use crate::rivals::{Durability, System};
use crate::sample::PointId;

const SIZE: (u32, u32) = (760, 380);

fn colour(system: System, durability: Durability) -> RGBColor {
    match (system, durability) {
        (System::Kafka, Durability::Memory) => RGBColor(214, 96, 77),
        (System::Kafka, Durability::Synced) => RGBColor(128, 30, 30),
        (System::Millrace, Durability::Memory) => RGBColor(67, 147, 195),
        (System::Millrace, Durability::Synced) => RGBColor(20, 60, 120),
    }
}

/// One line per system and durability: how long the slowest 1/n took. Histograms of all blocks
/// are merged, never their percentiles averaged.
pub fn latency(id: &PointId, what: &str, all: &[Measured]) -> Result<Option<String>> {
    let mut merged: BTreeMap<(System, Durability), BTreeMap<u64, u64>> = BTreeMap::new();
    for Measured { sample, .. } in all.iter().filter(|m| m.sample.id == *id) {
        let buckets = sample.histograms.get(what).into_iter().flatten();
        let line = merged.entry((sample.system, sample.durability)).or_default();
        buckets.for_each(|&(value, count)| *line.entry(value).or_default() += count);
    }
    merged.retain(|_, line| !line.is_empty());
    let lines: Vec<_> = merged.into_iter().map(|(key, line)| (key, by_rarity(&line))).collect();
    let highest = lines.iter().flat_map(|(_, l)| l).map(|p| p.1).fold(0.0, f64::max);
    let lowest = lines.iter().flat_map(|(_, l)| l).map(|p| p.1).fold(f64::MAX, f64::min);
    if lines.is_empty() || highest <= 0.0 {
        return Ok(None);
    }
    let title = format!("{}: {what} latency in us by rarity (1 in n)", id.point);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|e| anyhow!("{e}"))?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(70)
            .build_cartesian_2d(
                (1.0..10_000.0f64).log_scale(),
                (lowest * 0.8..highest * 1.3).log_scale(),
            )
            .map_err(|e| anyhow!("{e}"))?;
        chart
            .configure_mesh()
            .x_label_formatter(&|n| format!("1 in {n:.0}"))
            .y_label_formatter(&|v| format!("{v:.0}"))
            .draw()
            .map_err(|e| anyhow!("{e}"))?;
        for ((system, durability), line) in lines {
            let stroke = colour(system, durability).stroke_width(2);
            chart
                .draw_series(LineSeries::new(line, stroke))
                .map_err(|e| anyhow!("{e}"))?
                .label(format!("{} {durability:?}", system.name()))
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], stroke));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .draw()
            .map_err(|e| anyhow!("{e}"))?;
        root.present().map_err(|e| anyhow!("{e}"))?;
    }
    Ok(Some(svg))
}

/// (n, latency in us that one in n exceeds)
fn by_rarity(line: &BTreeMap<u64, u64>) -> Vec<(f64, f64)> {
    let total: u64 = line.values().sum();
    let mut above = total;
    let mut points = Vec::new();
    for (&value, &count) in line {
        points.push((total as f64 / above.max(1) as f64, value as f64 / 1e3));
        above -= count;
    }
    points.retain(|p| p.0 <= 10_000.0);
    points
}

/// Ratios of one metric over all points: left of 1 is lower than the left side.
pub fn ratios(rows: &[&Row]) -> Result<String> {
    let height = 60 + 26 * rows.len() as u32;
    let bounds = |r: &&&Row| r.interval.unwrap_or((r.ratio, r.ratio));
    let low = rows.iter().map(|r| bounds(&r).0).fold(0.5, f64::min).max(1e-4) * 0.8;
    let high = rows.iter().map(|r| bounds(&r).1).fold(2.0, f64::max) * 1.25;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (SIZE.0, height)).into_drawing_area();
        root.fill(&WHITE).map_err(|e| anyhow!("{e}"))?;
        let count = rows.len() as f64;
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(250)
            .build_cartesian_2d((low..high).log_scale(), 0.0..count)
            .map_err(|e| anyhow!("{e}"))?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_label_formatter(&|v| format!("{v:.2}"))
            .draw()
            .map_err(|e| anyhow!("{e}"))?;
        chart
            .draw_series(LineSeries::new([(1.0, 0.0), (1.0, count)], BLACK.mix(0.5)))
            .map_err(|e| anyhow!("{e}"))?;
        for (index, row) in rows.iter().enumerate() {
            let y = count - index as f64 - 0.5;
            let (a, b) = bounds(&row);
            let colour = match row.matching {
                Matching::D2 => RGBColor(20, 60, 120),
                Matching::D0 => RGBColor(67, 147, 195),
                Matching::D1 => RGBColor(128, 30, 30),
                Matching::AA => BLACK,
            };
            let interval = PathElement::new(vec![(a, y), (b, y)], colour.stroke_width(2));
            chart.draw_series([interval]).map_err(|e| anyhow!("{e}"))?;
            let dot = Circle::new((row.ratio, y), 4, colour.filled());
            chart.draw_series([dot]).map_err(|e| anyhow!("{e}"))?;
            let label = format!("{:?} {} {}", row.matching, row.id.point, row.metric);
            let style = ("sans-serif", 12).into_font().color(&BLACK);
            root.draw(&Text::new(label, (10, 8 + 26 * index as i32 + 6), style))
                .map_err(|e| anyhow!("{e}"))?;
        }
        root.present().map_err(|e| anyhow!("{e}"))?;
    }
    Ok(svg)
}
