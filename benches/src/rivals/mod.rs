//! The systems that are compared: how each is fetched, configured, started and stopped.

mod cluster;
mod kafka;
mod millrace;
mod node;

pub use cluster::{Cluster, Departure, Place};
pub use kafka::java as kafka_tool;
pub use node::Node;

use node::log_tail;
use std::process::Command;

use anyhow::Result;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    Kafka,
    Millrace,
}

/// When a record is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// From memory: Kafka's defaults, Millrace's `memory`.
    Memory,
    /// When synced: Kafka's `flush.messages=1`, Millrace's `disk`.
    Synced,
}

impl System {
    pub fn name(self) -> &'static str {
        match self {
            System::Kafka => "kafka",
            System::Millrace => "millrace",
        }
    }

    /// Topic configs that give this durability.
    pub fn topic_configs(self, durability: Durability) -> Vec<(&'static str, &'static str)> {
        match (self, durability) {
            (System::Kafka, Durability::Memory) => vec![],
            (System::Kafka, Durability::Synced) => vec![("flush.messages", "1")],
            (System::Millrace, Durability::Memory) => vec![("millrace.durability", "memory")],
            (System::Millrace, Durability::Synced) => vec![("millrace.durability", "disk")],
        }
    }

    /// Fetches or finds what the system is run from; called before anything is timed.
    pub fn prepare(self) -> Result<()> {
        match self {
            System::Kafka => kafka::fetch().map(drop),
            System::Millrace => millrace::binary().map(drop),
        }
    }

    /// Version and start-up settings, for the report.
    pub fn describe(self, nodes: u16) -> String {
        match self {
            System::Kafka => kafka::describe(nodes.into()),
            System::Millrace => millrace::describe(nodes.into()),
        }
    }
}

/// The front of a command line: on these CPUs, and killed if this process ends first. Both tools
/// replace themselves, so the process id is the broker's.
fn pinned(cpus: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "-c", cpus]);
    command
}
