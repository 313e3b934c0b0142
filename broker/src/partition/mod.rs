//! A partition on the shard that owns it: offsets, producer state, tail cache, waiters.
//!
//! Lives on: the shard that hosts the partition's Raft group; one owner, plain synchronous state changes.

mod partition_state;
mod producer_state;
mod tail_cache;
mod waiters;

pub use partition_state::{AppendOutcome, PartitionState, ReadStart, StoredLog};
pub use producer_state::{
    ActiveProducer, BatchSequence, MissingBatch, ProducerStates, SequenceCheck, SequenceError,
};
pub use tail_cache::{TailBatch, TailCache};
pub use waiters::{FetchSignal, ProduceJoin, ProduceTicket, Waiters};
