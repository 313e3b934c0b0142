//! All nodes, the faults that are on, and what came of nodes that ended without one.

use crate::args::Args;
use crate::disk::Spared;
use crate::fault::Fault;
use crate::network;
use crate::node::Node;
use crate::seeded::Seeded;
use anyhow::Result;
use rustix::process::Signal;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

/// Between two nodes of a rolling restart, for leaders to settle.
const ROLLING_PAUSE: Duration = Duration::from_secs(2);

pub struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) seeded: Seeded,
    /// What should not have happened, in the order in which it did.
    pub failures: Vec<String>,
}

fn sender(number: usize) -> Ipv4Addr {
    if number == 0 { network::CLIENTS } else { network::address(number) }
}

/// Where these nodes are.
pub(crate) fn bootstrap(ids: impl Iterator<Item = usize>) -> String {
    ids.map(Node::bootstrap).collect::<Vec<_>>().join(",")
}

impl Cluster {
    pub fn create(args: &Args, seed: u64, binary: &Path, base: &Path, out: &Path) -> Result<Self> {
        let ids: Vec<usize> = (1..=args.nodes as usize).collect();
        network::build(&ids)?;
        let nodes = ids.iter().map(|id| Node::create(args, *id, binary, base, out));
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        Ok(Self { nodes, seeded: Seeded::new(seed ^ 0xd15c), failures: Vec::new() })
    }

    pub fn bootstrap(&self) -> String {
        bootstrap(self.nodes.iter().map(|node| node.id))
    }

    pub fn start(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(Node::start)?;
        self.nodes.iter_mut().try_for_each(Node::wait_ready)
    }

    fn node(&mut self, id: usize) -> &mut Node {
        &mut self.nodes[id - 1]
    }

    pub fn inject(&mut self, fault: &Fault) -> Result<()> {
        for id in fault.nodes(self.nodes.len()) {
            self.node(id).excused = true;
        }
        for (receiver, from) in fault.cuts(self.nodes.len()) {
            network::cut(receiver, sender(from))?;
        }
        match fault {
            Fault::Kill { node } => self.node(*node).kill()?,
            Fault::KillAll => {
                // All before the first is waited for: at once.
                self.nodes.iter().try_for_each(|node| node.signal(Signal::KILL))?;
                self.nodes.iter_mut().try_for_each(Node::kill)?;
            }
            Fault::PowerCut { node, spared } => self.cut_power(&[*node], *spared)?,
            Fault::PowerCutAll { spared } => {
                let all: Vec<usize> = (1..=self.nodes.len()).collect();
                self.cut_power(&all, *spared)?;
            }
            Fault::Pause { node } => self.node(*node).signal(Signal::STOP)?,
            Fault::FullDisk { node, left } => self.node(*node).disk.fill(*left)?,
            Fault::SlowDisk { node, delay_ms } => {
                self.node(*node).disk.disk.set_delay(Duration::from_millis(*delay_ms));
            }
            Fault::DiskError { node } => self.node(*node).disk.disk.set_flushes_fail(true),
            Fault::RollingRestart => self.restart_one_by_one()?,
            Fault::Move => self.scatter(),
            Fault::Vote { node } => self.take_vote(*node),
            Fault::Replace { node } => {
                self.node(*node).kill()?;
                self.let_go(*node);
                self.node(*node).begin_anew()?;
            }
            Fault::Both(one, other) => {
                self.inject(one)?;
                self.inject(other)?;
            }
            Fault::Calm
            | Fault::Isolate { .. }
            | Fault::Split { .. }
            | Fault::OneWay { .. }
            | Fault::Bridge { .. } => {}
        }
        Ok(())
    }

