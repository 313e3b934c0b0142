//! Scenario 14: how long partitions cannot be written to after the node that leads them is killed.
//!
//! Some of the partitions that the victim leads get a record every 25 ms, each from a writer per
//! node, so that nothing depends on how fast a client learns of the new leader. The time counts
//! from the kill to the first record that a survivor acknowledges. Afterwards everything that was
//! acknowledged, before or during, is looked for. Then the victim comes back, and the next leader
//! is killed when all replicas are in sync again.

mod kills;
mod verification;
mod writers;

pub use kills::run;
