//! How a cluster comes into being and stays one: its id, who votes, and nodes that only listen.
//!
//! The voters of `controller.quorum.voters` begin the metadata group alike. Without voters in the file, a node that is
//! `standalone` begins it alone, and any other one finds the cluster by `controller.quorum.bootstrap.servers` and begins
//! with the voters with which the group's log begins. Its first leader commits an id: that of its directory if it has
//! one, else a random one. Each node writes down the id that it learns from the log; one whose directory has another id
//! ends with one sentence. A node that does not vote joins as a learner: the leader adds it.

use std::collections::BTreeMap;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use raft_group::{ConfChange, MemberChange, Membership};
use rpc::{CallFailure, NodeAddress};
use runtime::task::{self, Class};
use runtime::time::Instant;

use super::Cluster;
use super::messages::{Join, Known, NOT_CONTROLLER, TURNED_AWAY, decode_call};
use crate::ids::{METADATA_GROUP, NodeId};
use crate::metadata::{Image, MetadataRecord};
use crate::node::{BootError, set_cluster_id};
use crate::shard::{Change, METADATA_SHARD, Shard, node_of, replica_of};

impl Shard {
    /// The first members of the metadata group: the voters of the file, or this node, or those of the cluster that it
    /// joins; in that case it returns when the cluster is found.
    pub(crate) async fn first_metadata_members(self: &Rc<Self>) -> Result<Membership, BootError> {
        let quorum = &self.node.config.quorum;
        let voters: Vec<NodeId> = if !quorum.is_clustered() || quorum.standalone {
            vec![self.node.node_id()]
        } else if quorum.voters.is_empty() {
            self.find_first_voters().await?
        } else if let Some(formed) = self.find_formed_cluster().await? {
            // An empty directory of a voter that was lost: it must not begin a second cluster with another such one.
            formed
        } else {
            quorum.voters.iter().map(|voter| NodeId(voter.node_id)).collect()
        };
        Ok(Membership::of_voters(voters.into_iter().map(replica_of)))
    }

    /// Answers [`WHO_LEADS`].
    ///
    /// [`WHO_LEADS`]: super::messages::WHO_LEADS
    pub(super) fn who_leads(&self) -> Known {
        let image = self.metadata_writer().latest();
        let first = image.groups.get(&METADATA_GROUP).filter(|_| !image.cluster_id.is_empty());
        let mut nodes: BTreeMap<NodeId, (String, u16)> = BTreeMap::new();
        for voter in &self.node.config.quorum.voters {
            let address = (voter.address.host.clone(), voter.address.port);
            nodes.insert(NodeId(voter.node_id), address);
        }
        for (id, node) in &image.nodes {
            if let Some(link) = &node.link {
                nodes.insert(*id, (link.peer.0.to_string(), link.peer.1));
            }
        }
        Known {
            leader: self.metadata_leader(),
            first_voters: first.map(|group| group.voters.to_vec()).unwrap_or_default(),
            nodes: nodes.into_iter().map(|(id, (host, port))| (id, host, port)).collect(),
        }
    }

    /// Publishes the newest image to all shards behind whatever runs now; in a cluster of one the change itself does.
    pub(crate) fn publish_soon(&self) {
        if let Some(cluster) = self.cluster() {
            cluster.unpublished.notify_one();
        }
    }

    /// Publishes images as entries of the metadata log arrive; runs as long as the metadata shard.
    pub(super) async fn publish_for_ever(self: Rc<Self>) {
        let Some(cluster) = self.cluster().cloned() else { return };
        loop {
            cluster.unpublished.notified().await;
            self.clone().learn_cluster_id().await;
            self.publish_metadata().await;
        }
    }

    /// Writes down the id of the cluster once the metadata have it.
    async fn learn_cluster_id(self: Rc<Self>) {
        let image = self.metadata_writer().latest();
        let node = &self.node;
        let (Some(identity), false) = (node.identity.get(), image.cluster_id.is_empty()) else {
            return;
        };
        let known = node.cluster_id.get().map_or(identity.cluster_id.as_str(), String::as_str);
        if known == &*image.cluster_id {
            return self.use_cluster_id(&image);
        }
        if !known.is_empty() {
            node.fail(format!(
                "{} belongs to cluster {known}, but the voters are cluster {}; name the voters of \
                 that cluster or use an empty directory",
                node.config.data_dir.display(),
                image.cluster_id
            ));
            runtime::shards::fail_stop("the data directory belongs to another cluster");
        }
        let written = set_cluster_id(&node.config.data_dir, identity, &image.cluster_id).await;
        if let Err(error) = written {
            node.fail(error.to_string());
            runtime::shards::fail_stop("the cluster id cannot be written");
        }
        let _ = node.cluster_id.set(image.cluster_id.to_string());
        self.use_cluster_id(&image);
    }

    fn use_cluster_id(self: &Rc<Self>, image: &Image) {
        let Some(id) = cluster_bytes(&image.cluster_id) else { return };
        for to in self.shards() {
            self.tell(to, move |there| {
                if let Some(cluster) = there.cluster() {
                    cluster.peers.set_cluster_id(id);
                }
            });
        }
    }

