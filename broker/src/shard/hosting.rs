//! The Raft groups of a shard: brought up at boot, created when metadata names a new one.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use raft_group::{EntryKind, GroupError, Leadership, Membership, RecoveredGroup, ReplicaId};
use runtime::task::{self, Class};
use server::Listener;

use std::time::Duration;

use super::{Applier, Change, Router, Shard};
use crate::cluster::PeerTransport;
use crate::ids::{METADATA_GROUP, NodeId, RaftGroupId};
use crate::metadata::{Image, LedGroup, MetadataRecord, RaftGroupView, decode_records};
use crate::node::BootError;

/// How often, and how far apart, a new group's preferred leader asks for votes before it leaves that to time.
const ATTEMPTS_TO_BEGIN: u32 = 20;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(25);

/// The replica that a node holds in any group.
pub(crate) fn replica_of(node: NodeId) -> ReplicaId {
    ReplicaId::of_node(u32::try_from(node.0).unwrap_or_default())
}

impl Shard {
    /// Starts what runs as long as the shard: the receiver of messages and the commit loop.
    pub(crate) fn run_background(self: &Rc<Self>) {
        task::spawn(Class::Latency, Router::receive(self.clone())).detach();
        let shard = self.clone();
        let commit = async move {
            let applier = Applier::new(&shard);
            if let Err(error) = shard.raft.run(applier, PeerTransport::new(&shard)).await {
                shard.node.fail(format!("{error}; nothing after it was acknowledged"));
                runtime::shards::fail_stop("the WAL failed");
            }
            shard.committed.notify_waiters();
        };
        task::spawn(Class::Latency, commit).detach();
        self.run_destage();
        self.run_retention();
        self.run_compaction();
    }

    /// Keeps groups found in a WAL until metadata says what is in them.
    pub(crate) fn keep_recovered(&self, groups: Vec<RecoveredGroup>) {
        let mut recovered = self.recovered.borrow_mut();
        recovered.extend(groups.into_iter().map(|g| (g.raft_group, g)));
    }

    /// What the metadata log that was found in the WAL says behind an index, committed or not.
    pub(crate) fn recovered_metadata(&self, behind: u64) -> Vec<MetadataRecord> {
        let recovered = self.recovered.borrow();
        let entries = recovered.get(&METADATA_GROUP).into_iter().flat_map(RecoveredGroup::entries);
        let payloads =
            entries.filter(|(index, kind, _)| index.0 > behind && *kind == EntryKind::Control);
        payloads.filter_map(|(.., payload)| decode_records(payload).ok()).flatten().collect()
    }

    /// Brings up the metadata group with everything it had; on the metadata shard, once. Returns whether it never existed
    /// here.
    pub(crate) async fn bring_up_metadata(self: &Rc<Self>) -> Result<bool, BootError> {
        let is_new = !self.recovered.borrow().contains_key(&METADATA_GROUP);
        let first = match is_new {
            true => self.first_metadata_members().await?,
            false => Membership::default(),
        };
        self.bring_up(METADATA_GROUP, first)?;
        let me = replica_of(self.node.node_id());
        let status = self.raft.status(METADATA_GROUP);
        if status.is_some_and(|status| status.membership.is_sole_voter(me)) {
            self.raft.ready(METADATA_GROUP).await?;
        }
        Ok(is_new)
    }

    /// Returns whether the group never existed here.
    fn bring_up(&self, group: RaftGroupId, first: Membership) -> Result<bool, GroupError> {
        let recovered = self.recovered.borrow_mut().remove(&group);
        let me = replica_of(self.node.node_id());
        let alone = self.node.goes_on_alone.load(Ordering::Relaxed);
        let first = if alone { Membership::of_voters([me]) } else { first };
        match recovered {
            Some(mut recovered) if alone => {
                recovered.continue_alone(me);
                self.raft.add_group(recovered).map(|()| false)
            }
            Some(recovered) => self.raft.add_group(recovered).map(|()| false),
            None => self.raft.create_group(group, first).map(|()| true),
        }
    }

    /// Hosts every group of `image` that falls to this shard and is not here yet.
    ///
    /// A node of a cluster hosts none before it is registered: until then its image may be older than what its data
    /// groups were told to wait for in an earlier life.
    pub(super) fn host_groups(self: &Rc<Self>, image: &Image) {
        if self.owns_nothing_yet() {
            return;
        }
        for status in self.raft.statuses() {
            let group = status.raft_group;
            let view = image.groups.get(&group);
            let is_mine = view.is_some_and(|view| view.voters.contains(&image.node));
            if group != METADATA_GROUP && !is_mine {
                self.led.borrow_mut().remove(&group);
                if let Err(error) = self.raft.remove_group(group) {
                    tracing::debug!(%group, %error, "a raft group is not removed");
                }
            }
        }
        for (group, view) in &image.groups {
            let is_mine = view.shard == self.id && view.voters.contains(&image.node);
            // An image of the last life may be published before the metadata group is brought up.
            let is_metadata = *group == METADATA_GROUP;
            if is_metadata || !is_mine || self.raft.status(*group).is_some() {
                continue;
            }
            let members: Vec<ReplicaId> =
                view.voters.iter().map(|node| replica_of(*node)).collect();
            match self.bring_up(*group, Membership::of_voters(members)) {
                Ok(true) if view.voters.len() > 1 && view.voters[0] == image.node => {
                    task::spawn(Class::Latency, self.clone().begin_group(*group)).detach();
                }
                Ok(_) => {}
                Err(error) => {
                    self.node.fail(format!("raft group {group} cannot be brought up: {error}"));
                    runtime::shards::fail_stop("a raft group cannot be brought up");
                }
            }
        }
    }

