//! A fresh broker on an empty directory: Millrace as built, or Apache Kafka from its jars, or one that runs already.

use crate::args::Broker;
use crate::jars::Jars;
use crate::process::Process;
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const START_PATIENCE: Duration = Duration::from_secs(90);
const STOP_PATIENCE: Duration = Duration::from_secs(60);
const CLUSTER_ID: &str = "bWlsbHJhY2UtY29tcGF0MA";

/// How brokers are made in this run.
pub struct Brokers {
    pub kind: Broker,
    pub bootstrap: Option<String>,
    pub keep: bool,
    /// The binary under test.
    pub millrace: PathBuf,
    pub jars: Option<Jars>,
}

pub struct Node {
    pub bootstrap: String,
    /// Where the broker keeps its data; nothing for a broker that was there before.
    pub data: Option<PathBuf>,
    process: Option<Process>,
    keep: bool,
}

impl Brokers {
    /// A broker on an empty directory.
    pub fn fresh(&self) -> Result<Node> {
        match &self.bootstrap {
            Some(bootstrap) => {
                Ok(Node { bootstrap: bootstrap.clone(), data: None, process: None, keep: true })
            }
            None => self.start(self.kind, &fresh_folder()?),
        }
    }

    /// A broker on an empty directory, started as Apache Kafka is: from a `server.properties`.
    pub fn fresh_with_properties(&self) -> Result<Node> {
        if self.bootstrap.is_some() || self.kind == Broker::Kafka {
            return self.fresh();
        }
        let (data, port) = (fresh_folder()?, free_port()?);
        let properties = data.join("server.properties");
        fs::write(&properties, kafka_properties(port, free_port()?, &data))?;
        let mut command = self.binary()?;
        command.args(["start", "--config"]).arg(properties);
        self.launch(command, self.kind, port, &data)
    }

    /// A broker of this kind on a directory that may hold data.
    pub fn start(&self, kind: Broker, data: &Path) -> Result<Node> {
        let port = free_port()?;
        let command = match kind {
            Broker::Millrace => {
                let mut command = self.binary()?;
                command.args(["dev", "--port", &port.to_string(), "--data"]).arg(data);
                command
            }
            Broker::Kafka => self.kafka(port, data)?,
        };
        self.launch(command, kind, port, data)
    }

    fn launch(&self, mut command: Command, kind: Broker, port: u16, data: &Path) -> Result<Node> {
        let bootstrap = format!("127.0.0.1:{port}");
        let mut process = Process::start(&mut command)?;
        wait_until_ready(&mut process, kind, port)?;
        Ok(Node {
            bootstrap,
            data: Some(data.to_path_buf()),
            process: Some(process),
            keep: self.keep,
        })
    }

    fn binary(&self) -> Result<Command> {
        if !self.millrace.is_file() {
            bail!("{} is not there; cargo xtask compat builds it", self.millrace.display());
        }
        Ok(Command::new(&self.millrace))
    }

    /// One KRaft node in both roles, formatted if the directory is new.
    fn kafka(&self, port: u16, data: &Path) -> Result<Command> {
        let jars = self.jars.as_ref().context("Apache Kafka's jars are not installed")?;
        let properties = data.join("server.properties");
        fs::write(&properties, kafka_properties(port, free_port()?, data))?;
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

fn kafka_properties(port: u16, controller: u16, data: &Path) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n",
        data.join("data").display()
    )
}

/// Kafka says that it has started on standard error; Millrace is ready once its port answers.
fn wait_until_ready(process: &mut Process, kind: Broker, port: u16) -> Result<()> {
    let end = Instant::now() + START_PATIENCE;
    while Instant::now() < end {
        let ready = match kind {
            Broker::Kafka => process.errors().contains("Kafka Server started"),
            Broker::Millrace => TcpStream::connect(("127.0.0.1", port)).is_ok(),
        };
        if ready {
            return Ok(());
        }
        if let Some(status) = process.exited()? {
            bail!("{} ended with {status} at start: {}", kind.name(), process.last_words());
        }
        // Its output is read, so that it never waits for us.
        process.line(Duration::from_millis(20));
    }
    bail!("{} is not ready after {} s: {}", kind.name(), START_PATIENCE.as_secs(), process.errors())
}

impl Node {
    /// A clean stop, as by SIGTERM; the directory stays.
    pub fn stop(&mut self) -> Result<()> {
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

    /// Nothing if the broker is alive (or not ours), else what it said last.
    pub fn check_alive(&mut self) -> Result<()> {
        if let Some(process) = &mut self.process
            && let Some(status) = process.exited()?
        {
            bail!("the broker ended with {status}: {}", process.last_words());
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

pub fn fresh_folder() -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder =
        std::env::temp_dir().join(format!("millrace-compat-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
