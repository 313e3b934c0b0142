//! Fetch: sessions (KIP-227), planning by shard, long poll, answer.
//!
//! Lives on: the shard that accepted the connection; partitions are read on the shards that own them.

mod long_poll;
mod rack;
mod read;
mod session;
mod session_move;

pub use long_poll::{Plan, fetch};
pub use rack::{Reader, preferred_replica};
pub use read::{Read, ReadAnswer, ReadError, ReadLimits, ReadPart};
pub use session::{
    CachedPartition, FetchContext, FetchSessions, PartitionKey, Partitions, SessionError, Told,
};
