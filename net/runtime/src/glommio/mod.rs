//! The real world: Linux through glommio, with an io_uring ring of our own beside glommio's.
//!
//! glommio 0.9 gives the executor, task queues with shares, timers, parking and socket readiness.
//! What it lacks is ours: durable vectored direct writes (`ring`, `commit_thread`), reads straight
//! from the page cache (`file`), the mailbox, and start-up checks with a remedy (`start`).

pub mod direct_file;
pub mod file;
pub mod mailbox;
pub mod names;
pub mod net;
pub mod random;
pub mod signal;
pub mod start;
pub mod task;
pub mod time;

mod commit_thread;
mod heartbeat;
mod limits;
mod readiness;
mod ring;
mod shard;
