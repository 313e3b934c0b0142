//! The history checker: what clients saw of a log, judged after the fact.
//!
//! A [`History`] holds operations (sends, polls, transactions, group commits, what ListOffsets and
//! Metadata said), each with who did it, when it began and ended, and how: `ok`, `info` (nobody
//! knows) or `fail` (certainly not). [`check`] names every [`Anomaly`]. The simulator fills the
//! history in memory; real processes write it as JSON lines ([`json`]). The same checker judges
//! both.
//!
//! The definitions are those of the published Kafka workload of Jepsen, in the part that does not
//! need dependency cycles between transactions, with additions for offsets, groups and leader
//! epochs. Everything is linear in the history, but for one sort of the offsets of each partition.
//!
//! Getting outcomes wrong makes a checker lie: a time-out, a disconnect, an unknown server error
//! and NOT_LEADER_OR_FOLLOWER are `info`; an authorization, an invalid topic, a fenced or
//! out-of-order producer are `fail`. A send with acks=0 is never `ok` ([`HistoryBuilder::unacked`]
//! ends it).

mod anomaly;
mod check;
mod history;
pub mod json;
mod log_order;
mod observations;
mod polls;
mod writes;

pub use anomaly::{Anomaly, AnomalyKind};
pub use check::{Metrics, Options, Report, check, check_with};
pub use history::{
    Assignment, History, HistoryBuilder, Observation, Op, OpId, OpKind, Outcome, PartitionId, Read,
    Send,
};
