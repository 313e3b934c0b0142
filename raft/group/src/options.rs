//! Settings of the Raft groups of a shard.

use crate::ReplicaId;
use crate::window::WindowLimits;

/// Most bytes that one window collects; a full one closes with the next write.
pub const WINDOW_BYTES_MAX: usize = 8 << 20;
/// Largest single entry, and so the largest batch that a producer can ever send.
pub const ENTRY_BYTES_MAX: usize = 32 << 20;
/// Most bytes of a shard that may wait for the WAL, open windows not counted.
pub const QUEUED_BYTES_MAX: usize = 64 << 20;
/// Most bytes of checkpointed entries that the groups of a shard keep for members that lag; each
/// group gets the same share.
pub const PEER_LOG_BYTES_MAX: usize = 64 << 20;
/// The least share of a group, however many there are.
pub(crate) const PEER_LOG_BYTES_MIN: usize = 1 << 20;
/// Most bytes of entries in one message to another replica.
pub const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// Most entries in one message, however small they are.
pub(crate) const MESSAGE_ENTRIES_MAX: usize =
    (MESSAGE_BYTES_MAX / crate::group_log::ENTRY_OVERHEAD_BYTES) as usize + 1;
/// Most append messages on the way to one other replica.
pub const MESSAGES_IN_FLIGHT_MAX: usize = 256;

/// How a shard runs its groups.
#[derive(Clone, Debug)]
pub struct RaftOptions {
    /// This node, as a member of every group.
    pub replica: ReplicaId,
    /// Number of the shard's WAL stream, to tell groups that live in it from those that come
    /// from another one.
    pub stream: u16,
    pub window_bytes_max: usize,
    pub entry_bytes_max: usize,
    pub queued_bytes_max: usize,
    pub peer_log_bytes_max: usize,
    /// Ticks without a leader before an election; the actual number is drawn between this and
    /// twice this. A leader that hears from no majority for as long steps down.
    pub election_ticks: usize,
    /// Ticks between heartbeats.
    pub heartbeat_ticks: usize,
    /// Spreads election timeouts, which depend on nothing else that is random; the same at all replicas.
    pub election_seed: u64,
}

impl RaftOptions {
    /// The usual limits for `replica` on WAL stream `stream`.
    pub fn new(replica: ReplicaId, stream: u16) -> RaftOptions {
        RaftOptions {
            replica,
            stream,
            window_bytes_max: WINDOW_BYTES_MAX,
            entry_bytes_max: ENTRY_BYTES_MAX,
            queued_bytes_max: QUEUED_BYTES_MAX,
            peer_log_bytes_max: PEER_LOG_BYTES_MAX,
            election_ticks: 10,
            heartbeat_ticks: 2,
            election_seed: 0,
        }
    }

    pub(crate) fn window_limits(&self) -> WindowLimits {
        WindowLimits {
            window_bytes_max: self.window_bytes_max,
            entry_bytes_max: self.entry_bytes_max,
        }
    }

    pub(crate) fn raft_config(&self) -> raft::Config {
        raft::Config {
            id: self.replica.0,
            election_tick: self.election_ticks,
            heartbeat_tick: self.heartbeat_ticks,
            max_size_per_msg: MESSAGE_BYTES_MAX,
            max_inflight_msgs: MESSAGES_IN_FLIGHT_MAX,
            check_quorum: true,
            pre_vote: true,
            ..raft::Config::default()
        }
    }
}
