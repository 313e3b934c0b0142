//! A file past 500 lines has a second noun in it. Those that are longer stand in `tools/xtask/long_files.txt` with
//! their length; the list only shrinks: a listed file may not grow, and leaves the list when it is short.

use super::run::Findings;
use super::tree::Tree;
use anyhow::{Context, Result};
use std::collections::BTreeMap;

const LINES_MAX: usize = 500;
const LIST: &str = "tools/xtask/long_files.txt";

pub fn files_stay_short(tree: &Tree) -> Result<Findings> {
    let list = tree.text(LIST)?;
    let mut allowed = parse(&list)?;
    let mut findings = Findings::new();
    for source in tree.sources() {
        let source = source?;
        let lines = source.text.lines().count();
        match allowed.remove(source.path) {
            None if lines > LINES_MAX => {
                findings.push(format!(
                    "{}: {lines} lines; past {LINES_MAX} look for the second noun",
                    source.path
                ));
            }
            Some(limit) if lines > limit => {
                findings.push(format!(
                    "{}: grew from {limit} to {lines} lines; {LIST} only shrinks",
                    source.path
                ));
            }
            Some(_) if lines <= LINES_MAX => {
                findings.push(format!("{}: short again; take it out of {LIST}", source.path));
            }
            _ => {}
        }
    }
    findings.extend(allowed.into_keys().map(|path| format!("{LIST}: {path} does not exist")));
    Ok(findings)
}

/// Lines `path length`; `#` begins a comment.
fn parse(list: &str) -> Result<BTreeMap<&str, usize>> {
    let lines = list.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let (path, limit) =
                line.split_once(' ').with_context(|| format!("{LIST}: `{line}`"))?;
            Ok((path, limit.trim().parse().with_context(|| format!("{LIST}: `{line}`"))?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_list_has_paths_with_lengths_and_comments() {
        let list = parse("# why\nbroker/src/a.rs 612\n\n").unwrap();
        assert_eq!(list.into_iter().collect::<Vec<_>>(), [("broker/src/a.rs", 612)]);
        assert!(parse("broker/src/a.rs").is_err());
    }
}
