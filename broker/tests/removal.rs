//! Nodes that leave a cluster for good, alive or dead, by `millrace cluster remove`, and directories that are lost: nothing
//! that is acknowledged goes with them, and what would cost a majority is refused.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use client::Client;
use tempfile::TempDir;

mod node;
use node::Node;
use node::place::{
    Place, add_voter, brokers, create, members, places, read, sentence, servers, start_all, voters,
    wait_fenced, wait_in_sync, write,
};

fn remove_command(asked: &Place, node: i32, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.args(["cluster", "remove", &node.to_string(), "--bootstrap", &asked.address()]);
    command.args(more);
    command
}

fn remove(asked: &Place, node: i32, more: &[&str]) -> Output {
    remove_command(asked, node, more).output().expect("the binary runs")
}

fn removed(asked: &Place, node: i32) {
    let output = remove(asked, node, &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
}

/// Starts a removal and waits until it asks for the node to be stopped.
fn begin_removal(asked: &Place, node: i32) -> Child {
    let mut command = remove_command(asked, node, &[]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
    let said = BufReader::new(child.stderr.take().expect("it is piped"));
    let line = said.lines().map_while(Result::ok).find(|line| line.contains("stop it now"));
    assert!(line.is_some(), "it ended without asking");
    child
}

fn ids(asked: &Place) -> Vec<i32> {
    brokers(asked).into_iter().map(|(id, _)| id).collect()
}

/// The nodes that have copies of a topic.
fn holders(asked: &Place, topic: &str) -> BTreeSet<i32> {
    let mut client = Client::connect(&asked.address()).expect("the node accepts");
    let described = client.describe_topic(topic).expect("it is described");
    described.partitions.into_iter().flat_map(|partition| partition.replicas).collect()
}

#[test]
fn a_node_that_is_alive_is_emptied_loses_its_vote_and_is_forgotten_when_it_stops() {
    let dir = TempDir::new().expect("a directory");
    let all = places(dir.path(), &[1, 2, 3, 4]);
    let quorum = voters(&all[..3]);
    let mut nodes = start_all(&all, &quorum);
    create(&all[0], "t", 6, 3);
    create(&all[0], "single", 4, 1);
    write(&all[0], "t", 0..20);
    write(&all[0], "single", 0..20);
    let shown = remove(&all[0], 3, &["--dry-run"]);
    assert!(shown.status.success() && !shown.stdout.is_empty());
    assert_eq!(ids(&all[0]), [1, 2, 3, 4]);
    // an attempt that ends early, at a node that is to go itself, leaves all in order
    let said = sentence(remove(&all[2], 3, &["--timeout", "0"]));
    assert!(said.contains("no replicas and no vote") && said.contains("stop it"), "{said}");
    assert_eq!(members(&all[0]).0, BTreeSet::from([1, 2]));
    assert_eq!(holders(&all[0], "t"), BTreeSet::from([1, 2, 4]));
    write(&all[0], "t", 20..40);
    let mut removal = begin_removal(&all[1], 3);
    assert!(nodes.remove(2).stop().success());
    assert!(removal.wait().expect("it ends").success());
    assert_eq!(ids(&all[0]), [1, 2, 4]);
    assert_eq!(read(&all[3], "t"), (0..40).collect());
    assert_eq!(read(&all[3], "single"), (0..20).collect());
    let again = remove(&all[0], 3, &[]);
    assert!(again.status.success());
    let said = String::from_utf8(again.stdout).expect("text");
    assert!(said.contains("not part of the cluster") && said.contains("1,2,4"), "{said}");
    drop(nodes);
}

#[test]
fn a_dead_node_is_replaced_by_one_with_another_id_and_then_by_one_with_its_own() {
    let dir = TempDir::new().expect("a directory");
    let all = places(dir.path(), &[1, 2, 3]);
    let quorum = voters(&all);
    let mut nodes = start_all(&all, &quorum);
    create(&all[0], "t", 4, 3);
    write(&all[0], "t", 0..20);
    wait_in_sync(&all[0], "t", 3);
    nodes.remove(2).kill();
    write(&all[0], "t", 20..30);
    // three copies do not fit on two nodes, and its directory is not replaced by an empty one
    let said = sentence(remove(&all[0], 3, &[]));
    assert!(said.contains("3 copies") && said.contains("add a node"), "{said}");
    let empty = places(dir.path(), &[3]);
    let said = empty[0].refused(&quorum);
    assert!(said.contains("node.id=3") && said.contains("another data directory"), "{said}");
    assert_eq!(members(&all[0]).0, BTreeSet::from([1, 2, 3]));
    let new = places(dir.path(), &[4]);
    let join = servers(&[&all[0], &all[1]]);
    nodes.push(new[0].start(&join));
    assert_eq!(add_voter(&all[0], &new[0]), 0);
    removed(&all[0], 3);
    assert_eq!(ids(&all[0]), [1, 2, 4]);
    assert_eq!(members(&all[0]).0, BTreeSet::from([1, 2, 4]));
    assert_eq!(holders(&all[0], "t"), BTreeSet::from([1, 2, 4]));
    wait_in_sync(&all[0], "t", 3);
    // its id is free now; another one is replaced by it, whose copies are the only ones of nothing
    nodes.push(empty[0].start(&join));
    assert_eq!(add_voter(&all[0], &empty[0]), 0);
    nodes.remove(0).kill();
    wait_fenced(&all[1], 1);
    removed(&all[1], 1);
    assert_eq!(holders(&all[1], "t"), BTreeSet::from([2, 3, 4]));
    wait_in_sync(&all[1], "t", 3);
    assert_eq!(read(&empty[0], "t"), (0..30).collect());
    drop(nodes);
}

#[test]
fn what_would_cost_the_last_copy_or_the_majority_is_refused_and_changes_nothing() {
    let dir = TempDir::new().expect("a directory");
    let all = places(dir.path(), &[1, 2, 3]);
    let quorum = voters(&all);
    let mut nodes = start_all(&all, &quorum);
    create(&all[0], "single", 6, 1);
    write(&all[0], "single", 0..20);
    let three = nodes.remove(2);
    three.kill();
    wait_fenced(&all[0], 3);
    let said = sentence(remove(&all[0], 3, &[]));
    assert!(said.contains("0 of its 1 copies") && said.contains("start node 3"), "{said}");
    // of two voters that would remain one is dead
    let said = sentence(remove(&all[0], 2, &["--timeout", "0"]));
    assert!(said.contains("nodes 1,3") && said.contains("majority"), "{said}");
    assert_eq!(members(&all[0]).0, BTreeSet::from([1, 2, 3]));
    assert_eq!(ids(&all[0]), [1, 2, 3]);
    nodes.push(all[2].start(&quorum));
    assert_eq!(read(&all[0], "single"), (0..20).collect());
    drop(nodes);
    let alone = places(dir.path(), &[9]);
    let one = alone[0].start("");
    let said = sentence(remove(&alone[0], 9, &[]));
    assert!(said.contains("no other node"), "{said}");
    drop(one);
}

#[test]
fn a_voter_that_lost_its_directory_does_not_make_a_majority_with_one_that_did_not() {
    let dir = TempDir::new().expect("a directory");
    let all = places(dir.path(), &[1, 2, 3]);
    let quorum = voters(&all);
    let nodes = start_all(&all, &quorum);
    create(&all[0], "t", 4, 3);
    write(&all[0], "t", 0..20);
    wait_in_sync(&all[0], "t", 3);
    nodes.into_iter().for_each(Node::kill);
    std::fs::remove_dir_all(all[2].home.join("data")).expect("it was there");
    // both start at the same time, and the third that could tell them is away
    let two = all[1].spawn(&quorum);
    let said = all[2].refused(&quorum);
    assert!(said.contains("node.id=3") && said.contains("another data directory"), "{said}");
    let one = all[0].start(&quorum);
    let two = two.ready();
    assert_eq!(read(&all[0], "t"), (0..20).collect());
    write(&all[0], "t", 20..30);
    assert_eq!(read(&all[1], "t"), (0..30).collect());
    drop((one, two));
}
