//! What must hold of all Raft groups of all nodes, judged at every step of every replica.
//!
//! - **election safety**: no two replicas lead a group in one term;
//! - **log matching**: an entry of one index and term is the same everywhere, and follows the same entry; so logs that
//!   agree at an entry agree before it;
//! - **leader completeness**: who leads has every entry that was committed in an earlier term;
//! - **state machine safety**: no two replicas know different entries as committed at an index;
//! - **commit monotonic**: while a replica lives, its commit index never goes back;
//! - **promises**: a replica gives one vote in a term, and knows of it when it begins again;
//! - **manners**: no replica gets a message that no correct one sends.

use raft_group::observer::Observer;
use raft_group::{RaftGroupId, ReplicaId, Term};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

type Place = (RaftGroupId, ReplicaId);

/// Violations as they are found.
pub type Found = Rc<RefCell<Vec<String>>>;

#[derive(Default)]
struct GroupSeen {
    leaders: BTreeMap<Term, ReplicaId>,
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
    found: Found,
    elections: Rc<RefCell<u64>>,
    /// Told of every vote that leaves.
    on_vote: Box<dyn Fn(ReplicaId)>,
}

impl Rules {
    pub fn new(
        found: Found,
        elections: Rc<RefCell<u64>>,
        on_vote: impl Fn(ReplicaId) + 'static,
    ) -> Rules {
        let (groups, votes, on_vote) = (BTreeMap::new(), BTreeMap::new(), Box::new(on_vote));
        Rules { groups, votes, found, elections, on_vote }
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

    fn elected(
        &mut self,
        at: Place,
        term: Term,
        (start, last): (u64, u64),
        term_at: &dyn Fn(u64) -> Option<Term>,
    ) {
        *self.elections.borrow_mut() += 1;
        let seen = self.seen(at.0);
        let leader = *seen.leaders.entry(term).or_insert(at.1);
        let before = seen.reached.range(..term).map(|(_, index)| *index).max().unwrap_or(0);
        let wanted = seen.committed.get(&before).copied();
        if leader != at.1 {
            self.violated(at, &format!("leads in term {term}, as {leader} does"));
        }
        if before > last {
            let text = format!("leads in term {term} up to {last}, but {before} was committed");
            self.violated(at, &text);
        } else if before > start && term_at(before) != wanted {
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
        (self.on_vote)(at.1);
    }

    fn began(&mut self, at: Place, term: Term, vote: Option<ReplicaId>) {
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

    #[test]
    fn a_vote_that_was_forgotten_or_given_twice_is_found() {
        let found = Found::default();
        let mut rules = Rules::new(found.clone(), Rc::default(), |_| ());
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
