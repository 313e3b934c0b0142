//! A broker that remembers what it hears, and a network that keeps what it is given.

use std::cell::RefCell;
use std::rc::Rc;

use raft_group::*;

/// What the broker heard.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub applied: Vec<Committed>,
    pub accepted: Vec<Accepted>,
    pub leadership: Vec<LeadershipChange>,
    pub memberships: Vec<MembershipChange>,
    pub offers: Vec<SnapshotOffer>,
    pub held: Vec<WindowTicket>,
    pub copied: Vec<Copied>,
    /// All of it as text, in order.
    pub lines: Vec<String>,
}

#[derive(Clone, Default)]
pub struct Recorder(pub Rc<RefCell<Heard>>);

impl Apply for Recorder {
    fn apply(&mut self, committed: Committed) {
        let mut heard = self.0.borrow_mut();
        let Committed { raft_group, term, index, kind, payload, ticket, .. } = &committed;
        let own = if ticket.is_some() { " own" } else { "" };
        let payload = String::from_utf8_lossy(payload);
        let payload = match kind {
            EntryKind::ConfChange => "",
            _ => &payload,
        };
        heard.lines.push(format!("apply {raft_group} {term}/{index} {kind:?} '{payload}'{own}"));
        heard.applied.push(committed);
    }

    fn accepted(&mut self, accepted: Accepted) {
        let mut heard = self.0.borrow_mut();
        let WindowTicket { raft_group, term, index, .. } = accepted.ticket;
        heard.lines.push(format!("accepted {raft_group} {term}/{index}"));
        heard.accepted.push(accepted);
    }

    fn held(&mut self, ticket: WindowTicket) {
        let mut heard = self.0.borrow_mut();
        let WindowTicket { raft_group, term, index, .. } = ticket;
        heard.lines.push(format!("held {raft_group} {term}/{index}"));
        heard.held.push(ticket);
    }

    fn copied(&mut self, copied: Copied) {
        self.0.borrow_mut().copied.push(copied);
    }

    fn leadership_changed(&mut self, change: LeadershipChange) {
        let mut heard = self.0.borrow_mut();
        let LeadershipChange { raft_group, term, leadership } = change;
        heard.lines.push(format!("leadership {raft_group} term {term} {leadership:?}"));
        heard.leadership.push(change);
    }

    fn membership_changed(&mut self, change: MembershipChange) {
        let mut heard = self.0.borrow_mut();
        let voters: Vec<_> = change.membership.voters.iter().map(|voter| voter.0).collect();
        heard.lines.push(format!("members {} at {} {voters:?}", change.raft_group, change.index));
        heard.memberships.push(change);
    }

    fn snapshot_offered(&mut self, offer: SnapshotOffer) {
        let mut heard = self.0.borrow_mut();
        let SnapshotOffer { raft_group, from, start } = &offer;
        heard.lines.push(format!("offer {raft_group} {}/{} by {from}", start.term, start.index));
        heard.offers.push(offer);
    }
}

/// Messages that left a node.
#[derive(Clone, Default)]
pub struct Sent(pub Rc<RefCell<Vec<(RaftGroupId, Message)>>>);

impl Transport for Sent {
    fn send(&mut self, raft_group: RaftGroupId, message: Message) {
        self.0.borrow_mut().push((raft_group, message));
    }
}
