//! A fresh broker on an empty directory: Millrace as built, or Apache Kafka from its jars, or one that runs already.
//! With `--nodes`, a cluster of them, of which one can be killed and started again.

use crate::args::Broker;
use crate::jars::Jars;
use crate::process::{Line, Process};
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};

const START_PATIENCE: Duration = Duration::from_secs(90);
const STOP_PATIENCE: Duration = Duration::from_secs(60);
const CLUSTER_ID: &str = "bWlsbHJhY2UtY29tcGF0MA";

/// How brokers are made in this run.
pub struct Brokers {
    pub kind: Broker,
    pub bootstrap: Option<String>,
    /// How many nodes a fresh broker is.
    pub nodes: usize,
    pub keep: bool,
    /// The binary under test.
    pub millrace: PathBuf,
    pub jars: Option<Jars>,
}

pub struct Node {
    pub bootstrap: String,
    /// Where the broker keeps its data; nothing for a broker that was there before.
    pub data: Option<PathBuf>,
    members: Vec<Member>,
    keep: bool,
}

/// One process of a broker, and how it is started again.
struct Member {
    kind: Broker,
    port: u16,
    command: Command,
    process: Option<Process>,
}

impl Brokers {
    /// A broker on an empty directory.
    pub fn fresh(&self) -> Result<Node> {
        match &self.bootstrap {
            Some(bootstrap) => {
                let (bootstrap, members) = (bootstrap.clone(), Vec::new());
                Ok(Node { bootstrap, data: None, members, keep: true })
            }
            None if self.nodes > 1 => self.cluster(self.kind, &fresh_folder()?),
            None => self.start(self.kind, &fresh_folder()?),
        }
    }

    /// A broker on an empty directory, started as Apache Kafka is: from a `server.properties`.
    pub fn fresh_with_properties(&self) -> Result<Node> {
        if self.bootstrap.is_some() || self.kind == Broker::Kafka {
            return self.fresh();
        }
        let data = fresh_folder()?;
        let ports = free_ports(2)?;
        let command = self.configured(self.kind, 0, &[(ports[0], ports[1])], &data)?;
        self.launch(vec![(command, ports[0])], self.kind, &data)
    }

    /// As many nodes as asked for, each in both roles, in folders of their own.
    pub fn cluster(&self, kind: Broker, data: &Path) -> Result<Node> {
        let ports = free_ports(2 * self.nodes)?;
        let ports: Vec<(u16, u16)> = ports.chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let mut commands = Vec::new();
        for (index, (port, _)) in ports.iter().enumerate() {
            let home = data.join(format!("node-{}", index + 1));
            fs::create_dir_all(&home)?;
            commands.push((self.configured(kind, index, &ports, &home)?, *port));
        }
        self.launch(commands, kind, data)
    }

    /// A broker of this kind on a directory that may hold data.
    pub fn start(&self, kind: Broker, data: &Path) -> Result<Node> {
        let ports = free_ports(2)?;
        let command = match kind {
            Broker::Millrace => {
                let mut command = self.binary()?;
                command.args(["dev", "--port", &ports[0].to_string(), "--data"]).arg(data);
                command
            }
            Broker::Kafka => self.configured(kind, 0, &[(ports[0], ports[1])], data)?,
        };
        self.launch(vec![(command, ports[0])], kind, data)
    }

    fn launch(&self, commands: Vec<(Command, u16)>, kind: Broker, data: &Path) -> Result<Node> {
        let bootstrap: Vec<String> =
            commands.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
        let mut members: Vec<Member> = commands
            .into_iter()
            .map(|(command, port)| Member { kind, port, command, process: None })
            .collect();
        // All are started before the first is waited for: alone it may have no majority.
        members.iter_mut().try_for_each(Member::start)?;
        members.iter_mut().try_for_each(Member::wait_until_ready)?;
        if members.len() > 1 {
            self.wait_until_acquainted(&bootstrap)?;
        }
        let (bootstrap, data) = (bootstrap.join(","), Some(data.to_path_buf()));
        Ok(Node { bootstrap, data, members, keep: self.keep })
    }

    /// A node is ready when it is registered itself; a replicated topic needs all of them, whichever is asked.
    fn wait_until_acquainted(&self, bootstrap: &[String]) -> Result<()> {
        let mut wait = self.binary()?;
        let patience = START_PATIENCE.as_secs().to_string();
        wait.args(["cluster", "wait", "--timeout", &patience, "-b", &bootstrap.join(",")]);
        crate::toolchain::must(&mut wait)
    }

    fn binary(&self) -> Result<Command> {
        if !self.millrace.is_file() {
            bail!("{} is not there; cargo xtask compat builds it", self.millrace.display());
        }
        Ok(Command::new(&self.millrace))
    }

    /// One of several nodes, in both roles, from a `server.properties`. Kafka's directory is formatted if it is new.
    fn configured(
        &self,
        kind: Broker,
        index: usize,
        ports: &[(u16, u16)],
        data: &Path,
    ) -> Result<Command> {
        let properties = data.join("server.properties");
        fs::write(&properties, kafka_properties(index, ports, data))?;
        if kind == Broker::Millrace {
            let mut command = self.binary()?;
            command.args(["start", "--config"]).arg(properties);
            return Ok(command);
        }
        let jars = self.jars.as_ref().context("Apache Kafka's jars are not installed")?;
        if !data.join("data/meta.properties").exists() {
            let mut format = jars.java("kafka.tools.StorageTool");
            crate::toolchain::must(
                format.args(["format", "-t", CLUSTER_ID, "-c"]).arg(&properties),
            )?;
        }
        let mut java = jars.java_with("kafka.Kafka", &["-Xms256m", "-Xmx512m"]);
        java.arg(properties);
        Ok(java)
    }
}

