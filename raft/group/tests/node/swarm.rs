//! Three to seven replicas with their disks and a network that loses, repeats and reorders, driven by
//! a seed, and what must hold after every step:
//!
//! - **election safety**: no two replicas lead in one term;
//! - **state machine safety**: no two replicas apply different entries at an index, now or ever, so
//!   what was acknowledged is never lost or changed;
//! - **order**: each replica applies every index once per life, without gaps;
//! - **commit monotonic**: within a life no commit index goes back;
//! - **leader completeness**: who leads has every entry that anybody has applied;
//! - **log matching**: two logs that agree on a term at an index agree below it;
//! - **memory**: what a majority held in memory is lost only where replicas stop;
//! - **durable data first**: no log begins behind what its replica has durable.
//!
//! The broker's data is modelled by how far it is: a checkpoint or a snapshot makes it durable.

use std::collections::{BTreeMap, BTreeSet};

use raft_group::*;
use storage::wal::WalPosition;

use super::{GROUP, Node, Random, replay};

const START: u64 = 1;

struct Peer {
    node: Node,
    has_group: bool,
    /// How many of the heard entries were looked at.
    seen: usize,
    /// The last applied index.
    last: u64,
    /// The broker's data is durable up to here.
    durable_data: u64,
    commit: u64,
    checkpoint: Vec<GroupCheckpoint>,
    replay_from: Option<WalPosition>,
}

/// See the module.
pub struct Swarm {
    seed: u64,
    random: Random,
    peers: Vec<Peer>,
    /// Who the group began with.
    first: Membership,
    network: Vec<Message>,
    /// Directions in which nothing passes.
    cuts: BTreeSet<(u64, u64)>,
    applied: BTreeMap<u64, (Term, Vec<u8>)>,
    leaders: BTreeMap<Term, u64>,
    acknowledged: BTreeSet<(Term, u64)>,
    /// What a majority held in memory.
    held: BTreeSet<(Term, u64)>,
    /// No replica ever stops.
    calm: bool,
    /// Rare things that happened, by name.
    pub marks: BTreeMap<&'static str, u64>,
}

impl Swarm {
    pub fn new(seed: u64) -> Swarm {
        let mut random = Random::new(seed.wrapping_add(77_777));
        let nodes = 3 + random.below(5) as u64;
        let voters = 3 + random.below(nodes as usize - 2) as u64;
        let first = Membership::of_voters((1..=voters).map(ReplicaId));
        let peers = (1..=nodes).map(|replica| Peer {
            node: Node::with(options(replica, seed), MemoryWal::in_steps()),
            has_group: false,
            seen: 0,
            last: START,
            durable_data: START,
            commit: 0,
            checkpoint: Vec::new(),
            replay_from: None,
        });
        let mut swarm = Swarm {
            seed,
            random,
            peers: peers.collect(),
            first,
            network: Vec::new(),
            cuts: BTreeSet::new(),
            applied: BTreeMap::new(),
            leaders: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            held: BTreeSet::new(),
            calm: seed.is_multiple_of(4),
            marks: BTreeMap::new(),
        };
        for replica in 1..=voters {
            swarm.create(replica);
        }
        swarm
    }

    /// One run: trouble, then healing, after which everything must be everywhere.
    pub fn run(&mut self, steps: usize) {
        for step in 0..steps {
            let replica = self.any_replica();
            self.act(replica, step);
            self.check(replica);
            if step % 16 == 0 {
                self.check_logs();
            }
        }
        self.heal();
    }

    fn act(&mut self, replica: u64, step: usize) {
        match self.random.below(64) {
            0..=9 => self.tick(replica),
            10..=19 => self.append(replica, step),
            20..=43 if !self.network.is_empty() => {
                // Mostly in order, sometimes not.
                let reach = if self.random.below(5) == 0 { self.network.len() } else { 1 };
                let at = self.random.below(reach);
                self.deliver(at);
            }
            44..=50 => self.write(replica),
            51 if !self.network.is_empty() => {
                let at = self.random.below(self.network.len());
                if self.random.below(2) == 0 {
                    self.network.swap_remove(at);
                } else {
                    self.network.push(self.network[at].clone());
                }
            }
            52 => self.cut(),
            53 => self.cuts.clear(),
            54 if self.random.below(3) == 0 && !self.calm => {
                let undurable = self.at(replica).node.wal.undurable();
                let torn = self.random.below(undurable + 1);
                self.crash(replica, torn);
            }
            55 => (0..12).for_each(|_| self.tick(replica)),
            56..=57 => self.checkpoint(replica),
            58..=59 => self.install(replica),
            60 => self.change_members(replica),
            61 if self.random.below(4) == 0 => {
                let to = ReplicaId(self.any_replica());
                let _ = self.at(replica).node.shard.transfer_leadership(GROUP, to);
                self.turn(replica);
            }
            62 => {
                let lost = ReplicaId(self.any_replica());
                self.at(replica).node.shard.report_unreachable(lost);
                self.turn(replica);
            }
            _ => {}
        }
    }

