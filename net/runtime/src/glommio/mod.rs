//! The real world through glommio, as feature `glommio`: the reference to measure against.
//!
//! It is not the default for two reasons, both measured on an oversubscribed two-core machine.
//! glommio 0.9 (and glommio-ng 0.12) lose wake-ups (see `heartbeat`), and a request on an idle
//! connection costs 5.4 `io_uring_enter` and a `membarrier` beside its `recv` and `sendmsg`, where
//! the shard's own executor needs one; a parked round trip between shards takes 88 us instead of 32,
//! a spinning one 56 us instead of 2. Files, limits and mailboxes are those of `src/linux`, the file
//! operations on an io_uring ring of our own beside glommio's three.

#[path = "../linux/commit_thread.rs"]
mod commit_thread;
#[path = "../linux/cpu_latency.rs"]
mod cpu_latency;
#[path = "../linux/direct_file.rs"]
pub mod direct_file;
#[path = "../linux/file.rs"]
pub mod file;
#[path = "../linux/file_system.rs"]
pub mod file_system;
#[path = "../linux/limits.rs"]
mod limits;
#[path = "../linux/mailbox.rs"]
pub mod mailbox;
#[path = "../linux/names.rs"]
pub mod names;
#[path = "../linux/queue.rs"]
mod queue;
#[path = "../linux/random.rs"]
pub mod random;
#[path = "../linux/realtime.rs"]
#[expect(dead_code, reason = "glommio's shards stay in the ordinary class")]
mod realtime;
#[path = "../linux/ring.rs"]
mod ring;

pub mod net;
pub mod signal;
pub mod start;
pub mod task;
pub mod time;

mod heartbeat;
mod readiness;
mod shard;
