//! What must hold of all Raft groups of all nodes, judged at every step of every replica.
//!
//! - **election safety**: no two replicas lead a group in one term;
//! - **log matching**: an entry of one index and term is the same everywhere, and follows the same entry; so logs that
//!   agree at an entry agree before it;
//! - **leader completeness**: who leads has every entry that was committed in an earlier term;
//! - **state machine safety**: no two replicas know different entries as committed at an index;
//! - **commit monotonic**: while a replica lives, its commit index never goes back;
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
    found: Found,
    elections: Rc<RefCell<u64>>,
}

impl Rules {
    pub fn new(found: Found, elections: Rc<RefCell<u64>>) -> Rules {
        Rules { groups: BTreeMap::new(), found, elections }
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
