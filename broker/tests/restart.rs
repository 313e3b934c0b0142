//! A start does not look at what is stored: no segment is opened, however many there are, and none is even missed until
//! somebody reads it.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

mod node;

use std::path::Path;

use node::Node;
use node::records::{assert_once_each, create, read_all, write};

const SETTINGS: [&str; 2] = ["log.segment.bytes=1048576", "millrace.tail.cache.bytes=4194304"];
const RECORDS: u32 = 12_000;

/// Files of partitions that the node has open.
fn open_segments(node: &Node, data: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", node.id())).expect("it runs");
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let partitions = targets.filter(|path| path.starts_with(data.join("t-0")));
    partitions.map(|path| path.display().to_string()).collect()
}

fn segments(data: &Path) -> usize {
    let entries = std::fs::read_dir(data.join("t-0")).expect("it has a directory");
    let names = entries.map(|entry| entry.expect("it lists").file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".log")).count()
}

#[test]
fn a_start_opens_no_segment_and_needs_none() {
    let home = tempfile::tempdir().unwrap();
    let (data, away) = (home.path().join("data"), home.path().join("away"));
    let node = Node::start(&data, 2, &SETTINGS);
    create(&node, "t", 1, &[]);
    write(&node, "t", 0, RECORDS, 1_000);
    assert!(node.stop().success());
    assert!(segments(&data) > 10, "{} segments", segments(&data));
    for shards in [2, 1] {
        // what is not there cannot be read
        std::fs::rename(data.join("t-0"), &away).unwrap();
        let node = Node::start(&data, shards, &SETTINGS);
        let described = node.client().describe_topic("t").expect("it is there");
        assert_eq!(described.partitions[0].end_offset, i64::from(RECORDS));
        assert_eq!(open_segments(&node, &data), [""; 0]);
        std::fs::rename(&away, data.join("t-0")).unwrap();
        assert_once_each(&read_all(&node, "t"), RECORDS);
        assert_ne!(open_segments(&node, &data), [""; 0]);
        node.kill();
    }
}
