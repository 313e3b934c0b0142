//! Who leads which group: each leader tells all nodes, at once when it begins and then again and again; and leadership
//! that is handed over, to the preferred leader of a group or because this node stops or has a full disk.
//!
//! One announcement moves all partitions of a group. Telling it again heals a lost one, carries who is in sync, and brings
//! nodes up to date that were away; a term that is older than what is known is not listened to.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use raft_group::{GroupStatus, Leadership, ReplicaId};
use rpc::{CallFailure, PeerId};
use runtime::time::{Instant, sleep};

use super::messages::{HAND_OVER, HandOver, LEADERS, decode_call, encode};
use super::{CaughtUp, Cluster};
use crate::ids::{METADATA_GROUP, NodeId, RaftGroupId};
use crate::metadata::{Image, LedGroup};
use crate::shard::{METADATA_SHARD, Shard, node_of, replica_of};

/// Between two rounds.
const AGAIN: Duration = Duration::from_millis(500);
/// Rounds for which a preferred leader must have been in sync before it gets its group back.
const ROUNDS_IN_SYNC: u32 = 20;
/// A leader that refuses produce, because its disk is full, hands its groups over every so many rounds: a preferred one
/// gets them back, and where all disks are full nobody is better.
const ROUNDS_FULL: u32 = 4;
/// How long a node that stops waits for others to take over, and how often it looks.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long another node may take to hear that it is to hand a group over.
const ASK_MAX: Duration = Duration::from_secs(1);

impl Shard {
    /// Tells all other nodes who leads groups.
    pub(crate) fn spread_leaders(&self, led: &[LedGroup]) {
        let Some(cluster) = self.cluster().filter(|_| !led.is_empty()) else {
            return;
        };
        let image = self.image();
        let told = encode(&led);
        for node in image.nodes.keys().filter(|node| **node != image.node) {
            let peer = PeerId { node: node.0, shard: METADATA_SHARD };
            let _ = cluster.peers.send(peer, LEADERS, vec![told.clone()]);
        }
    }

    /// Tells again and again what this shard leads; runs as long as the shard.
    pub(super) async fn tell_leaders_for_ever(self: Rc<Self>) {
        let mut rounds_full = 0;
        loop {
            sleep(AGAIN).await;
            let image = self.image();
            if self.disk_full.get() {
                if rounds_full % ROUNDS_FULL == 0 {
                    self.give_away(&image, |group| group != METADATA_GROUP);
                }
                rounds_full += 1;
            } else {
                rounds_full = 0;
            }
            let mut led = Vec::new();
            for status in self.raft.statuses().into_iter().filter(is_led) {
                let group = status.raft_group;
                let is_told =
                    self.leads_as_told(&image, group) && self.leads_in(group, status.term.0);
                if group == METADATA_GROUP || !is_told {
                    continue;
                }
                led.push(self.led_group(&image, &status));
            }
            if led.is_empty() {
                continue;
            }
            self.prefer(&image, &led);
            self.spread_leaders(&led);
            self.on(METADATA_SHARD, move |there| there.note_leaders(led)).await;
        }
    }

    fn led_group(&self, image: &Image, status: &GroupStatus) -> LedGroup {
        let group = status.raft_group;
        let lag_max = self.node.config.replica_lag_max;
        let late = self.cluster().map(|cluster| cluster.late(status, lag_max)).unwrap_or_default();
        let voters = image.groups.get(&group).map(|view| view.voters.clone()).unwrap_or_default();
        let is_in_sync = |node: &NodeId| {
            *node == image.node || !late.contains(&replica_of(*node)) && image.is_live(*node)
        };
        let in_sync: Vec<NodeId> = voters.iter().copied().filter(is_in_sync).collect();
        let isr = (in_sync.len() < voters.len()).then_some(in_sync);
        LedGroup { group: group.0, leader: Some(image.node), term: status.term.0, isr }
    }

    /// Gives groups back to their preferred leaders, once those have been in sync for a while.
    fn prefer(&self, image: &Image, led: &[LedGroup]) {
        let Some(cluster) = self.cluster() else { return };
        if !self.node.config.prefer_leaders {
            return;
        }
        let mut rounds = cluster.rounds_in_sync.borrow_mut();
        for told in led {
            let group = RaftGroupId(told.group);
            let Some(view) = image.groups.get(&group) else { continue };
            let preferred = view.voters[0];
            let in_sync = told.isr.as_ref().is_none_or(|isr| isr.contains(&preferred));
            if preferred == image.node || !in_sync || !image.is_live(preferred) {
                rounds.remove(&group);
                continue;
            }
            let seen = rounds.entry(group).or_default();
            *seen += 1;
            if *seen >= ROUNDS_IN_SYNC {
                rounds.remove(&group);
                self.transfer(group, replica_of(preferred));
            }
        }
    }

