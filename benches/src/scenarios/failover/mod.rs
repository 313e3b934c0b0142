//! Scenario 14: how long partitions cannot be written to after the node that leads them has gone:
//! killed, asked to stop, or paused, which looks like a host that has fallen silent.
//!
//! Some of the partitions get a record every 25 ms, each from a writer per
//! node, so that nothing depends on how fast a client learns of the new leader. The time counts
//! from the kill or pause, or from the last record that the stopping node acknowledged, to the
//! first one that a survivor acknowledges. Afterwards everything that was acknowledged, before or
//! during, is looked for. Then the victim comes back, and the next leader goes when all replicas
//! are in sync again.

mod departures;
mod verification;
mod writers;

pub use departures::run;
