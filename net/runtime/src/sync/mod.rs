//! Primitives for the tasks of one shard, built on `std::task::Waker` alone: the same code in both
//! worlds. None of them is `Send`, none of them blocks, and all of them serve waiters in the order
//! in which they began to wait.

pub mod mpsc;
mod notify;
pub mod oneshot;
mod semaphore;
mod waiters;

pub use notify::{Notified, Notify};
pub use semaphore::{Permit, Semaphore};
