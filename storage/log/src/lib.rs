//! Everything durable of one shard: the write-ahead log, the partition logs in Kafka's own file
//! format, the checkpoint that ties both together, and the cleaner.
//!
//! Lives on every shard; nothing here is shared between shards and nothing is `Send`. The crate
//! knows neither topics nor Raft: owners, entry kinds, terms and indexes are opaque tags, a log
//! is a directory. All I/O goes through `runtime`. `storage/FORMAT.md` documents every byte.
//!
//! | module | what it keeps |
//! |---|---|
//! | [`wal`] | frames: durable before anything is acknowledged |
//! | [`log`] | one directory per partition: segments and indexes byte for byte as Kafka writes them |
//! | [`checkpoint`] | how far each log is destaged, and from where the WAL must be replayed |
//! | [`cleaner`] | compaction by key of closed segments |

pub mod checkpoint;
pub mod cleaner;
pub mod log;
pub mod wal;
