//! Three nodes as processes: what is acknowledged survives the death of any one of them, and a client meets one cluster.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use client::{Client, Codec, NewRecord, NewTopic, Start};
use tempfile::TempDir;

mod node;
use node::eventually;

const NODES: usize = 3;

/// Three nodes; `None` where one is dead.
struct Cluster {
    dir: TempDir,
    ports: Vec<(u16, u16)>,
    running: Vec<Option<Child>>,
}

/// Ports that were free a moment ago, all different.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port is free")).collect();
    listeners.iter().map(|l| l.local_addr().expect("it is bound").port()).collect()
}

impl Cluster {
    fn start() -> Cluster {
        let dir = TempDir::new().expect("a directory");
        let ports = free_ports(2 * NODES).chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let mut cluster = Cluster { dir, ports, running: Vec::new() };
        let spawned: Vec<Child> = (0..NODES).map(|i| cluster.spawn(i, &cluster.home(i))).collect();
        cluster.running = spawned.into_iter().map(|child| Some(wait_ready(child))).collect();
        cluster
    }

    fn home(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("node-{index}"))
    }

    fn properties(&self, index: usize, data: &Path) -> String {
        let voters: Vec<String> = (1..)
            .zip(&self.ports)
            .map(|(id, (_, peer))| format!("{id}@127.0.0.1:{peer}"))
            .collect();
        let (port, peer) = self.ports[index];
        format!(
            "process.roles=broker,controller\nnode.id={id}\ncontroller.quorum.voters={voters}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{peer}\n\
             controller.listener.names=CONTROLLER\nlog.dirs={data}\nmillrace.shards=2\n\
             broker.session.timeout.ms=2000\nmillrace.wal.file.bytes=4194304\n\
             offsets.topic.replication.factor=3\noffsets.topic.num.partitions=3\n\
             millrace.checkpoint.interval.ms=200\nmillrace.log.level=warn\n",
            id = index + 1,
            voters = voters.join(","),
            data = data.display(),
        )
    }

    fn spawn(&self, index: usize, home: &Path) -> Child {
        std::fs::create_dir_all(home).expect("a directory");
        let file = home.join("server.properties");
        std::fs::write(&file, self.properties(index, &home.join("data"))).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.arg("start").arg("--config").arg(&file);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary runs")
    }

    fn restart(&mut self, index: usize) {
        let child = self.spawn(index, &self.home(index));
        self.running[index] = Some(wait_ready(child));
    }

    /// `kill -9`.
    fn kill(&mut self, index: usize) {
        let mut child = self.running[index].take().expect("it runs");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }

    /// SIGTERM, and waits.
    fn stop(&mut self, index: usize) {
        let mut child = self.running[index].take().expect("it runs");
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(sent.success());
        assert!(child.wait().expect("it ends").success());
    }

    fn bootstrap(&self) -> String {
        let alive = self.ports.iter().zip(&self.running).filter(|(_, child)| child.is_some());
        let alive: Vec<String> = alive.map(|((port, _), _)| format!("127.0.0.1:{port}")).collect();
        alive.join(",")
    }

    fn client(&self) -> Client {
        Client::connect(&self.bootstrap()).expect("a node accepts")
    }

    fn create(&self, topic: &str, partitions: i32) {
        self.create_with(topic, partitions, 3);
    }

    fn create_with(&self, topic: &str, partitions: i32, replicas: i16) {
        let new = NewTopic {
            name: topic.into(),
            partitions: Some(partitions),
            replication: Some(replicas),
            configs: Vec::new(),
        };
        self.client().create_topic(&new).expect("the topic is created");
    }

    /// The node that leads a partition, once one does that runs.
    fn leader(&self, topic: &str, partition: usize) -> usize {
        eventually("a leader", || {
            let described = self.client().describe_topic(topic).ok()?;
            let leader = usize::try_from(described.partitions[partition].leader - 1).ok()?;
            self.running[leader].is_some().then_some(leader)
        })
    }

    /// Waits until the segments and the tail of a node hold as many records as its leaders': it leads again.
    fn wait_caught_up(&self, node: usize, topic: &str) {
        eventually("it leads what it is preferred for", || {
            let described = self.client().describe_topic(topic).ok()?;
            let led = described.partitions.iter().filter(|p| p.leader == node as i32 + 1).count();
            (led > 0).then_some(())
        });
    }

    fn wait_in_sync(&self, topic: &str) {
        eventually("all replicas in sync", || {
            let described = self.client().describe_topic(topic).ok()?;
            described.partitions.iter().all(|p| p.in_sync.len() == NODES).then_some(())
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.running.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn wait_ready(mut child: Child) -> Child {
    let out = child.stdout.take().expect("its output is piped");
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).expect("it says that it is ready");
    assert!(line.contains("is ready"), "not ready: {line:?}");
    child
}

/// Writes one record and says whether it was acknowledged at the first attempt.
fn write_one(cluster: &Cluster, topic: &str, number: u32) -> bool {
    let mut attempts = 0;
    eventually("the record is acknowledged", || {
        attempts += 1;
        let mut client = Client::connect(&cluster.bootstrap()).ok()?;
        let mut writer = client.writer(topic, None, Codec::None).ok()?;
        let key = number.to_string().into_bytes();
        let record = NewRecord { key: Some(key.clone()), value: Some(key), ..Default::default() };
        writer.write(&record).ok()?;
        writer.flush().ok()
    });
    attempts == 1
}

/// Writes numbers; those whose first attempt failed may stand in the log twice.
fn write(cluster: &Cluster, topic: &str, numbers: std::ops::Range<u32>, again: &mut BTreeSet<u32>) {
    for number in numbers {
        if !write_one(cluster, topic, number) {
            again.insert(number);
        }
    }
}

fn read_all(cluster: &Cluster, topic: &str) -> BTreeMap<u32, usize> {
    eventually("everything is read", || {
        let mut client = Client::connect(&cluster.bootstrap()).ok()?;
        let mut reader = client.reader(topic, None, Start::Beginning).ok()?;
        let mut seen = BTreeMap::new();
        while reader.lag().ok()? > 0 {
            for record in reader.read().ok()? {
                let value = String::from_utf8(record.value.expect("a value")).expect("text");
                *seen.entry(value.parse().expect("a number")).or_default() += 1;
            }
        }
        Some(seen)
    })
}

fn assert_all(seen: &BTreeMap<u32, usize>, count: u32, again: &BTreeSet<u32>) {
    let missing: Vec<u32> = (0..count).filter(|number| !seen.contains_key(number)).collect();
    assert!(missing.is_empty(), "acknowledged and gone: {missing:?}");
    let twice: Vec<&u32> = seen
        .iter()
        .filter(|(n, times)| **times > 1 && !again.contains(n))
        .map(|(n, _)| n)
        .collect();
    assert!(twice.is_empty(), "acknowledged once and there twice: {twice:?}");
}

#[test]
fn what_is_acknowledged_survives_the_death_of_each_node_in_turn() {
    let mut cluster = Cluster::start();
    cluster.create("t", 4);
    let mut again = BTreeSet::new();
    let mut written = 0;
    write(&cluster, "t", 0..40, &mut again);
    written += 40;
    for round in 0..NODES {
        let leader = cluster.leader("t", round);
        cluster.kill(leader);
        write(&cluster, "t", written..written + 40, &mut again);
        written += 40;
        assert_all(&read_all(&cluster, "t"), written, &again);
        cluster.restart(leader);
        cluster.wait_in_sync("t");
    }
    assert_all(&read_all(&cluster, "t"), written, &again);
}

#[test]
fn a_cluster_that_lost_power_as_a_whole_has_everything_it_acknowledged() {
    let mut cluster = Cluster::start();
    cluster.create("t", 2);
    let mut again = BTreeSet::new();
    write(&cluster, "t", 0..60, &mut again);
    (0..NODES).for_each(|index| cluster.kill(index));
    let spawned: Vec<Child> = (0..NODES).map(|i| cluster.spawn(i, &cluster.home(i))).collect();
    cluster.running = spawned.into_iter().map(|child| Some(wait_ready(child))).collect();
    write(&cluster, "t", 60..80, &mut again);
    assert_all(&read_all(&cluster, "t"), 80, &again);
}

#[test]
fn a_node_that_missed_more_than_the_logs_hold_gets_it_and_can_lead() {
    let mut cluster = Cluster::start();
    cluster.create("t", 4);
    let mut again = BTreeSet::new();
    write(&cluster, "t", 0..20, &mut again);
    let absent = cluster.leader("t", 0);
    cluster.kill(absent);
    write(&cluster, "t", 20..60, &mut again);
    cluster.create_with("u", 2, 2);
    // After an orderly stop a log begins at its end, so the others have nothing left of what it lacks.
    let others: Vec<usize> = (0..NODES).filter(|node| *node != absent).collect();
    for node in others.clone() {
        cluster.stop(node);
        cluster.restart(node);
        write(&cluster, "t", 60..61, &mut again);
    }
    again.insert(60);
    cluster.restart(absent);
    write(&cluster, "t", 61..70, &mut again);
    cluster.wait_caught_up(absent, "t");
    // With one of the others gone, what it got is needed for every majority.
    cluster.kill(others[0]);
    write(&cluster, "t", 70..80, &mut again);
    assert_all(&read_all(&cluster, "t"), 80, &again);
    let topics = cluster.client().topics().expect("metadata are told");
    assert!(topics.iter().any(|topic| topic.name == "u"), "metadata that it missed");
}

#[test]
fn a_second_directory_with_a_used_node_id_is_refused_in_one_sentence() {
    let mut cluster = Cluster::start();
    cluster.create("t", 1);
    cluster.kill(2);
    let other = cluster.dir.path().join("another");
    let refused = cluster.spawn(2, &other).wait_with_output().expect("it ends");
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).expect("text");
    let sentence = said.lines().find(|line| line.starts_with("millrace: "));
    let sentence = sentence.unwrap_or_else(|| panic!("no sentence in {said:?}"));
    assert!(sentence.contains("node.id=3"), "{sentence}");
    cluster.restart(2);
    cluster.wait_in_sync("t");
}
