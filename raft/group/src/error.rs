//! What can go wrong, one enum per family of operations.

use storage::wal::{WalError, WalPosition};

use crate::{RaftGroupId, RaftIndex, ReplicaId, Term};

/// A state of a group cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error("the state ends too early")]
    Short,
    #[error("{0} bytes follow the state")]
    Trailing(usize),
    #[error("version {found} instead of {expected}")]
    Version { expected: u8, found: u8 },
    #[error("{count} members, at most {count_max} are possible")]
    TooManyMembers { count: usize, count_max: usize },
    #[error("a number is out of range")]
    Number,
}

/// Nothing can be added to a group's log now. Nothing was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    #[error("Raft group {0} is not on this shard")]
    UnknownGroup(RaftGroupId),
    /// Another replica leads, or nobody.
    #[error("this replica does not lead Raft group {raft_group}")]
    NotLeader { raft_group: RaftGroupId, leader: Option<ReplicaId> },
    /// Elected, but the first entry of the term is not applied yet.
    #[error("Raft group {0} has a new leader that is not ready yet")]
    NotReady(RaftGroupId),
    /// Leadership is being handed over.
    #[error("leadership of Raft group {0} is being transferred")]
    Transferring(RaftGroupId),
    /// An earlier change of members is not finished.
    #[error("Raft group {0} is changing its members")]
    ChangePending(RaftGroupId),
    /// The change of members is not possible from the members there are.
    #[error("Raft group {0} cannot change its members like this")]
    BadChange(RaftGroupId),
    /// The WAL is behind: wait for [`crate::RaftShard::window_closed`].
    #[error("{queued_bytes} bytes wait for the WAL, the limit is {queued_bytes_max}")]
    Backlog { queued_bytes: usize, queued_bytes_max: usize },
    /// Larger than an entry can be.
    #[error("an entry of {bytes} bytes is above the limit of {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
    /// The WAL failed: this shard does nothing any more.
    #[error("the WAL of this shard has failed")]
    Stopped,
}

/// A piece does not fit into the open window. Nothing was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowFull {
    /// Fits into a later window: wait for [`crate::RaftShard::window_closed`].
    #[error("{bytes} bytes do not fit into the window, {room} are left")]
    Later { bytes: usize, room: usize },
    /// Fits into no window.
    #[error("{bytes} bytes are above the limit of {bytes_max} for an entry")]
    Never { bytes: usize, bytes_max: usize },
}

/// A message of another replica was not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StepError {
    #[error("Raft group {0} is not on this shard")]
    UnknownGroup(RaftGroupId),
    /// Meant for another replica, of a kind that never travels, or with entries that cannot be.
    #[error("malformed message for Raft group {raft_group}: {reason}")]
    Malformed { raft_group: RaftGroupId, reason: &'static str },
    /// A response of a replica that is no member (any more).
    #[error("replica {from} is not a member of Raft group {raft_group}")]
    NotMember { raft_group: RaftGroupId, from: ReplicaId },
    #[error("the WAL of this shard has failed")]
    Stopped,
}

/// A group cannot be taken into the shard, or a checkpoint cannot be made of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GroupError {
    #[error("Raft group {0} is on this shard already")]
    Exists(RaftGroupId),
    #[error("Raft group {0} is not on this shard")]
    UnknownGroup(RaftGroupId),
    /// Zero voters, a replica twice, replica 0, or too many.
    #[error("Raft group {0} cannot have these members")]
    BadMembership(RaftGroupId),
    /// Asked to forget what is not applied yet.
    #[error("Raft group {raft_group} is applied up to {applied}, not up to {asked}")]
    NotApplied { raft_group: RaftGroupId, asked: RaftIndex, applied: RaftIndex },
    /// A snapshot cannot be installed while this replica leads or campaigns; it is offered again.
    #[error("this replica does not follow in Raft group {0}")]
    NotFollower(RaftGroupId),
    #[error("the WAL of this shard has failed")]
    Stopped,
    #[error(transparent)]
    Wal(#[from] WalError),
}

/// Frames that are intact for the WAL but make no sense for Raft. The node must not start.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RecoveryError {
    #[error("WAL {position}: unknown kind {kind} of Raft group {raft_group}")]
    UnknownKind { raft_group: RaftGroupId, position: WalPosition, kind: u8 },
    #[error("WAL {position}: state of Raft group {raft_group}: {source}")]
    BadState { raft_group: RaftGroupId, position: WalPosition, source: StateError },
    #[error("WAL {position}: Raft group {raft_group} has entry {found} where {expected} is next")]
    Gap { raft_group: RaftGroupId, position: WalPosition, expected: RaftIndex, found: RaftIndex },
    #[error("WAL {position}: entry of Raft group {raft_group} has term {found} after {previous}")]
    TermWentBack { raft_group: RaftGroupId, position: WalPosition, previous: Term, found: Term },
    #[error("WAL {position}: entry of Raft group {raft_group} has term {found} above {current}")]
    TermAhead { raft_group: RaftGroupId, position: WalPosition, current: Term, found: Term },
    #[error("WAL {position}: Raft group {raft_group} is in no checkpoint and has no origin")]
    Orphan { raft_group: RaftGroupId, position: WalPosition },
}
