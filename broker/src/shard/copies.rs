//! Acknowledgements that do not wait for the commit of an entry, but for less or for more.
//!
//! - Less: a topic of `memory` durability with several voters. A majority *holds* the entry in memory; disks follow
//!   within milliseconds. Readers see it when it is committed, as always.
//! - More: `min.insync.replicas` above a majority. The entry is committed, and may be read, but an `acks=all` request
//!   waits until as many voters have it on disk.
//!
//! Lives on: every shard, of the groups that it leads. Indexes of a group come in order, so each line is a queue. All of
//! it ends with the leadership: whoever waits is woken and told that another node leads.
//!
//! Bound: one ticket per part of a request that is being answered; those of requests that gave up are swept out
//! ([`CopyWaiters::forget_expired`]).

use std::collections::{BTreeMap, VecDeque};

use crate::ids::RaftGroupId;
use crate::partition::ProduceTicket;

/// Which copies a batch must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Copies {
    /// In memory of a majority.
    Held,
    /// Durable on this many voters, more than a majority.
    Durable(usize),
}

/// Up to where a group has such copies, and who waits for what is behind.
#[derive(Default)]
struct Line {
    reached: u64,
    waiting: VecDeque<(u64, ProduceTicket)>,
}

/// See the module.
#[derive(Default)]
pub(super) struct CopyWaiters(BTreeMap<(RaftGroupId, Copies), Line>);

impl CopyWaiters {
    /// Completes a ticket once the group has these copies of everything up to `index`; false if it has them.
    pub(super) fn wait(
        &mut self,
        group: RaftGroupId,
        copies: Copies,
        index: u64,
        ticket: impl FnOnce() -> ProduceTicket,
    ) -> bool {
        let line = self.0.entry((group, copies)).or_default();
        if line.reached >= index {
            return false;
        }
        let at = line.waiting.partition_point(|(other, _)| *other <= index);
        line.waiting.insert(at, (index, ticket()));
        true
    }

    /// The group has these copies of everything up to `index`.
    pub(super) fn reached(&mut self, group: RaftGroupId, copies: Copies, index: u64) {
        let Some(line) = self.0.get_mut(&(group, copies)) else { return };
        line.reached = line.reached.max(index);
        while line.waiting.front().is_some_and(|(at, _)| *at <= index) {
            line.waiting.pop_front();
        }
    }

    /// Whether the group is known to have these copies of everything up to `index`.
    pub(super) fn has(&self, group: RaftGroupId, copies: Copies, index: u64) -> bool {
        self.0.get(&(group, copies)).is_some_and(|line| line.reached >= index)
    }

    /// This shard does not lead the group any more.
    pub(super) fn forget(&mut self, group: RaftGroupId) {
        self.0.retain(|(of, _), _| *of != group);
    }

    /// Somebody's patience was over.
    pub(super) fn forget_expired(&mut self) {
        for line in self.0.values_mut() {
            line.waiting.retain(|(_, ticket)| !ticket.is_expired());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::ProduceJoin;

    const GROUP: RaftGroupId = RaftGroupId(3);

    #[test]
    fn each_line_completes_in_order_and_for_itself() {
        let mut waiters = CopyWaiters::default();
        let (held, durable) = (ProduceJoin::new(), ProduceJoin::new());
        assert!(waiters.wait(GROUP, Copies::Held, 5, || ProduceTicket::take(&held)));
        assert!(waiters.wait(GROUP, Copies::Durable(3), 5, || ProduceTicket::take(&durable)));
        waiters.reached(GROUP, Copies::Held, 4);
        assert!(held.is_open());
        waiters.reached(GROUP, Copies::Held, 5);
        assert!(!held.is_open() && durable.is_open());
        assert!(waiters.has(GROUP, Copies::Held, 5) && !waiters.has(GROUP, Copies::Held, 6));
        assert!(!waiters.has(GROUP, Copies::Durable(3), 5));
        assert!(!waiters.wait(GROUP, Copies::Held, 5, || unreachable!("it is there")));
        waiters.reached(GROUP, Copies::Durable(3), 9);
        assert!(!durable.is_open());
    }

    #[test]
    fn the_end_of_leadership_wakes_everybody_and_forgets_what_was_reached() {
        let mut waiters = CopyWaiters::default();
        let (mine, other) = (ProduceJoin::new(), ProduceJoin::new());
        waiters.wait(GROUP, Copies::Durable(3), 7, || ProduceTicket::take(&mine));
        waiters.wait(RaftGroupId(4), Copies::Durable(3), 7, || ProduceTicket::take(&other));
        waiters.reached(GROUP, Copies::Durable(3), 6);
        waiters.forget(GROUP);
        assert!(!mine.is_open() && other.is_open());
        assert!(!waiters.has(GROUP, Copies::Durable(3), 1));
    }

    #[test]
    fn who_gave_up_is_not_kept_while_a_voter_is_away() {
        let mut waiters = CopyWaiters::default();
        let (gone, patient) = (ProduceJoin::new(), ProduceJoin::new());
        waiters.wait(GROUP, Copies::Durable(3), 7, || ProduceTicket::take(&gone));
        waiters.wait(GROUP, Copies::Durable(3), 8, || ProduceTicket::take(&patient));
        gone.expire();
        waiters.forget_expired();
        assert!(!gone.is_open() && patient.is_open());
    }
}
