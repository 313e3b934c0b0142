//! Replica lists that an administrator dictates, and what is said when a partition cannot be placed.

use std::collections::BTreeSet;

use protocol::ErrorCode;
use protocol::messages::BrokerId;

use super::Refusal;
use crate::ids::NodeId;
use crate::metadata::{Image, PartitionRecord, Placer};

/// Places one partition with this many replicas.
pub(super) fn place(
    image: &Image,
    placer: &mut Placer<'_>,
    replicas: usize,
) -> Result<PartitionRecord, Refusal> {
    placer.place(replicas).ok_or_else(|| {
        let registered = image.nodes.len();
        let reason = match registered < replicas {
            true => format!(
                "{registered} broker(s) are registered or some brokers have all their log directories \
                 cordoned"
            ),
            false => format!(
                "{} of {registered} broker(s) can be reached, which is no majority of the replicas",
                image.live_nodes().count()
            ),
        };
        let message = format!(
            "Unable to replicate the partition {replicas} time(s): The target replication factor of \
             {replicas} cannot be reached because only {reason}."
        );
        Refusal::new(ErrorCode::InvalidReplicationFactor, message)
    })
}

/// Places one partition on exactly these nodes.
pub(super) fn place_on(
    placer: &mut Placer<'_>,
    replicas: &[BrokerId],
) -> Result<PartitionRecord, Refusal> {
    let nodes: Vec<NodeId> = replicas.iter().map(|id| NodeId(id.0)).collect();
    placer.place_on(&nodes).ok_or_else(|| {
        let message = format!("No raft group has the voters {replicas:?}.");
        Refusal::new(ErrorCode::InvalidReplicaAssignment, message)
    })
}

/// Checks one dictated replica list. `replicas` is what the others of the topic have.
pub(super) fn check_replicas(
    image: &Image,
    list: &[BrokerId],
    replicas: Option<usize>,
) -> Result<(), Refusal> {
    let refuse = |what: String| {
        let message = format!("The manual partition assignment includes {what}");
        Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message))
    };
    if list.is_empty() {
        return refuse("an empty replica list.".into());
    }
    let mut seen = BTreeSet::new();
    for BrokerId(id) in list {
        if !image.nodes.contains_key(&NodeId(*id)) {
            return refuse(format!("broker {id}, but no such broker is registered."));
        }
        if !seen.insert(id) {
            return refuse(format!("the broker {id} more than once."));
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
