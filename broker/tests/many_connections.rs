//! Connections that say nothing cost next to nothing, however many; and a process that may not open enough of them shares
//! out what it has and says so.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

mod node;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use client::Connection;
use node::records::{create, read_all, write};
use node::{Node, eventually};

const CONNECTIONS: usize = 10_000;
/// Of the node itself; what the kernel keeps for a socket is not counted.
const BYTES_EACH_MAX: u64 = 8 << 10;
const PLENTY: [&str; 3] = [
    "max.connections=20000",
    "max.connections.per.ip=20000",
    "max.connection.creation.rate=100000",
];

fn status(node: &Node, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux says");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

/// Raises the limit of this process as far as it may be; what it is then.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux says");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    let hard = line.split_whitespace().nth(4).expect("the hard limit").to_owned();
    let me = std::process::id().to_string();
    let arguments = ["--pid", &me, &format!("--nofile={hard}:{hard}")];
    let raised = Command::new("prlimit").args(arguments).status();
    let raised = raised.is_ok_and(|status| status.success());
    if raised { hard.parse().unwrap_or(usize::MAX) } else { 0 }
}

/// ApiVersions version 0, and whether an answer comes.
fn is_answered(stream: &mut TcpStream) -> bool {
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let mut head = [0; 10];
    stream.write_all(&request).is_ok() && stream.read_exact(&mut head).is_ok() && head[7] == 7
}

#[test]
fn ten_thousand_idle_connections_take_little_memory_and_are_answered() {
    if descriptors() < CONNECTIONS + 3_000 {
        return eprintln!("PROVED NOTHING: this process may not open {CONNECTIONS} connections");
    }
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 2, &PLENTY);
    create(&node, "t", 1, &[]);
    write(&node, "t", 0, 10, 100);
    let before = status(&node, "VmRSS:");
    let open = || TcpStream::connect(&node.address).expect("the node accepts");
    let mut idle: Vec<TcpStream> = (0..CONNECTIONS).map(|_| open()).collect();
    // the last one is served, so all are accepted
    assert!(
        idle.iter_mut().step_by(500).all(is_answered) && is_answered(&mut idle[CONNECTIONS - 1])
    );
    let each = (status(&node, "VmRSS:").saturating_sub(before) << 10) / CONNECTIONS as u64;
    println!("{each} bytes of memory per idle connection");
    assert!(each < BYTES_EACH_MAX, "{each} bytes per connection");
    write(&node, "t", 10, 20, 100);
    assert_eq!(read_all(&node, "t").len(), 20);
    assert!(node.stop().success());
}

#[test]
fn a_low_limit_of_open_files_is_shared_out_and_said() {
    let data = tempfile::tempdir().unwrap();
    let mut sh = Command::new("sh");
    sh.args(["-c", "ulimit -n 1024 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_millrace")]);
    sh.args(["dev", "--port", "0", "--shards", "1", "--data"]).arg(data.path());
    let (node, said) = Node::run_listening(sh);
    said.wait_for("leaves room for 448 of max.connections=10000 connections");
    let mut held = Vec::new();
    let refused = eventually("there is no room", || match Connection::open(&node.address) {
        Ok(connection) => {
            held.push(connection);
            None
        }
        Err(_) => Some(held.len()),
    });
    assert!((440..=448).contains(&refused), "{refused}");
    said.wait_for("the limit of open files leaves room for 448 connections");
    held.truncate(400);
    eventually("there is room again", || Connection::open(&node.address).ok());
    // files are made and read while all of them are held
    create(&node, "t", 20, &[]);
    write(&node, "t", 0, 2_000, 1_000);
    assert_eq!(read_all(&node, "t").len(), 2_000);
    assert!(node.stop().success());
}
