//! Changes of the cluster itself as faults: replicas that move, votes that are taken and given, a node that is replaced.
//!
//! They go over the wire, as an operator's. Each is insisted on, for nodes are away and leaders change meanwhile; one that
//! does not come about in time although a majority is there is a failure of its own.

use crate::cluster::{Cluster, bootstrap};
use anyhow::{Result, bail, ensure};
use client::{Assigned, Client, Registered};
use std::time::{Duration, Instant};

/// As many replicas as all topics have when nothing moves.
const REPLICAS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(200);

/// Tries until it is done; the last complaint if it never is.
fn insist<T>(what: &str, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) if Instant::now() > end => {
                bail!("{what}: not within {} s: {error:#}", PATIENCE.as_secs())
            }
            Err(_) => std::thread::sleep(AGAIN),
        }
    }
}

fn id(node: usize) -> i32 {
    i32::try_from(node).unwrap_or(i32::MAX)
}

/// Every partition gets these replicas, and has them when this returns.
fn place(bootstrap: &str, wanted: impl Fn(&mut Vec<Assigned>)) -> Result<()> {
    let mut goal: Option<Vec<Assigned>> = None;
    insist("new replicas", || {
        let mut client = Client::connect(bootstrap)?;
        let now = client.assignments()?;
        let goal = goal.get_or_insert_with(|| {
            let mut all = now.clone();
            wanted(&mut all);
            all
        });
        let moving = client.reassignments()?;
        if moving.is_empty() {
            let away: Vec<Assigned> = goal.iter().filter(|it| !now.contains(it)).cloned().collect();
            if away.is_empty() {
                return Ok(());
            }
            client.reassign(&away)?;
        }
        bail!("{} partitions are on their way", moving.len())
    })
}

impl Cluster {
    fn beside(&self, node: usize) -> String {
        bootstrap(self.nodes.iter().map(|it| it.id).filter(|id| *id != node))
    }

    /// Two or three replicas for each partition, on any nodes in any order. They are not waited for.
    pub(crate) fn scatter(&mut self) {
        let all: Vec<i32> = self.nodes.iter().map(|node| id(node.id)).collect();
        let bootstrap = self.bootstrap();
        let seeded = &mut self.seeded;
        let done = insist("replicas begin to move", || {
            let mut client = Client::connect(&bootstrap)?;
            let mut wanted = client.assignments()?;
            for partition in &mut wanted {
                partition.replicas.clone_from(&all);
                seeded.shuffle(&mut partition.replicas);
                partition.replicas.truncate(seeded.between(2, REPLICAS as u64 + 1) as usize);
            }
            Ok(client.reassign(&wanted)?)
        });
        self.note(done);
    }

    /// Three replicas for each partition again, preferred leaders all over the nodes.
    pub(crate) fn make_whole(&mut self) {
        let nodes = self.nodes.len();
        let done = place(&self.bootstrap(), |wanted| {
            for (first, partition) in wanted.iter_mut().enumerate() {
                let replicas = (first..first + REPLICAS).map(|at| id(at % nodes + 1));
                partition.replicas = replicas.collect();
            }
        });
        self.note(done);
    }

    pub(crate) fn take_vote(&mut self, node: usize) {
        let bootstrap = self.beside(node);
        let done = insist("a vote is taken", || {
            let mut client = Client::connect(&bootstrap)?;
            match client.voters()?.into_iter().find(|voter| voter.id == id(node)) {
                Some(voter) => Ok(client.remove_voter(voter)?),
                None => Ok(()),
            }
        });
        self.note(done);
    }

    pub(crate) fn give_vote(&mut self, node: usize) {
        let bootstrap = self.beside(node);
        let done = insist("a vote is given", || {
            let mut client = Client::connect(&bootstrap)?;
            if client.voters()?.iter().any(|voter| voter.id == id(node)) {
                return Ok(());
            }
            let able = client.observers()?.into_iter().find(|it| it.id == id(node));
            let Some(able) = able else { bail!("node {node} does not follow the metadata") };
            Ok(client.add_voter(able)?)
        });
        self.note(done);
    }

    /// A dead node is forgotten: its vote, its replicas, its registration.
    pub(crate) fn let_go(&mut self, node: usize) {
        self.take_vote(node);
        let bootstrap = self.beside(node);
        let nodes = self.nodes.len();
        let moved = place(&bootstrap, |wanted| {
            for partition in wanted {
                partition.replicas.retain(|replica| *replica != id(node));
                let others = (1..=nodes).map(id).filter(|other| *other != id(node));
                let missing = others.filter(|other| !partition.replicas.contains(other));
                let room = REPLICAS.min(nodes - 1) - partition.replicas.len().min(nodes - 1);
                let missing: Vec<i32> = missing.take(room).collect();
                partition.replicas.extend(missing);
            }
        });
        self.note(moved);
        let done = insist("a dead node is forgotten", || {
            let mut client = Client::connect(&bootstrap)?;
            let known = client.registered_nodes()?;
            let is_alive = known.contains(&Registered { id: id(node), alive: true });
            ensure!(!is_alive, "node {node} still counts as alive");
            Ok(client.unregister(id(node))?)
        });
        self.note(done);
    }
}
