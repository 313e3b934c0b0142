//! Running a node as a person does: the commands, the files, the ports, the signals; what it says and what it leaves.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

mod node;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use client::{Client, NewRecord};
use node::address::free_port;
use node::records::{create, read_all, write};
use node::{Node, eventually};
use record::Codec;

/// `config/server.properties` of Apache Kafka 4.3 without its comments.
const STOCK: &str = include_str!("../config/tests/kafka_4_3/server.properties");

/// The stock file on ports that are free, with its data in `data`.
fn stock(data: &Path) -> String {
    let here = ["listeners=", "advertised.listeners=", "log.dirs=", "controller.quorum.b"];
    let kept = STOCK.lines().filter(|line| !here.iter().any(|key| line.starts_with(key)));
    let peers = free_port();
    let listeners = format!("listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://:{peers}");
    let servers = format!("controller.quorum.bootstrap.servers=localhost:{peers}");
    let own = [listeners, servers, format!("log.dirs={}", data.display())];
    kept.chain(own.iter().map(String::as_str)).flat_map(|line| [line, "\n"]).collect()
}

fn millrace() -> Command {
    Command::new(env!("CARGO_BIN_EXE_millrace"))
}

/// Runs a command that is to end by itself.
fn output(command: &mut Command) -> (bool, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let text = [stdout, stderr].concat();
    (status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn http(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("the directory is there");
    entries.map(|e| e.expect("it lists").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn dev_names_its_temporary_directory_and_removes_it() {
    let home = tempfile::tempdir().unwrap();
    let mut command = millrace();
    command.args(["dev", "--port", "0"]).env("TMPDIR", home.path());
    let node = Node::run(command);
    let data = node.line.split_whitespace().find_map(|word| word.strip_prefix("data="));
    let data = PathBuf::from(data.expect("it is named"));
    assert!(data.starts_with(home.path()) && data.is_dir());
    assert!(node.stop().success());
    assert!(!data.exists());
    let mut refused = millrace();
    refused.args(["dev", "--port", "0", "--set", "listeners=PLAINTEXT://no.such.host.invalid:1"]);
    assert!(!output(refused.env("TMPDIR", home.path())).0);
    assert_eq!(names(home.path()), [""; 0]);
}

#[test]
fn a_server_properties_of_kafka_starts_a_node_unchanged() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let file = home.path().join("server.properties");
    std::fs::write(&file, stock(&data)).unwrap();
    let mut command = millrace();
    command.args(["start", "--config"]).arg(&file);
    let (node, said) = Node::run_listening(command);
    said.wait_for("num.network.threads, num.io.threads");
    assert_eq!(said.so_far().matches("num.io.threads").count(), 1, "one warning per key");
    write(&node, "made-on-demand", 0, 10, 100);
    assert_eq!(read_all(&node, "made-on-demand").len(), 10);
    assert!(node.stop().success());
}

#[test]
fn a_directory_with_partitions_of_kafka_is_refused_and_an_empty_one_is_taken() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("__cluster_metadata-0")).unwrap();
    std::fs::create_dir(data.path().join("orders-3")).unwrap();
    let mut dev = millrace();
    let (ok, said) = output(dev.args(["dev", "--port", "0", "--data"]).arg(data.path()));
    assert!(!ok && said.contains("orders-3") && said.contains("Apache Kafka"), "{said}");
    std::fs::remove_dir(data.path().join("orders-3")).unwrap();
    assert!(Node::start(data.path(), 1, &[]).stop().success());
}

#[test]
fn a_stop_under_load_finishes_what_it_accepted() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 2, &[]);
    create(&node, "t", 3, &[]);
    let writers = (0..4).map(|writer| {
        let address = node.address.clone();
        std::thread::spawn(move || {
            let mut acknowledged = BTreeSet::new();
            let Ok(mut client) = Client::connect(&address) else { return acknowledged };
            let Ok(mut writer_of_t) = client.writer("t", Some(writer % 3), Codec::None) else {
                return acknowledged;
            };
            for number in 0u32.. {
                let number = number * 4 + writer as u32;
                let value = Some(number.to_string().into_bytes());
                let sent = writer_of_t.write(&NewRecord { value, ..NewRecord::default() });
                if sent.and_then(|()| writer_of_t.flush()).is_err() {
                    break;
                }
                acknowledged.insert(number);
            }
            acknowledged
        })
    });
    let writers: Vec<_> = writers.collect();
    eventually("there is load", || (read_all(&node, "t").len() > 100).then_some(()));
    assert!(node.stop().success());
    let all: BTreeSet<u32> =
        writers.into_iter().flat_map(|writer| writer.join().expect("it ends")).collect();
    let node = Node::start(data.path(), 2, &[]);
    let seen = read_all(&node, "t");
    assert!(all.len() > 100 && all.iter().all(|number| seen.contains_key(number)));
}

