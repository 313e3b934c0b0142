//! The commands and what they share.

use crate::{cluster, consume, group, produce, topic};
use clap::{Args, Subcommand, ValueEnum};
use client::Client;
use std::io::ErrorKind;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create, list, describe and delete topics
    #[command(subcommand)]
    Topic(topic::Command),
    /// Write the lines of standard input as records
    Produce(produce::Args),
    /// Read records
    Consume(consume::Args),
    /// List and describe consumer groups
    #[command(subcommand)]
    Group(group::Command),
    /// Change where data lives
    #[command(subcommand)]
    Cluster(cluster::Command),
}

#[derive(Debug, Args)]
pub struct Connect {
    /// A node of the cluster; several are separated by commas
    #[arg(
        short,
        long,
        visible_alias = "bootstrap-server",
        value_name = "HOST:PORT",
        default_value = "localhost:9092",
        env = "MILLRACE_BOOTSTRAP"
    )]
    pub bootstrap: String,
    /// How results are printed
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
}

impl Connect {
    pub fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(&self.bootstrap)?)
    }
}

/// Runs a command; the exit code is 0, or 1 after one sentence on standard error.
pub fn run(command: Command) -> i32 {
    let done = match command {
        Command::Topic(command) => topic::run(command),
        Command::Produce(args) => produce::run(args),
        Command::Consume(args) => consume::run(args),
        Command::Group(command) => group::run(command),
        Command::Cluster(command) => cluster::run(command),
    };
    match done {
        Ok(()) => 0,
        Err(error) if output_closed(&error) => 0,
        Err(error) => {
            eprintln!("millrace: {error:#}");
            1
        }
    }
}

/// `millrace consume t | head` is no failure.
fn output_closed(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::Command;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        _command: Command,
    }

    fn accepts(line: &str) -> bool {
        Program::try_parse_from(line.split(' ')).is_ok()
    }

    #[test]
    fn the_commands_of_the_readme_are_understood() {
        for line in [
            "millrace topic create t",
            "millrace topic create t --partitions 3 --replication 1 --config retention.ms=1000 --config cleanup.policy=delete",
            "millrace topic list -o json --bootstrap other:9092",
            "millrace topic describe t",
            "millrace topic delete t",
            "millrace topic alter t --replication 3 --dry-run",
            "millrace cluster drain 3 --dry-run",
            "millrace cluster balance --dry-run -o json",
            "millrace cluster remove 3 --dry-run",
            "millrace cluster remove 3 --timeout 60 --bootstrap other:9092",
            "millrace produce t --key-separator : --codec zstd --header a=b",
            "millrace consume t --from 2026-01-01T00:00:00Z --count 5 -o json",
            "millrace consume t --partition 1 --from 17",
            "millrace group list",
            "millrace group describe g -o table",
        ] {
            assert!(accepts(line), "{line}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "millrace topic",
            "millrace topic create",
            "millrace produce t --codec rar",
            "millrace consume t --from soon",
            "millrace consume t --from 2024-02-31",
        ] {
            assert!(!accepts(line), "{line}");
        }
    }
}
