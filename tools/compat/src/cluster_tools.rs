//! Apache Kafka's tools for clusters, against several nodes, of which one dies on the way.
//!
//! They share one cluster and one topic; the checks are in the order in which they change it.

use crate::cluster_changes::CHANGES;
use crate::node::leader_of;
use crate::outcome::Report;
use crate::run::Suites;
use crate::tools::{CLUSTER, Kit, TOPICS, shows};
use anyhow::{Result, bail, ensure};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const TOPIC: &str = "cluster";
const PARTITIONS: usize = 6;
const PATIENCE: Duration = Duration::from_secs(60);

pub type Check = (&'static str, fn(&Kit<'_>) -> Result<()>);

const WHOLE: [Check; 5] = [
    ("topics --create, --describe", create),
    ("topics --describe --under-replicated-partitions", nothing_is_under_replicated),
    ("broker-api-versions", every_node_tells_its_versions),
    ("cluster cluster-id", cluster_id),
    ("cluster list-endpoints", endpoints),
];

const WITHOUT_ONE: [Check; 3] = [
    ("topics --under-replicated-partitions, with a dead node", all_are_under_replicated),
    ("topics --at-min-isr-partitions, with a dead node", all_are_at_their_minimum),
    ("topics --unavailable-partitions, with a dead node", none_is_unavailable),
];

const WHOLE_AGAIN: [Check; 1] =
    [("topics --under-replicated-partitions, when it is back", becomes_whole)];

pub fn run(suites: &Suites, report: &mut Report) -> Result<()> {
    let mut node = suites.brokers.fresh()?;
    let kit = Kit { suites, bootstrap: node.bootstrap.clone(), data: node.data.clone() };
    let mut all = |checks: &[Check]| {
        for (name, check) in checks {
            report.note(name, check(&kit));
        }
    };
    all(&WHOLE);
    all(&CHANGES);
    let victim = leader_of(&suites.brokers.millrace, &kit.bootstrap, TOPIC)?;
    node.kill(victim)?;
    all(&WITHOUT_ONE);
    node.start_again()?;
    all(&WHOLE_AGAIN);
    node.check_alive()
}

/// What `topics --describe` says of a partition.
#[derive(Debug)]
struct Row {
    leader: String,
    replicas: Vec<String>,
    in_sync: Vec<String>,
}

fn described(kit: &Kit<'_>, more: &[&str]) -> Result<Vec<Row>> {
    let args = [&["--describe", "--topic", TOPIC][..], more].concat();
    let output = kit.tool(TOPICS, &args)?;
    let rows = output.lines().filter(|line| line.contains("Partition: "));
    let field = |row: &str, name: &str| -> String {
        let rest = row.split(name).nth(1).unwrap_or_default();
        rest.split_whitespace().next().unwrap_or_default().to_owned()
    };
    let list = |text: String| -> Vec<String> { text.split(',').map(str::to_owned).collect() };
    let row = |row: &str| Row {
        leader: field(row, "Leader: "),
        replicas: list(field(row, "Replicas: ")),
        in_sync: list(field(row, "Isr: ")),
    };
    Ok(rows.map(row).collect())
}

fn create(kit: &Kit<'_>) -> Result<()> {
    let (partitions, nodes) = (PARTITIONS.to_string(), kit.suites.brokers.nodes);
    let args = ["--create", "--topic", TOPIC, "--partitions", &partitions];
    shows(&kit.tool(TOPICS, &args)?, &["Created topic cluster."])?;
    // In sync is who has told the leader so; the first round of that may be under way.
    let rows = eventually("all replicas in sync", || {
        let rows = described(kit, &[])?;
        Ok(rows.iter().all(|row| row.in_sync.len() == nodes).then_some(rows))
    })?;
    ensure!(rows.len() == PARTITIONS, "{PARTITIONS} partitions were asked for: {rows:?}");
    let leaders: BTreeSet<&String> = rows.iter().map(|row| &row.leader).collect();
    ensure!(leaders.len() == nodes, "not every node leads some of it: {rows:?}");
    let replicas = rows.iter().all(|row| row.replicas.len() == nodes);
    ensure!(replicas, "not every node has a replica: {rows:?}");
    Ok(())
}

/// Tries again until there is something; the last word if there never is.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask()? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("waited {} s for {what}", PATIENCE.as_secs());
        }
    }
}

fn nothing_is_under_replicated(kit: &Kit<'_>) -> Result<()> {
    let rows = described(kit, &["--under-replicated-partitions"])?;
    ensure!(rows.is_empty(), "all nodes run, and these are listed: {rows:?}");
    Ok(())
}

fn every_node_tells_its_versions(kit: &Kit<'_>) -> Result<()> {
    let output = kit.tool("org.apache.kafka.tools.BrokerApiVersionsCommand", &[])?;
    let nodes = output.lines().filter(|line| line.contains("(id: ")).count();
    ensure!(nodes == kit.suites.brokers.nodes, "{nodes} nodes answered: {output}");
    Ok(())
}

fn cluster_id(kit: &Kit<'_>) -> Result<()> {
    let ask = |server: &str| kit.tool(CLUSTER, &["cluster-id", "--bootstrap-server", server]);
    let servers: Vec<&str> = kit.bootstrap.split(',').collect();
    let first = ask(servers[0])?;
    shows(&first, &["Cluster ID:"])?;
    let other = ask(servers[servers.len() - 1])?;
    ensure!(first == other, "two nodes, two clusters: {first} {other}");
    Ok(())
}

fn endpoints(kit: &Kit<'_>) -> Result<()> {
    let args = ["list-endpoints", "--bootstrap-server", &kit.bootstrap];
    let output = kit.tool(CLUSTER, &args)?;
    let ports = kit.bootstrap.split(',').filter_map(|server| server.split(':').nth(1));
    shows(&output, &ports.collect::<Vec<_>>())
}

fn all_are_under_replicated(kit: &Kit<'_>) -> Result<()> {
    eventually("all partitions to be listed", || {
        let rows = described(kit, &["--under-replicated-partitions"])?;
        Ok((rows.len() == PARTITIONS).then_some(()))
    })
}

/// `min.insync.replicas` is 2 of 3 here, so one dead node leaves just as many.
fn all_are_at_their_minimum(kit: &Kit<'_>) -> Result<()> {
    let rows = described(kit, &["--at-min-isr-partitions"])?;
    ensure!(rows.len() == PARTITIONS, "only these are listed: {rows:?}");
    let under = described(kit, &["--under-min-isr-partitions"])?;
    ensure!(under.is_empty(), "below their minimum: {under:?}");
    Ok(())
}

fn none_is_unavailable(kit: &Kit<'_>) -> Result<()> {
    let rows = described(kit, &["--unavailable-partitions"])?;
    ensure!(rows.is_empty(), "without a leader: {rows:?}");
    Ok(())
}

fn becomes_whole(kit: &Kit<'_>) -> Result<()> {
    eventually("all replicas to be in sync again", || {
        let rows = described(kit, &["--under-replicated-partitions"])?;
        Ok(rows.is_empty().then_some(()))
    })
}
