//! How many idempotent producers a shard remembers, over all its partitions (`millrace.producer.ids.max`).
//!
//! Lives on: every shard. A flood of producer ids must not take the node's memory. Nothing is counted on the way of a
//! batch but producers that are new to their partition; when an eighth of the bound has come, one pass over all of them
//! finds how many there are and forgets those that were silent for longest. So the bound holds up to that eighth, and a
//! pass costs a few milliseconds per hundred thousand.
//!
//! A producer that is forgotten may go on at any sequence, as one whose state has expired (Kafka since 2.5).

use super::Shard;

/// New producers until the next pass, as a share of the bound.
const PASS_SHARE: usize = 8;

/// Until when producers must have been silent so that at most `keep` stay; `None` if they may all stay.
fn cutoff(mut seen_ms: Vec<i64>, keep: usize) -> Option<i64> {
    let surplus = seen_ms.len().checked_sub(keep).filter(|surplus| *surplus > 0)?;
    let (_, last, _) = seen_ms.select_nth_unstable(surplus - 1);
    Some(*last)
}

impl Shard {
    /// A batch of a producer that its partition did not know was taken.
    pub(super) fn producer_added(&self) {
        self.producers_added.set(self.producers_added.get() + 1);
    }

    /// Forgets the longest silent producers if there are too many. Nothing may be borrowed.
    pub(super) fn bound_producers(&self) {
        let bound = self.node.config.limits.producer_ids_max;
        if self.producers_added.get() <= bound / PASS_SHARE {
            return;
        }
        self.producers_added.set(0);
        let partitions = self.owned();
        let mut seen_ms = Vec::new();
        for partition in &partitions {
            seen_ms.extend(partition.state.borrow().producers.seen_ms());
        }
        if let Some(cutoff) = cutoff(seen_ms, bound) {
            for partition in &partitions {
                partition.state.borrow_mut().producers.expire(cutoff + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::cutoff;

    #[test]
    fn only_the_surplus_of_the_longest_silent_goes() {
        assert_eq!(cutoff(vec![5, 3, 9, 1], 4), None);
        assert_eq!(cutoff(vec![5, 3, 9, 1], 3), Some(1));
        assert_eq!(cutoff(vec![5, 3, 9, 1], 1), Some(5));
        assert_eq!(cutoff(vec![], 0), None);
    }
}