/// What is replicated has a replica on every node.
fn kafka_properties(index: usize, ports: &[(u16, u16)], data: &Path) -> String {
    let (port, controller) = ports[index];
    let voters: Vec<String> = (1..)
        .zip(ports)
        .map(|(id, (_, controller))| format!("{id}@127.0.0.1:{controller}"))
        .collect();
    let replicas = ports.len();
    let in_sync = replicas.div_ceil(2);
    format!(
        "process.roles=broker,controller\n\
         node.id={}\n\
         controller.quorum.voters={}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         log.dirs={}\n\
         default.replication.factor={replicas}\n\
         min.insync.replicas={in_sync}\n\
         offsets.topic.replication.factor={replicas}\n\
         transaction.state.log.replication.factor={replicas}\n\
         transaction.state.log.min.isr={in_sync}\n\
         share.coordinator.state.topic.replication.factor={replicas}\n\
         share.coordinator.state.topic.min.isr={in_sync}\n\
         group.initial.rebalance.delay.ms=0\n",
        index + 1,
        voters.join(","),
        data.join("data").display()
    )
}

/// Kafka says that it has started on standard error, Millrace on standard output: by then it is one of the cluster's
/// nodes, which its port does not tell.
fn wait_until_ready(process: &mut Process, kind: Broker, port: u16) -> Result<()> {
    let end = Instant::now() + START_PATIENCE;
    let mut told = false;
    while Instant::now() < end {
        let ready = match kind {
            Broker::Kafka => process.errors().contains("Kafka Server started"),
            Broker::Millrace => told && TcpStream::connect(("127.0.0.1", port)).is_ok(),
        };
        if ready {
            return Ok(());
        }
        if let Some(status) = process.exited()? {
            bail!("{} ended with {status} at start: {}", kind.name(), process.last_words());
        }
        // Its output is read, so that it never waits for us.
        if let Line::Text(line) = process.line(Duration::from_millis(20)) {
            told |= line.contains("is ready");
        }
    }
    bail!("{} is not ready after {} s: {}", kind.name(), START_PATIENCE.as_secs(), process.errors())
}

impl Member {
    fn start(&mut self) -> Result<()> {
        self.process = Some(Process::start(&mut self.command)?);
        Ok(())
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        match &mut self.process {
            Some(process) => wait_until_ready(process, self.kind, self.port),
            None => Ok(()),
        }
    }

    fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process.terminate();
        let status = process.wait(STOP_PATIENCE).context("the broker does not stop")?;
        // 143 is how the JVM says that SIGTERM ended it.
        if !status.success() && status.code() != Some(143) {
            bail!("the broker ended with {status}: {}", process.last_words());
        }
        Ok(())
    }
}

impl Node {
    /// A clean stop, as by SIGTERM; the directory stays.
    pub fn stop(&mut self) -> Result<()> {
        self.members.iter_mut().try_for_each(Member::stop)
    }

    /// Nothing if the broker is alive (or not ours), else what it said last.
    pub fn check_alive(&mut self) -> Result<()> {
        for member in &mut self.members {
            if let Some(process) = &mut member.process
                && let Some(status) = process.exited()?
            {
                bail!("the broker ended with {status}: {}", process.last_words());
            }
        }
        Ok(())
    }

    /// `kill -9` of the node with this id, from 1.
    pub fn kill(&mut self, id: usize) -> Result<()> {
        let member = self.members.get_mut(id - 1).context("no such node")?;
        member.process.take().context("the node does not run")?.crash();
        Ok(())
    }

    /// Starts what was killed, and waits until it serves.
    pub fn start_again(&mut self) -> Result<()> {
        for member in self.members.iter_mut().filter(|member| member.process.is_none()) {
            member.start()?;
            member.wait_until_ready()?;
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.stop();
        match &self.data {
            Some(data) if self.keep => eprintln!("kept {}", data.display()),
            Some(data) => drop(fs::remove_dir_all(data)),
            None => {}
        }
    }
}

/// A topic as `millrace topic describe` tells it.
pub fn describe(millrace: &Path, bootstrap: &str, topic: &str) -> Result<serde_json::Value> {
    let mut command = Command::new(millrace);
    command.args(["topic", "describe", topic, "-o", "json", "--bootstrap", bootstrap]);
    let output = command.output().context("cannot start millrace")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("`topic describe` printed something else")
}

/// The id of the node that leads the first partition of a topic.
pub fn leader_of(millrace: &Path, bootstrap: &str, topic: &str) -> Result<usize> {
    let described = describe(millrace, bootstrap, topic)?;
    let leader = described["partitions"][0]["leader"].as_u64().context("no leader")?;
    Ok(usize::try_from(leader)?)
}

pub fn fresh_folder() -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder =
        std::env::temp_dir().join(format!("millrace-compat-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Ports that were free a moment ago, all different. Not of those that the system gives to outgoing connections
/// (`net.ipv4.ip_local_port_range`): a client could take one while its node is away.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() as u16;
    let next = || 20_000 + NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(first) % 12_000;
    let ports = std::iter::repeat_with(next).take(12_000);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let free: Vec<u16> = ports.filter(is_free).take(count).collect();
    anyhow::ensure!(free.len() == count, "no port is free between 20000 and 32000");
    Ok(free)
}
