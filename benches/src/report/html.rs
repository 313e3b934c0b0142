//! The HTML report: conditions, tables, plots.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;

use super::table::{named, number};
use super::{Conditions, plots};
use crate::comparison::Row;
use crate::interleave::Measured;
use crate::metric::{Better, metric};
use crate::sample::PointId;
use crate::scenarios::title;

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;\
    padding:0 1em;color:#222}table{border-collapse:collapse;margin:1em 0}td,th{padding:2px 10px;\
    border-bottom:1px solid #ddd;text-align:right}td:nth-child(-n+3),th:nth-child(-n+3)\
    {text-align:left}.good{color:#06632f;font-weight:600}.bad{color:#a11;font-weight:600}\
    .noisy{color:#999}svg{max-width:100%;height:auto}";

pub fn page(conditions: &Conditions, rows: &[Row], all: &[Measured]) -> Result<String> {
    let mut out = format!(
        "<!doctype html><meta charset=utf-8><title>Millrace benchmarks</title>\
         <style>{STYLE}</style><h1>Millrace benchmarks</h1>"
    );
    conditions_list(&mut out, conditions);
    let ids: BTreeSet<&PointId> = all.iter().map(|m| &m.sample.id).collect();
    let scenarios: BTreeSet<u8> = ids.iter().map(|id| id.scenario).collect();
    for scenario in scenarios {
        let _ = write!(out, "<h2>{scenario}. {}</h2>", escape(title(scenario)));
        let mine: Vec<&Row> = rows.iter().filter(|r| r.id.scenario == scenario).collect();
        if !mine.is_empty() {
            rows_table(&mut out, &mine);
            out.push_str(&plots::ratios(&mine)?);
        }
        for id in ids.iter().filter(|id| id.scenario == scenario) {
            for what in ["produce", "end-to-end"] {
                if let Some(svg) = plots::latency(id, what, all)? {
                    let _ = write!(out, "<p>{svg}</p>");
                }
            }
        }
    }
    Ok(out)
}

fn conditions_list(out: &mut String, conditions: &Conditions) {
    out.push_str("<ul>");
    for (name, value) in &conditions.facts {
        let _ = write!(out, "<li>{}: {}", escape(name), escape(value));
    }
    for (side, system) in ["left", "right"].iter().zip(&conditions.systems) {
        let _ = write!(out, "<li>{side}: {}", escape(system));
    }
    let _ = write!(
        out,
        "<li>broker on CPU {}, load on CPU {}; {} pairs of blocks, {:.0} s per point, warmed up \
         {:.0} s<li>ratio: right / left per pair, median and bootstrap 95 % interval<li>D0: both \
         acknowledge from memory; D1: both sync first; D2: Millrace syncs, Kafka does not</ul>",
        conditions.broker_cpus,
        conditions.load_cpus,
        conditions.pairs,
        conditions.seconds,
        conditions.warm_up
    );
}

fn rows_table(out: &mut String, rows: &[&Row]) {
    out.push_str(
        "<table><tr><th>point<th>durability<th>metric<th>left<th>right<th>ratio<th>95 %<th>pairs",
    );
    for row in rows {
        let lower_is_better = metric(row.metric).is_some_and(|m| m.better == Better::Lower);
        let class = match (row.noisy, row.interval) {
            (true, _) => "noisy",
            (_, Some((_, high))) if high < 1.0 => {
                if lower_is_better {
                    "good"
                } else {
                    "bad"
                }
            }
            (_, Some((low, _))) if low > 1.0 => {
                if lower_is_better {
                    "bad"
                } else {
                    "good"
                }
            }
            _ => "",
        };
        let interval = row.interval.map_or(String::new(), |(a, b)| format!("{a:.2} - {b:.2}"));
        let _ = write!(
            out,
            "<tr class='{class}'><td>{}<td>{:?}<td>{}<td>{}<td>{}<td>{:.2}<td>{interval}<td>{}{}",
            escape(&row.id.point),
            row.matching,
            escape(&named(row.metric, row.unit)),
            number(row.left),
            number(row.right),
            row.ratio,
            row.pairs,
            if row.noisy { " noisy" } else { "" },
        );
    }
    out.push_str("</table>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
