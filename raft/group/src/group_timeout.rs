//! How long a replica waits for a leader before it asks for votes.
//!
//! Voters that wait equally long vote for themselves, each, and nobody leads; replicas that draw their time by chance do
//! so again and again now and then. So the voters of a group share the range out: in one term no two wait equally long,
//! and who does not get through in one election meets nobody in the next. Every term and every group begin with another
//! voter. Instead of what `raft` draws from its thread's random source, too, for a run to be repeated exactly.

use crate::group::Group;
use crate::{RaftGroupId, Term};

/// Ticks for the voter at `rank` of `voters` in the order of their ids, between `ticks` and twice that.
fn election_timeout(
    (seed, group, term): (u64, RaftGroupId, Term),
    (rank, voters): (usize, usize),
    ticks: usize,
) -> usize {
    let mut hash = seed ^ 0x9e37_79b9_7f4a_7c15;
    for word in [group.0, term.0] {
        hash = (hash ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash ^= hash >> 29;
    }
    let first = (hash % ticks as u64) as usize;
    ticks + (first + rank * ticks / voters.max(1)) % ticks
}

impl Group {
    /// Replaces the timeout that `raft` drew.
    pub(crate) fn pin_election_timeout(&mut self) {
        let voters = &self.membership().voters;
        let rank = voters.iter().filter(|voter| **voter < self.replica).count();
        let place = (rank, voters.len());
        let ticks = self.raft.election_timeout();
        let timeout = election_timeout((self.election_seed, self.id, self.term()), place, ticks);
        self.raft.set_randomized_election_timeout(timeout);
    }
}

#[cfg(test)]
mod tests {
    use super::election_timeout;
    use crate::{RaftGroupId, Term};
    use std::collections::BTreeSet;

    #[test]
    fn no_two_voters_wait_equally_long_in_one_term() {
        for voters in 1..=10 {
            for term in (0..50).map(Term) {
                let wait = |rank| election_timeout((0, RaftGroupId(7), term), (rank, voters), 10);
                let waits: BTreeSet<usize> = (0..voters).map(wait).collect();
                assert_eq!(waits.len(), voters, "{waits:?} in term {term:?}");
                assert!(waits.iter().all(|ticks| (10..20).contains(ticks)));
            }
        }
    }

    #[test]
    fn every_voter_is_first_in_some_terms_and_groups() {
        let first = |group, term| {
            let wait = |rank: &usize| {
                election_timeout((0, RaftGroupId(group), Term(term)), (*rank, 3), 10)
            };
            (0..3).min_by_key(wait).expect("three voters")
        };
        let by_term: BTreeSet<usize> = (0..20).map(|term| first(3, term)).collect();
        let by_group: BTreeSet<usize> = (0..20).map(|group| first(group, 3)).collect();
        assert_eq!((by_term.len(), by_group.len()), (3, 3));
    }
}
