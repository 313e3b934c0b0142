//! Drives the Raft groups of one shard on that shard's WAL.
//!
//! The broker appends to a group's open [`Window`]; the commit loop ([`RaftShard::run`]) turns
//! windows into log entries, writes all groups' entries with one durable write, and hands what is
//! committed to [`Apply`], in order. Payloads are opaque here and copied once, into the frame that
//! the WAL writes.
//!
//! Lives on every shard; nothing is shared between shards, only [`RecoveredGroup`] travels. Knows
//! neither topics nor sockets: messages to other replicas go through [`Transport`].
//!
//! `raft/README.md` says how the parts fit, which rules they keep, and what a second voter needs.

mod apply;
mod byte_reader;
mod commit_loop;
mod conf_change;
mod error;
mod frame_kind;
mod frame_log;
mod group;
mod group_checks;
mod group_copies;
mod group_log;
mod group_memory;
mod group_proposals;
mod group_pump;
mod group_snapshot;
mod group_state;
mod group_suspicion;
mod group_timeout;
mod ids;
mod leader_epoch;
mod memory_wal;
#[cfg(simulation)]
pub mod observer;
mod options;
mod progress;
mod raft_logger;
mod replay;
mod shard;
mod shard_report;
mod shard_state;
mod window;
mod wire;

pub use apply::{
    Accepted, Apply, Committed, Copied, Leadership, LeadershipChange, MembershipChange, NoPeers,
    SnapshotOffer, Transport,
};
pub use conf_change::{ConfChange, MemberChange};
pub use error::{GroupError, ProposeError, RecoveryError, StateError, StepError, WindowFull};
pub use frame_kind::{EntryKind, FrameKind};
pub use frame_log::FrameLog;
pub use group_state::{GroupCheckpoint, HardState, LogStart, MEMBERS_MAX, Membership, Origin};
pub use ids::{RaftGroupId, RaftIndex, ReplicaId, Term};
pub use leader_epoch::EpochBase;
pub use memory_wal::{MemoryFrame, MemoryWal};
pub use options::{
    ENTRY_BYTES_MAX, MESSAGE_BYTES_MAX, MESSAGES_IN_FLIGHT_MAX, PEER_LOG_BYTES_MAX,
    QUEUED_BYTES_MAX, RaftOptions, WINDOW_BYTES_MAX,
};
pub use progress::{GroupProgress, MemberProgress, Replication};
/// Message of the consensus core to another replica.
pub use raft::eraftpb::Message;
pub use replay::{NewestGroups, RecoveredGroup, StreamReplay, newest_of};
pub use shard::RaftShard;
pub use shard_report::{GroupStatus, ShardCheckpoint, ShardStats};
pub use window::{Durability, Window, WindowTicket};
pub use wire::{
    BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BATCH_MESSAGES_MAX, MessageBatch, WireError,
    decode_messages, is_progress,
};
