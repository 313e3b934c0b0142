//! Copies beyond the majority: a leader says when entries are durable on as many voters as somebody
//! asked for (`min.insync.replicas` above a majority).
//!
//! Nothing here decides what is committed. For each number of voters that was ever asked for in this
//! leadership one line is kept: up to where it was asked, and up to where it was told. So a voter that
//! is away for long costs no memory, whatever is appended meanwhile.

use std::collections::BTreeMap;

use crate::apply::{Copied, Event, Outbox};
use crate::group::Group;
use crate::{RaftIndex, ReplicaId};

/// See the module. By number of voters.
#[derive(Default)]
pub(crate) struct CopiesWanted(BTreeMap<usize, Line>);

#[derive(Clone, Copy, Default)]
struct Line {
    wanted: u64,
    told: u64,
}

impl CopiesWanted {
    /// This replica leads no more.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Group {
    /// Has the broker told when everything up to `index` is durable on `voters` voters.
    pub(crate) fn want_copies(&mut self, index: u64, voters: usize, out: &mut Outbox) {
        if !self.is_leader() {
            return;
        }
        let line = self.copies.0.entry(voters).or_default();
        line.wanted = line.wanted.max(index);
        self.tell_copies(out);
    }

    /// Tells what has become durable on enough voters since the last time.
    pub(crate) fn tell_copies(&mut self, out: &mut Outbox) {
        if self.copies.0.values().all(|line| line.told >= line.wanted) {
            return;
        }
        let membership = self.membership();
        let is_voter = |id: &u64| membership.has_voter(ReplicaId(*id));
        let members = self.raft.prs().iter().filter(|(id, _)| is_voter(id));
        let mut durable: Vec<u64> = members.map(|(_, at)| at.matched).collect();
        durable.sort_unstable_by(|a, b| b.cmp(a));
        for (voters, line) in &mut self.copies.0 {
            // asked for more than there are: all of them
            let nth = (*voters).clamp(1, durable.len().max(1)) - 1;
            let reached = durable.get(nth).copied().unwrap_or_default();
            if line.told < line.wanted && reached > line.told {
                line.told = reached;
                let (raft_group, index) = (self.id, RaftIndex(reached));
                out.events.push(Event::Copied(Copied { raft_group, voters: *voters, index }));
            }
        }
    }
}
