//! `--differential`: the same requests to Apache Kafka and to the broker under test, the answers compared.
//!
//! The program is Java (`differential/`), for Kafka's jars hold the schema of every request and answer. Both brokers are
//! fresh and start from the same `server.properties`, apart from ports and folders. With `--nodes` both are clusters, and
//! what says something about several nodes is compared.

use crate::args::Broker;
use crate::jars::Jars;
use crate::node::{Brokers, Node, fresh_folder};
use anyhow::{Context, Result};
use std::time::{SystemTime, UNIX_EPOCH};

/// Runs it with this seed, or one from the clock; what it prints goes to standard output. True if no answer differs.
pub fn run(brokers: &Brokers, jars: &Jars, seed: Option<u64>) -> Result<bool> {
    let seed = match seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    let (reference, mut tested) = match brokers.nodes {
        1 => (brokers.start(Broker::Kafka, &fresh_folder()?)?, brokers.fresh_with_properties()?),
        _ => (brokers.cluster(Broker::Kafka, &fresh_folder()?)?, brokers.fresh()?),
    };
    let first = |node: &Node| node.bootstrap.split(',').next().unwrap_or_default().to_owned();
    let mut java = jars.java("differential.Differential");
    java.args([first(&reference), first(&tested)]);
    java.args([seed.to_string(), brokers.nodes.to_string()]);
    let status = java.status().context("cannot start java")?;
    tested.check_alive()?;
    Ok(status.success())
}
