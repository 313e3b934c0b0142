//! Where files are, what they are called and how they begin.

use super::run::Findings;
use super::tree::Tree;
use anyhow::Result;
use std::collections::BTreeSet;

const FOLDERS: [&str; 9] =
    [".cargo", ".ci", "benches", "broker", "deploy", "net", "raft", "storage", "tools"];
const FILES: [&str; 11] = [
    ".gitignore",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "rust-toolchain.toml",
    "rustfmt.toml",
];
const FULL_ROOTS: &str = "tools/xtask/full_roots.txt";
const VAGUE: [&str; 7] = ["utils", "util", "helpers", "helper", "common", "manager", "misc"];

pub fn top_level_is_fixed(tree: &Tree) -> Result<Findings> {
    let tops: BTreeSet<(&str, bool)> = tree
        .files
        .iter()
        .map(|path| match path.split_once('/') {
            Some((folder, _)) => (folder, true),
            None => (path.as_str(), false),
        })
        .collect();
    let strange = tops.into_iter().filter(|(name, folder)| match folder {
        true => !FOLDERS.contains(name),
        false => !FILES.contains(name),
    });
    Ok(strange
        .map(|(name, _)| format!("{name} is new at the top; it belongs into one of the folders"))
        .collect())
}

pub fn names_say_what_is_inside(tree: &Tree) -> Result<Findings> {
    let vague = tree.files.iter().filter(|path| {
        let stems = path.split('/').map(|part| part.split('.').next().unwrap_or(part));
        path.ends_with(".rs") && stems.into_iter().any(|stem| VAGUE.contains(&stem))
    });
    Ok(vague.map(|path| format!("{path}: the name does not say what is inside")).collect())
}

pub fn files_open_with_what_they_are(tree: &Tree) -> Result<Findings> {
    let mut findings = Findings::new();
    for source in tree.sources() {
        let source = source?;
        let opens =
            source.text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!"));
        if !opens.is_some_and(|line| line.starts_with("//!")) {
            findings.push(format!("{}: does not open with a `//!` comment", source.path));
        }
    }
    Ok(findings)
}

/// `lib.rs` and `mod.rs` are tables of contents: documentation, `mod`, `pub use`. Those that hold more stand in a list
/// that only shrinks.
pub fn roots_only_list(tree: &Tree) -> Result<Findings> {
    const ITEMS: [&str; 7] = ["fn", "struct", "enum", "trait", "impl", "const", "type"];
    let list = tree.text(FULL_ROOTS)?;
    let mut allowed: BTreeSet<&str> =
        list.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let mut findings = Findings::new();
    for source in tree.sources() {
        let source = source?;
        let root = source.path.ends_with("/lib.rs") || source.path.ends_with("/mod.rs");
        if !root || !source.path.contains("/src/") {
            continue;
        }
        let first = source.text.lines().position(|line| {
            let words = line.split([' ', '<', '!']);
            let mut words =
                words.filter(|word| !["pub", "pub(crate)", "pub(super)", "async"].contains(word));
            words.next().is_some_and(|word| ITEMS.contains(&word))
        });
        match (first, allowed.remove(source.path)) {
            (Some(line), false) => {
                let place = format!("{}:{}", source.path, line + 1);
                findings.push(format!("{place}: what is here belongs into a file of its own"));
            }
            (None, true) => {
                findings
                    .push(format!("{}: only lists now; take it out of {FULL_ROOTS}", source.path));
            }
            _ => {}
        }
    }
    findings.extend(allowed.into_iter().map(|path| format!("{FULL_ROOTS}: {path} does not exist")));
    Ok(findings)
}
