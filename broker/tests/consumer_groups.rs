//! Consumer groups of a whole node, over the wire: what survives a crash, what a stop does to those who wait, what goes
//! with a topic.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

use std::thread;

use client::{Connection, NewTopic};
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::*;
use protocol::{ErrorCode, StrBytes};

mod node;
use node::{Node, eventually};

const NO_DELAY: &[&str] = &["group.initial.rebalance.delay.ms=0"];

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group_id(group: &str) -> GroupId {
    GroupId(text(group))
}

fn find(connection: &mut Connection, group: &str) {
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
    let found = connection.call(&request).unwrap();
    assert_eq!(found.coordinators[0].error_code, ErrorCode::None.code());
}

fn join_request(group: &str, member_id: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(vec![0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 0].into());
    JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(60_000)
        .with_member_id(text(member_id))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// Joins for good, as a client does: first for a member id, then with it.
fn join(connection: &mut Connection, group: &str) -> JoinGroupResponse {
    let first = connection.call(&join_request(group, "")).unwrap();
    assert_eq!(first.error_code, ErrorCode::MemberIdRequired.code());
    let joined = connection.call(&join_request(group, &first.member_id)).unwrap();
    assert_eq!(joined.error_code, ErrorCode::None.code());
    joined
}

fn sync(connection: &mut Connection, group: &str, joined: &JoinGroupResponse) -> SyncGroupResponse {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(b"everything".to_vec().into());
    let request = SyncGroupRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_assignments(vec![assignment]);
    connection.call(&request).unwrap()
}

fn heartbeat(connection: &mut Connection, group: &str, joined: &JoinGroupResponse) -> i16 {
    let request = HeartbeatRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    connection.call(&request).unwrap().error_code
}

/// Commits by topic name, up to version 9; member and generation empty for an outsider.
fn commit(connection: &mut Connection, group: &str, by: Option<&JoinGroupResponse>, offset: i64) {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("note")));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text("t")))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(by.map_or(-1, |joined| joined.generation_id))
        .with_member_id(by.map_or(StrBytes::default(), |joined| joined.member_id.clone()))
        .with_topics(vec![topic]);
    let answer = connection.call_up_to(&request, 9).unwrap();
    assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::None.code());
}

/// All committed offsets of a group; `None` while its coordinator loads.
fn committed(connection: &mut Connection, group: &str) -> Option<Vec<(String, i64)>> {
    let wanted =
        OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_topics(None);
    let request = OffsetFetchRequest::default().with_groups(vec![wanted]);
    let answer = connection.call_up_to(&request, 9).unwrap().groups.remove(0);
    let offsets = answer.topics.iter().flat_map(|topic| {
        let name = topic.name.to_string();
        topic.partitions.iter().map(move |p| (name.clone(), p.committed_offset))
    });
    (answer.error_code == ErrorCode::None.code()).then(|| offsets.collect())
}

fn create_topic(node: &Node) {
    let new = NewTopic { name: "t".to_owned(), partitions: Some(1), ..NewTopic::default() };
    node.client().create_topic(&new).unwrap();
}

#[test]
fn members_and_offsets_survive_kill_and_another_number_of_shards() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 2, NO_DELAY);
    create_topic(&node);
    let mut connection = node.connect();
    // several groups, so that coordinators of both shards are used
    let groups: Vec<String> = (0..6).map(|i| format!("group-{i}")).collect();
    let mut members = Vec::new();
    for group in &groups {
        find(&mut connection, group);
        let joined = join(&mut connection, group);
        assert_eq!(sync(&mut connection, group, &joined).assignment, &b"everything"[..]);
        commit(&mut connection, group, Some(&joined), 42);
        members.push(joined);
    }
    node.kill();
    for shards in [1, 3] {
        let node = Node::start(data.path(), shards, NO_DELAY);
        let mut connection = node.connect();
        for (group, joined) in groups.iter().zip(&members) {
            let offsets = eventually("the group loads", || committed(&mut connection, group));
            assert_eq!(offsets, [("t".to_owned(), 42)], "{group} on {shards} shards");
            assert_eq!(heartbeat(&mut connection, group, joined), ErrorCode::None.code());
            assert_eq!(sync(&mut connection, group, joined).assignment, &b"everything"[..]);
        }
        node.kill();
    }
}

#[test]
fn a_parked_member_is_sent_on_when_the_node_stops() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, NO_DELAY);
    let mut connection = node.connect();
    find(&mut connection, "g");
    let joined = join(&mut connection, "g");
    sync(&mut connection, "g", &joined);
    // a second member waits for the first to join again, which it never does
    let mut second = node.connect();
    let member_id = second.call(&join_request("g", "")).unwrap().member_id;
    let parked = thread::spawn(move || second.call(&join_request("g", &member_id)));
    let rebalancing = ErrorCode::RebalanceInProgress.code();
    eventually("the second member is parked", || {
        (heartbeat(&mut connection, "g", &joined) == rebalancing).then_some(())
    });
    node.terminate();
    let answer = parked.join().unwrap().expect("an answer, not a broken connection");
    assert_eq!(answer.error_code, ErrorCode::NotCoordinator.code());
    assert!(node.stop().success());
}

