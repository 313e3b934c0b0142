//! Who this shard is to its peers, and every bound of this crate.

use std::time::Duration;

use runtime::shards::ShardId;

/// Most bytes of one frame's body. A Raft message with one entry of the greatest size fits.
pub const FRAME_BYTES_MAX: usize = 65 << 20;
/// Most bytes that wait to be written to one peer shard.
pub const PEER_QUEUE_BYTES_MAX: usize = 64 << 20;
/// Most bytes of answers that wait to be written to one peer shard; what is above is answered as
/// [`crate::CallFailure::BUSY`].
pub const ANSWER_QUEUE_BYTES_MAX: usize = 64 << 20;
/// Most calls of one peer shard that are carried out at the same time.
pub const CALLS_RUNNING_MAX: usize = 256;
/// Most accepted connections of one shard.
pub const INBOUND_MAX: usize = 1024;
/// Most connections of one shard that have not said who they are; the oldest makes room.
pub const GREETING_MAX: usize = 64;
/// Connections waiting in the kernel for this shard to accept them.
pub const BACKLOG: i32 = 128;

/// What peers are told about this shard, and how patient it is with them.
#[derive(Clone, Debug)]
pub struct Options {
    /// This node.
    pub node: i32,
    /// This node's directory id: two directories with one node id are two nodes.
    pub directory: [u8; 16],
    /// This shard and how many the node has.
    pub shard: ShardId,
    pub shard_count: u16,
    /// See [`FRAME_BYTES_MAX`].
    pub frame_bytes_max: usize,
    /// See [`PEER_QUEUE_BYTES_MAX`].
    pub queue_bytes_max: usize,
    /// See [`ANSWER_QUEUE_BYTES_MAX`].
    pub answer_queue_bytes_max: usize,
    /// See [`CALLS_RUNNING_MAX`].
    pub calls_running_max: usize,
    /// See [`INBOUND_MAX`].
    pub inbound_max: usize,
    /// See [`GREETING_MAX`].
    pub greeting_max: usize,
    /// How long connecting, hello included, may take.
    pub connect_timeout: Duration,
    /// How long an accepted connection may take to say who it is.
    pub hello_timeout: Duration,
    /// An idle connection writes a beat this often.
    pub beat_interval: Duration,
    /// A connection that brings nothing for so long is dead.
    pub silence_max: Duration,
    /// Pause after a first failed connect; doubled up to `backoff_max`, half of it random.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
}

impl Options {
    /// The usual bounds for a shard of a node.
    pub fn new(node: i32, directory: [u8; 16], shard: ShardId, shard_count: u16) -> Options {
        Options {
            node,
            directory,
            shard,
            shard_count,
            frame_bytes_max: FRAME_BYTES_MAX,
            queue_bytes_max: PEER_QUEUE_BYTES_MAX,
            answer_queue_bytes_max: ANSWER_QUEUE_BYTES_MAX,
            calls_running_max: CALLS_RUNNING_MAX,
            inbound_max: INBOUND_MAX,
            greeting_max: GREETING_MAX,
            connect_timeout: Duration::from_secs(1),
            hello_timeout: Duration::from_secs(5),
            beat_interval: Duration::from_millis(500),
            silence_max: Duration::from_secs(2),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
        }
    }
}
