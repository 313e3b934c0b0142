//! Configs of topics that are altered while the node runs: each is seen to take effect on a topic that is there already,
//! and to go back to what the topic inherits.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

mod node;

use std::path::Path;

use client::Start;
use node::records::{create, write};
use node::requests::{BY_NAME_MAX, alter_broker, alter_topic, batch, fetch, produce};
use node::{Node, eventually};
use protocol::ErrorCode;
use record::{BatchHeader, Codec};

/// Retention and checkpoints come by all the time.
const BUSY: [&str; 4] = [
    "log.retention.check.interval.ms=50",
    "log.segment.delete.delay.ms=0",
    "log.cleaner.backoff.ms=50",
    "millrace.checkpoint.interval.ms=100",
];

fn produced(node: &Node, value_bytes: usize) -> ErrorCode {
    let codes = produce(&mut node.connect(), "t", [0], &batch(value_bytes, None));
    ErrorCode::from_code(codes[0]).expect("a code of Kafka")
}

/// The header of the last batch of `t`.
fn last_batch(node: &Node) -> BatchHeader {
    let described = node.client().describe_topic("t").expect("it is there");
    let mut request = fetch("t", 0..1);
    request.topics[0].partitions[0].fetch_offset = described.partitions[0].end_offset - 1;
    let answer = node.connect().call_up_to(&request, BY_NAME_MAX).expect("an answer");
    let records = answer.responses[0].partitions[0].records.as_ref().expect("a batch");
    BatchHeader::parse(records).expect("a sound header")
}

fn start_offset(node: &Node, topic: &str) -> i64 {
    node.client().describe_topic(topic).expect("it is there").partitions[0].start_offset
}

/// None before the first batches have left the WAL.
fn segments(data: &Path, topic: &str) -> usize {
    let Ok(entries) = std::fs::read_dir(data.join(format!("{topic}-0"))) else { return 0 };
    let names = entries.map(|entry| entry.expect("it lists").file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".log")).count()
}

fn stored_bytes(data: &Path, topic: &str) -> u64 {
    let Ok(entries) = std::fs::read_dir(data.join(format!("{topic}-0"))) else { return 0 };
    let entries = entries.map(|entry| entry.expect("it lists"));
    let logs = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".log"));
    logs.filter_map(|log| Some(log.metadata().ok()?.len())).sum()
}

#[test]
fn what_is_accepted_changes_with_the_topic() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 2, &[]);
    create(&node, "t", 1, &[]);
    for (key, value, refusal) in [
        ("max.message.bytes", "1000", ErrorCode::MessageTooLarge),
        ("message.timestamp.before.max.ms", "1000", ErrorCode::InvalidTimestamp),
    ] {
        assert_eq!(produced(&node, 5_000), ErrorCode::None, "{key}");
        alter_topic(&node, "t", key, Some(value));
        assert_eq!(produced(&node, 5_000), refusal, "{key}");
        alter_topic(&node, "t", key, None);
        assert_eq!(produced(&node, 5_000), ErrorCode::None, "{key}");
    }
    // a topic that is compacted takes no record without a key
    alter_topic(&node, "t", "cleanup.policy", Some("compact"));
    assert_eq!(produced(&node, 10), ErrorCode::InvalidRecord);
}