    /// Gives all groups that other nodes can lead to them; the node stops.
    pub(crate) async fn hand_over(self: Rc<Self>) {
        if self.cluster().is_none() {
            return;
        }
        let began = Instant::now();
        while began.elapsed() < HAND_OVER_MAX {
            if self.give_away(&self.image(), |_| true) == 0 {
                return;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Asks others to lead what this shard leads; how many groups have somebody who can.
    fn give_away(&self, image: &Image, which: impl Fn(RaftGroupId) -> bool) -> usize {
        let mut heirs = 0;
        let led = self.raft.statuses().into_iter().filter(is_led);
        for status in led.filter(|status| which(status.raft_group)) {
            if let Some(heir) = heir(&status, image) {
                heirs += 1;
                self.transfer(status.raft_group, heir);
            }
        }
        heirs
    }

    /// Asks the leader of a data group to hand it over to another voter; whether that comes to something shows later.
    pub(crate) async fn ask_to_hand_over(
        self: &Rc<Self>,
        leader: NodeId,
        group: RaftGroupId,
        to: NodeId,
    ) {
        if leader == self.node.node_id() {
            let Some(host) = self.image().groups.get(&group).map(|view| view.shard) else { return };
            return self
                .on(host, move |there| async move { there.transfer(group, replica_of(to)) })
                .await;
        }
        let (Some(cluster), Some(shard)) = (self.cluster(), self.host_on(leader, group)) else {
            return;
        };
        let body = vec![encode(&HandOver { group: group.0, to })];
        let peer = PeerId { node: leader.0, shard };
        if let Err(error) = cluster.peers.call(peer, HAND_OVER, body, ASK_MAX).await {
            tracing::debug!(%group, leader = leader.0, %error, "leadership is not handed over");
        }
    }

    /// Answers [`HAND_OVER`].
    pub(super) fn take_hand_over(&self, body: &Bytes) -> Result<Vec<Bytes>, CallFailure> {
        let HandOver { group, to } = decode_call(body)?;
        let group = RaftGroupId(group);
        let is_voter = self.image().groups.get(&group).is_some_and(|it| it.voters.contains(&to));
        if group != METADATA_GROUP && is_voter {
            self.transfer(group, replica_of(to));
        }
        Ok(Vec::new())
    }

    fn transfer(&self, group: RaftGroupId, to: ReplicaId) {
        if let Err(error) = self.raft.transfer_leadership(group, to) {
            tracing::debug!(%group, %error, "leadership is not handed over");
        }
    }
}

impl Cluster {
    /// Replicas that have not had everything committed for longer than `lag_max`. Kafka counts alike: who has now what
    /// was committed at the last look was caught up then.
    fn late(&self, status: &GroupStatus, lag_max: Duration) -> Vec<ReplicaId> {
        let now = Instant::now();
        let mut seen = self.caught_up.borrow_mut();
        let of_group = seen.entry(status.raft_group).or_insert_with(|| CaughtUp {
            term: status.term.0,
            committed: status.committed.0,
            looked: now,
            replicas: BTreeMap::new(),
        });
        if of_group.term != status.term.0 {
            of_group.term = status.term.0;
            of_group.replicas.clear();
        }
        let (before, looked) = (of_group.committed, of_group.looked);
        of_group.committed = status.committed.0;
        of_group.looked = now;
        let mut late = Vec::new();
        for (replica, matched) in &status.matched {
            if matched.0 >= status.committed.0 {
                of_group.replicas.insert(*replica, now);
            } else if matched.0 >= before {
                of_group.replicas.insert(*replica, looked);
            }
            let caught_up = of_group.replicas.get(replica);
            if caught_up.is_none_or(|at| at.elapsed() > lag_max) {
                late.push(*replica);
            }
        }
        late
    }
}

fn is_led(status: &GroupStatus) -> bool {
    matches!(status.leadership.leadership, Leadership::Ready | Leadership::Elected)
}

/// The voter that lacks least.
fn heir(status: &GroupStatus, image: &Image) -> Option<ReplicaId> {
    let me = replica_of(image.node);
    let others = status.matched.iter().filter(|(replica, _)| *replica != me);
    let able = others.filter(|(replica, _)| {
        let live = node_of(*replica).is_some_and(|node| image.is_live(node));
        live && status.membership.voters.contains(replica)
    });
    able.max_by_key(|(_, matched)| *matched).map(|(replica, _)| *replica)
}
