//! What must hold of all Raft groups of all nodes, judged at every step of every replica.
//!
//! - **election safety**: no two replicas lead a group in one term, and who leads was voted for by a majority in it;
//! - **log matching**: an entry of one index and term is the same everywhere, and follows the same entry; so logs that
//!   agree at an entry agree before it, also those that replicas begin with;
//! - **leader completeness**: who leads has every entry that was committed in an earlier term;
//! - **state machine safety**: no two replicas know different entries as committed at an index;
//! - **commit monotonic**: while a replica lives, its commit index never goes back;
//! - **promises**: a replica gives one vote in a term, and knows of it when it begins again;
//! - **manners**: no replica gets a message that no correct one sends.

use raft_group::observer::{Elected, Observer};
use raft_group::{RaftGroupId, ReplicaId, Term};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

type Place = (RaftGroupId, ReplicaId);

/// Violations as they are found.
pub type Found = Rc<RefCell<Vec<String>>>;

#[derive(Default)]
struct GroupSeen {
    leaders: BTreeMap<Term, ReplicaId>,
    /// Who voted for a candidate in a term.
    voters: BTreeMap<(Term, ReplicaId), BTreeSet<ReplicaId>>,
    /// What lies at an index in a term: its payload's hash and the term of the entry before it.
    entries: BTreeMap<(u64, Term), (u64, Option<Term>)>,
    committed: BTreeMap<u64, Term>,
    /// The highest index that was first known as committed in a term.
    reached: BTreeMap<Term, u64>,
}

/// See the module.
pub struct Rules {
    groups: BTreeMap<RaftGroupId, GroupSeen>,
    /// The last vote of each replica.
    votes: BTreeMap<Place, (Term, ReplicaId)>,
    /// The last entry of each log.
    last: BTreeMap<Place, u64>,
    found: Found,
    elections: Rc<RefCell<u64>>,
    told: Told,
}

/// Who else is told of what replicas do.
pub struct Told {
    /// Every vote that leaves.
    pub vote: Box<dyn Fn(ReplicaId)>,
    /// An entry took the place of another one.
    pub replaced: Box<dyn Fn(ReplicaId)>,
}

impl Rules {
    pub fn new(found: Found, elections: Rc<RefCell<u64>>, told: Told) -> Rules {
        let (groups, votes, last) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Rules { groups, votes, last, found, elections, told }
    }

    fn violated(&self, (group, replica): Place, what: &str) {
        // One is enough to see what went wrong; the others follow from it.
        if self.found.borrow().len() < 5 {
            let text = format!("raft group {group}, replica {replica}: {what}");
            self.found.borrow_mut().push(text);
        }
    }

    fn seen(&mut self, group: RaftGroupId) -> &mut GroupSeen {
        self.groups.entry(group).or_default()
    }
}

impl Observer for Rules {
    fn appended(&mut self, at: Place, entry: (u64, Term), previous: Option<Term>, payload: &[u8]) {
        let hash = hash(payload);
        let known = *self.seen(at.0).entries.entry(entry).or_insert((hash, previous));
        let (index, term) = entry;
        if self.last.insert(at, index).is_some_and(|last| last >= index) {
            (self.told.replaced)(at.1);
        }
        if known.0 != hash {
            self.violated(at, &format!("another entry {index} of term {term} than elsewhere"));
        }
        if previous.is_some() && known.1.is_some() && previous != known.1 {
            let text = format!("entry {index} of term {term} follows another one than elsewhere");
            self.violated(at, &text);
        }
    }

    fn committed(&mut self, at: Place, (index, term): (u64, Term), current: Term) {
        let seen = self.seen(at.0);
        match seen.committed.get(&index) {
            None => {
                seen.committed.insert(index, term);
                let reached = seen.reached.entry(current).or_default();
                *reached = index.max(*reached);
            }
            Some(known) if *known != term => {
                let text = format!("entry {index} committed of term {term}, elsewhere of {known}");
                self.violated(at, &text);
            }
            Some(_) => {}
        }
    }

