//! What happened on a shard's connections. Written by that shard alone (relaxed loads and stores, no contention), read
//! by whoever serves metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::close_reason::CloseReason;

/// A number that only its shard changes.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, n: usize) {
        self.0.store(self.get() + n as u64, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, n: usize) {
        let now = self.get();
        assert!(n as u64 <= now, "a gauge at {now} is lowered by {n}");
        self.0.store(now - n as u64, Ordering::Relaxed);
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
    /// Gauge: requests in memory, bounded by `request_bytes_max`; see `byte_budget`.
    pub request_bytes: Count,
    /// Gauge: answers not yet taken by the kernel, bounded by `unsent_bytes_shard_max` plus one
    /// answer per connection.
    pub unsent_bytes: Count,
}

impl Counters {
    /// Connections closed for a reason of this kind.
    pub fn closed(&self, kind: &CloseReason) -> u64 {
        self.closed[kind.kind()].get()
    }

    /// What only grows, with names for metrics.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut all = vec![
            ("connections_accepted", self.accepted.get()),
            ("connections_refused_by_node_limit", self.refused_by_node_limit.get()),
            ("connections_refused_by_address_limit", self.refused_by_address_limit.get()),
            ("connections_delayed", self.accepts_delayed.get()),
            ("accept_errors", self.accept_errors.get()),
            ("network_bytes_in", self.bytes_in.get()),
            ("network_bytes_out", self.bytes_out.get()),
            ("connection_mutes", self.mutes.get()),
        ];
        let closed = CloseReason::METRICS.iter().zip(&self.closed);
        all.extend(closed.map(|(name, count)| (*name, count.get())));
        all
    }

    /// What goes up and down, with names for metrics.
    pub fn gauges(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("connections", self.connections.get()),
            ("calls_in_flight", self.calls_in_flight.get()),
            ("request_bytes", self.request_bytes.get()),
            ("unsent_bytes", self.unsent_bytes.get()),
        ]
    }

    pub(crate) fn count_closed(&self, reason: &CloseReason) {
        self.closed[reason.kind()].add(1);
    }
}
