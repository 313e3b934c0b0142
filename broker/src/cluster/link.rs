//! Where a shard meets the shards of other nodes: Raft's messages, and what `messages.rs` names.
//!
//! Lives on: every shard of a node of a cluster. A Raft message goes straight to the shard that hosts the group on the
//! other node, so two replicas talk over one connection between the two cores that own them. Messages may be lost: Raft,
//! heartbeats and announcements all repeat themselves.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use raft_group::{
    Message, MessageBatch, ReplicaId, StepError, Transport, decode_messages, is_progress,
};
use rpc::{BadMessage, Body, CallFailure, Handler, HandlerFuture, NodeAddress, PeerId, Peers};
use runtime::net::TcpListener;
use runtime::shards::ShardId;
use runtime::task::{self, Class};
use runtime::time::{Instant, sleep};

use super::Cluster;
use super::formation::cluster_bytes;
use super::messages::{
    BEGIN_CHANGE, CHANGE_VOTERS, COMMIT_CHANGE, COMPLETE_COPIES, DESCRIBE_GROUP,
    DESCRIBE_PARTITION, HAND_OVER, HEARTBEAT, Heartbeat, JOIN, LEADERS, METADATA_SNAPSHOT,
    MOVE_PROGRESS, QUORUM, RAFT, READ_BATCHES, SEAL_PARTITIONS, WHO_LEADS, decode, encode,
};
use crate::ids::{METADATA_GROUP, NodeId, RaftGroupId};
use crate::metadata::{Image, LedGroup, MetadataRecord, NodeLink, hosting_shard};
use crate::shard::{METADATA_SHARD, Shard, node_of, replica_of};

/// One tick of Raft's clock; an election begins after 10 to 20 without a leader.
const TICK: Duration = Duration::from_millis(50);

/// Carries Raft's messages: what goes to one peer shard in one turn of the commit loop goes in one frame.
pub(crate) struct PeerTransport {
    shard: Weak<Shard>,
    batches: BTreeMap<PeerId, MessageBatch>,
}

impl PeerTransport {
    pub(crate) fn new(shard: &Rc<Shard>) -> PeerTransport {
        PeerTransport { shard: Rc::downgrade(shard), batches: BTreeMap::new() }
    }
}

impl Transport for PeerTransport {
    fn send(&mut self, group: RaftGroupId, message: Message) {
        let Some(shard) = self.shard.upgrade() else { return };
        let Some(cluster) = shard.cluster() else { return };
        let Some(to) = node_of(ReplicaId(message.to)) else { return };
        let Some(host) = shard.host_on(to, group) else { return };
        let peer = PeerId { node: to.0, shard: host };
        let batch = self.batches.entry(peer).or_default();
        batch.push(group, &message);
        if batch.is_full() {
            send_batch(cluster, peer, batch);
        }
    }

    fn flush(&mut self) {
        let Some(shard) = self.shard.upgrade() else { return };
        let Some(cluster) = shard.cluster() else { return };
        for (peer, batch) in &mut self.batches {
            if !batch.is_empty() {
                send_batch(cluster, *peer, batch);
            }
        }
    }
}

fn send_batch(cluster: &Cluster, peer: PeerId, batch: &mut MessageBatch) {
    let (pieces, sum) = batch.take_body();
    if let Err(error) = cluster.peers.send(peer, RAFT, Body::with_sum(pieces, sum)) {
        tracing::trace!(%peer, %error, "Raft messages are not sent");
    }
}

/// What this shard does with what others send.
struct Receiver {
    shard: Weak<Shard>,
}

impl Handler for Receiver {
    fn message(&self, from: PeerId, kind: u16, body: Bytes, sum: u32) -> Result<(), BadMessage> {
        let Some(shard) = self.shard.upgrade() else { return Ok(()) };
        match kind {
            RAFT => shard.take_raft_messages(from, body, sum),
            HEARTBEAT if shard.id == METADATA_SHARD => {
                let beat: Heartbeat = decode(&body)?;
                if beat.node.0 == from.node
                    && let Some(cluster) = shard.cluster()
                {
                    cluster.hear(beat.node);
                }
                Ok(())
            }
            LEADERS if shard.id == METADATA_SHARD => {
                let mut told: Vec<LedGroup> = decode(&body)?;
                told.retain(|led| led.leader == Some(NodeId(from.node)));
                task::spawn(Class::Latency, shard.note_leaders(told)).detach();
                Ok(())
            }
            other => Err(BadMessage(format!("a message of kind {other} has no place here"))),
        }
    }

