//! How far the members of a group are, as its leader sees them.

use raft::ProgressState;

use crate::group::Group;
use crate::{RaftGroupId, RaftIndex, ReplicaId, Term};

/// How a leader sends to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// One message at a time, until it is known where the logs agree.
    Probe,
    /// As fast as the member answers.
    Replicate,
    /// Not at all: the member needs what is not in the log any more, and was offered a snapshot.
    Snapshot,
}

/// One member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberProgress {
    pub replica: ReplicaId,
    /// Everything up to here is durable there.
    pub matched: RaftIndex,
    /// False for learners.
    pub voter: bool,
    /// Whether it has answered within the last one or two election timeouts; always true for the
    /// leader itself.
    pub recent_active: bool,
    pub replication: Replication,
}

/// A group that this shard leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupProgress {
    pub raft_group: RaftGroupId,
    pub term: Term,
    pub committed: RaftIndex,
    pub last_index: RaftIndex,
    /// In order of their ids, the leader among them.
    pub members: Vec<MemberProgress>,
}

impl GroupProgress {
    pub(crate) fn of(group: &Group) -> Option<GroupProgress> {
        if !group.is_leader() {
            return None;
        }
        let membership = group.membership();
        let member = |(id, at): (&u64, &raft::Progress)| {
            let replica = ReplicaId(*id);
            MemberProgress {
                replica,
                matched: RaftIndex(at.matched),
                voter: membership.has_voter(replica),
                recent_active: at.recent_active || replica == group.replica,
                replication: match at.state {
                    ProgressState::Probe => Replication::Probe,
                    ProgressState::Replicate => Replication::Replicate,
                    ProgressState::Snapshot => Replication::Snapshot,
                },
            }
        };
        let mut members: Vec<_> = group.raft.prs().iter().map(member).collect();
        members.sort_by_key(|member| member.replica);
        let log = &group.raft.raft_log;
        Some(GroupProgress {
            raft_group: group.id,
            term: group.term(),
            committed: RaftIndex(log.committed),
            last_index: RaftIndex(log.last_index()),
            members,
        })
    }
}
