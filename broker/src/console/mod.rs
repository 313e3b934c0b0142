//! The command line of the `millrace` binary, and what runs beside the shards: logs, HTTP, signals.

mod args;
mod check;
mod http;
mod logs;
mod recover;
mod run_cluster;
mod run_node;

pub use args::run;
pub use http::{render, serve};
