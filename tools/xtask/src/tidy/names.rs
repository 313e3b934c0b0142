//! Words that may not appear, and words that may appear in one place only.

use super::run::Findings;
use super::tree::{Source, Tree};
use anyhow::Result;

/// Put together at compile time, so that this file does not find itself.
const LATER: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[", "ignore"),
];

/// `runtime` talks to the kernel; `record` has one measured place.
const UNSAFE_HOMES: [&str; 2] = ["net/runtime/", "storage/record/"];

const ERROR_MAP: &str = "broker/src/error_codes.rs";

pub fn nothing_is_left_for_later(tree: &Tree) -> Result<Findings> {
    find(tree, |source, line| {
        let word = LATER.iter().find(|word| line.contains(**word))?;
        Some(format!("`{word}` in {}", source.path))
    })
}

pub fn unsafe_stays_in_its_place(tree: &Tree) -> Result<Findings> {
    find(tree, |source, line| {
        if UNSAFE_HOMES.iter().any(|home| source.path.starts_with(home)) {
            return None;
        }
        let code = line.split("//").next().unwrap_or(line);
        let after = code.split("unsafe ").nth(1)?;
        let begins = ["{", "fn ", "impl ", "extern "];
        let begins = begins.iter().any(|begin| after.starts_with(begin));
        begins.then(|| "only runtime and record speak to the machine themselves".to_owned())
    })
}

/// A second place that turns our errors into Kafka's codes would disagree with the first one sooner or later.
pub fn one_map_to_kafka_codes(tree: &Tree) -> Result<Findings> {
    find(tree, |source, line| {
        if source.path == ERROR_MAP || !source.path.starts_with("broker/src/") {
            return None;
        }
        let converts =
            line.contains("for ErrorCode") && line.contains("impl") && line.contains("From<");
        let maps = line.contains("-> ErrorCode") && line.contains("Error)");
        let maps = maps || (line.contains("-> ErrorCode") && line.contains("Error,"));
        (converts || maps)
            .then(|| format!("errors are mapped to Kafka's codes only in {ERROR_MAP}"))
    })
}

fn find(tree: &Tree, rule: impl Fn(&Source<'_>, &str) -> Option<String>) -> Result<Findings> {
    let mut findings = Findings::new();
    for source in tree.sources() {
        let source = source?;
        for (number, line) in source.text.lines().enumerate() {
            if let Some(what) = rule(&source, line) {
                findings.push(format!("{}:{}: {what}", source.path, number + 1));
            }
        }
    }
    Ok(findings)
}
