//! A shard on the in-memory WAL, driven by hand: nothing happens but in [`Node::run`] and
//! [`Node::write`]. What the broker would hear is kept.

#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

mod cluster;
mod random;
mod recorder;
mod shard_node;
mod swarm;

pub use cluster::{Cluster, options};
pub use random::Random;
pub use recorder::{Heard, Recorder, Sent};
pub use shard_node::{GROUP, ME, Node, poll_while_woken, replay};
pub use swarm::Swarm;
