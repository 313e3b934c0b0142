//! Messages between replicas as bytes: our own codec, little-endian, checked against what is there.
//!
//! ```text
//! batch    version u8, messages until the end
//! message  type u8, reject u8, fields u16, group u64, from u64, to u64, term u64,
//!          then each field whose bit is set: log term, index, commit, commit term, reject hint,
//!          priority (u64 each), context (length u8, bytes),
//!          snapshot (index u64, term u64, members: length u32, bytes as in the WAL),
//!          entries (count u32, each: term u64, kind u8, length u32, payload;
//!                   with the highest bit of the kind set: CRC-32C of the payload u32 behind the length)
//! ```
//!
//! Entries have no indexes: they follow `index` one by one. Payloads are attached, not copied, when
//! written, and slices of the body when read. The checksum of a large payload goes along with it, from the leader's frame to
//! the followers': nobody in between makes a pass over it, but the receiver of a body, which has to come to the sum that the
//! sender put together from these. So bytes that changed in the leader's memory are refused, and a checksum that is not the
//! payload's, too. A body costs at most some ten times its length in memory, and only because messages and entries are
//! bounded in number: tiny ones would cost more.
//!
//! What is decoded is well formed, not true: [`crate::RaftShard::step`] judges that.

mod batch;
mod decode;
mod format;
#[cfg(test)]
mod tests;

pub use batch::MessageBatch;
pub use decode::decode_messages;
pub use format::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BATCH_MESSAGES_MAX, WireError, is_progress};
