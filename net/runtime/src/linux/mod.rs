//! The real world: Linux, an executor of our own on the shard's one io_uring ring.
//!
//! One ring carries the readiness of sockets, files, the waiting for timers and the wake-ups of other
//! threads: a turn of the executor costs one system call, or none while there is work. Why not
//! glommio, which is kept as a second implementation for comparison, stands in `src/glommio`.

pub mod direct_file;
pub mod file;
pub mod file_system;
pub mod mailbox;
pub mod names;
pub mod net;
pub mod random;
pub mod signal;
pub mod start;
pub mod task;
pub mod time;

mod blocking;
mod commit_thread;
mod cpu_latency;
mod executor;
mod limits;
mod queue;
mod readiness;
mod realtime;
mod ring;
mod shard;
