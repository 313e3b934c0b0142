//! The results as a file and as the matrix in the README.
//!
//! `tools/compat/results/{millrace,kafka}.json` hold the last recorded runs (`--update`), `...-cluster.json` those with several
//! nodes; each matrix shows Millrace's, with a note for each thing that does not pass and whether Apache Kafka passes it.

use crate::args::Broker;
use crate::outcome::{Kind, Outcome, Report, Scenario};
use crate::scenarios;
use anyhow::{Context, Result};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// How the place of the matrix in the README, and the files of its results, are called.
fn place(nodes: usize) -> &'static str {
    if nodes > 1 { "compat-cluster" } else { "compat" }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

fn results(broker: Broker, nodes: usize) -> PathBuf {
    let several = if nodes > 1 { "-cluster" } else { "" };
    root().join(format!("tools/compat/results/{}{several}.json", broker.name()))
}

fn load(file: &Path) -> Result<Vec<Report>> {
    match fs::read(file) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", file.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// What Apache Kafka passed when it was last asked.
pub fn reference(nodes: usize) -> Result<Vec<Report>> {
    load(&results(Broker::Kafka, nodes))
}

pub fn fails_on_kafka(reference: &[Report], report: &Report, scenario: &Scenario) -> bool {
    let kafka = reference.iter().find(|kafka| kafka.suite == report.suite);
    matches!(kafka.and_then(|kafka| kafka.outcome(&scenario.name)), Some(Outcome::Failed(_)))
}

/// Always beside the build, and with `update` into the repository; suites that did not run keep what is recorded.
pub fn save(broker: Broker, nodes: usize, reports: &[Report], update: bool) -> Result<()> {
    let latest = root().join("target/compat");
    fs::create_dir_all(&latest)?;
    write_json(&latest.join(format!("{}.json", broker.name())), reports)?;
    if !update {
        return Ok(());
    }
    let recorded = results(broker, nodes);
    let merged = merge(load(&recorded)?, reports);
    fs::create_dir_all(recorded.parent().context("a file without a folder")?)?;
    write_json(&recorded, &merged)?;
    write_readme(nodes, &load(&results(Broker::Millrace, nodes))?, &reference(nodes)?)
}

fn write_json(file: &Path, reports: &[Report]) -> Result<()> {
    let text = serde_json::to_string_pretty(reports)? + "\n";
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn merge(mut recorded: Vec<Report>, new: &[Report]) -> Vec<Report> {
    for report in new {
        match recorded.iter_mut().find(|old| old.suite == report.suite) {
            Some(old) => *old = report.clone(),
            None => recorded.push(report.clone()),
        }
    }
    recorded
}

fn write_readme(nodes: usize, reports: &[Report], reference: &[Report]) -> Result<()> {
    let file = root().join("README.md");
    let readme = fs::read_to_string(&file).unwrap_or_default();
    let (first, last) =
        (format!("<!-- {}:begin -->", place(nodes)), format!("<!-- {}:end -->", place(nodes)));
    let (Some(begin), Some(end)) = (readme.find(&first), readme.find(&last)) else {
        eprintln!("README.md has no place for the matrix: {first} and {last}");
        return Ok(());
    };
    let matrix = render(&scenarios::names(nodes), reports, reference);
    let text = format!("{}{first}\n{matrix}{}", &readme[..begin], &readme[end..]);
    fs::write(file, text).context("cannot write README.md")
}

/// The matrix of clients, the lists, and the notes.
fn render(names: &[&str], reports: &[Report], reference: &[Report]) -> String {
    let mut text = String::new();
    let mut notes = Notes { reference, list: Vec::new() };
    let _ = writeln!(text, "| client | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|{}", ":-:|".repeat(names.len()));
    for report in reports.iter().filter(|report| report.kind == Kind::Client) {
        let cells: Vec<String> = names.iter().map(|name| notes.cell(report, name)).collect();
        let _ = writeln!(text, "| {} | {} |", report.title, cells.join(" | "));
    }
    for report in reports.iter().filter(|report| report.kind == Kind::List) {
        let items: Vec<String> = report
            .scenarios
            .iter()
            .map(|scenario| format!("`{}` {}", scenario.name, notes.cell(report, &scenario.name)))
            .collect();
        let _ = writeln!(text, "\n{}: {}.", report.title, items.join(", "));
    }
    for (number, note) in notes.list.iter().enumerate() {
        let _ = writeln!(text, "{}{}. {note}", if number == 0 { "\n" } else { "" }, number + 1);
    }
    text
}

struct Notes<'a> {
    reference: &'a [Report],
    list: Vec<String>,
}

impl Notes<'_> {
    fn cell(&mut self, report: &Report, name: &str) -> String {
        match report.outcome(name) {
            Some(Outcome::Passed) => "✓".to_owned(),
            Some(Outcome::Absent) => "–".to_owned(),
            None => "not run".to_owned(),
            Some(Outcome::Failed(why)) => {
                let scenario =
                    Scenario { name: name.to_owned(), outcome: Outcome::Failed(why.clone()) };
                let there = match fails_on_kafka(self.reference, report, &scenario) {
                    true => "Apache Kafka gets the same.",
                    false => "Apache Kafka passes it.",
                };
                self.list.push(format!(
                    "{}, {name}: {}. {there}",
                    report.title,
                    why.trim_end_matches('.')
                ));
                format!("✗ ({})", self.list.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::outcome::{Kind, Report};
    use crate::scenarios;
    use anyhow::anyhow;

    #[test]
    fn failures_have_a_note_that_says_whether_kafka_passes() {
        let mut ours = Report::new("kafkajs", "kafkajs 2", Kind::Client);
        ours.note("produce", Ok(()));
        ours.note("headers", Err(anyhow!("lost.")));
        ours.note("crash", Err(anyhow!("slow")));
        ours.absent("zstd");
        let mut kafka = Report::new("kafkajs", "kafkajs 2", Kind::Client);
        kafka.note("headers", Ok(()));
        kafka.note("crash", Err(anyhow!("slow")));
        let text = render(&scenarios::names(1), &[ours], &[kafka]);
        assert!(text.contains("| kafkajs 2 | not run | ✓ | not run | ✗ (1) |"), "{text}");
        assert!(text.contains("1. kafkajs 2, headers: lost. Apache Kafka passes it."), "{text}");
        assert!(text.contains("2. kafkajs 2, crash: slow. Apache Kafka gets the same."), "{text}");
    }
}
