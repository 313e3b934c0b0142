//! A data directory on a file system that another program fills while clients produce: produce is refused with a
//! retriable error, everything else goes on, nothing acknowledged is lost, and it heals.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

mod node;

use std::path::Path;

use client::{Connection, NewTopic};
use node::load::Load;
use node::records::{assert_all_there, create, read_all};
use node::small_disk::{self, Foreign};
use node::{Node, eventually};
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::*;
use protocol::{ErrorCode, StrBytes};

/// Small WAL files and short intervals, so that files are made and checkpoints written all the time.
const BUSY: [&str; 4] = [
    "millrace.wal.file.bytes=4194304",
    "millrace.checkpoint.interval.ms=100",
    "millrace.tail.cache.bytes=4194304",
    "log.segment.bytes=1048576",
];

fn settings(reserve: &str) -> Vec<&str> {
    BUSY.into_iter().chain([reserve]).collect()
}

fn commit_offset(connection: &mut Connection, offset: i64) {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(StrBytes::from_static_str("t")))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(StrBytes::from_static_str("g")))
        .with_topics(vec![topic]);
    let answer = connection.call_up_to(&request, 9).expect("an answer");
    assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::None.code());
}

fn find_group(connection: &mut Connection) {
    let request = FindCoordinatorRequest::default()
        .with_coordinator_keys(vec![StrBytes::from_static_str("g")]);
    eventually("the coordinator is there", || {
        let found = connection.call(&request).expect("an answer");
        (found.coordinators[0].error_code == ErrorCode::None.code()).then_some(())
    });
}

#[test]
fn below_the_reserve_produce_alone_is_refused_and_it_heals() {
    small_disk::with("below_the_reserve_produce_alone_is_refused_and_it_heals", 96, |disk| {
        let data = disk.join("data");
        let settings = settings("millrace.disk.reserve.bytes=16777216");
        let mut node = Node::start(&data, 2, &settings);
        create(&node, "t", 2, &[("retention.bytes", "1048576")]);
        let mut connection = node.connect();
        find_group(&mut connection);
        commit_offset(&mut connection, 1);
        let load = Load::start(&node.address, 0);
        load.progress(500);
        let foreign = Foreign::fill(disk, "foreign");
        load.refusal();
        load.refusal();
        // everything else goes on
        assert!(!read_all(&node, "t").is_empty());
        for offset in 2..50 {
            commit_offset(&mut connection, offset);
        }
        let made = NewTopic { name: "u".into(), partitions: Some(1), ..NewTopic::default() };
        node.client().create_topic(&made).expect("a topic is created");
        node.client().delete_topic("u").expect("and deleted");
        assert!(node.is_alive());
        drop(foreign);
        load.progress(500);
        let acknowledged = load.end();
        assert_all_there(&node, &acknowledged);
        node.kill();
        assert_all_there(&Node::start(&data, 1, &settings), &acknowledged);
    });
}

#[test]
fn a_disk_without_any_space_under_load_loses_nothing_and_heals() {
    small_disk::with("a_disk_without_any_space_under_load_loses_nothing_and_heals", 96, |disk| {
        let data = disk.join("data");
        let settings = settings("millrace.disk.reserve.bytes=0");
        let mut node = Node::start(&data, 2, &settings);
        create(&node, "t", 2, &[]);
        let load = Load::start(&node.address, 0);
        for round in 0..2 {
            load.progress(500);
            let foreign = Foreign::fill(disk, &format!("foreign-{round}"));
            load.refusal();
            assert!(node.is_alive());
            assert!(!read_all(&node, "t").is_empty());
            drop(foreign);
        }
        load.progress(500);
        let acknowledged = load.end();
        assert_all_there(&node, &acknowledged);
        node.kill();
        assert_all_there(&Node::start(&data, 2, &settings), &acknowledged);
    });
}

#[test]
fn a_node_on_a_full_disk_stops_when_told_and_starts_when_there_is_space() {
    let name = "a_node_on_a_full_disk_stops_when_told_and_starts_when_there_is_space";
    small_disk::with(name, 64, |disk| {
        let data = disk.join("data");
        let settings = settings("millrace.disk.reserve.bytes=0");
        let node = Node::start(&data, 1, &settings);
        create(&node, "t", 2, &[]);
        let load = Load::start(&node.address, 0);
        load.progress(500);
        let foreign = Foreign::fill(disk, "foreign");
        load.refusal();
        let acknowledged = load.end();
        assert!(node.stop().success());
        assert!(said_at_start(&data, &settings).contains("space"));
        drop(foreign);
        assert_all_there(&Node::start(&data, 1, &settings), &acknowledged);
    });
}

/// What a start that fails says.
fn said_at_start(data: &Path, settings: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.args(["dev", "--port", "0", "--shards", "1", "--data"]).arg(data);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let output = command.output().expect("the binary runs");
    assert!(!output.status.success(), "it started without space");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
