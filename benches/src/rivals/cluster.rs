//! The nodes that are measured together: one, or several that replicate to each other.
//!
//! All share the broker's CPUs. The nodes of a cluster listen on every second port from the first
//! one on; the port behind each is for its peers (Kafka's controller listener, which is Millrace's
//! peer listener too).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Node, System, kafka, log_tail, millrace};
use crate::wire::Admin;

/// Where nodes live, and how many.
#[derive(Clone, Debug)]
pub struct Place {
    pub dir: PathBuf,
    /// Of the first node.
    pub address: SocketAddr,
    pub broker_cpus: String,
    /// Nodes of a system, and replicas of every partition.
    pub nodes: u16,
}

/// How a node goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// kill -9.
    Kill,
    /// Asked to stop: it may hand over first.
    Stop,
    /// Stopped by the scheduler: its connections stay and say nothing.
    Pause,
}

impl Departure {
    pub fn name(self) -> &'static str {
        match self {
            Departure::Kill => "kill -9",
            Departure::Stop => "orderly stop",
            Departure::Pause => "pause",
        }
    }
}

/// One node on paper.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: u16,
    pub dir: PathBuf,
    pub address: SocketAddr,
    pub peer: SocketAddr,
}

pub struct Cluster {
    system: System,
    members: Vec<Member>,
    nodes: Vec<Option<Node>>,
    cpus: String,
    /// When the first process was started.
    pub spawned: Instant,
}

const JOIN_LIMIT: Duration = Duration::from_secs(180);

/// `controller.quorum.voters` of these nodes.
pub fn voters(members: &[Member]) -> String {
    let voters: Vec<String> = members.iter().map(|m| format!("{}@{}", m.id, m.peer)).collect();
    voters.join(",")
}

impl Cluster {
    /// Writes the configurations and, for Kafka, formats the directories. Directories that were
    /// used before keep their data.
    pub fn format(system: System, dir: &Path, place: &Place) -> Result<Cluster> {
        let at = |port: u16| SocketAddr::new(place.address.ip(), port);
        let member = |id: u16| {
            let port = place.address.port() + 2 * (id - 1);
            let dir = dir.join(format!("node-{id}"));
            Member { id, dir, address: at(port), peer: at(port + 1) }
        };
        let members: Vec<Member> = (1..=place.nodes).map(member).collect();
        for member in &members {
            std::fs::create_dir_all(&member.dir)?;
            match system {
                System::Kafka => kafka::format(member, &members)?,
                System::Millrace => millrace::format(member, &members)?,
            }
        }
        Ok(Cluster {
            system,
            nodes: members.iter().map(|_| None).collect(),
            members,
            cpus: place.broker_cpus.clone(),
            spawned: Instant::now(),
        })
    }

    /// Starts every node; returns at once.
    pub fn start(&mut self) -> Result<()> {
        self.start_in(&[])
    }

    /// As `start`, with additions to the environment.
    pub fn start_in(&mut self, environment: &[(&str, &Path)]) -> Result<()> {
        self.spawned = Instant::now();
        (0..self.members.len()).try_for_each(|at| self.start_member(at, environment))
    }

    /// Starts a node that has ended.
    pub fn start_one(&mut self, id: u16) -> Result<()> {
        self.start_member(usize::from(id) - 1, &[])
    }

    /// Lets a node depart, and does not wait for what it does upon that.
    pub fn take_away(&mut self, id: u16, departure: Departure) -> Result<()> {
        let node = &mut self.nodes[usize::from(id) - 1];
        match departure {
            Departure::Kill => node.take().map_or(Ok(()), Node::kill),
            Departure::Stop => node.as_ref().map_or(Ok(()), Node::ask_to_stop),
            Departure::Pause => node.as_ref().map_or(Ok(()), Node::pause),
        }
    }

    /// Brings back what `take_away` took, and tells when: a node that was asked to stop is awaited first.
    pub fn bring_back(&mut self, id: u16, departure: Departure) -> Result<Instant> {
        let at = usize::from(id) - 1;
        if departure == Departure::Stop {
            self.nodes[at].take().map_or(Ok(()), |node| node.stopped(Instant::now()))?;
        }
        let back = Instant::now();
        match departure {
            Departure::Kill | Departure::Stop => self.start_one(id)?,
            Departure::Pause => self.nodes[at].as_ref().map_or(Ok(()), Node::resume)?,
        }
        Ok(back)
    }

    fn start_member(&mut self, at: usize, environment: &[(&str, &Path)]) -> Result<()> {
        let member = &self.members[at];
        let mut command = match self.system {
            System::Kafka => kafka::command(&member.dir, &self.cpus, self.members.len())?,
            System::Millrace => millrace::command(&member.dir, &self.cpus)?,
        };
        command.envs(environment.iter().copied());
        self.nodes[at] = Some(Node::spawn(command, &member.dir, member.address)?);
        Ok(())
    }

    /// Waits until every node answers and knows all others.
    pub fn ready(&mut self) -> Result<Admin> {
        let mut first = None;
        for node in self.nodes.iter_mut().flatten() {
            let admin = node.ready()?;
            first.get_or_insert(admin);
        }
        let mut admin = first.context("no node was started")?;
        let start = Instant::now();
        while self.members.len() > 1 && admin.brokers()?.len() < self.members.len() {
            if start.elapsed() > JOIN_LIMIT {
                bail!("the nodes do not find each other; {}", self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(admin)
    }

    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().flatten().map(Node::pid).collect()
    }

    /// Client address of the first node that runs.
    pub fn address(&self) -> SocketAddr {
        let running = self.nodes.iter().flatten().next();
        running.map_or(self.members[0].address, |node| node.address)
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// What the nodes said last.
    pub fn log_tail(&self) -> String {
        let tails = self.members.iter().map(|member| log_tail(&member.dir));
        tails.collect::<Vec<_>>().join("\n")
    }

    /// kill -9 of all.
    pub fn kill(&mut self) -> Result<()> {
        self.nodes.iter_mut().filter_map(Option::take).try_for_each(Node::kill)
    }

    /// Asks all to stop and waits for them.
    pub fn stop(&mut self) -> Result<()> {
        let nodes: Vec<Node> = self.nodes.iter_mut().filter_map(Option::take).collect();
        let asked = Instant::now();
        nodes.iter().try_for_each(Node::ask_to_stop)?;
        nodes.into_iter().try_for_each(|node| node.stopped(asked))
    }
}
