//! Three to seven nodes under seeded faults: clients find leaders that change, things break (several at once), and when
//! everything is well again, leaders must be there soon and everything acknowledged must be read, once.
//!
//! First safety: the history is judged by the checker, and the rules of Raft at every step ([`raft_rules`]). Then, after
//! healing, liveness ([`judge`]). [`plan`] is what a seed stands for.

mod churn;
mod client;
mod committer;
mod consume;
mod elect;
mod faults;
mod judge;
mod plan;
mod produce;
mod raft_rules;
mod reassign;
mod run;
mod voters;

pub use run::run;
use run::{At, Cluster};
