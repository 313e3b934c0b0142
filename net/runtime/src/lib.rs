//! The only seam between Millrace and the outside world.
//!
//! A shard (one thread, one executor, one core) may use of the world what this crate offers: the
//! monotonic and the wall clock, timers, local tasks in two priority classes, randomness, files,
//! TCP, and the mailbox between shards. Nothing else in the workspace names the operating system.
//!
//! Two implementations stand behind one API and are chosen at compile time:
//!
//! * by default **Linux**: an executor of our own on one io_uring ring per shard (`src/linux`; with
//!   the feature `glommio` the same API on glommio, to measure against);
//! * with `--cfg simulation` a **simulated world**: a seeded single-thread executor in virtual time
//!   with faulty disks and a faulty network, for any number of nodes with all their shards in one
//!   process (`src/sim`, public as `runtime::sim`).
//!
//! Free functions find the shard they run on by themselves. Everything is `!Send` unless it says
//! otherwise; only what travels through [`shards::Mailbox`] crosses threads.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this crate is what the rest of the workspace uses instead"
)]

pub mod collections;
pub mod fs;
pub mod mutant;
pub mod net;
pub mod random;
pub mod shards;
pub mod signal;
pub mod sync;
pub mod task;
pub mod time;

#[cfg(simulation)]
pub mod sim;
#[cfg(simulation)]
use sim as world;

#[cfg(all(not(simulation), feature = "glommio"))]
#[path = "glommio/mod.rs"]
mod world;

#[cfg(all(not(simulation), not(feature = "glommio")))]
#[path = "linux/mod.rs"]
mod world;

pub use shards::block_on;
