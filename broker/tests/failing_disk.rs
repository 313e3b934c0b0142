//! A real write or a real sync that the kernel fails: the process ends at once and says why, nothing is acknowledged after
//! it, and what was acknowledged is there when the disk is well again.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

mod node;

use std::path::Path;
use std::process::Command;

use node::load::Load;
use node::process::Said;
use node::records::{assert_all_there, create};
use node::{Node, thin_disk};

/// What the process ends with, EX_IOERR of sysexits.h.
const FAIL_STOP: i32 = 74;
/// The WAL and the segments are written all the time, whatever the free space.
const BUSY: [&str; 4] = [
    "millrace.wal.file.bytes=4194304",
    "millrace.checkpoint.interval.ms=100",
    "millrace.disk.reserve.bytes=0",
    "log.segment.bytes=1048576",
];
const BACKENDS: [&str; 2] = ["millrace.wal.backend=commit_thread", "millrace.wal.backend=io_uring"];

fn settings(backend: &'static str) -> Vec<&'static str> {
    BUSY.into_iter().chain([backend]).collect()
}

fn with_topic(node: (Node, Said)) -> (Node, Said) {
    create(&node.0, "t", 2, &[]);
    node
}

/// The node ends by itself and says one of these.
fn assert_fail_stop(node: Node, said: &Said, words: &[&str]) {
    assert_eq!(node.wait().code(), Some(FAIL_STOP));
    let said = said.so_far();
    assert!(words.iter().any(|words| said.contains(words)), "{said}");
}

/// A node whose signal for too large files is ignored, so that its writes fail instead.
fn start_with_failing_writes_to_come(data: &Path, settings: &[&str]) -> (Node, Said) {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_millrace")]);
    command.args(["dev", "--port", "0", "--shards", "2", "--data"]).arg(data);
    for setting in settings {
        command.args(["--set", setting]);
    }
    Node::run_listening(command)
}

#[test]
fn a_write_that_fails_ends_the_node_and_nothing_after_it_is_acknowledged() {
    if !Command::new("prlimit").arg("--version").output().is_ok_and(|out| out.status.success()) {
        return eprintln!("PROVED NOTHING: this host has no prlimit, which comes with util-linux");
    }
    for backend in BACKENDS {
        let data = tempfile::tempdir().unwrap();
        let (node, said) =
            with_topic(start_with_failing_writes_to_come(data.path(), &settings(backend)));
        let load = Load::start(&node.address, 0);
        load.progress(500);
        let pid = node.id().to_string();
        let limited = Command::new("prlimit").args(["--pid", &pid, "--fsize=0"]).status();
        assert!(limited.expect("prlimit runs").success());
        assert_fail_stop(node, &said, &["nothing after it was acknowledged"]);
        let acknowledged = load.cut_off();
        assert_all_there(&Node::start(data.path(), 1, &BUSY), &acknowledged);
    }
}

#[test]
fn a_sync_that_fails_ends_the_node_and_the_wal_has_what_was_acknowledged() {
    let name = "a_sync_that_fails_ends_the_node_and_the_wal_has_what_was_acknowledged";
    thin_disk::with(name, |disk| {
        let data = disk.path().join("data");
        let (node, said) = with_topic(Node::start_listening(&data, 1, &BUSY));
        let load = Load::start(&node.address, 0);
        load.progress(500);
        let foreign = disk.run_out();
        let segments = "the WAL has what was acknowledged";
        assert_fail_stop(node, &said, &[segments, "nothing after it was acknowledged"]);
        let acknowledged = load.cut_off();
        drop(foreign);
        disk.mount_again();
        assert_all_there(&Node::start(&data, 1, &BUSY), &acknowledged);
    });
}

#[test]
fn a_file_system_that_turns_read_only_ends_the_node() {
    let name = "a_file_system_that_turns_read_only_ends_the_node";
    thin_disk::with(name, |disk| {
        let data = disk.path().join("data");
        let (node, said) = with_topic(Node::start_listening(&data, 1, &BUSY));
        let load = Load::start(&node.address, 0);
        load.progress(500);
        disk.turn_read_only();
        assert_fail_stop(node, &said, &["nothing after it was acknowledged"]);
        let acknowledged = load.cut_off();
        disk.mount_again();
        assert_all_there(&Node::start(&data, 1, &BUSY), &acknowledged);
    });
}
