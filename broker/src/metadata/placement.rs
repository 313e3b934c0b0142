//! Which Raft group carries a new partition.
//!
//! Least loaded first, ties by id: leaders, and with them shards and cores, fill evenly whatever the order in which topics
//! come and go. Load is the number of partitions; the groups of one node all have the same voters at replication factor 1.

use std::collections::BTreeMap;

use raft_group::{EpochBase, Term};

use super::image::Image;
use super::record::PartitionRecord;
use crate::ids::{METADATA_GROUP, RaftGroupId};

/// Places `count` partitions of one topic. Their leader epoch starts at 0.
///
/// # Panics
/// If the node has no data group: it creates them before it serves.
pub fn place_partitions(image: &Image, count: usize) -> Vec<PartitionRecord> {
    let mut load: BTreeMap<RaftGroupId, usize> =
        image.groups.keys().filter(|id| **id != METADATA_GROUP).map(|id| (*id, 0)).collect();
    assert!(!load.is_empty(), "a node that serves has a data group");
    for topic in image.topics() {
        for partition in topic.partitions.iter() {
            *load.entry(partition.group).or_default() += 1;
        }
    }
    let place = |_| {
        let least = load.iter().min_by_key(|(id, n)| (**n, **id)).map(|(id, _)| *id);
        let group = least.expect("there is a data group");
        *load.entry(group).or_default() += 1;
        let term = image.groups.get(&group).map_or(0, |view| view.term);
        PartitionRecord { group, epoch_base: EpochBase::create(Term(term)).0 }
    };
    (0..count).map(place).collect()
}
