//! The real world without glommio: an executor of our own on the shard's one io_uring ring.
//!
//! One ring carries sockets' readiness, files, timers' waiting and the wake-ups of other threads, so
//! a loop of the executor costs one system call, or none while there is work. Everything that is
//! about files, limits and mailboxes is shared with the glommio world.

#[path = "../glommio/commit_thread.rs"]
mod commit_thread;
#[path = "../glommio/direct_file.rs"]
pub mod direct_file;
#[path = "../glommio/file.rs"]
pub mod file;
#[path = "../glommio/limits.rs"]
mod limits;
#[path = "../glommio/mailbox.rs"]
pub mod mailbox;
#[path = "../glommio/names.rs"]
pub mod names;
#[path = "../glommio/random.rs"]
pub mod random;
#[path = "../glommio/ring.rs"]
mod ring;

pub mod net;
pub mod signal;
pub mod start;
pub mod task;
pub mod time;

mod blocking;
mod executor;
mod readiness;
mod shard;
