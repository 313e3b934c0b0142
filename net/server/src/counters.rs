//! What happened on a shard's connections. Plain cells: read by the shard's metrics, on the shard.

use std::cell::Cell;

use crate::close_reason::CloseReason;

/// A number that only its shard touches.
#[derive(Debug, Default)]
pub struct Count(Cell<u64>);

impl Count {
    pub fn get(&self) -> u64 {
        self.0.get()
    }

    pub(crate) fn add(&self, n: usize) {
        self.0.set(self.0.get() + n as u64);
    }

    pub(crate) fn subtract(&self, n: usize) {
        let now = self.0.get();
        assert!(n as u64 <= now, "a gauge at {now} is lowered by {n}");
        self.0.set(now - n as u64);
    }
}

/// Counters grow for ever, gauges go up and down.
#[derive(Debug, Default)]
pub struct Counters {
    pub accepted: Count,
    pub refused_by_node_limit: Count,
    pub refused_by_address_limit: Count,
    pub accept_errors: Count,
    /// Times the accept loop waited because of `accepts_per_second`.
    pub accepts_delayed: Count,
    pub requests: Count,
    pub bytes_in: Count,
    pub bytes_out: Count,
    /// Times a connection was held back by a throttled answer.
    pub mutes: Count,
    closed: [Count; CloseReason::KINDS],
    /// Gauge: open connections.
    pub connections: Count,
    /// Gauge: calls started and not yet answered.
    pub calls_in_flight: Count,
    /// Gauge: answers not yet taken by the kernel, bounded by `unsent_bytes_shard_max` plus one
    /// answer per connection.
    pub unsent_bytes: Count,
}

impl Counters {
    /// Connections closed for a reason of this kind.
    pub fn closed(&self, kind: &CloseReason) -> u64 {
        self.closed[kind.kind()].get()
    }

    /// All kinds of reasons with their names and counts, for metrics.
    pub fn closed_by_kind(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        CloseReason::NAMES.iter().zip(&self.closed).map(|(name, count)| (*name, count.get()))
    }

    pub(crate) fn count_closed(&self, reason: &CloseReason) {
        self.closed[reason.kind()].add(1);
    }
}
