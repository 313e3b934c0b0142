//! Which Raft group a new partition goes to.
//!
//! A replica list is a group's list of voters: an assignment that an administrator dictates picks among the groups
//! with exactly these voters, else any group of the right size does. Among them the one with the fewest partitions
//! is next, so that shards fill evenly whatever the sizes of the topics.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ErrorCode;
use protocol::messages::BrokerId;
use raft_group::{EpochBase, Term};

use super::Refusal;
use crate::ids::{METADATA_GROUP, NodeId, RaftGroupId};
use crate::metadata::{Image, PartitionRecord};

/// Places new partitions; remembers what it placed.
pub(super) struct Placer<'a> {
    image: &'a Image,
    load: BTreeMap<RaftGroupId, usize>,
}

impl<'a> Placer<'a> {
    /// Counts the partitions of every group.
    pub(super) fn new(image: &'a Image) -> Placer<'a> {
        let groups = image.groups.keys().filter(|id| **id != METADATA_GROUP);
        let mut load: BTreeMap<_, _> = groups.map(|id| (*id, 0)).collect();
        for partition in image.topics().flat_map(|topic| topic.partitions.iter()) {
            *load.entry(partition.group).or_default() += 1;
        }
        Placer { image, load }
    }

    /// Places one partition with this many replicas.
    pub(super) fn place(&mut self, replicas: usize) -> Result<PartitionRecord, Refusal> {
        self.place_where(|voters| voters.len() == replicas)
            .ok_or_else(|| {
                let nodes = self.image.nodes.len();
                Refusal::new(
                    ErrorCode::InvalidReplicationFactor,
                    format!(
                        "Unable to replicate the partition {replicas} time(s): The target replication \
                     factor of {replicas} cannot be reached because only {nodes} broker(s) are \
                     registered."
                    ),
                )
            })
    }

    /// Places one partition on exactly these nodes.
    pub(super) fn place_on(&mut self, replicas: &[BrokerId]) -> Result<PartitionRecord, Refusal> {
        let wanted: BTreeSet<NodeId> = replicas.iter().map(|id| NodeId(id.0)).collect();
        let is_wanted =
            |voters: &[NodeId]| voters.iter().copied().collect::<BTreeSet<_>>() == wanted;
        self.place_where(is_wanted).ok_or_else(|| {
            Refusal::new(
                ErrorCode::InvalidReplicaAssignment,
                format!("No raft group has the voters {replicas:?}."),
            )
        })
    }

    fn place_where(&mut self, which: impl Fn(&[NodeId]) -> bool) -> Option<PartitionRecord> {
        let image = self.image;
        let fits = |id: &RaftGroupId| image.groups.get(id).is_some_and(|g| which(&g.voters));
        let candidates = self.load.iter_mut().filter(|(id, _)| fits(id));
        let (group, load) = candidates.min_by_key(|(_, load)| **load)?;
        *load += 1;
        let term = image.groups.get(group)?.term;
        Some(PartitionRecord {
            group: *group,
            epoch_base: EpochBase::create(Term(term)).0,
        })
    }
}

/// Checks one replica list that an administrator dictates. `replicas` is what the others of the topic have.
pub(super) fn check_replicas(
    image: &Image,
    list: &[BrokerId],
    replicas: Option<usize>,
) -> Result<(), Refusal> {
    let refuse = |message: String| {
        Err(Refusal::new(
            ErrorCode::InvalidReplicaAssignment,
            format!("The manual partition assignment includes {message}"),
        ))
    };
    if list.is_empty() {
        return refuse("an empty replica list.".into());
    }
    let mut seen = BTreeSet::new();
    for id in list {
        if !image.nodes.contains_key(&NodeId(id.0)) {
            return refuse(format!(
                "broker {}, but no such broker is registered.",
                id.0
            ));
        }
        if !seen.insert(id.0) {
            return refuse(format!("the broker {} more than once.", id.0));
        }
    }
    match replicas {
        Some(others) if others != list.len() => refuse(format!(
            "a partition with {} replica(s), but this is not consistent with previous partitions, \
             which have {others} replica(s).",
            list.len()
        )),
        _ => Ok(()),
    }
}
