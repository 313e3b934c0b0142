//! The write-ahead log of one shard.
//!
//! One *stream* per directory, written by one task of one shard. A stream is a sequence of
//! *frames* in numbered files of fixed size that are filled with zeroes once, written in place,
//! and recycled under a later number.
//!
//! Invariants:
//! - a frame's sequence is its predecessor's plus one, its epoch is not lower than its predecessor's;
//! - what [`Wal::write_queued`] returned as durable is found again by [`WalReader`], or the reader
//!   returns [`WalError::Corrupt`]; what it did not return may or may not be found;
//! - after one failed write nothing is ever written again ([`WalError::Failed`]).
//!
//! `storage/FORMAT.md` has the bytes and the rule that tells a torn tail from corruption.

mod error;
mod file_pool;
mod frame;
mod frame_builder;
mod options;
mod position;
mod reader;
mod stream;
mod stream_identity;
mod write_queue;

pub use error::{Found, WalError};
pub use frame::{FRAME_ALIGNMENT, FrameTag, SealedFrame};
pub use frame_builder::{FrameBuilder, PAYLOAD_BYTES_MAX};
pub use options::WalOptions;
pub use position::{ReplayPoint, WalPosition};
pub use reader::{RecoveredFrame, WalReader};
pub use stream::Wal;
pub use write_queue::WalStats;
