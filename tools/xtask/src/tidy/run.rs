//! The list of checks and how their findings are told.

use super::tree::Tree;
use super::{arrows, behaviours, documents, files, format, names, sizes};
use crate::tally::Tally;
use anyhow::Result;

#[derive(clap::Args)]
pub struct Args {
    /// Only checks whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Rewrite what is generated (the API matrix of net/PROTOCOL.md) instead of comparing it
    #[arg(long)]
    write: bool,
}

/// What a check found: one sentence per breach, empty if the rule holds.
pub type Findings = Vec<String>;

type Check = (&'static str, fn(&Tree) -> Result<Findings>);

const CHECKS: [Check; 16] = [
    ("crates point down", arrows::crates_point_down),
    ("only runtime names the ring", arrows::only_runtime_names_the_ring),
    ("no tokio in a shard", arrows::no_tokio_in_a_shard),
    ("dependencies are named once", arrows::dependencies_are_named_once),
    ("top-level folders are fixed", files::top_level_is_fixed),
    ("no file is called utils", files::names_say_what_is_inside),
    ("files open with what they are", files::files_open_with_what_they_are),
    ("lib.rs and mod.rs only list", files::roots_only_list),
    ("files stay short", sizes::files_stay_short),
    ("nothing is left for later", names::nothing_is_left_for_later),
    ("unsafe stays in its place", names::unsafe_stays_in_its_place),
    ("one map to Kafka's codes", names::one_map_to_kafka_codes),
    ("documents name files that exist", documents::paths_exist),
    ("the API matrix is current", documents::api_matrix_is_current),
    ("behaviours are tested", behaviours::behaviours_are_tested),
    ("sources are formatted", format::sources_are_formatted),
];

pub fn run(args: &Args) -> Result<bool> {
    if args.write {
        crate::proto_doc::write()?;
    }
    let tree = Tree::read()?;
    let mut tally = Tally::default();
    for (name, check) in CHECKS {
        if args.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let findings = check(&tree)?;
        match findings.is_empty() {
            true => tally.passed += 1,
            false => tally.failed += 1,
        }
        println!("{} {name}", if findings.is_empty() { "ok    " } else { "FAILED" });
        for finding in &findings {
            println!("         {finding}");
        }
    }
    println!("{tally}");
    Ok(tally.green())
}