#[test]
fn how_batches_are_stored_changes_with_the_topic() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 2, &[]);
    create(&node, "t", 1, &[]);
    assert_eq!(produced(&node, 5_000), ErrorCode::None);
    let as_sent = last_batch(&node);
    assert_eq!(
        (as_sent.attributes.codec().ok(), as_sent.max_timestamp),
        (Some(Codec::None), 1_000)
    );
    for (name, codec) in [
        ("gzip", Codec::Gzip),
        ("snappy", Codec::Snappy),
        ("lz4", Codec::Lz4),
        ("zstd", Codec::Zstd),
    ] {
        alter_topic(&node, "t", "compression.type", Some(name));
        assert_eq!(produced(&node, 5_000), ErrorCode::None);
        assert_eq!(last_batch(&node).attributes.codec().ok(), Some(codec));
    }
    alter_topic(&node, "t", "compression.type", None);
    alter_topic(&node, "t", "message.timestamp.type", Some("LogAppendTime"));
    assert_eq!(produced(&node, 5_000), ErrorCode::None);
    let stamped = last_batch(&node);
    assert_eq!(stamped.attributes.codec().ok(), Some(Codec::None));
    assert!(stamped.max_timestamp > 1_000_000_000_000, "it is not of 1970");
    alter_topic(&node, "t", "message.timestamp.type", None);
    assert_eq!(produced(&node, 5_000), ErrorCode::None);
    assert_eq!(last_batch(&node).max_timestamp, 1_000);
}

#[test]
fn what_is_kept_changes_with_the_topic() {
    let data = tempfile::tempdir().unwrap();
    let settings: Vec<&str> = BUSY.into_iter().chain(["log.retention.ms=-1"]).collect();
    let node = Node::start(data.path(), 1, &settings);
    create(&node, "t", 1, &[]);
    write(&node, "t", 0, 3_000, 1_000);
    eventually("it is in one segment", || (segments(data.path(), "t") == 1).then_some(()));
    alter_topic(&node, "t", "segment.bytes", Some("1048576"));
    write(&node, "t", 3_000, 6_000, 1_000);
    eventually("there are more segments", || (segments(data.path(), "t") > 2).then_some(()));
    assert_eq!(start_offset(&node, "t"), 0);
    alter_topic(&node, "t", "retention.bytes", Some("2097152"));
    eventually("the oldest go by size", || (start_offset(&node, "t") > 2_000).then_some(()));
    assert!(start_offset(&node, "t") < 6_000);
    // the records are of 1970
    alter_topic(&node, "t", "retention.ms", Some("3600000"));
    eventually("the others go by age", || (start_offset(&node, "t") == 6_000).then_some(()));
}

#[test]
fn what_all_topics_inherit_changes_with_the_broker() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &BUSY);
    create(&node, "kept", 1, &[("retention.ms", "-1")]);
    create(&node, "t", 1, &[("segment.bytes", "1048576")]);
    assert_eq!(alter_broker(&node, "", "log.retention.ms", "-1"), ErrorCode::None);
    for topic in ["kept", "t"] {
        write(&node, topic, 0, 2_000, 1_000);
    }
    assert_eq!(start_offset(&node, "t"), 0);
    assert_eq!(alter_broker(&node, "1", "log.retention.ms", "3600000"), ErrorCode::None);
    eventually("it goes by age", || (start_offset(&node, "t") == 2_000).then_some(()));
    assert_eq!(start_offset(&node, "kept"), 0);
}

#[test]
fn a_topic_that_is_compacted_from_now_on_keeps_the_last_record_of_each_key() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &BUSY);
    create(&node, "t", 1, &[("segment.bytes", "1048576"), ("retention.ms", "-1")]);
    for _ in 0..3 {
        write(&node, "t", 0, 1_500, 1_000);
    }
    eventually("it is stored", || (stored_bytes(data.path(), "t") > 4_500_000).then_some(()));
    alter_topic(&node, "t", "min.cleanable.dirty.ratio", Some("0.01"));
    alter_topic(&node, "t", "cleanup.policy", Some("compact"));
    // the segment that is written is never compacted
    eventually("old values go", || (stored_bytes(data.path(), "t") < 3_000_000).then_some(()));
    // what is read from memory has not gone
    node.kill();
    let node = Node::start(data.path(), 1, &BUSY);
    let mut client = node.client();
    let mut reader = client.reader("t", None, Start::Beginning).expect("it is there");
    let mut keys = Vec::new();
    while reader.lag().expect("ends are known") > 0 {
        keys.extend(reader.read().expect("records").into_iter().map(|record| record.key));
    }
    assert!(keys.len() < 3_000, "{} records", keys.len());
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 1_500);
}
