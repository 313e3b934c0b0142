//! The client commands alone, without the broker: `cargo run -p cli --example millrace-client -- topic list`.

use clap::Parser;

#[derive(Parser)]
struct Program {
    #[command(subcommand)]
    command: cli::Command,
}

fn main() {
    std::process::exit(cli::run(Program::parse().command));
}