    fn at(&mut self, replica: u64) -> &mut Peer {
        &mut self.peers[replica as usize - 1]
    }

    fn any_replica(&mut self) -> u64 {
        self.random.below(self.peers.len()) as u64 + 1
    }

    fn mark(&mut self, name: &'static str) {
        *self.marks.entry(name).or_default() += 1;
    }

    /// A replica begins as the group began, whenever that is.
    fn create(&mut self, replica: u64) {
        let first = self.first.clone();
        let peer = self.at(replica);
        peer.node.shard.create_group(GROUP, first).unwrap();
        peer.has_group = true;
        self.turn(replica);
    }

    /// Lets the replica work, and takes its messages into the network, as bytes and back.
    fn turn(&mut self, replica: u64) {
        let peer = self.at(replica);
        peer.node.run();
        assert!(peer.node.result.is_none(), "the WAL does not fail");
        let sent = std::mem::take(&mut *peer.node.sent.0.borrow_mut());
        if !sent.is_empty() {
            let (body, sum) = body_of(&sent);
            let read = decode_messages(body.clone().into(), sum).unwrap();
            assert_eq!(body_of(&read), (body, sum));
            self.network.extend(read.into_iter().map(|(_, message)| message));
        }
    }

    fn tick(&mut self, replica: u64) {
        self.at(replica).node.shard.tick();
        self.turn(replica);
    }

    fn append(&mut self, replica: u64, step: usize) {
        let durability = [Durability::Disk, Durability::Memory][self.random.below(2)];
        let peer = self.at(replica);
        if let Ok(mut window) = peer.node.shard.open_window(GROUP, durability) {
            window.append(format!("{replica}:{step}").as_bytes()).expect("small");
        }
        self.turn(replica);
    }

    fn write(&mut self, replica: u64) {
        let peer = self.at(replica);
        if peer.node.wal.is_writing() {
            peer.node.write();
            self.turn(replica);
        }
    }

