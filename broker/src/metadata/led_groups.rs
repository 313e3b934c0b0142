//! Raft groups in the image, and who leads them: the part that is told, not logged.

use std::sync::Arc;

use runtime::shards::ShardId;
use serde::{Deserialize, Serialize};

use super::image::Image;
use crate::ids::{NodeId, RaftGroupId};

/// A Raft group as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftGroupView {
    /// Voters in replica order.
    pub voters: Arc<[NodeId]>,
    /// Who leads, if known.
    pub leader: Option<NodeId>,
    /// Term of that leader; 0 before the first election.
    pub term: u64,
    /// Voters that have what is committed, as its leader says; absent if all have.
    pub isr: Option<Arc<[NodeId]>>,
    /// The shard that hosts the group on this node (node-local).
    pub shard: ShardId,
}

/// What the leader of a group tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedGroup {
    /// Number of the group.
    pub group: u64,
    /// Who leads; absent if that is being decided.
    pub leader: Option<NodeId>,
    /// In which term.
    pub term: u64,
    /// Voters that have what is committed; absent if all have.
    pub isr: Option<Vec<NodeId>>,
}

impl RaftGroupView {
    /// The voters that are heard of, if that is not all of them: what a new leader can say of who is in sync.
    pub fn unfenced(&self, image: &Image) -> Option<Vec<NodeId>> {
        let live: Vec<NodeId> =
            self.voters.iter().copied().filter(|node| !image.is_fenced(*node)).collect();
        (live.len() < self.voters.len()).then_some(live)
    }

    /// Voters that have what is committed.
    pub fn in_sync(&self) -> &Arc<[NodeId]> {
        self.isr.as_ref().unwrap_or(&self.voters)
    }
}

impl Image {
    /// Takes in who leads a group, unless something newer is known; returns whether that is news.
    pub fn note_leader(&mut self, told: LedGroup) -> bool {
        let Some(group) = self.groups.get_mut(&RaftGroupId(told.group)) else {
            return false;
        };
        let isr: Option<Arc<[NodeId]>> = told.isr.map(Arc::from);
        let is_old = told.term < group.term
            || told.term == group.term && group.leader.is_some() && told.leader.is_none();
        if is_old || (group.leader, group.term, &group.isr) == (told.leader, told.term, &isr) {
            return false;
        }
        group.leader = told.leader;
        group.term = told.term;
        group.isr = isr;
        true
    }
}