#[test]
fn offsets_go_with_their_topic_and_stay_gone() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 2, NO_DELAY);
    create_topic(&node);
    let mut connection = node.connect();
    find(&mut connection, "g");
    eventually("the coordinator is loaded", || committed(&mut connection, "g"));
    commit(&mut connection, "g", None, 7);
    assert_eq!(committed(&mut connection, "g"), Some(vec![("t".to_owned(), 7)]));
    node.client().delete_topic("t").unwrap();
    let is_empty = |offsets: Vec<_>| offsets.is_empty().then_some(());
    eventually("the offsets go", || committed(&mut connection, "g").and_then(is_empty));
    node.kill();
    let node = Node::start(data.path(), 2, NO_DELAY);
    let mut connection = node.connect();
    let offsets = eventually("the group loads", || committed(&mut connection, "g"));
    assert_eq!(offsets, []);
}

#[test]
fn a_segment_size_that_no_topic_may_have_does_not_keep_groups_from_working() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &["offsets.topic.segment.bytes=1"]);
    find(&mut node.connect(), "g");
    node.kill();
    let node = Node::start(data.path(), 1, NO_DELAY);
    let mut connection = node.connect();
    let joined = join(&mut connection, "g");
    assert_eq!(sync(&mut connection, "g", &joined).error_code, ErrorCode::None.code());
}

#[test]
fn the_offsets_topic_stays_bounded_however_often_is_committed() {
    let data = tempfile::tempdir().unwrap();
    // one partition of the smallest segments, compacted as soon as there is something to compact
    let settings = &[
        "group.initial.rebalance.delay.ms=0",
        "offsets.topic.num.partitions=1",
        "offsets.topic.segment.bytes=1048576",
        "log.cleaner.backoff.ms=50",
        "millrace.checkpoint.interval.ms=100",
    ];
    let node = Node::start(data.path(), 1, settings);
    create_topic(&node);
    let mut connection = node.connect();
    find(&mut connection, "g");
    eventually("the coordinator is loaded", || committed(&mut connection, "g"));
    let mut last = 0;
    for round in 0..ROUNDS {
        last = round * OFFSETS_PER_COMMIT;
        commit_many(&mut connection, last);
    }
    // several times the bytes that may be left: an active segment, one that is being closed, and what is live
    let written = ROUNDS as u64 * OFFSETS_PER_COMMIT as u64 * RECORD_BYTES;
    let allowed = 3 << 20;
    assert!(written > 3 * allowed, "{written} bytes of commits are not many");
    // an orderly stop leaves everything in segments, so that what is there is all there is
    assert!(node.stop().success());
    assert!(bytes_of_offsets_topic(data.path()) > 0);
    for _ in 0..2 {
        let node = Node::start(data.path(), 1, settings);
        let mut connection = node.connect();
        let offsets = eventually("the group loads", || committed(&mut connection, "g"));
        assert_eq!(offsets, [("t".to_owned(), last + OFFSETS_PER_COMMIT - 1)]);
        eventually("the topic is compacted", || {
            (bytes_of_offsets_topic(data.path()) <= allowed).then_some(())
        });
        node.kill();
    }
}

const ROUNDS: i64 = 150;
const OFFSETS_PER_COMMIT: i64 = 500;
/// A committed offset in the log, at least.
const RECORD_BYTES: u64 = 140;

/// One request that commits the same partition many times, each of which is a record of its own.
fn commit_many(connection: &mut Connection, first: i64) {
    let metadata = "m".repeat(100);
    let partitions = (first..first + OFFSETS_PER_COMMIT).map(|offset| {
        OffsetCommitRequestPartition::default()
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text(&metadata)))
    });
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text("t")))
        .with_partitions(partitions.collect());
    let request = OffsetCommitRequest::default()
        .with_group_id(group_id("g"))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let answer = connection.call_up_to(&request, 9).unwrap();
    let codes = answer.topics[0].partitions.iter().map(|p| p.error_code);
    assert!(codes.eq(std::iter::repeat_n(0, OFFSETS_PER_COMMIT as usize)));
}

fn bytes_of_offsets_topic(data: &std::path::Path) -> u64 {
    let Ok(files) = std::fs::read_dir(data.join("__consumer_offsets-0")) else { return 0 };
    // a file may go while the directory is read
    let sizes = files.flatten().filter(|f| f.path().extension().is_some_and(|e| e == "log"));
    sizes.filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum()
}

#[test]
fn offsets_of_an_empty_group_expire_and_the_group_goes_with_them() {
    let data = tempfile::tempdir().unwrap();
    let settings = &["offsets.retention.minutes=1", "offsets.retention.check.interval.ms=20"];
    let node = Node::start(data.path(), 1, settings);
    create_topic(&node);
    let mut connection = node.connect();
    find(&mut connection, "g");
    eventually("the coordinator is loaded", || committed(&mut connection, "g"));
    // versions 2 to 4 let a client ask for a retention of its own: here of none
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(5);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text("t")))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group_id("g"))
        .with_generation_id_or_member_epoch(-1)
        .with_retention_time_ms(1)
        .with_topics(vec![topic]);
    let answer = connection.call_up_to(&request, 4).unwrap();
    assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::None.code());
    let is_empty = |offsets: Vec<_>| offsets.is_empty().then_some(());
    eventually("the offset expires", || committed(&mut connection, "g").and_then(is_empty));
    eventually("the group is gone", || node.client().groups().unwrap().is_empty().then_some(()));
}
