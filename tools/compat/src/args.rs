//! The command line of compat.

use clap::{Parser, ValueEnum};

#[derive(Parser)]
#[command(name = "cargo xtask compat", about = "Real clients against a fresh node")]
pub struct Args {
    /// Only suites whose name contains this (may be repeated)
    #[arg(long)]
    pub only: Vec<String>,
    /// The broker to test; a fresh one is started for every suite
    #[arg(long, value_enum, default_value = "millrace")]
    pub broker: Broker,
    /// Test a broker that already runs at host:port instead
    #[arg(long)]
    pub bootstrap: Option<String>,
    /// How many nodes a fresh broker is; with 3 or more, topics have 3 replicas and leaders are killed
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub nodes: u8,
    /// How many suites run at a time; they wait for session timeouts most of their time
    #[arg(long, default_value_t = 4)]
    pub jobs: usize,
    /// Leave data and logs of every node where they are
    #[arg(long)]
    pub keep: bool,
    /// Write the matrix into the README and the results into tools/compat/results
    #[arg(long)]
    pub update: bool,
    /// Compare answers with Apache Kafka's, request by request, instead of running clients
    #[arg(long)]
    pub differential: bool,
    /// With --differential: the seed of the random requests (default: from the clock)
    #[arg(long)]
    pub seed: Option<u64>,
    /// List the suites and end
    #[arg(long)]
    pub list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Broker {
    Millrace,
    /// Apache Kafka from its jars: the reference
    Kafka,
}

impl Broker {
    pub fn name(self) -> &'static str {
        match self {
            Broker::Millrace => "millrace",
            Broker::Kafka => "kafka",
        }
    }
}
