//! `--differential`: the same requests to Apache Kafka and to the broker under test, the answers compared.
//!
//! The program is Java (`differential/`), for Kafka's jars hold the schema of every request and answer. Both brokers are
//! fresh and start from the same `server.properties`, apart from ports and folders.

use crate::args::Broker;
use crate::jars::Jars;
use crate::node::{Brokers, fresh_folder};
use anyhow::{Context, Result};
use std::time::{SystemTime, UNIX_EPOCH};

/// Runs it with this seed, or one from the clock; what it prints goes to standard output. True if no answer differs.
pub fn run(brokers: &Brokers, jars: &Jars, seed: Option<u64>) -> Result<bool> {
    let seed = match seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    let reference = brokers.start(Broker::Kafka, &fresh_folder()?)?;
    let mut tested = brokers.fresh_with_properties()?;
    let mut java = jars.java("differential.Differential");
    java.args([&reference.bootstrap, &tested.bootstrap, &seed.to_string()]);
    let status = java.status().context("cannot start java")?;
    tested.check_alive()?;
    Ok(status.success())
}
