//! One node: its process, its disk, its log.

use crate::args::{Args, Durability};
use crate::disk::Spared;
use crate::disk_server::MountedDisk;
use crate::network;
use crate::seeded::Seeded;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const CLIENT_PORT: u16 = 9092;
const PEER_PORT: u16 = 9093;
const HTTP_PORT: u16 = 9644;
const VOTERS: &str = "controller.quorum.voters=";
const READY_PATIENCE: Duration = Duration::from_secs(60);
const STOP_PATIENCE: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(50);

pub struct Node {
    /// Its `node.id`, from 1.
    pub id: usize,
    pub disk: MountedDisk,
    binary: PathBuf,
    properties: String,
    log: PathBuf,
    process: Option<Child>,
    /// Since when it may be killed, paused or without a disk by our doing.
    pub excused: bool,
}

impl Node {
    pub fn create(args: &Args, id: usize, binary: &Path, base: &Path, out: &Path) -> Result<Self> {
        let media = out.join(format!("node-{id}.media"));
        let disk = MountedDisk::create(base, id, &media, args.disk_mb << 20)?;
        let properties = properties(args, id, &disk.root);
        let log = out.join(format!("node-{id}.log"));
        let binary = binary.to_path_buf();
        Ok(Self { id, disk, binary, properties, log, process: None, excused: false })
    }

    pub fn bootstrap(id: usize) -> String {
        format!("{}:{CLIENT_PORT}", network::address(id))
    }

    pub fn start(&mut self) -> Result<()> {
        let file = self.disk.root.join("server.properties");
        fs::write(&file, &self.properties)?;
        let log = fs::File::options().create(true).append(true).open(&self.log)?;
        let [nsenter, network] = network::entry(self.id);
        let mut command = Command::new(nsenter);
        command.arg(network).arg(&self.binary).arg("start").arg("--config").arg(file);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        self.process = Some(command.spawn().context("cannot start a node")?);
        Ok(())
    }

    /// Its own word that it serves (`/ready`).
    pub fn is_ready(&self) -> bool {
        let address = SocketAddr::from((network::address(self.id), HTTP_PORT));
        let asked = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
            stream.set_read_timeout(Some(Duration::from_millis(500)))?;
            stream.write_all(b"GET /ready HTTP/1.0\r\n\r\n")?;
            let mut answer = [0; 32];
            let length = stream.read(&mut answer)?;
            Ok(answer[..length].windows(5).any(|word| word == b" 200 "))
        };
        asked().unwrap_or(false)
    }

    pub fn wait_ready(&mut self) -> Result<()> {
        let end = Instant::now() + READY_PATIENCE;
        while !self.is_ready() {
            if let Some(status) = self.exited()? {
                bail!("node {} ended with {status} at its start: {}", self.id, self.last_words());
            }
            if Instant::now() > end {
                let waited = READY_PATIENCE.as_secs();
                bail!("node {} is not ready after {waited} s: {}", self.id, self.last_words());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// How it ended, if it did and had been started.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.process {
            Some(child) => Ok(child.try_wait()?),
            None => Ok(None),
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.process.is_some() && matches!(self.exited(), Ok(None))
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        if let Some(child) = &self.process {
            let pid = Pid::from_raw(child.id() as i32).context("no process id")?;
            kill_process(pid, signal)?;
        }
        Ok(())
    }

    /// `kill -9`. Waits for its end unless its disk holds it.
    pub fn kill(&mut self) -> Result<()> {
        if self.is_running() {
            self.signal(Signal::KILL)?;
        }
        if let Some(mut child) = self.process.take() {
            child.wait()?;
        }
        Ok(())
    }

    /// As an operator stops it.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let end = Instant::now() + STOP_PATIENCE;
        while self.is_running() {
            if Instant::now() > end {
                bail!("node {} does not stop: {}", self.id, self.last_words());
            }
            std::thread::sleep(POLL);
        }
        let status = self.process.take().map(|mut child| child.wait()).transpose()?;
        match status.filter(|status| !status.success()) {
            Some(status) => bail!("node {} stopped with {status}: {}", self.id, self.last_words()),
            None => Ok(()),
        }
    }

    /// The power of the machine goes: the disk first, so that nothing that the dying process still does counts.
    pub fn cut_power(&mut self, spared: Spared, seeded: &mut Seeded) -> Result<usize> {
        let lost = self.disk.cut_power(spared, seeded)?;
        if self.is_running() {
            self.signal(Signal::KILL)?;
        }
        Ok(lost)
    }

    /// The power comes back; the node is not started.
    pub fn power_on(&mut self) -> Result<()> {
        self.disk.disk.fail();
        self.kill()?;
        self.disk.power_on()
    }

    /// What it stored is gone, and it will look for the others as one that does not belong to them yet.
    pub fn begin_anew(&mut self) -> Result<()> {
        let data = self.disk.root.join("data");
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        let voters = self.properties.lines().find(|line| line.starts_with(VOTERS));
        if let Some(line) = voters.map(str::to_owned) {
            let peers = line[VOTERS.len()..].split(',').filter_map(|voter| voter.split_once('@'));
            let others = peers.filter(|(id, _)| *id != self.id.to_string());
            let others: Vec<&str> = others.map(|(_, address)| address).collect();
            let servers = format!("controller.quorum.bootstrap.servers={}", others.join(","));
            self.properties = self.properties.replace(&line, &servers);
        }
        Ok(())
    }

    /// The last line of its log, or what a panic said.
    pub fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let panic = log.lines().skip_while(|line| !line.contains("panicked at")).take(2);
        let panic: Vec<&str> = panic.collect();
        match panic.is_empty() {
            false => panic.join(" "),
            true => log.lines().last().unwrap_or("it said nothing").to_owned(),
        }
    }

    /// Lines of its log that no fault excuses.
    pub fn panics(&self) -> Vec<String> {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        log.lines().filter(|line| line.contains("panicked at")).map(str::to_owned).collect()
    }
}

fn properties(args: &Args, id: usize, root: &Path) -> String {
    let address = network::address(id);
    let voters: Vec<String> = (1..=args.nodes as usize)
        .map(|id| format!("{id}@{}:{PEER_PORT}", network::address(id)))
        .collect();
    let durability = match args.durability {
        Durability::Disk => "disk",
        Durability::Memory => "memory",
    };
    format!(
        "process.roles=broker,controller\nnode.id={id}\n\
         {VOTERS}{voters}\n\
         listeners=PLAINTEXT://{address}:{CLIENT_PORT},CONTROLLER://{address}:{PEER_PORT}\n\
         advertised.listeners=PLAINTEXT://{address}:{CLIENT_PORT}\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         log.dirs={data}\n\
         broker.session.timeout.ms=3000\n\
         default.replication.factor=3\nmin.insync.replicas=2\n\
         offsets.topic.replication.factor=3\noffsets.topic.num.partitions=6\n\
         log.segment.bytes=1048576\nlog.retention.ms=-1\n\
         auto.create.topics.enable=false\n\
         millrace.durability={durability}\n\
         millrace.shards={shards}\nmillrace.shards.pin=false\n\
         millrace.wal.file.bytes=4194304\nmillrace.checkpoint.interval.ms=1000\n\
         millrace.tail.cache.bytes=8388608\nmillrace.disk.reserve.bytes=67108864\n\
         millrace.metrics.listen={address}:{HTTP_PORT}\n",
        voters = voters.join(","),
        data = root.join("data").display(),
        shards = args.shards,
    )
}
