//! What was acknowledged is there after kill -9, a stop, and another number of shards; and what a node refuses.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

mod node;

use std::path::Path;
use std::process::Command;

use client::{ClientError, NewRecord, Start};
use node::Node;
use node::records::{assert_once_each, create, read_all, write};
use protocol::ErrorCode;
use record::Codec;

/// Small files and short intervals: checkpoints, rolls and recycled WAL files happen within seconds of load.
const BUSY: [&str; 4] = [
    "millrace.wal.file.bytes=4194304",
    "millrace.checkpoint.interval.ms=100",
    "millrace.tail.cache.bytes=4194304",
    "log.segment.bytes=1048576",
];

#[test]
fn acknowledged_records_survive_kills_with_changing_numbers_of_shards() {
    let data = tempfile::tempdir().unwrap();
    let mut written = 0;
    for (round, shards) in [2, 3, 1, 4, 2].into_iter().enumerate() {
        let node = Node::start(data.path(), shards, &BUSY);
        if round == 0 {
            create(&node, "log", 5, &[]);
        } else {
            assert_once_each(&read_all(&node, "log"), written);
        }
        write(&node, "log", written, written + 4_000, 1_000);
        written += 4_000;
        node.kill();
    }
    let node = Node::start(data.path(), 2, &BUSY);
    assert_once_each(&read_all(&node, "log"), written);
    assert!(node.stop().success());
    let node = Node::start(data.path(), 3, &BUSY);
    assert_once_each(&read_all(&node, "log"), written);
}

#[test]
fn a_deleted_topic_stays_deleted_and_its_name_can_be_used_again() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 2, &BUSY);
    create(&node, "again", 2, &[]);
    write(&node, "again", 0, 3_000, 1_000);
    node.client().delete_topic("again").expect("it is deleted");
    create(&node, "again", 3, &[]);
    write(&node, "again", 5_000, 5_100, 100);
    node.kill();
    let node = Node::start(data.path(), 1, &BUSY);
    let seen = read_all(&node, "again");
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), (5_000..5_100).collect::<Vec<_>>());
}

#[test]
fn a_topic_with_memory_durability_survives_an_orderly_stop() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 2, &[]);
    create(&node, "fast", 1, &[("millrace.durability", "memory")]);
    write(&node, "fast", 0, 1_000, 100);
    assert!(node.stop().success());
    let left = |name| std::fs::read_to_string(data.path().join(name)).expect("Kafka's files");
    assert_eq!(left("recovery-point-offset-checkpoint"), "0\n1\nfast 0 1000\n");
    assert!(left(".kafka_cleanshutdown").contains("brokerEpoch"));
    let node = Node::start(data.path(), 2, &[]);
    assert!(!data.path().join(".kafka_cleanshutdown").exists());
    assert_once_each(&read_all(&node, "fast"), 1_000);
}

#[test]
fn a_nearly_full_disk_refuses_produce_with_a_retriable_error_and_reads_go_on() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &[]);
    create(&node, "full", 1, &[]);
    write(&node, "full", 0, 10, 100);
    assert!(node.stop().success());
    let node = Node::start(data.path(), 1, &["millrace.disk.reserve.bytes=9000000000000000000"]);
    let refused = node::eventually("produce is refused", || {
        let mut client = node.client();
        let mut writer = client.writer("full", None, Codec::None).expect("the topic is there");
        let record = NewRecord { value: Some(b"77".to_vec()), ..Default::default() };
        writer.write(&record).and_then(|()| writer.flush().map(drop)).err()
    });
    let code = refused.code().expect("an answer of the broker");
    assert_eq!(code.name(), "KAFKA_STORAGE_ERROR");
    assert!(code.is_retriable());
    assert!(read_all(&node, "full").len() >= 10);
}

/// Runs `millrace dev` with these settings until it ends; what it said on standard error.
fn refused(data: &Path, settings: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.args(["dev", "--port", "0", "--data"]).arg(data);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let output = command.output().expect("the binary runs");
    assert!(!output.status.success(), "it started with {settings:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_node_that_cannot_start_says_why_in_one_sentence() {
    let data = tempfile::tempdir().unwrap();
    let said = refused(data.path(), &["log.retention.hourz=3"]);
    assert!(said.contains("log.retention.hours"), "{said}");
    let node = Node::start(data.path(), 1, &[]);
    let said = refused(data.path(), &[]);
    assert!(said.contains("in use by another process"), "{said}");
    assert!(node.stop().success());
    let said = refused(data.path(), &["node.id=7"]);
    assert!(said.contains("belongs to node 1"), "{said}");
}

#[test]
fn a_damaged_log_is_refused_with_file_and_position() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &[]);
    create(&node, "damaged", 1, &[]);
    write(&node, "damaged", 0, 2_000, 1_000);
    node.kill();
    let file = data.path().join(".millrace/wal-0/00000000000000000001.wal");
    let mut bytes = std::fs::read(&file).expect("the first WAL file");
    bytes[64 << 10] ^= 0x40;
    std::fs::write(&file, bytes).expect("it is writable");
    let said = refused(data.path(), &["millrace.shards=1"]);
    assert!(said.contains("00000000000000000001.wal") && said.contains("corrupt at"), "{said}");
}

/// Reads the first partition from `offset` to its end, or to an error.
fn read_from(node: &Node, topic: &str, offset: i64) -> Result<Vec<i64>, ClientError> {
    let mut client = node.client();
    let mut reader = client.reader(topic, None, Start::Offset(offset))?;
    let mut offsets = Vec::new();
    while reader.lag()? > 0 {
        offsets.extend(reader.read()?.into_iter().map(|record| record.offset));
    }
    Ok(offsets)
}

#[test]
fn a_damaged_segment_costs_its_records_and_nothing_else_also_with_other_shards() {
    const DAMAGED: [&str; 3] = ["flipped", "cut", "gone"];
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 2, &BUSY);
    for topic in DAMAGED.into_iter().chain(["whole"]) {
        create(&node, topic, 1, &[]);
        write(&node, topic, 0, 700, 1_000);
    }
    assert!(node.stop().success());
    let dir = |topic| data.path().join(format!("{topic}-0"));
    let segment = |topic| dir(topic).join("00000000000000000000.log");
    // the length of the first batch; nor is there a snapshot of the producers
    let mut bytes = std::fs::read(segment("flipped")).unwrap();
    bytes[8] ^= 0x40;
    std::fs::write(segment("flipped"), bytes).unwrap();
    std::fs::remove_file(dir("flipped").join("00000000000000000700.snapshot")).unwrap();
    let file = std::fs::File::options().write(true).open(segment("cut")).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    std::fs::remove_dir_all(dir("gone")).unwrap();

    for (shards, written) in [(3, 700), (1, 2_800), (1, 4_900)] {
        let node = Node::start(data.path(), shards, &BUSY);
        for topic in DAMAGED.into_iter().chain(["whole"]) {
            write(&node, topic, written, written + 2_100, 1_000);
        }
        assert_once_each(&read_all(&node, "whole"), written + 2_100);
        for topic in DAMAGED {
            let behind = read_from(&node, topic, 700).expect("what came later is read");
            assert_eq!(behind, (700..i64::from(written) + 2_100).collect::<Vec<_>>(), "{topic}");
            let lost = if topic == "cut" { 699 } else { 0 };
            let refused = read_from(&node, topic, lost).expect_err("it is lost");
            let code = refused.code().expect("an answer of the broker");
            assert_eq!(code, ErrorCode::CorruptMessage, "{topic}");
        }
        node.kill();
    }
}