    fn elected(&mut self, at: Place, term: Term, with: &Elected<'_>) {
        let (start, last) = with.log;
        *self.elections.borrow_mut() += 1;
        let seen = self.seen(at.0);
        let leader = *seen.leaders.entry(term).or_insert(at.1);
        let before = seen.reached.range(..term).map(|(_, index)| *index).max().unwrap_or(0);
        let wanted = seen.committed.get(&before).copied();
        let given = seen.voters.get(&(term, at.1));
        let has_voted =
            |voter| voter == at.1 || given.is_some_and(|voters| voters.contains(&voter));
        let is_elected = with.membership.has_majority(has_voted);
        if !is_elected {
            self.violated(at, &format!("leads in term {term}, and no majority voted for it"));
        }
        if leader != at.1 {
            self.violated(at, &format!("leads in term {term}, as {leader} does"));
        }
        if before > last {
            let text = format!("leads in term {term} up to {last}, but {before} was committed");
            self.violated(at, &text);
        } else if before > start && (with.term_at)(before) != wanted {
            let text = format!("leads in term {term} with another entry {before} than committed");
            self.violated(at, &text);
        }
    }

    fn commit_went_back(&mut self, at: Place, from: u64, to: u64) {
        self.violated(at, &format!("the commit index went back from {from} to {to}"));
    }

    fn voted(&mut self, at: Place, term: Term, candidate: ReplicaId) {
        match self.votes.insert(at, (term, candidate)) {
            Some((before, other)) if before == term && other != candidate => {
                self.violated(at, &format!("votes in term {term} for {candidate} and for {other}"));
            }
            Some((before, _)) if before > term => {
                self.violated(at, &format!("votes in term {term} after it did in {before}"));
            }
            _ => {}
        }
        self.seen(at.0).voters.entry((term, candidate)).or_default().insert(at.1);
        (self.told.vote)(at.1);
    }

    fn began(&mut self, at: Place, term: Term, vote: Option<ReplicaId>) {
        self.last.remove(&at);
        let Some(&(before, candidate)) = self.votes.get(&at) else { return };
        if term < before || (term == before && vote != Some(candidate)) {
            let text = format!(
                "begins in term {term} with vote {vote:?}, but voted for {candidate} in {before}"
            );
            self.violated(at, &text);
        }
    }

    fn refused(&mut self, at: Place, reason: &'static str) {
        self.violated(at, &format!("a message was refused: {reason}"));
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        hash ^= hash >> 31;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_group::Membership;

    fn nobody() -> Told {
        Told { vote: Box::new(|_| ()), replaced: Box::new(|_| ()) }
    }

    #[test]
    fn a_leader_for_whom_no_majority_voted_in_its_term_is_found() {
        let found = Found::default();
        let mut rules = Rules::new(found.clone(), Rc::default(), nobody());
        let membership = Membership::of_voters([2, 3, 4].map(ReplicaId));
        let with = Elected { log: (0, 0), term_at: &|_| None, membership: &membership };
        let at = |replica| (RaftGroupId(1), ReplicaId(replica));
        rules.voted(at(3), Term(1), ReplicaId(2));
        rules.elected(at(2), Term(1), &with);
        assert_eq!(*found.borrow(), [""; 0]);
        rules.voted(at(4), Term(2), ReplicaId(3));
        rules.elected(at(2), Term(2), &with);
        assert_eq!(found.borrow().len(), 1, "{:?}", found.borrow());
    }

    #[test]
    fn entries_that_do_not_follow_each_other_elsewhere_are_found() {
        let found = Found::default();
        let mut rules = Rules::new(found.clone(), Rc::default(), nobody());
        let at = |replica| (RaftGroupId(1), ReplicaId(replica));
        rules.appended(at(2), (5, Term(1)), Some(Term(1)), b"old");
        rules.appended(at(2), (6, Term(1)), Some(Term(1)), b"tail");
        rules.appended(at(2), (5, Term(2)), Some(Term(1)), b"new");
        assert_eq!(*found.borrow(), [""; 0]);
        rules.appended(at(2), (6, Term(1)), Some(Term(2)), b"tail");
        assert_eq!(found.borrow().len(), 1);
    }

    #[test]
    fn a_vote_that_was_forgotten_or_given_twice_is_found() {
        let found = Found::default();
        let mut rules = Rules::new(found.clone(), Rc::default(), nobody());
        let (at, candidate) = ((RaftGroupId(1), ReplicaId(2)), ReplicaId(4));
        rules.voted(at, Term(3), candidate);
        rules.voted(at, Term(3), candidate);
        rules.began(at, Term(3), Some(candidate));
        rules.began(at, Term(5), None);
        assert_eq!(*found.borrow(), [""; 0]);
        rules.began(at, Term(3), None);
        rules.began(at, Term(2), Some(candidate));
        rules.voted(at, Term(3), at.1);
        rules.voted(at, Term(2), candidate);
        assert_eq!(found.borrow().len(), 4);
    }
}
