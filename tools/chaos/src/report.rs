//! The report of a run: a page with throughput and faults over time, and the same in words for the console.

use crate::args::Args;
use crate::timeline::{SECOND_NS, Second, Timeline};
use crate::verdict::{self, Verdict};
use anyhow::Result;
use std::fmt::Write;
use std::fs;
use std::path::Path;

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 260.0;
/// Left of and below the plot, for the axes.
const MARGIN: f64 = 48.0;
const COLOURS: [(&str, &str); 3] =
    [("acknowledged", "#1b6ca8"), ("read, all readers together", "#5a8f29"), ("fault", "#e8a0a0")];

/// All that is known of a finished run.
pub struct Run<'a> {
    pub args: &'a Args,
    pub seed: u64,
    pub timeline: &'a Timeline,
    pub verdict: &'a Verdict,
    pub failures: &'a [String],
    /// Producers that met a fatal error and began anew; no failure by itself.
    pub notes: &'a [String],
    pub unknown: u64,
    pub flushes: &'a [u64],
}

impl Run<'_> {
    pub fn passed(&self) -> bool {
        self.verdict.anomalies == 0 && self.failures.is_empty()
    }

    pub fn summary(&self) -> String {
        let mut text = String::new();
        let minutes = self.timeline.seconds.len() as f64 / 60.0;
        let args = self.args;
        let _ = writeln!(
            text,
            "{} nodes, durability {}, seed {}, {minutes:.1} minutes, {} faults",
            args.nodes,
            args.durability.name(),
            self.seed,
            self.timeline.faults.len()
        );
        let metrics = &self.verdict.metrics;
        let _ = writeln!(
            text,
            "{} records acknowledged, {} of unknown fate; {} operations in the history; disks flushed {:?} times",
            self.timeline.total_acknowledged(),
            self.unknown,
            metrics.ops,
            self.flushes
        );
        for (name, count, median, worst) in self.timeline.gaps() {
            let _ = writeln!(
                text,
                "  {name:<16} {count:>4} times; a partition took nothing for {:>6.2} s (median of the worst), {:>6.2} s (worst)",
                seconds(median),
                seconds(worst)
            );
        }
        for (kind, all) in [
            ("note", self.notes),
            (verdict::EXPLAINED, &self.verdict.explained),
            ("FAILED", self.failures),
            ("ANOMALY", &self.verdict.told),
        ] {
            for told in all {
                let _ = writeln!(text, "{kind}: {told}");
            }
        }
        let _ = writeln!(
            text,
            "{} anomalies, {} failures",
            self.verdict.anomalies,
            self.failures.len()
        );
        text
    }

    pub fn write(&self, folder: &Path) -> Result<()> {
        let mut page = String::from(
            "<!doctype html><meta charset=utf-8><title>Millrace under faults</title>\
             <style>body{font:14px/1.5 sans-serif;margin:2em auto;max-width:1250px}\
             td,th{padding:.1em .8em;text-align:left}pre{background:#f4f4f4;padding:1em;overflow:auto}</style>",
        );
        let verdict = if self.passed() { "Passed" } else { "FAILED" };
        let _ = write!(page, "<h1>{verdict}</h1><pre>{}</pre>", escape(&self.summary()));
        page.push_str(&self.plot());
        page.push_str("<table><tr><th>from</th><th>to</th><th>fault</th><th>worst gap</th></tr>");
        for fault in &self.timeline.faults {
            let _ = write!(
                page,
                "<tr><td>{:.0} s</td><td>{:.0} s</td><td>{}</td><td>{:.2} s</td></tr>",
                seconds(fault.from),
                seconds(fault.to),
                escape(&fault.told),
                seconds(fault.worst_gap)
            );
        }
        page.push_str("</table>");
        fs::write(folder.join("report.html"), page)?;
        fs::write(folder.join("summary.txt"), self.summary())?;
        Ok(())
    }

    /// Two lines over bands, with a tip on every band.
    fn plot(&self) -> String {
        let all = &self.timeline.seconds;
        let last = all.len().max(2) - 1;
        let most = all.iter().map(|s| s.acknowledged.max(s.read)).max().unwrap_or(1).max(1);
        let x = |second: f64| MARGIN + second / last as f64 * (WIDTH - MARGIN);
        let y = |count: u32| HEIGHT - f64::from(count) / f64::from(most) * HEIGHT;
        let mut svg = format!(
            "<svg viewBox='0 0 {WIDTH} {}' width='100%' xmlns='http://www.w3.org/2000/svg' font-size='12'>",
            HEIGHT + MARGIN
        );
        for fault in &self.timeline.faults {
            let (from, to) = (x(seconds(fault.from)), x(seconds(fault.to)));
            let _ = write!(
                svg,
                "<rect x='{from:.1}' y='0' width='{:.1}' height='{HEIGHT}' fill='{}' opacity='.45'>\
                 <title>{}</title></rect>",
                (to - from).max(1.0),
                COLOURS[2].1,
                escape(&fault.told)
            );
        }
        let lines: [fn(&Second) -> u32; 2] = [|second| second.acknowledged, |second| second.read];
        for (line, count) in lines.into_iter().enumerate() {
            let points: Vec<String> = (0..)
                .zip(all)
                .map(|(i, second)| format!("{:.1},{:.1}", x(f64::from(i)), y(count(second))))
                .collect();
            let _ = write!(
                svg,
                "<polyline fill='none' stroke='{}' points='{}'/>",
                COLOURS[line].1,
                points.join(" ")
            );
        }
        for (i, (name, colour)) in COLOURS.iter().enumerate() {
            let left = MARGIN + i as f64 * 240.0;
            let _ = write!(
                svg,
                "<rect x='{left}' y='{}' width='12' height='12' fill='{colour}'/>\
                 <text x='{}' y='{}'>{name}</text>",
                HEIGHT + 26.0,
                left + 18.0,
                HEIGHT + 36.0
            );
        }
        let _ = write!(
            svg,
            "<text x='0' y='12'>{most}/s</text><text x='0' y='{HEIGHT}'>0</text>\
             <text x='{MARGIN}' y='{}'>0 s</text><text x='{}' y='{}'>{last} s</text></svg>",
            HEIGHT + 16.0,
            WIDTH - 48.0,
            HEIGHT + 16.0
        );
        svg
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / SECOND_NS as f64
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::Run;
    use crate::args::Args;
    use crate::fault::Fault;
    use crate::timeline::Timeline;
    use crate::verdict::Verdict;
    use clap::Parser;

    #[test]
    fn the_report_shows_faults_failures_and_anomalies() {
        let mut timeline = Timeline::new(0);
        timeline.acknowledged("t-0", 1);
        timeline.end_slot(&Fault::Kill { node: 2 }, 0, 5, 10, 100);
        let verdict = Verdict {
            metrics: Default::default(),
            anomalies: 1,
            told: vec!["t-0: lost <5>".into()],
            explained: vec!["t-1: twice".into()],
        };
        let args = Args::parse_from(["chaos"]);
        let failures = ["node 1 ended".to_owned()];
        let run = Run {
            args: &args,
            seed: 9,
            timeline: &timeline,
            verdict: &verdict,
            failures: &failures,
            notes: &[],
            unknown: 0,
            flushes: &[3],
        };
        assert!(!run.passed());
        let folder = tempfile::tempdir().unwrap();
        run.write(folder.path()).unwrap();
        let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
        for expected in
            ["kill -9 of node 2", "lost &lt;5&gt;", "node 1 ended", "seed 9", "t-1: twice", "<svg"]
        {
            assert!(page.contains(expected), "{expected} is not in {page}");
        }
    }
}
