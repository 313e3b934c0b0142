//! Partitions without traffic cost next to nothing: about 8 KiB of memory, no descriptor, no thread; and a node with
//! ten thousand of them starts and stops.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

mod node;

use node::Node;
use node::records::{create, read_all, write};

const TOPICS: usize = 10;
const PARTITIONS_EACH: i32 = 1_000;
/// The aim is 8 KiB; pages, and copies of metadata that are still to be freed, come on top.
const BYTES_EACH_MAX: u64 = 12 << 10;

fn status(node: &Node, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux says");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

fn descriptors(node: &Node) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", node.id())).expect("it runs").count()
}

#[test]
fn ten_thousand_idle_partitions_take_little_memory_and_no_descriptor() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 2, &[]);
    create(&node, "first", 1, &[]);
    write(&node, "first", 0, 10, 100);
    let (memory, open) = (status(&node, "VmRSS:"), descriptors(&node));
    let threads = status(&node, "Threads:");
    for topic in 0..TOPICS {
        create(&node, &format!("idle-{topic}"), PARTITIONS_EACH, &[]);
    }
    let each = (status(&node, "VmRSS:").saturating_sub(memory) << 10) / (TOPICS as u64 * 1_000);
    println!("{each} bytes of memory per idle partition");
    assert!(each < BYTES_EACH_MAX, "{each} bytes per partition");
    // a few of the connections that created the topics may still be there, and files of the WAL
    assert!(descriptors(&node) < open + 10, "{} descriptors were {open}", descriptors(&node));
    assert!(status(&node, "Threads:") <= threads);
    write(&node, "idle-7", 0, 100, 100);
    node.kill();
    let node = Node::start(data.path(), 1, &[]);
    assert_eq!(read_all(&node, "idle-7").len(), 100);
    assert_eq!(read_all(&node, "first").len(), 10);
    let described = node.client().describe_topic("idle-9").expect("it is there");
    assert_eq!(described.partitions.len(), PARTITIONS_EACH as usize);
    assert!(node.stop().success());
}
