//! Which Raft group carries a new partition.
//!
//! A replica list is a group's list of voters: one that an administrator dictates picks among the groups with exactly
//! these voters, else any group of the right size does. Least loaded first, ties by id: leaders, and with them shards
//! and cores, fill evenly whatever the order in which topics come and go. Load is the number of partitions.

use std::collections::{BTreeMap, BTreeSet};

use raft_group::{EpochBase, Term};

use super::image::Image;
use super::record::PartitionRecord;
use crate::ids::{METADATA_GROUP, NodeId, RaftGroupId};

/// Places partitions of one change; counts what it placed. Leader epochs start at 0.
pub struct Placer<'a> {
    image: &'a Image,
    load: BTreeMap<RaftGroupId, usize>,
}

impl<'a> Placer<'a> {
    /// Counts the partitions of every data group: once per change, in the time that takes.
    pub fn new(image: &'a Image) -> Placer<'a> {
        let groups = image.groups.keys().filter(|id| **id != METADATA_GROUP);
        let mut load: BTreeMap<_, _> = groups.map(|id| (*id, 0)).collect();
        for partition in image.topics().flat_map(|topic| topic.partitions.iter()) {
            *load.entry(partition.group).or_default() += 1;
        }
        Placer { image, load }
    }

    /// A partition with this many replicas; none if no group has as many voters.
    pub fn place(&mut self, replicas: usize) -> Option<PartitionRecord> {
        self.place_where(|voters| voters.len() == replicas)
    }

    /// A partition on exactly these nodes; none if no group has them as voters.
    pub fn place_on(&mut self, nodes: &BTreeSet<NodeId>) -> Option<PartitionRecord> {
        self.place_where(|voters| voters.iter().copied().collect::<BTreeSet<_>>() == *nodes)
    }

    fn place_where(&mut self, which: impl Fn(&[NodeId]) -> bool) -> Option<PartitionRecord> {
        let image = self.image;
        let fits = |id: &RaftGroupId| image.groups.get(id).is_some_and(|g| which(&g.voters));
        let candidates = self.load.iter_mut().filter(|(id, _)| fits(id));
        let (group, load) = candidates.min_by_key(|(id, load)| (**load, **id))?;
        *load += 1;
        let term = image.groups.get(group)?.term;
        Some(PartitionRecord { group: *group, epoch_base: EpochBase::create(Term(term)).0 })
    }
}

/// Places `count` partitions of one topic of the broker itself, whatever the number of replicas.
///
/// # Panics
/// If the node has no data group: it creates them before it serves.
pub fn place_partitions(image: &Image, count: usize) -> Vec<PartitionRecord> {
    let mut placer = Placer::new(image);
    let place = |_| placer.place_where(|_| true).expect("a node that serves has a data group");
    (0..count).map(place).collect()
}
