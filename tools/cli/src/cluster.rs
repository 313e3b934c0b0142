//! `millrace cluster drain|balance|remove`, and carrying out plans for replicas with a view of their progress.

use crate::command::{Connect, Output};
use crate::output::{done, json, list, table};
use crate::plan::{self, NoPlan, Step};
use crate::remove;
use crate::wait::wait_for_nodes;
use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use client::{Assigned, Client};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::thread::sleep;
use std::time::Duration;

/// Partitions that are asked for at a time: the cluster copies them, and what comes later can still be stopped.
const STEPS_AT_ONCE: usize = 64;
pub const LOOK_AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Move everything away from a node, which may be alive or dead
    Drain {
        /// Its node.id
        node: i32,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        connect: Connect,
    },
    /// Let a node go, which may be alive or dead: its replicas move, its vote is taken, and it is forgotten
    ///
    /// Stop the node when you are told to. The command can be interrupted and repeated at any time. A dead node is
    /// replaced so: start another one under another node.id, then remove the dead one.
    Remove(remove::Args),
    /// Wait until all nodes named by --bootstrap know each other to be alive, so that topics can be replicated
    Wait {
        /// Seconds after which to give up
        #[arg(long, default_value_t = 60)]
        timeout: u64,
        #[command(flatten)]
        connect: Connect,
    },
    /// Spread replicas and leaders over all nodes, as after one was added
    Balance {
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        connect: Connect,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub struct How {
    /// Show what would be moved, and move nothing
    #[arg(long)]
    pub dry_run: bool,
}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Drain { node, how, connect } => {
            let mut client = connect.client()?;
            if drain(&mut client, node, how, connect.output)? {
                let sentence = format!("node {node} has no replicas any more");
                done(connect.output, &sentence, &json!({ "drained": node }))?;
            }
            Ok(())
        }
        Command::Remove(args) => remove::run(&args),
        Command::Wait { timeout, connect } => {
            let addresses: Vec<String> = connect.bootstrap.split(',').map(str::to_owned).collect();
            let (nodes, patience) = (addresses.len(), Duration::from_secs(timeout));
            wait_for_nodes(&addresses, nodes, Some(patience))
                .map_err(|sentence| anyhow!(sentence))?;
            done(connect.output, &format!("{nodes} nodes are alive"), &json!({ "alive": nodes }))
        }
        Command::Balance { how, connect } => {
            let mut client = connect.client()?;
            refuse_if_moving(&mut client)?;
            let steps = plan::balance(&client.live_nodes()?, &client.assignments()?);
            if carry_out(&mut client, &steps, how, connect.output)? {
                let sentence = format!("{} partitions were moved", steps.len());
                done(connect.output, &sentence, &json!({ "moved": steps.len() }))?;
            }
            Ok(())
        }
    }
}

/// Whether the node is empty now; a dry run leaves it as it is.
fn drain(client: &mut Client, node: i32, how: How, output: Output) -> Result<bool> {
    refuse_if_moving(client)?;
    let (nodes, assigned) = (client.live_nodes()?, client.assignments()?);
    let has_any = assigned.iter().any(|partition| partition.replicas.contains(&node));
    if !has_any && !nodes.iter().any(|other| other.id == node) {
        let known: Vec<i32> = nodes.iter().map(|node| node.id).collect();
        bail!(
            "there is no node {node} with replicas; the nodes that are alive are {}",
            list(&known)
        );
    }
    let steps = plan::drain(&nodes, &assigned, node).map_err(sentence)?;
    carry_out(client, &steps, how, output)
}

/// A plan counts replicas as they are: what moves already would be counted wrongly.
pub fn refuse_if_moving(client: &mut Client) -> Result<()> {
    match client.reassignments()?.len() {
        0 => Ok(()),
        moving => {
            bail!("{moving} partitions are on their way already; wait for them or cancel them")
        }
    }
}

pub fn sentence(NoPlan(sentence): NoPlan) -> anyhow::Error {
    anyhow!(sentence)
}

/// Has the cluster do what was planned and waits for it. False if it was only shown.
pub fn carry_out(client: &mut Client, steps: &[Step], how: How, output: Output) -> Result<bool> {
    if how.dry_run {
        show(steps, output)?;
        return Ok(false);
    }
    // hidden where standard error is no terminal
    let bar = ProgressBar::new(steps.len() as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} partitions, {msg} ({elapsed})");
    bar.set_style(style?);
    for (round, steps) in steps.chunks(STEPS_AT_ONCE).enumerate() {
        let wanted: Vec<Assigned> = steps.iter().map(Step::wanted).collect();
        client.reassign(&wanted)?;
        let before = (round * STEPS_AT_ONCE) as u64;
        while let Some((left, next)) = not_there(client, &wanted)? {
            bar.set_position(before + (wanted.len() - left) as u64);
            bar.set_message(next);
            sleep(LOOK_AGAIN);
        }
        bar.set_position(before + wanted.len() as u64);
    }
    bar.finish_and_clear();
    Ok(true)
}

/// How many partitions are not where they are wanted, with the name of the first.
fn not_there(client: &mut Client, wanted: &[Assigned]) -> Result<Option<(usize, String)>> {
    let moving = client.reassignments()?;
    let there = client.assignments()?;
    let arrived = |wanted: &Assigned| {
        let is = |topic: &str, partition| topic == wanted.topic && partition == wanted.partition;
        let moves = moving.iter().any(|other| is(&other.topic, other.partition));
        let now = there.iter().find(|now| is(&now.topic, now.partition));
        // a topic that was deleted meanwhile has nothing to wait for
        now.is_none_or(|now| now.replicas == wanted.replicas && !moves)
    };
    let mut left = wanted.iter().filter(|wanted| !arrived(wanted));
    let Some(first) = left.next() else { return Ok(None) };
    if let Some(now) =
        there.iter().find(|now| (&now.topic, now.partition) == (&first.topic, first.partition))
        && !moving
            .iter()
            .any(|other| (&other.topic, other.partition) == (&now.topic, now.partition))
        && !same_nodes(&now.replicas, &first.replicas)
    {
        bail!("the move of {}-{} was cancelled", first.topic, first.partition);
    }
    Ok(Some((1 + left.count(), format!("{}-{}", first.topic, first.partition))))
}

fn same_nodes(one: &[i32], other: &[i32]) -> bool {
    let sorted = |list: &[i32]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    sorted(one) == sorted(other)
}

fn show(steps: &[Step], output: Output) -> Result<()> {
    if output == Output::Json {
        let step = |step: &Step| {
            json!({
                "topic": step.topic,
                "partition": step.partition,
                "replicas": step.from,
                "target": step.to,
            })
        };
        return json(&Value::Array(steps.iter().map(step).collect()));
    }
    let row = |step: &Step| {
        let copied = step.to.iter().filter(|node| !step.from.contains(node));
        let copied: Vec<i32> = copied.copied().collect();
        let to = if copied.is_empty() { "-".to_owned() } else { list(&copied) };
        vec![step.topic.clone(), step.partition.to_string(), list(&step.from), list(&step.to), to]
    };
    table(&["topic", "partition", "replicas", "target", "copied to"], steps.iter().map(row))
}
