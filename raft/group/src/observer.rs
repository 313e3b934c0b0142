//! What the simulator sees of every group at every step, to judge what no client can see.
//!
//! Only with `--cfg simulation`; in other builds nothing of it is left. An observer belongs to its thread, on which a
//! simulated world runs with all its nodes.

use std::cell::RefCell;

use raft::eraftpb::{Message, MessageType};

use crate::group::Group;
use crate::{Membership, RaftGroupId, ReplicaId, Term};

/// Told by every replica of every group, in the order in which things happen.
pub trait Observer {
    /// An entry came to stand in a replica's log, or stands in it when the replica begins; `previous` is the term of the
    /// entry before it.
    fn appended(
        &mut self,
        at: (RaftGroupId, ReplicaId),
        entry: (u64, Term),
        previous: Option<Term>,
        payload: &[u8],
    );
    /// A replica in `current` term knows that an entry is committed.
    fn committed(&mut self, at: (RaftGroupId, ReplicaId), entry: (u64, Term), current: Term);
    /// A replica leads.
    fn elected(&mut self, at: (RaftGroupId, ReplicaId), term: Term, with: &Elected<'_>);
    /// A commit index went back while its replica lived.
    fn commit_went_back(&mut self, at: (RaftGroupId, ReplicaId), from: u64, to: u64);
    /// A replica gave its vote in a term, to itself or another one, and says so right now.
    fn voted(&mut self, at: (RaftGroupId, ReplicaId), term: Term, candidate: ReplicaId);
    /// A replica begins in a term, with the vote that it knows it gave in it.
    fn began(&mut self, at: (RaftGroupId, ReplicaId), term: Term, vote: Option<ReplicaId>);
    /// A message was refused as one that no correct replica sends.
    fn refused(&mut self, at: (RaftGroupId, ReplicaId), reason: &'static str);
}

/// What a replica has that leads from now on.
pub struct Elected<'a> {
    /// Where its log starts, and its last entry.
    pub log: (u64, u64),
    /// Which entry the log has at an index; nothing if none or if it is not known any more.
    pub term_at: &'a dyn Fn(u64) -> Option<Term>,
    /// Who decides, as it knows.
    pub membership: &'a Membership,
}

thread_local! {
    static OBSERVER: RefCell<Option<Box<dyn Observer>>> = const { RefCell::new(None) };
}

/// Has `observer` see what happens on this thread from now on.
pub fn observe(observer: Option<Box<dyn Observer>>) {
    OBSERVER.with(|slot| *slot.borrow_mut() = observer);
}

fn tell(what: impl FnOnce(&mut dyn Observer)) {
    OBSERVER.with(|slot| {
        if let Some(observer) = slot.borrow_mut().as_deref_mut() {
            what(observer);
        }
    });
}

impl Group {
    pub(crate) fn show_appended(&self, indexes: &[u64]) {
        let (log, at) = (&self.raft.raft_log.store, (self.id, self.replica));
        for index in indexes {
            let Some(entry) = log.entry(*index) else { continue };
            let (id, previous) = ((*index, Term(entry.term)), log.term_at(index - 1));
            tell(|observer| observer.appended(at, id, previous, &entry.payload));
        }
    }

    pub(crate) fn show_committed(&self, index: u64, term: Term) {
        let (at, current) = ((self.id, self.replica), self.term());
        tell(|observer| observer.committed(at, (index, term), current));
    }

    pub(crate) fn show_elected(&self) {
        let log = &self.raft.raft_log.store;
        let term_at = |index| log.term_at(index);
        let with = Elected {
            log: (log.start_index(), log.last_index_known()),
            term_at: &term_at,
            membership: self.membership(),
        };
        tell(|observer| observer.elected((self.id, self.replica), self.term(), &with));
    }

    pub(crate) fn show_commit_index(&mut self) {
        let (before, now) = (self.commit_seen, self.raft.raft_log.committed);
        self.commit_seen = now;
        let at = (self.id, self.replica);
        if now < before {
            tell(|observer| observer.commit_went_back(at, before, now));
        }
    }

    pub(crate) fn show_began(&self) {
        let (term, vote) = (self.term(), self.durable.vote);
        tell(|observer| observer.began((self.id, self.replica), term, vote));
        let log = &self.raft.raft_log.store;
        let entries: Vec<u64> = (log.start_index() + 1..=log.last_index_known()).collect();
        self.show_appended(&entries);
    }

    pub(crate) fn show_refused(&self, reason: &'static str) {
        let at = (self.id, self.replica);
        tell(|observer| observer.refused(at, reason));
    }
}

/// Tells of a vote that leaves, if the message is one.
pub(crate) fn show_sent(group: RaftGroupId, message: &Message) {
    let (from, to) = (ReplicaId(message.from), ReplicaId(message.to));
    let candidate = match message.get_msg_type() {
        MessageType::MsgRequestVote => from,
        MessageType::MsgRequestVoteResponse if !message.reject => to,
        _ => return,
    };
    tell(|observer| observer.voted((group, from), Term(message.term), candidate));
}
