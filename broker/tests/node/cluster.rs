//! Three nodes of one cluster as child processes on this host.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use client::{Client, Connection, NewTopic};
use tempfile::TempDir;

use super::address::own_host;
use super::eventually;

pub const NODES: usize = 3;

/// Three nodes; `None` where one is dead.
pub struct Cluster {
    pub dir: TempDir,
    /// Each node's own.
    pub hosts: Vec<Ipv4Addr>,
    pub running: Vec<Option<Child>>,
    /// More lines in the file of each node, given by its index; in force from its next start on.
    pub settings: fn(usize) -> String,
}

impl Cluster {
    pub fn start() -> Cluster {
        Cluster::start_with(|_| String::new())
    }

    /// With more lines in the file of each node, given by its index.
    pub fn start_with(settings: fn(usize) -> String) -> Cluster {
        let dir = TempDir::new().expect("a directory");
        let hosts = (0..NODES).map(|_| own_host()).collect();
        let mut cluster = Cluster { dir, hosts, running: Vec::new(), settings };
        let spawned: Vec<Child> = (0..NODES).map(|i| cluster.spawn(i, &cluster.home(i))).collect();
        cluster.running = spawned.into_iter().map(|child| Some(wait_ready(child))).collect();
        cluster.wait_acquainted();
        cluster
    }

    /// Each node is ready when it is registered itself; a topic with three replicas takes that of all.
    fn wait_acquainted(&self) {
        let mut wait = Command::new(env!("CARGO_BIN_EXE_millrace"));
        let ended = wait.args(["cluster", "wait", "-b", &self.bootstrap()]).output();
        let ended = ended.expect("the binary runs");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }

    pub fn home(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("node-{index}"))
    }

    fn properties(&self, index: usize, data: &Path) -> String {
        let voters: Vec<String> =
            (1..).zip(&self.hosts).map(|(id, host)| format!("{id}@{host}:9093")).collect();
        let host = self.hosts[index];
        format!(
            "process.roles=broker,controller\nnode.id={id}\ncontroller.quorum.voters={voters}\n\
             listeners=PLAINTEXT://{host}:9092,CONTROLLER://{host}:9093\n\
             controller.listener.names=CONTROLLER\nlog.dirs={data}\nmillrace.shards=2\n\
             broker.session.timeout.ms=2000\nmillrace.wal.file.bytes=4194304\n\
             offsets.topic.replication.factor=3\noffsets.topic.num.partitions=3\n\
             millrace.checkpoint.interval.ms=200\nmillrace.log.level=warn\n{more}",
            more = (self.settings)(index),
            id = index + 1,
            voters = voters.join(","),
            data = data.display(),
        )
    }

    pub fn spawn(&self, index: usize, home: &Path) -> Child {
        std::fs::create_dir_all(home).expect("a directory");
        let file = home.join("server.properties");
        std::fs::write(&file, self.properties(index, &home.join("data"))).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.arg("start").arg("--config").arg(&file);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary runs")
    }

    pub fn restart(&mut self, index: usize) {
        let child = self.spawn(index, &self.home(index));
        self.running[index] = Some(wait_ready(child));
    }

    /// Stops a node's process where it is; it answers nothing until [`Cluster::go_on`]. Its threads stop once one of them
    /// has taken the signal, which on a busy machine may be a while later.
    pub fn pause(&self, index: usize) {
        self.signal(index, "-STOP");
        let threads = format!("/proc/{}/task", self.running[index].as_ref().expect("it runs").id());
        let is_stopped = |thread: std::io::Result<std::fs::DirEntry>| {
            let stat =
                thread.and_then(|thread| std::fs::read_to_string(thread.path().join("stat")));
            // behind the name, which is in parentheses
            stat.is_ok_and(|stat| {
                stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
            })
        };
        eventually("all threads have stopped", || {
            let mut threads = std::fs::read_dir(&threads).expect("it runs");
            threads.all(is_stopped).then_some(())
        });
    }

    pub fn go_on(&self, index: usize) {
        self.signal(index, "-CONT");
    }

    fn signal(&self, index: usize, signal: &str) {
        let pid = self.running[index].as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// A connection to one node.
    pub fn connect(&self, index: usize) -> Connection {
        Connection::open(&self.address(index)).expect("the node accepts")
    }

    /// `kill -9`.
    pub fn kill(&mut self, index: usize) {
        let mut child = self.running[index].take().expect("it runs");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    }

    /// SIGTERM, and waits.
    pub fn stop(&mut self, index: usize) {
        let mut child = self.running[index].take().expect("it runs");
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(sent.success());
        assert!(child.wait().expect("it ends").success());
    }

    pub fn bootstrap(&self) -> String {
        let alive = (0..NODES).filter(|index| self.running[*index].is_some());
        let alive: Vec<String> = alive.map(|index| self.address(index)).collect();
        alive.join(",")
    }

    fn address(&self, index: usize) -> String {
        format!("{}:9092", self.hosts[index])
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.bootstrap()).expect("a node accepts")
    }

    pub fn create(&self, topic: &str, partitions: i32) {
        self.create_with(topic, partitions, 3);
    }

    pub fn create_with(&self, topic: &str, partitions: i32, replicas: i16) {
        let new = NewTopic {
            name: topic.into(),
            partitions: Some(partitions),
            replication: Some(replicas),
            configs: Vec::new(),
        };
        self.client().create_topic(&new).expect("the topic is created");
    }

    /// The node that leads a partition, once one does that runs.
    pub fn leader(&self, topic: &str, partition: usize) -> usize {
        eventually("a leader", || {
            let described = self.client().describe_topic(topic).ok()?;
            let leader = usize::try_from(described.partitions[partition].leader - 1).ok()?;
            self.running[leader].is_some().then_some(leader)
        })
    }

    /// Waits until the segments and the tail of a node hold as many records as its leaders': it leads again.
    pub fn wait_caught_up(&self, node: usize, topic: &str) {
        eventually("it leads what it is preferred for", || {
            let described = self.client().describe_topic(topic).ok()?;
            let led = described.partitions.iter().filter(|p| p.leader == node as i32 + 1).count();
            (led > 0).then_some(())
        });
    }

    pub fn wait_in_sync(&self, topic: &str) {
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

pub fn wait_ready(mut child: Child) -> Child {
    let out = child.stdout.take().expect("its output is piped");
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).expect("it says that it is ready");
    assert!(line.contains("is ready"), "not ready: {line:?}");
    child
}
