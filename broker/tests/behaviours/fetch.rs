//! Fetch: when it is answered, where an answer begins and ends, and what a consumer learns of its own leader epoch.

use std::thread;

use protocol::ErrorCode;
use protocol::messages::fetch_response::PartitionData;
use record::BatchBuilder;

use super::fresh;
use super::node::records::create;
use super::node::{Node, eventually};
use super::questions::*;

fn code(data: &PartitionData) -> ErrorCode {
    ErrorCode::from_code(data.error_code).expect("a code of Kafka")
}

#[test]
fn a_fetch_waits_for_bytes_and_not_where_there_is_something_else_to_tell() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 2, &[]);
    let mut connection = node.connect();
    // each would wait for ever for its bytes
    let refused = fetched(&mut connection, &fetch_of("t", vec![from(0, 0), from(7, 0)]));
    assert_eq!(refused.len(), 2);
    assert_eq!(code(&fetch_one(&mut connection, "t", from(0, 1))), ErrorCode::OffsetOutOfRange);
    for request in [
        fetch_of("t", vec![from(0, 0)]).with_max_wait_ms(0),
        fetch_of("t", vec![from(0, 0)]).with_max_wait_ms(-1),
        fetch_of("t", vec![from(0, 0)]).with_min_bytes(0),
        fetch_of("t", Vec::new()),
    ] {
        let empty = fetched(&mut connection, &request);
        assert!(empty.iter().all(|data| (data.error_code, bytes_of(data)) == (0, 0)));
    }
    let waiting = thread::spawn(move || {
        fetched(&mut connection, &fetch_of("t", vec![from(0, 0), from(1, 0)]))
    });
    assert_eq!(produce(&mut node.connect(), "t", &records(&[1], 10)).error_code, 0);
    let answer = waiting.join().expect("an answer");
    assert!(bytes_of(&answer[0]) > 0);
}

#[test]
fn the_first_partition_with_data_gives_one_whole_batch_however_small_the_limits_are() {
    let (_data, node) = fresh(&[]);
    for topic in ["a", "b", "c"] {
        create(&node, topic, 1, &[]);
    }
    let mut connection = node.connect();
    let batch = records(&[1], 10_000);
    for topic in ["b", "b", "c"] {
        assert_eq!(produce(&mut connection, topic, &batch).error_code, 0);
    }
    let mut sizes = |max_bytes: i32, partition_bytes: i32| {
        let mut request = fetch_of("a", vec![from(0, 0)]).with_max_bytes(max_bytes);
        for topic in ["b", "c"] {
            request.topics.extend(fetch_of(topic, vec![from(0, 0)]).topics);
        }
        for topic in &mut request.topics {
            topic.partitions[0].partition_max_bytes = partition_bytes;
        }
        let answer = fetched(&mut connection, &request);
        answer.iter().map(|data| bytes_of(data) / batch.len()).collect::<Vec<_>>()
    };
    assert_eq!(sizes(1, 1), [0, 1, 0]);
    assert_eq!(sizes(i32::MAX, 1), [0, 1, 0], "later partitions keep to their limits");
    assert_eq!(sizes(25_000, i32::MAX), [0, 2, 0]);
    assert_eq!(sizes(i32::MAX, 15_000), [0, 1, 1]);
    assert_eq!(sizes(i32::MAX, i32::MAX), [0, 2, 1]);
}

#[test]
fn a_batch_comes_whole_from_whichever_of_its_offsets_is_asked_for() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 1, &[]);
    let mut connection = node.connect();
    for _ in 0..2 {
        assert_eq!(produce(&mut connection, "t", &records(&[1, 2, 3], 10)).error_code, 0);
    }
    for (offset, base) in [(0, 0), (1, 0), (2, 0), (3, 3), (5, 3)] {
        let data = fetch_one(&mut connection, "t", from(0, offset)).records.expect("records");
        let first = record::batches(&data).next().expect("a batch").expect("a good one");
        assert_eq!(first.header.base_offset, base, "from {offset}");
    }
}

#[test]
fn who_asks_outside_of_the_log_is_told_no_offsets_and_who_asks_at_its_end_waits() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 1, &[]);
    let mut connection = node.connect();
    assert_eq!(produce(&mut connection, "t", &records(&[1, 2], 10)).error_code, 0);
    for offset in [-1, 3, i64::MAX] {
        let outside = fetch_one(&mut connection, "t", from(0, offset));
        assert_eq!(code(&outside), ErrorCode::OffsetOutOfRange, "{offset}");
        let offsets =
            (outside.high_watermark, outside.last_stable_offset, outside.log_start_offset);
        assert_eq!(offsets, (-1, -1, -1));
    }
    let request = fetch_of("t", vec![from(0, 2)]).with_max_wait_ms(1);
    let end = fetched(&mut connection, &request).remove(0);
    assert_eq!((end.error_code, bytes_of(&end), end.high_watermark), (0, 0, 2));
}

/// A batch of one record with this key.
fn keyed(key: &str, value_bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder
        .push(1_000, Some(key.as_bytes()), Some(&vec![b'v'; value_bytes]), &[])
        .expect("it fits");
    builder.finish().expect("a batch").to_vec()
}

