//! Records that name their number, so that what is read can be compared with what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use client::{NewRecord, NewTopic, Start};
use record::Codec;

use super::Node;

pub fn create(node: &Node, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
    let configs = configs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let new =
        NewTopic { name: topic.into(), partitions: Some(partitions), replication: None, configs };
    node.client().create_topic(&new).expect("the topic is created");
}

/// Writes records `from..to`, each naming its number, and returns when all are acknowledged.
pub fn write(node: &Node, topic: &str, from: u32, to: u32, bytes: usize) {
    let mut client = node.client();
    let mut writer = client.writer(topic, None, Codec::None).expect("the topic is there");
    for number in from..to {
        let mut value = number.to_string().into_bytes();
        value.resize(bytes, b' ');
        let key = Some(number.to_string().into_bytes());
        let record =
            NewRecord { key, value: Some(value), timestamp_ms: 1_000, ..Default::default() };
        writer.write(&record).expect("the record is taken");
    }
    writer.flush().expect("everything is acknowledged");
}

/// Numbers read from the beginning, with how often each was seen; offsets have no gaps.
pub fn read_all(node: &Node, topic: &str) -> BTreeMap<u32, usize> {
    let mut client = node.client();
    let mut reader = client.reader(topic, None, Start::Beginning).expect("the topic is there");
    let mut seen = BTreeMap::new();
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    while reader.lag().expect("ends are known") > 0 {
        for record in reader.read().expect("records are read") {
            let expected = next.entry(record.partition).or_insert(record.offset);
            assert_eq!(record.offset, *expected, "a gap in partition {}", record.partition);
            *expected += 1;
            let value = String::from_utf8(record.value.expect("a value")).expect("text");
            *seen.entry(value.trim().parse().expect("a number")).or_default() += 1;
        }
    }
    seen
}

pub fn assert_once_each(seen: &BTreeMap<u32, usize>, count: u32) {
    assert_eq!(seen.len(), count as usize);
    assert!(seen.values().all(|n| *n == 1), "a record was read twice");
}

/// Whatever else is in topic `t`, nothing acknowledged is missing.
pub fn assert_all_there(node: &Node, acknowledged: &BTreeSet<u32>) {
    let seen = read_all(node, "t");
    let lost: Vec<_> = acknowledged.iter().filter(|number| !seen.contains_key(number)).collect();
    assert!(lost.is_empty(), "{} acknowledged records are lost, first {lost:?}", lost.len());
}
