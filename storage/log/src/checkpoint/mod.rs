//! The checkpoint of a WAL stream: from where to replay, and the state of all that the replay
//! builds upon.
//!
//! One file per stream, replaced atomically. It is written after [`Log::sync`] of every log it
//! names, and before [`Wal::release_before`] of the position it names: whatever the WAL lets go of
//! is in synced segments, and their sizes are here. A start reads this one file and no log
//! directory, so its time does not grow with the data stored.
//!
//! [`Log::sync`]: crate::log::Log::sync
//! [`Wal::release_before`]: crate::wal::Wal::release_before

mod encoding;
mod error;
pub mod kafka_files;
mod stream_checkpoint;

pub use error::CheckpointError;
pub use stream_checkpoint::{Checkpoint, LogCheckpoint, OwnerCheckpoint};
