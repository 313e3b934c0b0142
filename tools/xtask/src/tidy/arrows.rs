//! Who may depend on whom, from `cargo metadata`: the picture in ARCHITECTURE.md as a table.
//!
//! Normal dependencies only: a test may borrow from anywhere (dev-dependencies), a shipped crate may not.

use super::run::Findings;
use super::tree::Tree;
use crate::step;
use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, Package, PackageId};
use std::collections::{BTreeMap, BTreeSet};

/// Crate and those of our crates that it may use. What is absent here is not an accident: `server` does not know what
/// a partition is, `storage` knows neither topics nor Raft, `raft_group` no sockets, `protocol` never sees one.
const ARROWS: [(&str, &[&str]); 18] = [
    ("runtime", &[]),
    ("protocol", &[]),
    ("record", &[]),
    ("config", &[]),
    ("coordinator", &[]),
    ("checker", &[]),
    ("xtask", &[]),
    ("server", &["protocol", "runtime"]),
    ("rpc", &["runtime"]),
    ("storage", &["record", "runtime"]),
    ("raft_group", &["storage", "runtime"]),
    ("client", &["protocol", "record"]),
    ("cli", &["client"]),
    ("compat", &["client"]),
    ("chaos", &["checker", "client", "compat"]),
    // The binary carries the command-line client; the library does not call it.
    (
        "broker",
        &[
            "runtime",
            "protocol",
            "server",
            "rpc",
            "record",
            "storage",
            "raft_group",
            "config",
            "coordinator",
            "cli",
        ],
    ),
    (
        "simulator",
        &[
            "runtime",
            "protocol",
            "server",
            "rpc",
            "record",
            "storage",
            "raft_group",
            "config",
            "broker",
            "checker",
        ],
    ),
    (
        "benches",
        &["runtime", "protocol", "server", "record", "storage", "raft_group", "broker", "client"],
    ),
];

const RING: [&str; 2] = ["glommio", "io-uring"];
const RING_OWNER: &str = "runtime";

/// Crates of which some part runs on a shard.
const SHARD_CRATES: [&str; 10] = [
    "runtime",
    "protocol",
    "server",
    "rpc",
    "record",
    "storage",
    "raft_group",
    "config",
    "coordinator",
    "broker",
];
const OTHER_EXECUTORS: [&str; 3] = ["tokio", "async-std", "smol"];

fn members(metadata: &Metadata) -> Vec<&Package> {
    metadata.workspace_packages()
}

fn normal(package: &Package) -> impl Iterator<Item = &str> {
    let normal = package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development);
    normal.map(|dependency| dependency.name.as_str())
}

pub fn crates_point_down(tree: &Tree) -> Result<Findings> {
    let members = members(&tree.metadata);
    let ours: BTreeSet<&str> = members.iter().map(|package| package.name.as_str()).collect();
    let table: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut findings = Findings::new();
    for package in members {
        let name = package.name.as_str();
        let Some(allowed) = table.get(name) else {
            findings.push(format!("crate {name} has no row in tools/xtask/src/tidy/arrows.rs"));
            continue;
        };
        for used in normal(package).filter(|used| ours.contains(used) && !allowed.contains(used)) {
            findings.push(format!("{name} -> {used} is not an arrow of the architecture"));
        }
    }
    Ok(findings)
}

pub fn only_runtime_names_the_ring(tree: &Tree) -> Result<Findings> {
    let mut findings = Findings::new();
    for package in
        members(&tree.metadata).iter().filter(|package| package.name.as_str() != RING_OWNER)
    {
        for used in package.dependencies.iter().filter(|used| RING.contains(&used.name.as_str())) {
            findings
                .push(format!("{} depends on {}; only {RING_OWNER} may", package.name, used.name));
        }
    }
    Ok(findings)
}

/// Not only by name: nothing that a shard crate pulls in may bring another executor.
pub fn no_tokio_in_a_shard(tree: &Tree) -> Result<Findings> {
    let metadata = &tree.metadata;
    let mut findings = Findings::new();
    for package in
        members(metadata).iter().filter(|package| SHARD_CRATES.contains(&package.name.as_str()))
    {
        for reached in reachable(metadata, &package.id)? {
            let reached = &metadata[&reached];
            if OTHER_EXECUTORS.contains(&reached.name.as_str()) {
                findings.push(format!("{} brings in {}", package.name, reached.name));
            }
        }
    }
    Ok(findings)
}

/// Everything that is linked when `from` is, in the features that the workspace resolves.
fn reachable(metadata: &Metadata, from: &PackageId) -> Result<BTreeSet<PackageId>> {
    let nodes = &metadata.resolve.as_ref().context("cargo metadata without a resolution")?.nodes;
    let nodes: BTreeMap<&PackageId, _> = nodes.iter().map(|node| (&node.id, node)).collect();
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(id) = open.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        let node = nodes.get(id).context("a package that is not resolved")?;
        let linked = node
            .deps
            .iter()
            .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
        open.extend(linked.map(|dep| &dep.pkg));
    }
    Ok(seen)
}

/// Versions stand in the root manifest; a crate says only `x.workspace = true`.
pub fn dependencies_are_named_once(tree: &Tree) -> Result<Findings> {
    let mut findings = Findings::new();
    for package in members(&tree.metadata) {
        let manifest =
            package.manifest_path.strip_prefix(step::root()).unwrap_or(&package.manifest_path);
        let text = tree.text(manifest.as_str())?;
        let mut inside = false;
        for (number, line) in text.lines().enumerate() {
            if line.starts_with('[') {
                inside = line.contains("dependencies");
            } else if inside
                && line.contains('=')
                && !line.contains("workspace = true")
                && !line.contains("path = ")
            {
                findings.push(format!(
                    "{manifest}:{}: {} names its own version",
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    Ok(findings)
}
