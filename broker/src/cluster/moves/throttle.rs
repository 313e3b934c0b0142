//! How fast moving partitions may be copied (KIP-73): the rates that `kafka-reassign-partitions --throttle` sets.
//!
//! Lives on: every shard, with its share of the node's rate. What was copied is a debt that the rate pays off; while there
//! is any, nothing more is copied. So a piece may be larger than what a second allows, and another rate takes effect at
//! once. Only rounds of a move that can wait are throttled: not the last one under the seal, nor a replica that catches up.

use std::cell::Cell;

use config::ThrottledReplicas;
use runtime::time::Instant;

use crate::ids::PartitionId;
use crate::shard::Shard;

/// Which side of a copy this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Side {
    /// Others copy from here.
    Leader,
    /// This node copies.
    Follower,
}

/// What was copied and is not paid off.
#[derive(Debug, Default)]
pub(in crate::cluster) struct Debt {
    bytes: Cell<f64>,
    since: Cell<Option<Instant>>,
}

impl Debt {
    /// Whether something may be copied now.
    fn is_paid(&self, rate: f64, now: Instant) -> bool {
        if let Some(since) = self.since.replace(Some(now)) {
            let paid = now.saturating_duration_since(since).as_secs_f64() * rate;
            self.bytes.set((self.bytes.get() - paid).max(0.0));
        }
        self.bytes.get() <= 0.0
    }

    fn add(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes as f64);
    }
}

impl Shard {
    /// Bytes per second for this shard, if copies of this partition are throttled here.
    fn copy_rate(&self, id: PartitionId, side: Side) -> Option<f64> {
        let settings = self.settings();
        let rate = match side {
            Side::Leader => settings.leader_copy_rate,
            Side::Follower => settings.follower_copy_rate,
        };
        let image = self.image();
        let config = &image.topic_by_id(id.topic)?.config;
        let replicas: &ThrottledReplicas = match side {
            Side::Leader => &config.leader_throttled,
            Side::Follower => &config.follower_throttled,
        };
        let is_throttled = replicas.contains(id.index, self.node.node_id().0);
        is_throttled.then(|| rate as f64 / self.count as f64)
    }

    /// Bytes of this partition that may be copied at a time; a batch is copied whole.
    pub(in crate::cluster) fn piece_max(&self, id: PartitionId, side: Side) -> usize {
        self.copy_rate(id, side).map_or(usize::MAX, |rate| (rate as usize).max(1))
    }

    /// Whether a piece of this partition may be copied now.
    pub(in crate::cluster) fn may_copy(&self, id: PartitionId, side: Side) -> bool {
        let (Some(rate), Some(cluster)) = (self.copy_rate(id, side), self.cluster()) else {
            return true;
        };
        cluster.debt(side).is_paid(rate, Instant::now())
    }

    /// A piece of this partition was copied.
    pub(in crate::cluster) fn has_copied(&self, id: PartitionId, side: Side, bytes: usize) {
        if let (Some(_), Some(cluster)) = (self.copy_rate(id, side), self.cluster()) {
            cluster.debt(side).add(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Debt;
    use runtime::time::Instant;

    #[test]
    fn a_debt_is_paid_off_at_the_rate_and_another_rate_counts_at_once() {
        let (debt, start) = (Debt::default(), Instant::now());
        assert!(debt.is_paid(1000.0, start));
        debt.add(5000);
        assert!(!debt.is_paid(1000.0, start + Duration::from_secs(4)));
        assert!(debt.is_paid(1000.0, start + Duration::from_secs(5)));
        debt.add(5000);
        assert!(!debt.is_paid(0.0, start + Duration::from_secs(1000)), "nothing may be copied");
        assert!(debt.is_paid(5000.0, start + Duration::from_secs(1001)));
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let (debt, start) = (Debt::default(), Instant::now());
        assert!(debt.is_paid(1000.0, start));
        assert!(debt.is_paid(1000.0, start + Duration::from_secs(60)));
        debt.add(1000);
        assert!(!debt.is_paid(1000.0, start + Duration::from_millis(60_500)));
    }
}