    /// The node is registered and knows all metadata that were there before, in `image`; nothing on single nodes, which
    /// host from the first image on.
    ///
    /// Every shard begins with the same image, and then follows to the newest as always: no shard opens what another one
    /// still has to give up.
    pub(crate) async fn begin_to_host(self: Rc<Self>, image: Arc<Image>) {
        let Some(cluster) = self.cluster() else { return };
        cluster.set_registered();
        self.begin_to_own(&image);
        let newest = self.image();
        let (left, gone) = self.follow_topics(&image, &newest);
        self.host_groups(&newest);
        self.groups_follow(&image, &newest);
        self.delete_left(left);
        self.delete_logs(&gone).await;
    }

    /// The preferred leader of a new group asks for votes as soon as the others have created it, too.
    async fn begin_group(self: Rc<Self>, group: RaftGroupId) {
        for _ in 0..ATTEMPTS_TO_BEGIN {
            let leader = self.raft.status(group).map(|status| status.leadership.leadership);
            if leader != Some(Leadership::Following(None)) {
                return;
            }
            let _ = self.raft.campaign(group);
            runtime::time::sleep(BETWEEN_ATTEMPTS).await;
        }
    }

    /// Waits until every group hosted here leads and has applied what it had.
    pub(crate) async fn groups_ready(self: Rc<Self>) -> Result<(), GroupError> {
        let image = self.image();
        let me = self.node.node_id();
        // With other voters it is not this node's alone whether there is a leader.
        let is_mine = |id: &RaftGroupId, view: &RaftGroupView| {
            let decides = *id != METADATA_GROUP || self.cluster().is_none();
            decides && view.shard == self.id && *view.voters == [me]
        };
        for (group, _) in image.groups.iter().filter(|(id, view)| is_mine(id, view)) {
            self.raft.ready(*group).await?;
            let term = self.raft.status(*group).map_or(0, |s| s.term.0);
            let leader = Some(self.node.node_id());
            self.announce_leader(LedGroup { group: group.0, leader, term, isr: None }).await;
        }
        Ok(())
    }

    /// Registers this node with its endpoints and creates the data groups it lacks.
    pub(crate) async fn register_node(
        self: &Rc<Self>,
        bound: &[Listener],
    ) -> Result<(), BootError> {
        let endpoints = self.endpoints(bound).await;
        if self.cluster().is_some() {
            return self.join_cluster(endpoints).await;
        }
        let (node, rack, shards) = (self.node.node_id(), self.node.config.rack.clone(), self.count);
        let register = move |image: &Image| {
            let mut records = Vec::new();
            let known = image.nodes.get(&node);
            let same = known.is_some_and(|known| {
                *known.endpoints == *endpoints && known.rack.as_deref() == rack.as_deref()
            });
            if !same {
                records.push(MetadataRecord::RegisterNode { node, rack, endpoints });
            }
            for group in (0..=shards as u64).map(RaftGroupId) {
                if !image.groups.contains_key(&group) {
                    records.push(MetadataRecord::CreateRaftGroup { group, voters: vec![node] });
                }
            }
            Change { records, answer: () }
        };
        let changed = self.change_metadata(register).await;
        changed.map_err(|e| BootError::Metadata(e.to_string()))
    }

    /// Advertised endpoints: as configured, else the bound address, else this host's name.
    async fn endpoints(&self, bound: &[Listener]) -> Vec<(String, String, String, u16)> {
        let mut endpoints = Vec::new();
        for (listener, bound) in self.node.config.listeners.iter().zip(bound) {
            let advertised = listener.advertised.as_ref();
            let port =
                advertised.map(|a| a.port).filter(|p| *p != 0).unwrap_or(bound.address.port());
            let host = match advertised {
                Some(endpoint) => endpoint.host.clone(),
                None if listener.bind.host.is_empty() || bound.address.ip().is_unspecified() => {
                    host_name().await
                }
                None => listener.bind.host.clone(),
            };
            endpoints.push((listener.name.clone(), "PLAINTEXT".to_owned(), host, port));
        }
        endpoints
    }
}

async fn host_name() -> String {
    let name =
        runtime::fs::read("/proc/sys/kernel/hostname").await.unwrap_or_else(|_| Bytes::new());
    let name = String::from_utf8_lossy(&name).trim().to_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
