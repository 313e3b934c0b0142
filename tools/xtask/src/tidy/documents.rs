//! Documents that name files, and documents that are generated.

use super::run::Findings;
use super::tree::Tree;
use crate::{proto_doc, step};
use anyhow::Result;

/// Paths in tables and in relative links have to exist. Words in backticks count in the README's tables only: there they
/// are promises of where to look, elsewhere they may be anything.
pub fn paths_exist(tree: &Tree) -> Result<Findings> {
    let mut findings = Findings::new();
    for document in tree.files.iter().filter(|path| path.ends_with(".md")) {
        let text = tree.text(document)?;
        let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut where_to_look = false;
        for (number, line) in text.lines().enumerate() {
            if line.starts_with('#') {
                where_to_look = line.to_lowercase().contains("where to look");
            }
            let named = match where_to_look && line.starts_with('|') {
                true => quoted_paths(line),
                false => Vec::new(),
            };
            let beside = step::root().join(folder);
            for path in links(line).into_iter().filter(|path| !beside.join(path).exists()) {
                findings.push(format!("{document}:{}: {path} does not exist", number + 1));
            }
            // In a table a path may be from the root or from the document.
            let named = named.into_iter().filter(|path| !beside.join(path).exists());
            for path in named.filter(|path| !step::root().join(path).exists()) {
                findings.push(format!("{document}:{}: {path} does not exist", number + 1));
            }
        }
    }
    Ok(findings)
}

/// Words in backticks that look like a path: with a slash or a file's extension, without blanks and wildcards.
fn quoted_paths(line: &str) -> Vec<&str> {
    let quoted = line.split('`').skip(1).step_by(2);
    quoted
        .filter(|word| {
            word.contains('/') || [".md", ".rs", ".toml"].iter().any(|end| word.ends_with(end))
        })
        .filter(|word| !word.contains(|c: char| c.is_whitespace() || "*<>{}=:$".contains(c)))
        .collect()
}

/// Targets of `[text](target)` that are files of the repository.
fn links(line: &str) -> Vec<&str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local = targets
        .filter(|target| !target.contains("://") && !target.starts_with('#') && !target.is_empty());
    local
        .filter_map(|target| target.split('#').next())
        .filter(|target| !target.contains(' '))
        .collect()
}

pub fn api_matrix_is_current(_tree: &Tree) -> Result<Findings> {
    proto_doc::check()
}

#[cfg(test)]
mod tests {
    use super::{links, quoted_paths};

    #[test]
    fn paths_are_read_from_tables_and_links() {
        assert_eq!(
            quoted_paths("| a task | `net/x.rs`, `cargo run`, `README.md` |"),
            ["net/x.rs", "README.md"]
        );
        assert_eq!(links("see [a](b/c.md#part), [web](https://x.y) and [here](#top)"), ["b/c.md"]);
    }
}
