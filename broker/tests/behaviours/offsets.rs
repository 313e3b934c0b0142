//! Offsets by time, and offsets that groups commit.

use client::Connection;
use protocol::ErrorCode;
use protocol::messages::list_offsets_request::ListOffsetsTopic;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::*;

use super::fresh;
use super::node::eventually;
use super::node::records::create;
use super::node::requests::text;
use super::questions::*;

#[test]
fn special_timestamps_have_their_versions_and_without_tiers_the_local_log_is_all() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 1, &[]);
    let mut connection = node.connect();
    for batch in [records(&[50, 90, 70], 10), records(&[90, 20], 10)] {
        assert_eq!(produce(&mut connection, "t", &batch).error_code, 0);
    }
    let mut found = |timestamp: i64, version: i16| {
        let answer = offset_at(&mut connection, "t", timestamp, version);
        match answer.error_code {
            0 => Ok((answer.offset, answer.timestamp)),
            code => Err(code),
        }
    };
    let unsupported = Err(ErrorCode::UnsupportedVersion.code());
    let special = [
        (-1, 1, 5, -1),
        (-2, 1, 0, -1),
        (-3, 7, 1, 90),
        (-4, 8, 0, -1),
        (-5, 9, -1, -1),
        (-6, 11, -1, -1),
    ];
    for (asked, first, offset, timestamp) in special {
        assert_eq!(found(asked, 11), Ok((offset, timestamp)), "{asked}");
        assert_eq!(found(asked, first), Ok((offset, timestamp)), "{asked} in version {first}");
        if first > 1 {
            assert_eq!(found(asked, first - 1), unsupported, "{asked} below version {first}");
        }
    }
    assert_eq!(found(-7, 11), unsupported);
    // the first record at or after a time, not the first of its batch
    for (at, offset, timestamp) in [(0, 0, 50), (50, 0, 50), (51, 1, 90), (90, 1, 90), (91, -1, -1)]
    {
        assert_eq!(found(at, 11), Ok((offset, timestamp)), "{at}");
    }
}

#[test]
fn a_partition_that_is_asked_for_twice_is_refused() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 2, &[]);
    let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![
        at(0, -1),
        at(1, -1),
        at(0, -2),
    ]);
    let answer = offsets(&mut node.connect(), vec![topic], 11);
    let code =
        |index| answer.iter().find(|p| p.partition_index == index).expect("answered").error_code;
    assert_eq!((code(0), code(1)), (ErrorCode::InvalidRequest.code(), 0));
}

fn commit(connection: &mut Connection, group: &str, generation: i32, version: i16) -> i16 {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(7)
        .with_committed_leader_epoch(if version >= 6 { 3 } else { -1 })
        .with_committed_metadata(Some(text("note")));
    let topic =
        OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(generation)
        .with_topics(vec![topic]);
    let answer = connection.call_up_to(&request, version).expect("an answer");
    answer.topics[0].partitions[0].error_code
}

/// Offset, leader epoch, metadata and error of partitions 0 and 1, each joined into a text.
fn committed(connection: &mut Connection, group: &str, names_them: bool) -> Vec<String> {
    let topic =
        OffsetFetchRequestTopics::default().with_name(name("t")).with_partition_indexes(vec![0, 1]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(text(group)))
        .with_topics(names_them.then(|| vec![topic]));
    let request = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(true);
    let answer = connection.call_up_to(&request, 9).expect("an answer").groups.remove(0);
    assert_eq!(answer.error_code, 0);
    let partitions = answer.topics.into_iter().flat_map(|topic| topic.partitions);
    let told = partitions.map(|p| {
        let metadata = p.metadata.expect("never null");
        let (offset, epoch, code) = (p.committed_offset, p.committed_leader_epoch, p.error_code);
        format!("{} {offset} {epoch} '{metadata}' {code}", p.partition_index)
    });
    told.collect()
}

fn wait_for_coordinator(connection: &mut Connection) {
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    connection.call(&request).expect("an answer");
    eventually("the coordinator is loaded", || {
        (commit(connection, "ready", -1, 9) == 0).then_some(())
    });
}

#[test]
fn what_is_not_committed_is_minus_1_and_no_error_and_all_topics_are_those_with_commits() {
    let (_data, node) = fresh(&["offsets.topic.num.partitions=1"]);
    create(&node, "t", 2, &[]);
    let mut connection = node.connect();
    wait_for_coordinator(&mut connection);
    assert_eq!(committed(&mut connection, "g", true), ["0 -1 -1 '' 0", "1 -1 -1 '' 0"]);
    assert!(committed(&mut connection, "g", false).is_empty());
    assert_eq!(commit(&mut connection, "g", -1, 9), 0);
    assert_eq!(committed(&mut connection, "g", true), ["0 7 3 'note' 0", "1 -1 -1 '' 0"]);
    assert_eq!(committed(&mut connection, "g", false), ["0 7 3 'note' 0"]);
}

#[test]
fn a_generation_of_a_group_that_nobody_knows_is_named_by_the_version_of_the_request() {
    let (_data, node) = fresh(&["offsets.topic.num.partitions=1"]);
    create(&node, "t", 1, &[]);
    let mut connection = node.connect();
    wait_for_coordinator(&mut connection);
    for (version, error) in [
        (2, ErrorCode::IllegalGeneration),
        (8, ErrorCode::IllegalGeneration),
        (9, ErrorCode::GroupIdNotFound),
    ] {
        assert_eq!(commit(&mut connection, "nobody", 4, version), error.code(), "{version}");
    }
    assert_eq!(commit(&mut connection, "nobody", -1, 2), 0, "an outsider makes a group");
}
