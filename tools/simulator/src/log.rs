//! `--log FILTER`: what the nodes of a run say, each line with the virtual time and the node.

use std::fmt;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

struct Here;

impl FormatTime for Here {
    fn format_time(&self, line: &mut Writer<'_>) -> fmt::Result {
        match runtime::sim::here() {
            Some((time, node)) => write!(line, "{:.6} {node}", time.as_secs_f64()),
            None => Ok(()),
        }
    }
}

/// From now on to standard error: what `filter` lets through, for example `debug` or `raft_group=trace`.
pub fn print(filter: &str) {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_timer(Here)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
}
