//! Three nodes as processes: what is acknowledged survives the death of any one of them, and a client meets one cluster.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Child;

use client::{Client, Connection, NewTopic};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::{BrokerId, ListOffsetsRequest, TopicName};
use protocol::{ErrorCode, StrBytes};

mod node;
use node::cluster::{Cluster, NODES, wait_ready};
use node::eventually;
use node::numbers::{read_numbers, write_number};

/// Writes numbers; those whose first attempt failed may stand in the log twice.
fn write(cluster: &Cluster, topic: &str, numbers: std::ops::Range<u32>, again: &mut BTreeSet<u32>) {
    for number in numbers {
        if write_number(&cluster.bootstrap(), topic, number) > 1 {
            again.insert(number);
        }
    }
}

fn assert_all(seen: &BTreeMap<u32, usize>, count: u32, again: &BTreeSet<u32>) {
    let missing: Vec<u32> = (0..count).filter(|number| !seen.contains_key(number)).collect();
    assert!(missing.is_empty(), "acknowledged and gone: {missing:?}");
    let twice: Vec<&u32> = seen
        .iter()
        .filter(|(n, times)| **times > 1 && !again.contains(n))
        .map(|(n, _)| n)
        .collect();
    assert!(twice.is_empty(), "acknowledged once and there twice: {twice:?}");
}

#[test]
fn what_is_acknowledged_survives_the_death_of_each_node_in_turn() {
    let mut cluster = Cluster::start();
    cluster.create("t", 4);
    let mut again = BTreeSet::new();
    let mut written = 0;
    write(&cluster, "t", 0..40, &mut again);
    written += 40;
    for round in 0..NODES {
        let leader = cluster.leader("t", round);
        cluster.kill(leader);
        write(&cluster, "t", written..written + 40, &mut again);
        written += 40;
        assert_all(&read_numbers(&cluster.bootstrap(), "t"), written, &again);
        cluster.restart(leader);
        cluster.wait_in_sync("t");
    }
    assert_all(&read_numbers(&cluster.bootstrap(), "t"), written, &again);
}

/// What a node tells of the end of partition 0.
fn told_end(connection: &mut Connection, topic: &str) -> (ErrorCode, i64) {
    let partition =
        ListOffsetsPartition::default().with_current_leader_epoch(-1).with_timestamp(-1);
    let topic = ListOffsetsTopic::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(vec![partition]);
    let request =
        ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let answer = connection.call(&request).expect("an answer");
    let told = &answer.topics[0].partitions[0];
    (ErrorCode::from_code(told.error_code).expect("a code of Kafka"), told.offset)
}

#[test]
fn the_first_end_that_a_new_leader_tells_has_everything_acknowledged() {
    let mut cluster = Cluster::start();
    cluster.create("t", 1);
    let mut written = 0;
    for _ in 0..2 * NODES {
        for number in written..written + 10 {
            write_number(&cluster.bootstrap(), "t", number);
        }
        written += 10;
        let leader = cluster.leader("t", 0);
        let (code, acknowledged) = told_end(&mut cluster.connect(leader), "t");
        assert!(code == ErrorCode::None && acknowledged >= i64::from(written));
        let others = (0..NODES).filter(|node| *node != leader);
        let mut others: Vec<Connection> = others.map(|node| cluster.connect(node)).collect();
        cluster.kill(leader);
        // as often as can be, so that whoever leads next is asked as soon as it does
        let told = eventually("somebody leads", || {
            for _ in 0..100 {
                for other in &mut others {
                    match told_end(other, "t") {
                        (ErrorCode::None, end) => return Some(end),
                        (
                            ErrorCode::NotLeaderOrFollower
                            | ErrorCode::LeaderNotAvailable
                            | ErrorCode::OffsetNotAvailable,
                            _,
                        ) => {}
                        (code, _) => panic!("{code:?}"),
                    }
                }
            }
            None
        });
        assert!(told >= acknowledged, "{told} of {acknowledged} acknowledged");
        cluster.restart(leader);
        cluster.wait_in_sync("t");
    }
}

