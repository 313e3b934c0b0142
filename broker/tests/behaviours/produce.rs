//! Produce: what a producer is told of a batch, and what becomes of one that it sends again.

use client::Connection;
use protocol::ErrorCode;
use protocol::messages::describe_producers_request::TopicRequest;
use protocol::messages::{DescribeProducersRequest, InitProducerIdRequest};
use record::TimestampType;

use super::fresh;
use super::node::records::create;
use super::node::{Node, eventually};
use super::questions::{fetch_one, from, name, produce, records, sequenced};

fn said(connection: &mut Connection, batch: &[u8]) -> (ErrorCode, i64) {
    let answer = produce(connection, "t", batch);
    (ErrorCode::from_code(answer.error_code).expect("a code of Kafka"), answer.base_offset)
}

#[test]
fn a_batch_that_comes_again_gets_its_first_offset_also_after_a_crash() {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::start(data.path(), 2, &[]);
    create(&node, "t", 1, &[]);
    let mut connection = node.connect();
    for sequence in 0..7 {
        let first = said(&mut connection, &sequenced(9, 0, sequence));
        assert_eq!(first, (ErrorCode::None, sequence.into()));
    }
    node.kill();
    for shards in [2, 1] {
        let node = Node::start(data.path(), shards, &[]);
        let mut connection = node.connect();
        for sequence in [6, 2, 4, 3, 5] {
            let again = said(&mut connection, &sequenced(9, 0, sequence));
            assert_eq!(again, (ErrorCode::None, sequence.into()), "one of the last five");
        }
        let (refused, _) = said(&mut connection, &sequenced(9, 0, 8));
        assert_eq!(refused, ErrorCode::OutOfOrderSequenceNumber);
        node.kill();
    }
}

#[test]
fn a_producer_that_nobody_knows_goes_on_where_it_was_and_one_that_counts_anew_brings_an_epoch() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 1, &[]);
    let mut connection = node.connect();
    assert_eq!(said(&mut connection, &sequenced(5, 3, 1_234)), (ErrorCode::None, 0));
    assert_eq!(said(&mut connection, &sequenced(5, 4, 0)), (ErrorCode::None, 1));
    let (fenced, _) = said(&mut connection, &sequenced(5, 3, 1_235));
    assert_eq!(fenced, ErrorCode::InvalidProducerEpoch, "and not PRODUCER_FENCED");
    let (refused, _) = said(&mut connection, &sequenced(5, 5, 7));
    assert_eq!(refused, ErrorCode::OutOfOrderSequenceNumber);
}

#[test]
fn a_batch_behind_one_that_came_before_the_topic_waits_for_that_one() {
    let (_data, node) = fresh(&[]);
    let mut connection = node.connect();
    let (refused, _) = said(&mut connection, &sequenced(7, 0, 0));
    assert_eq!(refused, ErrorCode::UnknownTopicOrPartition);
    create(&node, "t", 1, &[]);
    for sequence in [1, 2] {
        let (early, _) = said(&mut connection, &sequenced(7, 0, sequence));
        assert_eq!(early, ErrorCode::NotLeaderOrFollower, "its first batch has not come again");
    }
    for sequence in 0..3 {
        let taken = said(&mut connection, &sequenced(7, 0, sequence));
        assert_eq!(taken, (ErrorCode::None, sequence.into()));
    }
    let (gap, _) = said(&mut connection, &sequenced(7, 0, 5));
    assert_eq!(gap, ErrorCode::OutOfOrderSequenceNumber, "nothing was refused before it");
}

/// How many producers the node remembers on partition 0.
fn remembered(connection: &mut Connection) -> usize {
    let topic = TopicRequest::default().with_name(name("t")).with_partition_indexes(vec![0]);
    let request = DescribeProducersRequest::default().with_topics(vec![topic]);
    let answer = connection.call(&request).expect("an answer");
    answer.topics[0].partitions[0].active_producers.len()
}

#[test]
fn a_producer_is_remembered_as_long_as_the_node_was_told_to() {
    let check_often = "log.retention.check.interval.ms=20";
    let keep = "log.retention.ms=-1";
    let (_data, node) = fresh(&["producer.id.expiration.ms=1", check_often, keep]);
    create(&node, "t", 1, &[]);
    let mut connection = node.connect();
    assert_eq!(said(&mut connection, &sequenced(9, 0, 0)).0, ErrorCode::None);
    eventually("it is forgotten", || (remembered(&mut connection) == 0).then_some(()));
    let (_data, node) = fresh(&[check_often, keep]);
    create(&node, "t", 1, &[]);
    let mut connection = node.connect();
    assert_eq!(said(&mut connection, &sequenced(9, 0, 0)).0, ErrorCode::None);
    for _ in 0..20 {
        assert_eq!(remembered(&mut connection), 1, "for a day");
    }
}

#[test]
fn whoever_asks_for_a_producer_id_gets_a_new_one_with_epoch_0() {
    let data = tempfile::tempdir().expect("a directory");
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let node = Node::start(data.path(), 2, &[]);
        let mut connection = node.connect();
        let asked = InitProducerIdRequest::default().with_transactional_id(None);
        let mut told: Vec<_> = Vec::new();
        for version in [0, 2, 3, 5] {
            told.push(connection.call_up_to(&asked, version).expect("an answer"));
        }
        // an id that it had before is not given back
        let had = told[3].producer_id;
        let again = asked.with_producer_id(had).with_producer_epoch(0);
        told.push(connection.call(&again).expect("an answer"));
        assert!(told.iter().all(|answer| (answer.error_code, answer.producer_epoch) == (0, 0)));
        assert!(told.iter().all(|answer| seen.insert(answer.producer_id.0)), "{seen:?}");
        node.kill();
    }
}

#[test]
fn the_time_of_a_batch_is_its_own_or_that_of_the_append_and_only_the_latter_is_told() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 1, &[]);
    create(&node, "appended", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let mut connection = node.connect();
    let batch = records(&[1_000, 2_000], 10);
    let own = produce(&mut connection, "t", &batch);
    assert_eq!((own.error_code, own.log_append_time_ms, own.log_start_offset), (0, -1, 0));
    let appended = produce(&mut connection, "appended", &batch);
    assert_eq!((appended.error_code, appended.log_start_offset), (0, 0));
    assert!(appended.log_append_time_ms > 1_000_000_000_000);
    let mut stored = |topic: &str| {
        let data = fetch_one(&mut connection, topic, from(0, 0)).records.expect("records");
        // judges the checksum, too
        let header = record::validate(&data).expect("a good batch");
        let times = (header.base_timestamp, header.max_timestamp);
        (times, header.attributes.timestamp_type() == TimestampType::LogAppendTime)
    };
    assert_eq!(stored("t"), ((1_000, 2_000), false));
    let ((_, last), stamped) = stored("appended");
    assert_eq!((last, stamped), (appended.log_append_time_ms, true));
}
