//! What a shard says about its groups: for checkpoints, metrics and descriptions.

use storage::wal::WalPosition;

use crate::group::Group;
use crate::{GroupCheckpoint, LeadershipChange, Membership, RaftGroupId, RaftIndex, Term};

/// The Raft part of a shard's checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardCheckpoint {
    /// Owner state of each group; see [`GroupCheckpoint::encode`].
    pub groups: Vec<GroupCheckpoint>,
    /// From here the WAL must be replayed; what lies before can be released once the checkpoint
    /// is durable.
    pub release_before: WalPosition,
}

/// One group, now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    pub raft_group: RaftGroupId,
    pub leadership: LeadershipChange,
    pub term: Term,
    pub membership: Membership,
    /// The first entry in memory is behind this one.
    pub log_start: RaftIndex,
    pub last_index: RaftIndex,
    pub committed: RaftIndex,
    /// Handed to the broker, or about to be.
    pub delivered: RaftIndex,
    /// Memory of the entries, whole frames.
    pub log_bytes: usize,
    /// Replication of each other member, if this one leads: replica and what it has durable.
    pub matched: Vec<(crate::ReplicaId, RaftIndex)>,
}

/// All groups of a shard, for metrics. Bytes are memory: whole frames, except in open windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardStats {
    pub groups: usize,
    pub log_bytes: usize,
    pub window_bytes: usize,
    /// Sealed but not durable; bounded by [`crate::RaftOptions::queued_bytes_max`] plus what the
    /// windows held when the bound was reached.
    pub queued_bytes: usize,
    pub queued_frames: usize,
}

impl GroupStatus {
    pub(crate) fn of(group: &Group) -> GroupStatus {
        let log = &group.raft.raft_log;
        let mut matched = Vec::new();
        if group.is_leader() {
            let members = group.raft.prs().iter();
            matched.extend(members.map(|(id, at)| (crate::ReplicaId(*id), RaftIndex(at.matched))));
            matched.sort();
        }
        GroupStatus {
            raft_group: group.id,
            leadership: group.leadership,
            term: group.term(),
            membership: group.membership().clone(),
            log_start: RaftIndex(log.store.start_index()),
            last_index: RaftIndex(log.last_index()),
            committed: RaftIndex(log.committed),
            delivered: RaftIndex(group.delivered),
            log_bytes: log.store.memory_bytes(),
            matched,
        }
    }
}