#[test]
fn metrics_health_and_json_logs_are_where_they_were_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let metrics = format!("millrace.metrics.listen={listen}");
    let settings = [&metrics, "millrace.log.format=json", "millrace.log.level=info"];
    let (node, said) = Node::start_listening(data.path(), 2, &settings);
    assert!(http(&listen, "/health").is_some_and(|answer| answer.contains("200 OK")));
    assert!(http(&listen, "/ready").is_some_and(|answer| answer.contains("200 OK")));
    write(&node, "t", 0, 100, 100);
    read_all(&node, "t");
    let all = http(&listen, "/metrics").expect("an answer");
    let value = |name: &str| -> f64 {
        let line = all.lines().find_map(|l| l.strip_prefix(&format!("millrace_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {all}")).parse().expect("a number")
    };
    for moved in ["requests_total", "produce_batches_total", "connections_accepted_total"] {
        assert!(value(moved) > 0.0, "{moved}");
    }
    assert!(value("network_bytes_in_total") > 10_000.0);
    assert!(value("produce_latency_p500_us") > 0.0);
    assert_eq!(value("disk_full"), 0.0);
    node.terminate();
    said.wait_for("stopping");
    assert!(said.so_far().lines().all(|line| line.starts_with('{') && line.ends_with('}')));
}

#[test]
fn a_host_that_refuses_what_a_node_needs_is_told_in_one_sentence_with_the_remedy() {
    for (limit, remedy) in [("ulimit -n 64", "ulimit -n 1024"), ("ulimit -l 16", "ulimit -l")] {
        let data = tempfile::tempdir().unwrap();
        let mut sh = Command::new("sh");
        sh.args(["-c", &format!("{limit} && exec \"$@\""), "sh", env!("CARGO_BIN_EXE_millrace")]);
        let (ok, said) = output(sh.args(["dev", "--port", "0", "--data"]).arg(data.path()));
        assert!(!ok && said.contains(remedy) && said.trim().lines().count() == 1, "{said}");
    }
}

#[test]
fn a_busy_port_is_named() {
    let (home, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = Node::start(data.path(), 1, &[]);
    let port = node.address.rsplit_once(':').expect("host:port").1;
    let mut second = millrace();
    let (ok, said) = output(second.args(["dev", "--port", port, "--data"]).arg(home.path()));
    assert!(!ok && said.contains(&node.address) && said.contains("in use"), "{said}");
}

#[test]
fn check_reads_the_host_and_prints_lines_or_json() {
    let (_, lines) = output(millrace().args(["check", "--data", "/tmp"]));
    for subject in ["kernel", "io_uring", "open files", "locked memory", "file system"] {
        assert!(lines.contains(subject), "{lines}");
    }
    let (_, json) = output(millrace().args(["check", "-o", "json"]));
    let findings: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(findings.as_array().is_some_and(|all| all.len() >= 7));
}

#[test]
fn old_segments_go_by_size_and_by_time_and_their_files_follow() {
    let data = tempfile::tempdir().unwrap();
    let settings = [
        "log.segment.bytes=1048576",
        "log.retention.check.interval.ms=50",
        "log.segment.delete.delay.ms=0",
        "millrace.checkpoint.interval.ms=100",
    ];
    let node = Node::start(data.path(), 2, &settings);
    create(&node, "sized", 1, &[("retention.bytes", "1048576"), ("retention.ms", "-1")]);
    // the records are of 1970
    create(&node, "aged", 1, &[("retention.ms", "3600000")]);
    create(&node, "kept", 1, &[("retention.ms", "-1")]);
    for topic in ["sized", "aged", "kept"] {
        write(&node, topic, 0, 5_000, 1_000);
    }
    let start = |topic: &str| {
        let described = node.client().describe_topic(topic).expect("it is there");
        described.partitions[0].start_offset
    };
    let segments = |topic: &str| {
        let dir = data.path().join(format!("{topic}-0"));
        names(&dir).iter().filter(|name| name.contains(".log")).count()
    };
    eventually("segments go by size", || {
        (start("sized") > 2_000 && segments("sized") < 4).then_some(())
    });
    eventually("everything goes by age", || (start("aged") == 5_000).then_some(()));
    eventually("the files go", || (segments("aged") <= 1).then_some(()));
    assert_eq!(start("kept"), 0);
    assert_eq!(read_all(&node, "kept").len(), 5_000);
}

#[test]
fn files_of_a_deleted_topic_go_after_a_restart_too() {
    let data = tempfile::tempdir().unwrap();
    let settings = ["millrace.checkpoint.interval.ms=100", "millrace.tail.cache.bytes=1048576"];
    let node = Node::start(data.path(), 1, &settings);
    create(&node, "gone", 1, &[]);
    write(&node, "gone", 0, 1_000, 1_000);
    let dirs = || names(data.path()).iter().filter(|name| name.starts_with("gone-")).count();
    eventually("it is in segments", || (dirs() == 1).then_some(()));
    node.client().delete_topic("gone").expect("it is deleted");
    eventually("it is renamed", || {
        names(data.path()).iter().any(|name| name.ends_with("-delete")).then_some(())
    });
    node.kill();
    let _node = Node::start(data.path(), 1, &settings);
    eventually("its files are gone", || (dirs() == 0).then_some(()));
}
