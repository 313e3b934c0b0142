//! Partition logs in Kafka's own file format.
//!
//! A log is a directory of segments: `.log` with batches as they came, `.index`, `.timeindex`,
//! `.txnindex`, `.snapshot`, and beside them `leader-epoch-checkpoint` and `partition.metadata`.
//! Kafka's tools read the files, and Kafka starts on them.
//!
//! Only committed batches get here (destage), so a log is never truncated while it lives. Writes go
//! to the page cache; [`Log::sync`] makes them durable and returns the [`LogState`] for the
//! checkpoint. After a crash a log is what its state says, and the WAL replays the rest.

mod aborted;
mod active_segment;
mod append;
mod compaction;
mod config;
mod damage;
mod error;
mod file_names;
mod index_search;
mod leader_epochs;
mod offset_index;
mod open_files;
mod partition_log;
mod partition_metadata;
mod prepare;
mod producer_snapshot;
mod read;
mod reaper;
mod removal;
mod retention;
mod segment_scan;
mod soundness;
mod state;
mod sync;
mod sync_together;
mod time_index;
mod timestamps;
mod txn_index;

pub use append::Appended;
pub use compaction::{Compacted, Dirty};
pub use config::LogConfig;
pub use error::LogError;
pub use leader_epochs::{EpochStart, LeaderEpochs};
pub use partition_log::{Log, LogStore, LogStoreOptions};
pub use partition_metadata::{
    DirOwner, TopicId, owner_of_dir, topic_id_from_file, topic_id_from_text, topic_id_text,
};
pub use producer_snapshot::{PRODUCERS_MAX, ProducerEntries, ProducerEntry};
pub use read::{READ_BYTES_MAX, ReadBatches, ReadRequest};
pub use removal::{Aside, put_aside};
pub use retention::Retained;
pub use state::{ActiveState, LogState};
pub use sync_together::{Leave, TOGETHER_FROM};
pub use time_index::TimestampOffset;
pub use timestamps::TimestampHit;
pub use txn_index::AbortedTransaction;