    /// All disks before the first process is killed: at one instant, as when a fuse blows.
    fn cut_power(&mut self, ids: &[usize], spared: Spared) -> Result<()> {
        let mut seeded = self.seeded.clone();
        self.seeded.next();
        for id in ids {
            let lost = self.node(*id).disk.cut_power(spared, &mut seeded)?;
            eprintln!("  node {id} loses {lost} sectors that were not flushed");
        }
        for id in ids {
            self.node(*id).signal(Signal::KILL)?;
        }
        ids.iter().try_for_each(|id| self.node(*id).power_on())
    }

    fn restart_one_by_one(&mut self) -> Result<()> {
        for id in 1..=self.nodes.len() {
            let stopped = self.node(id).stop();
            self.note(stopped);
            self.node(id).start()?;
            let ready = self.node(id).wait_ready();
            self.note(ready);
            std::thread::sleep(ROLLING_PAUSE);
        }
        Ok(())
    }

    /// Takes a fault back and starts what does not run, without waiting for it.
    pub fn heal(&mut self, fault: &Fault) -> Result<()> {
        for (receiver, from) in fault.cuts(self.nodes.len()) {
            network::mend(receiver, sender(from))?;
        }
        match fault {
            Fault::Pause { node } => self.node(*node).signal(Signal::CONT)?,
            Fault::FullDisk { node, .. } => self.node(*node).disk.empty()?,
            Fault::SlowDisk { node, .. } => self.node(*node).disk.disk.set_delay(Duration::ZERO),
            Fault::DiskError { node } => self.replace_disk_state(*node)?,
            Fault::Both(one, other) => {
                self.heal(one)?;
                self.heal(other)?;
            }
            _ => {}
        }
        for id in fault.nodes(self.nodes.len()) {
            if !self.node(id).is_running() {
                self.node(id).kill()?;
                self.node(id).start()?;
            }
        }
        Ok(())
    }

    /// A node whose disk failed to flush has ended by itself; what was not flushed is gone.
    fn replace_disk_state(&mut self, id: usize) -> Result<()> {
        if self.node(id).is_running() {
            self.failures.push(format!("node {id} goes on although its disk cannot flush"));
        }
        let mut seeded = self.seeded.clone();
        self.seeded.next();
        self.node(id).cut_power(Spared::Some, &mut seeded)?;
        self.node(id).power_on()
    }

    /// After healing: every node runs and says that it is ready.
    pub fn wait_ready(&mut self) {
        for index in 0..self.nodes.len() {
            let ready = self.nodes[index].wait_ready();
            self.nodes[index].excused = false;
            self.note(ready);
        }
    }

    /// The same for what cannot be taken back while nodes are away.
    pub fn settle(&mut self, fault: &Fault) {
        match fault {
            Fault::Move => self.make_whole(),
            Fault::Vote { node } => self.give_vote(*node),
            Fault::Replace { node } => {
                self.give_vote(*node);
                self.make_whole();
            }
            Fault::Both(one, other) => {
                self.settle(one);
                self.settle(other);
            }
            _ => {}
        }
    }

    pub(crate) fn note(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.failures.push(format!("{error:#}"));
        }
    }

    /// Nodes that ended and should not have are told and started again.
    pub fn watch(&mut self) -> Result<()> {
        for node in self.nodes.iter_mut().filter(|node| !node.excused) {
            if let Some(status) = node.exited()? {
                let words = node.last_words();
                self.failures.push(format!("node {} ended with {status}: {words}", node.id));
                node.kill()?;
                node.start()?;
            }
        }
        Ok(())
    }

    /// A clean stop of all at once, and what the logs say of panics.
    pub fn stop(&mut self) -> Result<()> {
        for index in 0..self.nodes.len() {
            let stopped = self.nodes[index].stop();
            self.note(stopped);
        }
        for node in &self.nodes {
            let panics = node.panics().into_iter().map(|line| format!("node {}: {line}", node.id));
            self.failures.extend(panics);
        }
        Ok(())
    }

    /// How often each disk was flushed: the load of the disks.
    pub fn flushes(&self) -> Vec<u64> {
        self.nodes.iter().map(|node| node.disk.disk.flushes()).collect()
    }
}
