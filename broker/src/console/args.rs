//! Commands and options.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use super::{check, recover, run_cluster, run_node};

/// Millrace: an event-streaming broker that speaks the Apache Kafka protocol.
#[derive(Parser)]
#[command(name = "millrace", version, about, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a broker for development: no configuration file, topics are created on first use.
    Dev(DevArgs),
    /// Run a broker from a server.properties file (Kafka's keys; ours begin with `millrace.`).
    Start(StartArgs),
    /// After most nodes are lost for good: go on with one that is left, without all others.
    Recover(RecoverArgs),
    /// Look at this host and say what to change before a broker runs on it.
    Check(CheckArgs),
    #[command(flatten)]
    Client(cli::Command),
}

#[derive(clap::Args)]
pub(super) struct DevArgs {
    /// Port for clients on 127.0.0.1; 0 lets the system choose.
    #[arg(long, short, default_value_t = 9092)]
    pub port: u16,
    /// Keep data here; without it, in a temporary directory that is removed at a clean stop.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Number of nodes, each a process of its own; clients reach them on ports from PORT on.
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub nodes: u16,
    /// Number of shards (threads) of each node; default: one per CPU.
    #[arg(long)]
    pub shards: Option<usize>,
    /// Set any key of server.properties, as in `--set log.retention.ms=60000`; repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(clap::Args)]
pub(super) struct StartArgs {
    /// The server.properties file.
    #[arg(long, short)]
    pub config: PathBuf,
    /// Override a key of the file; repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// If the data directory is empty, begin a new cluster with this node as its only voter; others join it by
    /// controller.quorum.bootstrap.servers.
    #[arg(long)]
    pub standalone: bool,
}

#[derive(clap::Args)]
pub(super) struct RecoverArgs {
    /// The server.properties file of the node that is left, which must not run.
    #[arg(long, short)]
    pub config: PathBuf,
    /// Override a key of the file; repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Give up all other nodes, and what they have that this one has not. Without it this command only says what that is.
    #[arg(long)]
    pub yes_lose_data: bool,
}

#[derive(clap::Args)]
struct CheckArgs {
    /// The data directory the broker will use.
    #[arg(long, default_value = ".")]
    data: PathBuf,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Parses the command line and runs the command.
pub fn run() -> ExitCode {
    let code = match Args::parse().command {
        Command::Dev(args) if args.nodes > 1 => run_cluster::dev(args),
        Command::Dev(args) => run_node::dev(args),
        Command::Start(args) => run_node::start(args),
        Command::Recover(args) => recover::run(args),
        Command::Check(args) => {
            check::report(&check::inspect(&args.data), args.output == Output::Json)
        }
        Command::Client(command) => cli::run(command),
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