    fn deliver(&mut self, at: usize) {
        let message = self.network.remove(at);
        let to = message.to;
        if self.cuts.contains(&(message.from, to)) {
            return;
        }
        if !self.at(to).has_group {
            self.create(to);
        }
        match self.at(to).node.shard.step(GROUP, message) {
            Ok(()) | Err(StepError::NotMember { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        self.turn(to);
        self.check(to);
    }

    /// Cuts some off from the rest, or one direction.
    fn cut(&mut self) {
        let nodes = self.peers.len() as u64;
        if self.random.below(2) == 0 {
            let (from, to) = (self.any_replica(), self.any_replica());
            self.cuts.insert((from, to));
            return;
        }
        let side = self.random.next();
        let apart = |from: u64, to: u64| (side >> from & 1) != (side >> to & 1);
        for from in 1..=nodes {
            self.cuts.extend((1..=nodes).filter(|to| apart(from, *to)).map(|to| (from, to)));
        }
    }

    fn crash(&mut self, replica: u64, torn: usize) {
        let seed = self.seed;
        let peer = self.at(replica);
        let wal = peer.node.wal.crash(torn);
        let groups = replay(0, &wal, peer.checkpoint.clone(), peer.replay_from).unwrap();
        peer.node = Node::with(options(replica, seed), wal);
        peer.has_group = !groups.is_empty();
        for group in groups {
            peer.node.shard.add_group(group).unwrap();
        }
        (peer.seen, peer.commit, peer.last) = (0, 0, START);
        if let Some(status) = peer.node.shard.status(GROUP) {
            peer.last = status.log_start.0;
            assert!(
                peer.last <= peer.durable_data,
                "the log of {replica} begins behind {}, its data ends at {}",
                peer.last,
                peer.durable_data
            );
        }
        self.mark("crash");
        self.turn(replica);
    }

    /// Makes the data durable and lets the log go.
    fn checkpoint(&mut self, replica: u64) {
        let peer = self.at(replica);
        let last = peer.last;
        let Ok(checkpoint) = peer.node.shard.checkpoint(&[(GROUP, RaftIndex(last))].into()) else {
            panic!("what was applied can be checkpointed");
        };
        peer.durable_data = peer.durable_data.max(last);
        peer.checkpoint = checkpoint.groups.clone();
        peer.replay_from = Some(checkpoint.release_before);
        peer.node.shard.checkpointed(&checkpoint);
    }

    /// Takes the newest offer: the data is copied first, then the log begins anew.
    fn install(&mut self, replica: u64) {
        let offers = std::mem::take(&mut self.at(replica).node.heard.borrow_mut().offers);
        let Some(offer) = offers.into_iter().max_by_key(|offer| offer.start.index) else { return };
        let index = offer.start.index.0;
        if index > START {
            let (term, _) = self.applied.get(&index).expect("offers name what is applied");
            assert_eq!(*term, offer.start.term);
        }
        let peer = self.at(replica);
        peer.durable_data = peer.durable_data.max(index);
        match peer.node.shard.install_snapshot(GROUP, offer.start) {
            Ok(true) => {
                peer.last = index;
                self.mark("snapshot installed");
            }
            Ok(false) => self.mark("snapshot not needed any more"),
            Err(GroupError::NotFollower(_)) => self.mark("snapshot for no follower"),
            Err(error) => panic!("{error}"),
        }
        self.turn(replica);
    }

    fn change_members(&mut self, replica: u64) {
        let Some(status) = self.at(replica).node.shard.status(GROUP) else { return };
        let mut changes = Vec::new();
        for _ in 0..1 + self.random.below(3) {
            let other = ReplicaId(self.any_replica());
            changes.push(match self.random.below(3) {
                0 => MemberChange::AddLearner(other),
                1 => MemberChange::AddVoter(other),
                _ => MemberChange::Remove(other),
            });
        }
        let replica_of = |change: &MemberChange| match change {
            MemberChange::AddVoter(it)
            | MemberChange::AddLearner(it)
            | MemberChange::Remove(it) => *it,
        };
        changes.sort_by_key(replica_of);
        changes.dedup_by_key(|change| replica_of(change));
        let mut voters = status.membership.voters.clone();
        for change in &changes {
            voters.retain(|voter| *voter != replica_of(change));
            if let MemberChange::AddVoter(voter) = change {
                voters.push(*voter);
            }
        }
        if voters.len() < 2 {
            return;
        }
        if !status.membership.voters_outgoing.is_empty() {
            changes.clear();
        }
        let change = ConfChange { changes };
        if self.at(replica).node.shard.propose_conf_change(GROUP, &change).is_ok() {
            self.mark("members changed");
        }
        self.turn(replica);
    }

    /// What must hold of a replica after it did something.
    fn check(&mut self, replica: u64) {
        let peer = &mut self.peers[replica as usize - 1];
        let Some(status) = peer.node.shard.status(GROUP) else { return };
        assert!(status.committed.0 >= peer.commit, "the commit index of {replica} went back");
        peer.commit = status.committed.0;
        let heard = peer.node.heard.borrow();
        for entry in &heard.applied[peer.seen..] {
            assert_eq!(entry.index.0, peer.last + 1, "replica {replica} skips or repeats");
            peer.last = entry.index.0;
            let value = (entry.term, entry.payload.to_vec());
            let known = self.applied.entry(peer.last).or_insert_with(|| value.clone());
            assert_eq!(*known, value, "replica {replica} disagrees at {}", peer.last);
            if entry.ticket.is_some() {
                self.acknowledged.insert((entry.term, peer.last));
            }
        }
        peer.seen = heard.applied.len();
        self.held.extend(heard.held.iter().map(|ticket| (ticket.term, ticket.index.0)));
        drop(heard);
        if !matches!(status.leadership.leadership, Leadership::Following(_)) {
            let leader = *self.leaders.entry(status.leadership.term).or_insert(replica);
            assert_eq!(leader, replica, "two lead in term {}", status.leadership.term);
        }
    }

    /// What must hold of all logs together.
    fn check_logs(&self) {
        let logs: Vec<BTreeMap<u64, Term>> = self.peers.iter().map(log_of).collect();
        for (a, log) in logs.iter().enumerate() {
            for (b, other) in logs.iter().enumerate().skip(a + 1) {
                let same = |(index, term): &(&u64, &Term)| other.get(index) == Some(term);
                let Some((agreed, _)) = log.iter().rev().find(same) else { continue };
                for (index, term) in log.range(..agreed) {
                    let theirs = other.get(index).unwrap_or(term);
                    let (a, b) = (a + 1, b + 1);
                    assert_eq!(term, theirs, "{a} and {b} agree at {agreed}, not at {index}");
                }
            }
        }
        let newest = self.leaders.last_key_value();
        for (peer, log) in self.peers.iter().zip(&logs) {
            let Some(status) = peer.node.shard.status(GROUP) else { continue };
            let leads = !matches!(status.leadership.leadership, Leadership::Following(_));
            if !leads || newest.is_none_or(|(term, _)| *term != status.leadership.term) {
                continue;
            }
            for (index, (term, _)) in self.applied.range(status.log_start.0 + 1..) {
                assert_eq!(log.get(index), Some(term), "the leader lacks applied entry {index}");
            }
        }
    }

    /// Everything works again: somebody leads, and every member gets everything.
    fn heal(&mut self) {
        self.cuts.clear();
        for _ in 0..150 {
            for replica in 1..=self.peers.len() as u64 {
                self.tick(replica);
            }
            self.settle();
        }
        let leader = self.ready_leader().expect("after healing somebody leads");
        self.append(leader, usize::MAX);
        for _ in 0..60 {
            self.settle();
            for replica in 1..=self.peers.len() as u64 {
                self.tick(replica);
            }
        }
        self.check_logs();
        let leader = self.ready_leader().expect("and goes on leading");
        let members = self.at(leader).node.shard.status(GROUP).unwrap().membership;
        let last = *self.applied.last_key_value().expect("entries were applied").0;
        for member in members.voters.iter().chain(&members.learners) {
            let peer = self.at(member.0);
            assert_eq!(peer.last, last, "member {member} has everything: {members:?}");
        }
        let held = self.held.iter().filter(|_| self.calm);
        for (term, index) in self.acknowledged.iter().chain(held) {
            assert_eq!(self.applied[index].0, *term, "acknowledged entry {index} is lost");
        }
        if !self.held.is_empty() {
            self.mark("held in memory");
        }
        let end = format!("{leader}:{}", usize::MAX);
        assert!(self.applied.values().any(|(_, payload)| payload[..] == *end.as_bytes()));
    }

    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 1_000, "messages go round in circles");
            let mut moved = false;
            while !self.network.is_empty() {
                self.deliver(0);
                moved = true;
            }
            for replica in 1..=self.peers.len() as u64 {
                moved |= self.at(replica).node.wal.is_writing();
                self.write(replica);
                self.check(replica);
                self.install(replica);
            }
            if !moved {
                return;
            }
        }
    }

