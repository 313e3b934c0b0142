//! The systems that are compared: how each is fetched, configured, started and stopped.

mod kafka;
mod millrace;
mod node;

pub use node::{Node, log_tail};

use std::net::SocketAddr;
use std::path::Path;
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
    pub fn describe(self) -> String {
        match self {
            System::Kafka => kafka::describe(),
            System::Millrace => millrace::describe(),
        }
    }

    /// Writes the configuration and, for Kafka, formats the directory. A directory that was used
    /// before keeps its data.
    pub fn format(self, dir: &Path, address: SocketAddr) -> Result<()> {
        match self {
            System::Kafka => kafka::format(dir, address),
            System::Millrace => millrace::format(dir, address),
        }
    }

    /// Starts the formatted node on these CPUs; returns at once.
    pub fn start(self, dir: &Path, address: SocketAddr, cpus: &str) -> Result<Node> {
        self.start_in(dir, address, cpus, &[])
    }

    /// As `start`, with additions to the environment.
    pub fn start_in(
        self,
        dir: &Path,
        address: SocketAddr,
        cpus: &str,
        environment: &[(&str, &Path)],
    ) -> Result<Node> {
        let mut command = match self {
            System::Kafka => kafka::command(dir, cpus)?,
            System::Millrace => millrace::command(dir, cpus)?,
        };
        command.envs(environment.iter().copied());
        Node::spawn(command, dir, address)
    }
}

/// The front of a command line: on these CPUs, and killed if this process ends first. Both tools
/// replace themselves, so the process id is the broker's.
fn pinned(cpus: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "-c", cpus]);
    command
}
