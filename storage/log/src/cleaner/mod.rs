//! Compaction by key: of each key only the newest record stays (`cleanup.policy=compact`).
//!
//! This module is the pure part: which offset is the newest of a key ([`OffsetMap`]), and what is
//! left of a batch ([`BatchFilter`]). [`Log::compact`](crate::log::Log::compact) does the I/O: it
//! reads closed segments twice, writes `.cleaned` files, and swaps them in.
//!
//! The rules are those of Kafka's `Cleaner`, `MemoryRecords.filterTo` and `SkimpyOffsetMap`, with
//! two differences: the map holds whole keys instead of their MD5, so that keys never collide, and
//! the control batches of transactions stay.

mod batch_filter;
mod offset_map;

pub use batch_filter::{BatchFilter, Kept};
pub use offset_map::OffsetMap;
