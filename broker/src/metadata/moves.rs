//! Partitions on their way from one Raft group to another, in the image: what the metadata log says of each.
//!
//! ```text
//!            BeginMove            SealMove              FinishMove
//!   (none) ------------> copying ----------> sealed --------------> (none, in the new group)
//!                         |   ^                | |
//!                         |   +----------------+ |
//!                         |       UnsealMove     |
//!                         +----------+-----------+
//!                                    | CancelMove, DeleteTopic
//!                                    v
//!                          (none, in the old group)
//! ```
//!
//! The metadata log alone decides which group has a partition: what the groups and nodes do about a move
//! (`cluster/moves`) can be repeated and thrown away. A move is named by the entry that began it and a seal by the entry
//! that set it, so what was found out under one is never used for another.
//!
//! Both groups are hosted by the same shard on every node that is in both ([`Image::fits`]): there the partition stays
//! where it is, with its files, and only says that it belongs to another group now.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::image::{Image, hosting_shard};
use super::record::MetadataRecord;
use crate::ids::{NodeId, PartitionId, RaftGroupId, TopicId};

/// Moves in progress.
pub type Moves = BTreeMap<PartitionId, Move>;

/// One partition on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The group that gets it.
    pub to: RaftGroupId,
    /// Index of the entry that began it.
    pub id: u64,
    /// Index of the entry that sealed it, if it is sealed.
    pub sealed: Option<u64>,
}

/// A move as Kafka shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassignment {
    /// Those that shall have it, then those that have it and shall not.
    pub replicas: Vec<NodeId>,
    /// Those that get it.
    pub adding: Vec<NodeId>,
    /// Those that lose it.
    pub removing: Vec<NodeId>,
}

impl Reassignment {
    /// From one list of replicas to another. Source: Kafka's `PartitionReassignmentReplicas`.
    pub fn between(now: &[NodeId], target: &[NodeId]) -> Reassignment {
        let without = |all: &[NodeId], these: &[NodeId]| -> Vec<NodeId> {
            all.iter().copied().filter(|node| !these.contains(node)).collect()
        };
        let (mut adding, mut removing) = (without(target, now), without(now, target));
        // Kafka keeps these two as sorted sets
        adding.sort_unstable();
        removing.sort_unstable();
        let replicas = target.iter().chain(&removing).copied().collect();
        Reassignment { replicas, adding, removing }
    }

    /// Whether Kafka calls this a reassignment: another order alone is none.
    pub fn is_shown(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }
}

impl Image {
    /// The move of a partition, if it is on its way.
    pub fn move_of(&self, id: PartitionId) -> Option<&Move> {
        self.moves.get(&id)
    }

    /// Whether a partition takes no batches because it is about to change its group.
    pub fn is_sealed(&self, id: PartitionId) -> bool {
        self.move_of(id).is_some_and(|moving| moving.sealed.is_some())
    }

    /// The voters of a group.
    pub fn voters(&self, group: RaftGroupId) -> &[NodeId] {
        self.groups.get(&group).map_or(&[], |view| &view.voters)
    }

    /// A move as Kafka shows it; absent if the partition is not on its way.
    pub fn reassignment(&self, id: PartitionId) -> Option<Reassignment> {
        let to = self.move_of(id)?.to;
        Some(Reassignment::between(self.voters(self.group_of(id)?), self.voters(to)))
    }

    /// The replicas of a partition as clients are told, also of one that is on its way.
    pub fn shown_replicas(&self, id: PartitionId, replicas: &Arc<[NodeId]>) -> Arc<[NodeId]> {
        match self.moves.is_empty() {
            true => replicas.clone(),
            false => self.reassignment(id).map_or_else(|| replicas.clone(), |r| r.replicas.into()),
        }
    }

    /// Whether a node gets a partition that it does not have.
    pub fn is_coming(&self, id: PartitionId, node: NodeId) -> bool {
        let Some(moving) = self.move_of(id) else { return false };
        let from = self.group_of(id).map_or(&[][..], |from| self.voters(from));
        self.voters(moving.to).contains(&node) && !from.contains(&node)
    }

    /// Whether a partition can go from one group to the other: every node that is in both hosts them on one shard.
    pub fn fits(&self, from: RaftGroupId, to: RaftGroupId) -> bool {
        let both = self.voters(from).iter().filter(|node| self.voters(to).contains(node));
        both.into_iter().all(|node| {
            let shards = self.shards_of(*node);
            hosting_shard(from, shards) == hosting_shard(to, shards)
        })
    }

    /// How many shards a node has.
    pub fn shards_of(&self, node: NodeId) -> usize {
        let link = self.nodes.get(&node).and_then(|node| node.link.as_ref());
        link.map_or(self.shards, |link| usize::from(link.shards)).max(1)
    }

    pub(super) fn begin_move(
        &mut self,
        id: PartitionId,
        to: RaftGroupId,
        began: u64,
    ) -> Result<(), String> {
        if self.group_of(id).is_none() || !self.groups.contains_key(&to) {
            return Err(format!("partition {id:?} or raft group {to} does not exist"));
        }
        if self.moves.contains_key(&id) {
            return Err(format!("partition {id:?} is on its way already"));
        }
        let moving = Move { to, id: began, sealed: None };
        Arc::make_mut(&mut self.moves).insert(id, moving);
        Ok(())
    }

    pub(super) fn seal_move(&mut self, id: PartitionId, at: Option<u64>) -> Result<(), String> {
        let moving = Arc::make_mut(&mut self.moves).get_mut(&id);
        moving.ok_or_else(|| format!("partition {id:?} is not on its way"))?.sealed = at;
        Ok(())
    }

    pub(super) fn end_move(&mut self, id: PartitionId) -> Result<(), String> {
        let ended = Arc::make_mut(&mut self.moves).remove(&id);
        ended.map(drop).ok_or_else(|| format!("partition {id:?} is not on its way"))
    }

    pub(super) fn forget_moves(&mut self, topic: TopicId) {
        if self.moves.keys().any(|id| id.topic == topic) {
            Arc::make_mut(&mut self.moves).retain(|id, _| id.topic != topic);
        }
    }

    pub(super) fn moves_to_records(&self) -> Vec<MetadataRecord> {
        let mut out = Vec::new();
        for (&PartitionId { topic, index }, moving) in self.moves.iter() {
            out.push(MetadataRecord::BeginMove { topic, index, to: moving.to, id: moving.id });
            if let Some(at) = moving.sealed {
                out.push(MetadataRecord::SealMove { topic, index, at });
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(nodes: &[i32]) -> Vec<NodeId> {
        nodes.iter().map(|id| NodeId(*id)).collect()
    }

    #[test]
    fn a_reassignment_shows_the_target_first_and_then_what_goes() {
        let shown = Reassignment::between(&ids(&[1, 2, 3]), &ids(&[4, 2, 5]));
        assert_eq!(shown.replicas, ids(&[4, 2, 5, 1, 3]));
        assert_eq!(shown.adding, ids(&[4, 5]));
        assert_eq!(shown.removing, ids(&[1, 3]));
        let order = Reassignment::between(&ids(&[1, 2]), &ids(&[2, 1]));
        assert_eq!((order.replicas, order.adding.len()), (ids(&[2, 1]), 0));
    }
}
