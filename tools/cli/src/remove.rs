//! `millrace cluster remove`: a node leaves the cluster for good.
//!
//! In this order, so that nothing is ever at risk: everything moves away from it, its vote on metadata is taken, it is
//! stopped (by whoever runs it), it is forgotten. Each step looks at how things are and does what is left to do, so the
//! command can be interrupted and repeated. What would leave a partition or the metadata without a majority is refused
//! before anything happens.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use client::{Client, Registered, Voter};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::cluster::{How, LOOK_AGAIN, carry_out, sentence};
use crate::command::Connect;
use crate::output::{done, list, note};
use crate::plan;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its node.id
    node: i32,
    #[command(flatten)]
    how: How,
    /// How many seconds to wait for the node to be stopped; without it as long as that takes
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    #[command(flatten)]
    connect: Connect,
}

pub fn run(args: &Args) -> Result<()> {
    let (node, output) = (args.node, args.connect.output);
    let mut client = beside(&mut args.connect.client()?, node)?;
    let (nodes, voters) = (client.registered_nodes()?, client.voters()?);
    if !is_known(&mut client, node, &nodes, &voters)? {
        let known: Vec<i32> = nodes.iter().map(|node| node.id).collect();
        let sentence =
            format!("node {node} is not part of the cluster; its nodes are {}", list(&known));
        return done(output, &sentence, &json!({ "removed": node }));
    }
    check_votes(node, &nodes, &voters)?;
    if args.how.dry_run {
        let steps = plan::drain(&client.live_nodes()?, &client.assignments()?, node);
        carry_out(&mut client, &steps.map_err(sentence)?, args.how, output)?;
        return Ok(());
    }
    let mut is_told = false;
    let since = Instant::now();
    loop {
        empty(&mut client, args)?;
        if let Some(voter) = client.voters()?.into_iter().find(|voter| voter.id == node) {
            client.remove_voter(voter)?;
        }
        if !client.registered_nodes()?.contains(&Registered { id: node, alive: true }) {
            client.unregister(node)?;
            // a topic may have been created since
            if !has_replicas(&mut client, node)? {
                break;
            }
            continue;
        }
        if args.timeout.is_some_and(|most| since.elapsed() >= Duration::from_secs(most)) {
            bail!(
                "node {node} has no replicas and no vote any more, but it runs; stop it, then remove it again"
            );
        }
        if !is_told {
            note(&format!("node {node} has no replicas and no vote any more; stop it now"));
            is_told = true;
        }
        sleep(LOOK_AGAIN);
    }
    let voters: Vec<i32> = client.voters()?.iter().map(|voter| voter.id).collect();
    if voters.len().is_multiple_of(2) {
        note(&format!(
            "nodes {} vote on metadata now; an odd number bears the same failures with one node less, or \
             more with one node more (kafka-metadata-quorum add-controller)",
            list(&voters)
        ));
    }
    done(output, &format!("node {node} is removed"), &json!({ "removed": node }))
}

/// A client that does not depend on the node that goes.
fn beside(client: &mut Client, node: i32) -> Result<Client> {
    let mut others = client.live_nodes()?;
    others.retain(|other| other.id != node);
    if others.is_empty() {
        bail!("node {node} cannot be removed: no other node is alive");
    }
    let addresses: Vec<String> = others.into_iter().map(|other| other.address).collect();
    Ok(Client::connect(&addresses.join(","))?)
}

fn has_replicas(client: &mut Client, node: i32) -> Result<bool> {
    Ok(client.assignments()?.iter().any(|partition| partition.replicas.contains(&node)))
}

/// Whether there is anything left to remove.
fn is_known(
    client: &mut Client,
    node: i32,
    nodes: &[Registered],
    voters: &[Voter],
) -> Result<bool> {
    let is_member = nodes.iter().any(|other| other.id == node);
    let votes = voters.iter().any(|voter| voter.id == node);
    Ok(is_member || votes || has_replicas(client, node)?)
}

/// The others must be able to decide without it; before anything is moved.
fn check_votes(node: i32, nodes: &[Registered], voters: &[Voter]) -> Result<()> {
    let votes = |id: i32| voters.iter().any(|voter| voter.id == id);
    if !votes(node) {
        return Ok(());
    }
    let left: Vec<i32> = voters.iter().map(|voter| voter.id).filter(|id| *id != node).collect();
    if left.is_empty() {
        bail!(
            "node {node} cannot be removed: no other node votes on metadata; let another one vote first \
             (kafka-metadata-quorum add-controller)"
        );
    }
    let is_alive = |id: &&i32| nodes.contains(&Registered { id: **id, alive: true });
    let alive = left.iter().filter(is_alive).count();
    if 2 * alive <= left.len() {
        bail!(
            "node {node} cannot be removed: nodes {} would decide about metadata, of which {alive} are alive, \
             and a majority has to be; start them again, or remove those first that are dead",
            list(&left)
        );
    }
    Ok(())
}

/// Moves everything away from the node: what an earlier attempt began comes to its end first.
fn empty(client: &mut Client, args: &Args) -> Result<()> {
    let node = args.node;
    let coming: Vec<(String, i32)> = client
        .reassignments()?
        .into_iter()
        .filter(|moving| moving.adding.contains(&node))
        .map(|moving| (moving.topic, moving.partition))
        .collect();
    if !coming.is_empty() {
        client.cancel_reassignment(&coming)?;
    }
    // hidden where standard error is no terminal
    let spinner = ProgressBar::new_spinner();
    spinner.set_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?);
    loop {
        let moving = client.reassignments()?;
        let Some(first) = moving.first() else { break };
        let (topic, partition) = (&first.topic, first.partition);
        spinner.set_message(format!(
            "{} partitions are on their way already, {topic}-{partition} first",
            moving.len()
        ));
        spinner.tick();
        sleep(LOOK_AGAIN);
    }
    spinner.finish_and_clear();
    let steps = plan::drain(&client.live_nodes()?, &client.assignments()?, node);
    carry_out(client, &steps.map_err(sentence)?, args.how, args.connect.output)?;
    Ok(())
}
