//! Replicas on in-memory WALs with an in-memory network between them, driven by hand.

use raft_group::*;

use super::{GROUP, Node};

pub struct Cluster {
    pub nodes: Vec<Node>,
    pub network: Vec<Message>,
    /// Replicas whose messages get lost.
    pub cut: Vec<bool>,
    seed: u64,
}

impl Cluster {
    pub fn new(members: u64, seed: u64) -> Cluster {
        let nodes = (1..=members).map(|id| {
            let node = Node::with(options(id, seed), MemoryWal::in_steps());
            let voters = (1..=members).map(ReplicaId);
            node.shard.create_group(GROUP, Membership::of_voters(voters)).unwrap();
            node
        });
        let nodes: Vec<_> = nodes.collect();
        Cluster { cut: vec![false; nodes.len()], nodes, network: Vec::new(), seed }
    }

    pub fn at(&mut self, replica: u64) -> &mut Node {
        &mut self.nodes[replica as usize - 1]
    }

    /// Runs a node and takes its messages into the network.
    pub fn run(&mut self, replica: u64) {
        self.at(replica).run();
        self.collect(replica);
    }

    pub fn collect(&mut self, replica: u64) {
        let sent = std::mem::take(&mut *self.at(replica).sent.0.borrow_mut());
        self.network.extend(sent.into_iter().map(|(_, message)| message));
    }

    pub fn write(&mut self, replica: u64) {
        if self.at(replica).wal.is_writing() {
            self.at(replica).write();
            self.collect(replica);
        }
    }

    pub fn deliver(&mut self, at: usize) {
        let message = self.network.remove(at);
        let (from, to) = (message.from, message.to);
        if self.cut[from as usize - 1] || self.cut[to as usize - 1] {
            return;
        }
        match self.at(to).shard.step(GROUP, message) {
            Ok(()) | Err(StepError::NotMember { .. } | StepError::UnknownGroup(_)) => {}
            Err(error) => panic!("{error}"),
        }
        self.run(to);
    }

    /// Delivers and writes until nothing moves.
    pub fn settle(&mut self) {
        for replica in 1..=self.nodes.len() as u64 {
            self.run(replica);
        }
        loop {
            let mut moved = false;
            while !self.network.is_empty() {
                self.deliver(0);
                moved = true;
            }
            for replica in 1..=self.nodes.len() as u64 {
                moved |= self.at(replica).wal.is_writing();
                self.write(replica);
            }
            if !moved {
                break;
            }
        }
    }

    pub fn tick(&mut self) {
        for replica in 1..=self.nodes.len() as u64 {
            self.at(replica).shard.tick();
            self.run(replica);
        }
    }

    pub fn ready_leader(&self) -> Option<u64> {
        let ready = self.nodes.iter().filter_map(|node| node.shard.status(GROUP));
        let ready =
            ready.zip(1..).filter(|(status, _)| status.leadership.leadership == Leadership::Ready);
        ready.max_by_key(|(status, _)| status.term).map(|(_, replica)| replica)
    }

    pub fn elect(&mut self, replica: u64) {
        self.settle();
        self.at(replica).shard.campaign(GROUP).unwrap();
        self.settle();
        assert_eq!(self.ready_leader(), Some(replica));
    }

    pub fn crash(&mut self, replica: u64, torn: usize) {
        let wal = self.at(replica).wal.crash(torn);
        *self.at(replica) = Node::restart(options(replica, self.seed), wal);
    }
}

pub fn options(replica: u64, seed: u64) -> RaftOptions {
    let mut options = RaftOptions::new(ReplicaId(replica), 0);
    options.election_seed = seed;
    options
}