    fn call(
        &self,
        _from: PeerId,
        method: u16,
        body: Bytes,
    ) -> HandlerFuture<Result<Vec<Bytes>, CallFailure>> {
        let Some(shard) = self.shard.upgrade() else {
            return Box::pin(async move { Err(CallFailure::unknown_method(method)) });
        };
        Box::pin(async move {
            match method {
                DESCRIBE_GROUP => shard.describe_group(&body),
                READ_BATCHES => shard.read_for_copy(body).await,
                MOVE_PROGRESS | SEAL_PARTITIONS | COMPLETE_COPIES | DESCRIBE_PARTITION => {
                    shard.answer_move(method, body).await
                }
                HAND_OVER => shard.take_hand_over(&body),
                other if shard.id != METADATA_SHARD => Err(CallFailure::unknown_method(other)),
                METADATA_SNAPSHOT => Ok(shard.snapshot_metadata()),
                WHO_LEADS => Ok(vec![encode(&shard.who_leads())]),
                QUORUM => Ok(vec![encode(&shard.report_quorum())]),
                CHANGE_VOTERS => shard.take_voter_change(body).await,
                JOIN => shard.take_in(&body),
                BEGIN_CHANGE => shard.lend_turn().await,
                COMMIT_CHANGE => shard.take_change(body).await,
                other => Err(CallFailure::unknown_method(other)),
            }
        })
    }

    fn unreachable(&self, to: PeerId) {
        if let Some(shard) = self.shard.upgrade() {
            shard.raft.report_unreachable(replica_of(NodeId(to.node)));
            shard.suspect(to);
        }
    }
}

impl Shard {
    /// The shard of `node` that hosts `group`.
    pub(super) fn host_on(&self, node: NodeId, group: RaftGroupId) -> Option<ShardId> {
        if group == METADATA_GROUP {
            return Some(METADATA_SHARD);
        }
        let image = self.image();
        let link = image.nodes.get(&node)?.link.as_ref()?;
        Some(hosting_shard(group, usize::from(link.shards)))
    }

    /// The connection to a shard of another node broke: groups that are led there may need another leader.
    fn suspect(self: &Rc<Self>, peer: PeerId) {
        let node = NodeId(peer.node);
        self.tell(METADATA_SHARD, move |there| {
            let doubt = |image: &mut Image| image.doubt(node, peer.shard, Instant::now());
            if there.metadata_writer().annotate(doubt) {
                there.publish_soon();
            }
        });
        for status in self.raft.statuses() {
            let group = status.raft_group;
            if self.host_on(node, group) == Some(peer.shard) {
                self.raft.suspect(group, replica_of(node));
            }
        }
    }

    fn take_raft_messages(&self, from: PeerId, body: Bytes, sum: u32) -> Result<(), BadMessage> {
        let messages = decode_messages(body, sum).map_err(|e| BadMessage(e.to_string()))?;
        let is_removed = self.image().removed.contains_key(&NodeId(from.node));
        for (group, message) in messages {
            if node_of(ReplicaId(message.from)) != Some(NodeId(from.node)) {
                return Err(BadMessage("a Raft message in the name of another node".to_owned()));
            }
            // It may learn the metadata to register again; it neither leads nor votes.
            if is_removed && (group != METADATA_GROUP || !is_progress(&message)) {
                continue;
            }
            match self.raft.step(group, message) {
                Ok(()) | Err(StepError::NotMember { .. } | StepError::Stopped) => {}
                // the group is not here yet, or not any more
                Err(StepError::UnknownGroup(_)) => {}
                Err(error @ StepError::Malformed { .. }) => {
                    return Err(BadMessage(error.to_string()));
                }
            }
            if group == METADATA_GROUP {
                self.note_quorum(NodeId(from.node));
            }
        }
        Ok(())
    }