#[test]
fn a_cluster_that_was_waited_for_takes_a_replicated_topic_at_whichever_node() {
    let cluster = Cluster::start();
    for (node, address) in cluster.bootstrap().split(',').enumerate() {
        let new = NewTopic {
            name: format!("at-{node}"),
            partitions: Some(2),
            replication: Some(3),
            configs: Vec::new(),
        };
        let mut client = Client::connect(address).expect("it accepts");
        client.create_topic(&new).expect("the topic is created");
    }
}

#[test]
fn a_cluster_that_lost_power_as_a_whole_has_everything_it_acknowledged() {
    let mut cluster = Cluster::start();
    cluster.create("t", 2);
    let mut again = BTreeSet::new();
    write(&cluster, "t", 0..60, &mut again);
    (0..NODES).for_each(|index| cluster.kill(index));
    let spawned: Vec<Child> = (0..NODES).map(|i| cluster.spawn(i, &cluster.home(i))).collect();
    cluster.running = spawned.into_iter().map(|child| Some(wait_ready(child))).collect();
    write(&cluster, "t", 60..80, &mut again);
    assert_all(&read_numbers(&cluster.bootstrap(), "t"), 80, &again);
}

#[test]
fn a_node_that_missed_more_than_the_logs_hold_gets_it_and_can_lead() {
    let mut cluster = Cluster::start();
    cluster.create("t", 4);
    let mut again = BTreeSet::new();
    write(&cluster, "t", 0..20, &mut again);
    let absent = cluster.leader("t", 0);
    cluster.kill(absent);
    write(&cluster, "t", 20..60, &mut again);
    cluster.create_with("u", 2, 2);
    // After an orderly stop a log begins at its end, so the others have nothing left of what it lacks.
    let others: Vec<usize> = (0..NODES).filter(|node| *node != absent).collect();
    for node in others.clone() {
        cluster.stop(node);
        cluster.restart(node);
        write(&cluster, "t", 60..61, &mut again);
    }
    again.insert(60);
    cluster.restart(absent);
    write(&cluster, "t", 61..70, &mut again);
    cluster.wait_caught_up(absent, "t");
    // With one of the others gone, what it got is needed for every majority.
    cluster.kill(others[0]);
    write(&cluster, "t", 70..80, &mut again);
    assert_all(&read_numbers(&cluster.bootstrap(), "t"), 80, &again);
    let topics = cluster.client().topics().expect("metadata are told");
    assert!(topics.iter().any(|topic| topic.name == "u"), "metadata that it missed");
}

/// The first node never has the space that it wants, so it refuses produce from its start on.
fn full_disk_of_the_first(index: usize) -> String {
    let reserve: u64 = if index == 0 { 1 << 60 } else { 0 };
    format!("auto.leader.rebalance.enable=false\nmillrace.disk.reserve.bytes={reserve}\n")
}

#[test]
fn a_node_with_a_full_disk_leaves_leading_to_others() {
    let cluster = Cluster::start_with(full_disk_of_the_first);
    cluster.create("t", 6);
    eventually("others lead", || {
        let described = cluster.client().describe_topic("t").ok()?;
        described.partitions.iter().all(|p| p.leader > 1).then_some(())
    });
    let mut again = BTreeSet::new();
    write(&cluster, "t", 0..60, &mut again);
    assert_all(&read_numbers(&cluster.bootstrap(), "t"), 60, &again);
}

#[test]
fn a_second_directory_with_a_used_node_id_is_refused_in_one_sentence() {
    let mut cluster = Cluster::start();
    cluster.create("t", 1);
    cluster.kill(2);
    let other = cluster.dir.path().join("another");
    let refused = cluster.spawn(2, &other).wait_with_output().expect("it ends");
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).expect("text");
    let sentence = said.lines().find(|line| line.starts_with("millrace: "));
    let sentence = sentence.unwrap_or_else(|| panic!("no sentence in {said:?}"));
    assert!(sentence.contains("node.id=3"), "{sentence}");
    cluster.restart(2);
    cluster.wait_in_sync("t");
}