    /// What a new leader of the metadata group does first.
    async fn begin_cluster(self: Rc<Self>) {
        let members = self.raft.status(METADATA_GROUP).map(|status| status.membership.voters);
        let voters: Vec<NodeId> = members.into_iter().flatten().filter_map(node_of).collect();
        let own = self.node.identity.get().map(|identity| identity.cluster_id.clone());
        let begin = move |image: &Image| {
            let mut records = Vec::new();
            // A node that was alone knows its cluster's id from its directory; others learn it from the log.
            let was_alone = image.nodes.values().all(|node| node.link.is_none());
            let is_formed = image.groups.contains_key(&METADATA_GROUP);
            if image.cluster_id.is_empty() || !is_formed || was_alone {
                let random = || URL_SAFE_NO_PAD.encode(runtime::random::uuid_bytes());
                let id = own.filter(|id| !id.is_empty()).unwrap_or_else(random);
                let id =
                    if image.cluster_id.is_empty() { id } else { image.cluster_id.to_string() };
                records.push(MetadataRecord::ClusterId { id });
                records.push(MetadataRecord::CreateRaftGroup { group: METADATA_GROUP, voters });
            }
            Change { records, answer: () }
        };
        if let Err(error) = self.change_metadata(begin).await {
            tracing::info!(%error, "another leader will form the cluster");
        }
    }

    /// Answers a node that does not vote and wants to learn the metadata.
    pub(super) fn take_in(self: &Rc<Self>, body: &Bytes) -> Result<Vec<Bytes>, CallFailure> {
        let refused = |reason: String| CallFailure::new(NOT_CONTROLLER, reason);
        let join: Join = decode_call(body)?;
        let image = self.metadata_writer().latest();
        if let Err(reason) = image.check_directory(join.node, join.directory) {
            return Err(CallFailure::new(TURNED_AWAY, reason));
        }
        let replica = replica_of(join.node);
        let status = self.raft.status(METADATA_GROUP);
        let status = status.filter(|_| self.leads_metadata());
        let status =
            status.ok_or_else(|| refused("this node does not lead the metadata".into()))?;
        if status.membership.learners.contains(&replica) && !self.has_joined(&join, &image) {
            // What the leader knows of that replica would be believed of an empty one.
            let change = ConfChange { changes: vec![MemberChange::Remove(replica)] };
            let _ = self.raft.propose_conf_change(METADATA_GROUP, &change);
            return Err(refused("what another directory of this node left is let go first".into()));
        }
        let address =
            NodeAddress { host: join.peer.0, port: join.peer.1, directory: Some(join.directory.0) };
        if let Some(cluster) = self.cluster() {
            cluster.joining.borrow_mut().insert(join.node, (Instant::now(), join.directory));
            // it may have moved since it was last here
            cluster.peers.set_node(join.node.0, address);
        }
        let members = &status.membership;
        if members.voters.contains(&replica) || members.learners.contains(&replica) {
            return Ok(Vec::new());
        }
        let change = ConfChange { changes: vec![MemberChange::AddLearner(replica)] };
        let added = self.raft.propose_conf_change(METADATA_GROUP, &change);
        added.map(|_| Vec::new()).map_err(|e| refused(e.to_string()))
    }

    /// Whether the replica that listens is that of this very directory.
    fn has_joined(&self, join: &Join, image: &Image) -> bool {
        let link = image.nodes.get(&join.node).and_then(|node| node.link.as_ref());
        let joining = self.cluster().and_then(|it| it.joining.borrow().get(&join.node).copied());
        link.map(|link| link.directory).or(joining.map(|(_, directory)| directory))
            == Some(join.directory)
    }
}

impl Cluster {
    /// This node leads the metadata group now; on the metadata shard.
    pub(crate) fn begin_to_lead(self: &Rc<Self>, shard: &Rc<Shard>) {
        debug_assert_eq!(shard.id, METADATA_SHARD);
        let now = Instant::now();
        let nodes =
            shard.metadata_writer().latest().nodes.keys().map(|node| (*node, now)).collect();
        self.heard.replace(nodes);
        self.quorum_heard.borrow_mut().clear();
        task::spawn(Class::Latency, shard.clone().begin_cluster()).detach();
    }
}

/// The 16 bytes of a cluster id, which may be any text of Kafka's.
pub(super) fn cluster_bytes(id: &str) -> Option<[u8; 16]> {
    if id.is_empty() {
        return None;
    }
    if let Ok(bytes) = URL_SAFE_NO_PAD.decode(id)
        && let Ok(bytes) = <[u8; 16]>::try_from(bytes.as_slice())
    {
        return Some(bytes);
    }
    // an id of another form: its bytes, folded
    let mut folded = [0u8; 16];
    for (i, byte) in id.bytes().enumerate() {
        folded[i % 16] = folded[i % 16].wrapping_mul(31).wrapping_add(byte);
    }
    Some(folded)
}