#[test]
fn the_end_of_a_compacted_log_is_reached_from_each_of_its_offsets() {
    const BATCHES: i64 = 12;
    let settings = ["log.cleaner.backoff.ms=50", "millrace.checkpoint.interval.ms=100"];
    let (data, node) = fresh(&settings);
    let configs = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("segment.bytes", "1048576"),
    ];
    create(&node, "t", 1, &configs);
    let mut connection = node.connect();
    for _ in 0..BATCHES {
        let produced = produce(&mut connection, "t", &keyed("always the same", 300_000));
        assert_eq!(produced.error_code, 0);
    }
    // of the three batches in the first segment nothing stays but an end
    let first = data.path().join("t-0/00000000000000000000.log");
    let bytes = || std::fs::metadata(&first).map_or(0, |file| file.len());
    eventually("old values go", || (1..1_000).contains(&bytes()).then_some(()));
    // what is read from memory has not gone
    node.kill();
    let node = Node::start(data.path(), 1, &settings);
    let mut connection = node.connect();
    let mut has_met_one_without_records = false;
    for start in 0..BATCHES {
        let mut offset = start;
        while offset < BATCHES {
            let answer = fetch_one(&mut connection, "t", from(0, offset));
            assert_eq!((answer.error_code, answer.high_watermark), (0, BATCHES));
            let records = answer.records.expect("a reader that gets none asks for ever");
            let batches = record::batches(&records).map(|batch| batch.expect("a good one").header);
            let batches: Vec<_> = batches.collect();
            has_met_one_without_records |= batches.iter().any(|header| header.records_count == 0);
            let next = batches.last().expect("a batch").next_offset();
            assert!(next > offset, "{next} after {offset}");
            offset = next;
        }
        assert_eq!(offset, BATCHES);
    }
    assert!(has_met_one_without_records, "a closed segment of which nothing is left has an end");
}

#[test]
fn aborted_transactions_are_listed_for_who_reads_committed_records_alone() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 1, &[]);
    let mut connection = node.connect();
    assert_eq!(produce(&mut connection, "t", &records(&[1], 10)).error_code, 0);
    for (isolation, listed) in [(0, None), (1, Some(0))] {
        let request = fetch_of("t", vec![from(0, 0)]).with_isolation_level(isolation);
        let data = fetched(&mut connection, &request).remove(0);
        assert_eq!(data.aborted_transactions.map(|list| list.len()), listed);
        assert_eq!((data.last_stable_offset, data.high_watermark), (1, 1));
    }
}

#[test]
fn leader_epochs_go_up_are_told_everywhere_and_judge_who_asks() {
    let data = tempfile::tempdir().expect("a directory");
    let mut epochs = Vec::new();
    for start in 0..2 {
        let node = Node::start(data.path(), 2, &[]);
        if start == 0 {
            create(&node, "t", 1, &[]);
        }
        let mut connection = node.connect();
        let told = metadata_of(&mut connection, "t").partitions[0].leader_epoch;
        assert_eq!(produce(&mut connection, "t", &records(&[1, 2], 10)).error_code, 0);
        let batch = fetch_one(&mut connection, "t", from(0, 2 * start)).records.expect("records");
        let stamped = record::validate(&batch).expect("a good batch").partition_leader_epoch;
        let listed = offset_at(&mut connection, "t", -1, 11).leader_epoch;
        assert_eq!((stamped, listed), (told, told));
        epochs.push(told);
        if start == 0 {
            node.kill();
            continue;
        }
        let (old, new) = (epochs[0], told);
        assert!(new > old, "{epochs:?}");
        let mut ask = |current: i32, last_fetched: i32, offset: i64| {
            let asked = from(0, offset)
                .with_current_leader_epoch(current)
                .with_last_fetched_epoch(last_fetched);
            fetch_one(&mut connection, "t", asked)
        };
        assert_eq!(code(&ask(old, -1, 0)), ErrorCode::FencedLeaderEpoch);
        assert_eq!(code(&ask(new + 1, -1, 0)), ErrorCode::UnknownLeaderEpoch);
        assert_eq!(code(&ask(new, -1, 0)), ErrorCode::None);
        // the old epoch ended at 2: whoever has its record 2 has something else than we
        let diverging = ask(new, old, 3);
        assert_eq!(code(&diverging), ErrorCode::None);
        let told = &diverging.diverging_epoch;
        assert_eq!((told.epoch, told.end_offset, bytes_of(&diverging)), (old, 2, 0));
        assert_eq!(ask(new, old, 2).diverging_epoch.epoch, -1);
        assert_eq!(code(&ask(new, new + 5, 2)), ErrorCode::OffsetOutOfRange, "an epoch of nobody");
        assert_eq!(
            ends(&mut connection, &[new, new + 1, old, -1]),
            [(new, 4), (-1, -1), (old, 2), (-1, -1)]
        );
    }
}

/// OffsetForLeaderEpoch of partition 0: the epoch found, and where it ends.
fn ends(connection: &mut client::Connection, epochs: &[i32]) -> Vec<(i32, i64)> {
    use protocol::messages::offset_for_leader_epoch_request::*;
    use protocol::messages::{BrokerId, OffsetForLeaderEpochRequest};
    let mut ends = Vec::new();
    for epoch in epochs {
        let asked = OffsetForLeaderPartition::default()
            .with_current_leader_epoch(-1)
            .with_leader_epoch(*epoch);
        let topic =
            OffsetForLeaderTopic::default().with_topic(name("t")).with_partitions(vec![asked]);
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![topic]);
        let answer = connection.call(&request).expect("an answer");
        let partition = &answer.topics[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        ends.push((partition.leader_epoch, partition.end_offset));
    }
    ends
}