    /// Begins to talk to other nodes; on every shard, before the metadata group is brought up.
    pub(crate) async fn start_cluster(self: Rc<Self>) -> Result<(), String> {
        let node = &self.node;
        let identity = node.identity.get().expect("the data directory is open");
        let (me, directory) = (node.node_id(), identity.directory.0);
        let options = rpc::Options::new(me.0, directory, self.id, self.count as u16);
        let receiver = Rc::new(Receiver { shard: Rc::downgrade(&self) });
        let peers = Rc::new(Peers::new(options, receiver));
        if let Some(id) = cluster_bytes(&identity.cluster_id) {
            peers.set_cluster_id(id);
        }
        let mut known = self.nodes_in_log();
        for voter in &node.config.quorum.voters {
            let (host, port) = (voter.address.host.clone(), voter.address.port);
            let directory = known.get(&NodeId(voter.node_id)).and_then(|node| node.directory);
            known.insert(NodeId(voter.node_id), NodeAddress { host, port, directory });
        }
        for (id, address) in known.into_iter().filter(|(id, _)| *id != me) {
            peers.set_node(id.0, address);
        }
        let listener = self.peer_listener().await?;
        self.set_cluster(Cluster::new(peers.clone()));
        let weak = Rc::downgrade(&self);
        let hand_over = move |to: ShardId, handed: rpc::HandedOver| {
            if let Some(shard) = weak.upgrade() {
                shard.tell(to, move |there| {
                    if let Some(cluster) = there.cluster() {
                        cluster.peers.adopt(handed);
                    }
                });
            }
        };
        let accept = async move { peers.accept(listener, hand_over).await };
        task::spawn(Class::Latency, accept).detach();
        task::spawn(Class::Latency, self.clone().tick_for_ever()).detach();
        task::spawn(Class::Latency, self.clone().tell_leaders_for_ever()).detach();
        task::spawn(Class::Background, self.clone().copy_arrivals_for_ever()).detach();
        if self.id == METADATA_SHARD {
            task::spawn(Class::Latency, self.clone().publish_for_ever()).detach();
            task::spawn(Class::Latency, self.clone().beat_for_ever()).detach();
            task::spawn(Class::Latency, self.clone().drive_moves_for_ever()).detach();
        }
        Ok(())
    }

    /// Where the nodes are and which directories they have, as far as this one's log says; on the metadata shard, before
    /// the metadata group is brought up. A voter that lost its directory has forgotten its vote and what it acknowledged, so
    /// it must not be listened to from the first message on. An entry counts whether or not it is known to be committed.
    fn nodes_in_log(&self) -> BTreeMap<NodeId, NodeAddress> {
        if self.id != METADATA_SHARD {
            return BTreeMap::new(); // other shards host nothing before they have an image
        }
        let writer = self.metadata_writer();
        let image = writer.latest();
        let mut nodes: BTreeMap<NodeId, NodeAddress> = BTreeMap::new();
        for (id, node) in &image.nodes {
            nodes.extend(node.link.as_ref().map(|link| (*id, address_of(link))));
        }
        for record in self.recovered_metadata(writer.applied_index()) {
            match record {
                MetadataRecord::RegisterBroker(broker) => {
                    let ((host, port), directory) = (broker.peer, Some(broker.directory.0));
                    nodes.insert(broker.node, NodeAddress { host, port, directory });
                }
                MetadataRecord::RemoveNode { node } | MetadataRecord::ExpelNode { node } => {
                    nodes.remove(&node);
                }
                _ => {}
            }
        }
        nodes
    }

    async fn peer_listener(&self) -> Result<TcpListener, String> {
        let endpoint = self.node.config.quorum.peer_listener.as_ref();
        let endpoint = endpoint.ok_or("a node of a cluster needs a listener for its peers")?;
        let port = endpoint.port;
        let addresses: Vec<IpAddr> = match &*endpoint.host {
            "" => vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
            host => {
                let found = runtime::net::resolve(host, port).await;
                let found = found.map_err(|e| format!("{endpoint} for other nodes: {e}"))?;
                found.into_iter().map(|address| address.ip()).collect()
            }
        };
        let mut last = String::new();
        for ip in addresses {
            match TcpListener::bind(SocketAddr::new(ip, port), rpc::BACKLOG) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = error.to_string(),
            }
        }
        Err(format!("{endpoint} for other nodes: {last}; stop the process that uses the address"))
    }

    async fn tick_for_ever(self: Rc<Self>) {
        loop {
            sleep(TICK).await;
            self.raft.tick();
        }
    }
}

impl Cluster {
    /// Takes over where nodes are, from a newer image.
    pub(crate) fn follow_nodes(&self, before: &Image, image: &Image) {
        for (id, node) in image.nodes.iter().filter(|(id, _)| **id != image.node) {
            let Some(link) = &node.link else { continue };
            let known = before.nodes.get(id).and_then(|node| node.link.as_ref());
            if known
                .is_none_or(|known| known.peer != link.peer || known.directory != link.directory)
            {
                self.peers.set_node(id.0, address_of(link));
            }
        }
        for id in before.nodes.keys().filter(|id| !image.nodes.contains_key(id)) {
            self.peers.remove_node(id.0);
        }
    }
}

pub(super) fn address_of(link: &NodeLink) -> NodeAddress {
    let (host, port) = (link.peer.0.to_string(), link.peer.1);
    NodeAddress { host, port, directory: Some(link.directory.0) }
}
