//! Heartbeats: who is alive decides the leader of the metadata group.
//!
//! Every node's metadata shard tells it twice a second. Who is silent for `broker.session.timeout.ms` is fenced by a
//! record: clients are not told of it and it gets no new replicas. Its replicas stay what they are; Raft goes on without
//! them as long as there is a majority. A new leader gives everybody the whole time anew.

use std::rc::Rc;
use std::time::Duration;

use rpc::PeerId;
use runtime::time::{Instant, sleep};

use super::Cluster;
use super::messages::{HEARTBEAT, Heartbeat, encode};
use crate::ids::NodeId;
use crate::metadata::{Image, MetadataRecord};
use crate::shard::{Change, METADATA_SHARD, Shard};

/// Between two heartbeats, if the file does not ask for more.
const BEAT: Duration = Duration::from_millis(500);

impl Shard {
    /// Beats, and judges who does not; runs as long as the metadata shard.
    pub(super) async fn beat_for_ever(self: Rc<Self>) {
        let Some(cluster) = self.cluster().cloned() else { return };
        let config = &self.node.config;
        let every = config.heartbeat_interval.clamp(Duration::from_millis(50), BEAT);
        loop {
            if self.leads_metadata() {
                self.judge(&cluster).await;
            } else if let Some(leader) = self.metadata_leader() {
                let beat = encode(&Heartbeat { node: self.node.node_id() });
                // one that is lost is followed by the next
                let peer = PeerId { node: leader.0, shard: METADATA_SHARD };
                let _ = cluster.peers.send(peer, HEARTBEAT, vec![beat]);
            }
            sleep(every).await;
        }
    }

    async fn judge(self: &Rc<Self>, cluster: &Rc<Cluster>) {
        cluster.hear(self.node.node_id());
        let patience = self.node.config.session_timeout;
        let image = self.metadata_writer().latest();
        self.drop_left_learners(&image);
        let (fence, unfence) = cluster.verdicts(&image, patience);
        if fence.is_empty() && unfence.is_empty() {
            return;
        }
        let change = move |image: &Image| {
            let fence = fence.into_iter().filter(|node| image.is_live(*node));
            let unfence = unfence.into_iter().filter(|node| image.is_fenced(*node));
            let fence = fence.map(|node| MetadataRecord::Fence { node });
            let unfence = unfence.map(|node| MetadataRecord::Unfence { node });
            Change { records: fence.chain(unfence).collect(), answer: () }
        };
        if let Err(error) = self.change_metadata(change).await {
            tracing::debug!(%error, "another leader judges who is alive");
        }
    }
}

impl Cluster {
    /// A node is alive.
    pub(super) fn hear(&self, node: NodeId) {
        self.heard.borrow_mut().insert(node, Instant::now());
    }

    /// Whom to fence and whom to unfence.
    fn verdicts(&self, image: &Image, patience: Duration) -> (Vec<NodeId>, Vec<NodeId>) {
        let mut heard = self.heard.borrow_mut();
        heard.retain(|node, _| image.nodes.contains_key(node));
        let (mut fence, mut unfence) = (Vec::new(), Vec::new());
        for (id, node) in &image.nodes {
            let silent = heard.entry(*id).or_insert_with(Instant::now).elapsed();
            match node.fenced {
                false if silent > patience => {
                    tracing::warn!(node = id.0, ?silent, "a node is not heard of and gets fenced");
                    fence.push(*id);
                }
                true if silent < patience.min(3 * BEAT) => unfence.push(*id),
                _ => {}
            }
        }
        (fence, unfence)
    }
}