    fn ready_leader(&self) -> Option<u64> {
        let statuses = self
            .peers
            .iter()
            .zip(1..)
            .map(|(peer, replica)| Some((peer.node.shard.status(GROUP)?.leadership, replica)));
        let ready = statuses.flatten().filter(|(it, _)| it.leadership == Leadership::Ready);
        ready.max_by_key(|(it, _)| it.term).map(|(_, replica)| replica)
    }
}

/// The terms of the entries that a replica holds, the one that its log starts behind among them.
fn log_of(peer: &Peer) -> BTreeMap<u64, Term> {
    let Some(status) = peer.node.shard.status(GROUP) else { return BTreeMap::new() };
    let term = |index| peer.node.shard.entry_term(GROUP, RaftIndex(index)).expect("no gaps");
    (status.log_start.0..=status.last_index.0).map(|index| (index, term(index))).collect()
}

fn body_of(messages: &[(RaftGroupId, Message)]) -> (Vec<u8>, u32) {
    let mut batch = MessageBatch::new();
    for (group, message) in messages {
        batch.push(*group, message);
    }
    let (body, sum) = batch.take_body();
    (body.concat(), sum)
}

fn options(replica: u64, seed: u64) -> RaftOptions {
    let mut options = RaftOptions::new(ReplicaId(replica), 0);
    options.election_seed = seed;
    // Two or three entries: who lags needs a snapshot soon.
    options.peer_log_bytes_max = 3 * 4096;
    options
}
