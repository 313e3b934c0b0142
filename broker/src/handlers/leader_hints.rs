//! Who leads instead (KIP-951): told with NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH in answers to Produce and Fetch,
//! so that a client need not ask for metadata first. Nothing is told where this node knows no other leader.

use protocol::ErrorCode;
use protocol::produce::{CurrentLeader, NodeEndpoint};

use crate::ids::NodeId;
use crate::metadata::{Image, Topic};

/// Collects the leaders that an answer names.
pub struct LeaderHints<'a> {
    image: &'a Image,
    listener: &'a str,
    named: Vec<NodeId>,
}

impl<'a> LeaderHints<'a> {
    /// For an answer on a connection of `listener`.
    pub fn new(image: &'a Image, listener: &'a str) -> LeaderHints<'a> {
        LeaderHints { image, listener, named: Vec::new() }
    }

    /// The leader to tell with `code`, if that helps.
    pub fn hint(
        &mut self,
        topic: Option<&Topic>,
        index: i32,
        code: ErrorCode,
    ) -> Option<CurrentLeader> {
        if !matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
            return None;
        }
        let placement = self.image.placement(topic?, index)?;
        if self.image.doubted.contains_key(&placement.group) {
            return None;
        }
        let leader = placement.leader.filter(|leader| *leader != self.image.node)?;
        let node = self.image.nodes.get(&leader).filter(|node| !node.fenced)?;
        node.endpoint(self.listener)?;
        if !self.named.contains(&leader) {
            self.named.push(leader);
        }
        Some(CurrentLeader { leader_id: leader.0, leader_epoch: placement.leader_epoch })
    }

    /// Where those who were named are.
    pub fn endpoints(&self) -> Vec<NodeEndpoint<'a>> {
        let endpoint = |id: &NodeId| {
            let node = self.image.nodes.get(id)?;
            let (host, port) = node.endpoint(self.listener)?;
            let (port, rack) = (i32::from(port), node.rack.as_deref());
            Some(NodeEndpoint { node_id: id.0, host, port, rack })
        };
        self.named.iter().filter_map(endpoint).collect()
    }
}
