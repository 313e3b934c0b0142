//! The command line of chaos.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;

#[derive(Parser, Debug, Clone)]
#[command(
    name = "cargo xtask chaos",
    about = "Real nodes under real faults, judged by the checker"
)]
pub struct Args {
    /// How long faults rotate; starting, healing and checking come on top
    #[arg(long, default_value_t = 10.0)]
    pub minutes: f64,
    /// How many nodes, 3 to 5
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(3..=5))]
    pub nodes: u32,
    /// When a record counts as safe; also decides which faults it has to survive
    #[arg(long, value_enum, default_value = "disk")]
    pub durability: Durability,
    /// The schedule (default: from the clock)
    #[arg(long)]
    pub seed: Option<u64>,
    /// Only faults whose name contains this (may be repeated); --list names them
    #[arg(long)]
    pub only: Vec<String>,
    /// Seconds from one fault to the next
    #[arg(long, default_value_t = 30)]
    pub slot: u64,
    /// Records per second of all producers together
    #[arg(long, default_value_t = 600)]
    pub rate: u64,
    /// Partitions of the topic
    #[arg(long, default_value_t = 12)]
    pub partitions: u32,
    /// Size of each node's disk
    #[arg(long, default_value_t = 2048)]
    pub disk_mb: u64,
    /// Shards of each node
    #[arg(long, default_value_t = 2)]
    pub shards: u32,
    /// Without the Java clients
    #[arg(long)]
    pub no_java: bool,
    /// Where the report, the history and the logs of the nodes go (default: target/chaos/SEED)
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Judge the history of an earlier run again and end
    #[arg(long, value_name = "HISTORY")]
    pub check: Option<PathBuf>,
    /// Show the schedule and end
    #[arg(long)]
    pub plan: bool,
    /// List the faults and end
    #[arg(long)]
    pub list: bool,
    /// We are in our namespaces already
    #[arg(long, hide = true)]
    pub inside: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// Acknowledged is what a majority has synced: all nodes may lose their power at once
    Disk,
    /// Acknowledged is what a majority has in memory: one node at a time may die
    Memory,
}

impl Durability {
    pub fn name(self) -> &'static str {
        match self {
            Durability::Disk => "disk",
            Durability::Memory => "memory",
        }
    }
}
