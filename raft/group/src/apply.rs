//! What the shard tells the broker, in order, and whom it sends messages to.
//!
//! [`Apply`] is called by the commit loop only, never while the shard is borrowed: an
//! implementation may open windows and propose from within a call.

use bytes::Bytes;
use raft::eraftpb::Message;
use storage::wal::WalPosition;

use crate::{
    EntryKind, LogStart, Membership, RaftGroupId, RaftIndex, ReplicaId, Term, WindowTicket,
};

/// An entry that is durable on a majority, for ever.
#[derive(Clone, Debug)]
pub struct Committed {
    pub raft_group: RaftGroupId,
    pub term: Term,
    pub index: RaftIndex,
    pub kind: EntryKind,
    /// A slice of the WAL frame.
    pub payload: Bytes,
    /// Where the frame lies in this shard's WAL.
    pub position: WalPosition,
    /// The proposal it came from, if this shard made it since it last became leader.
    pub ticket: Option<WindowTicket>,
}

/// An entry with [`crate::Durability::Memory`] of a sole voter that is on its way to the disk. It
/// will be [`Committed`] unless the node stops first, and may be applied already. With more voters
/// see [`Apply::held`].
#[derive(Clone, Debug)]
pub struct Accepted {
    pub ticket: WindowTicket,
    pub payload: Bytes,
}

/// Everything up to `index` is durable on this many voters; see [`crate::RaftShard::want_copies`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    pub raft_group: RaftGroupId,
    pub voters: usize,
    pub index: RaftIndex,
}

/// Who leads a group, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// This replica was elected and must apply the first entry of its term before it serves.
    Elected,
    /// This replica leads and everything before its term is applied. Windows can be opened.
    Ready,
    /// Another replica leads, or none is known. Proposals of this shard that are not committed
    /// yet have an unknown outcome, and their tickets are not named again.
    Following(Option<ReplicaId>),
}

/// A change of [`Leadership`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeadershipChange {
    pub raft_group: RaftGroupId,
    pub term: Term,
    pub leadership: Leadership,
}

/// The members of a group after the entry at `index`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipChange {
    pub raft_group: RaftGroupId,
    pub index: RaftIndex,
    pub membership: Membership,
}

/// The leader of a group has cut off what this replica needs next. See
/// [`Apply::snapshot_offered`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotOffer {
    pub raft_group: RaftGroupId,
    /// The leader, which has applied everything up to `start.index`.
    pub from: ReplicaId,
    pub start: LogStart,
}

/// The state machine of the broker.
pub trait Apply {
    /// The next entry of a group. Indexes of a group come in order without gaps, beginning behind
    /// the start of its log; after a restart from there again.
    fn apply(&mut self, committed: Committed);

    /// An entry can be acknowledged to those who asked for memory only. Before its `apply`.
    fn accepted(&mut self, accepted: Accepted) {
        let _ = accepted;
    }

    /// In a group with several voters, an entry with [`crate::Durability::Memory`] is in memory on a
    /// majority: it can be acknowledged to those who asked for memory only, but must not be applied or
    /// shown to readers before its `apply`, which may never come. Not told if `apply` comes first.
    fn held(&mut self, ticket: WindowTicket) {
        let _ = ticket;
    }

    /// Entries have the copies that [`crate::RaftShard::want_copies`] asked for. Whether they are
    /// committed is another matter.
    fn copied(&mut self, copied: Copied) {
        let _ = copied;
    }

    /// Leadership of a group changed; in order with `apply`.
    fn leadership_changed(&mut self, change: LeadershipChange) {
        let _ = change;
    }

    /// The members of a group changed; right before the `apply` of the entry that did it.
    fn membership_changed(&mut self, change: MembershipChange) {
        let _ = change;
    }

    /// This replica cannot go on by entries: bring its data to at least `offer.start.index` by other
    /// means, make that durable, and call [`crate::RaftShard::install_snapshot`]. Offers come again,
    /// each newer than the last, until that has happened; only the newest counts. After a restart
    /// that finds the old log, what it applies again may be older than the data.
    fn snapshot_offered(&mut self, offer: SnapshotOffer) {
        tracing::warn!(raft_group = %offer.raft_group, index = %offer.start.index, "offer ignored");
    }
}

/// Carries messages to other replicas. May lose, delay, duplicate and reorder them, must not
/// change them. Never called for groups with one voter and no learners.
pub trait Transport {
    /// Queues a message for replica `message.to`; never waits.
    fn send(&mut self, raft_group: RaftGroupId, message: Message);

    /// What was sent since the last call may leave now: called once after all messages of a turn,
    /// of all groups. A transport gathers them per peer, see [`crate::MessageBatch`].
    fn flush(&mut self) {}
}

/// For nodes without peers.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

impl Transport for NoPeers {
    fn send(&mut self, raft_group: RaftGroupId, message: Message) {
        tracing::warn!(%raft_group, to = message.to, "no way to reach another replica");
    }
}

/// Something to tell the broker.
#[derive(Debug)]
pub(crate) enum Event {
    Committed(Committed),
    Accepted(Accepted),
    Held(WindowTicket),
    Copied(Copied),
    Leadership(LeadershipChange),
    Membership(MembershipChange),
    Offered(SnapshotOffer),
}

/// What the groups of a shard produced and nobody has taken yet.
#[derive(Default)]
pub(crate) struct Outbox {
    pub events: Vec<Event>,
    pub messages: Vec<(RaftGroupId, Message)>,
    /// Bytes of frames sealed and not yet known to be durable.
    pub queued_bytes: usize,
    /// Frames sealed and not yet known to be durable.
    pub queued_frames: usize,
    /// Where the newest frame lies.
    pub last_sealed: Option<WalPosition>,
    /// Frames among `queued_frames` that belong to no group here.
    pub unowned_frames: usize,
}
