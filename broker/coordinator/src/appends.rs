//! Appends that are on their way, and what hangs on them.
//!
//! Kafka's `CoordinatorRuntime` in small: offsets change at once in memory, and every answer that may
//! show such a change waits until the records are committed. If they never will be, the changes are
//! undone, newest first, and whoever waited gets an error.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::group::Group;
use crate::{Append, CommittedOffset, Effects, Protocol, Record, RequestToken, Response, Ticket};

/// What follows when an append is committed, or when it fails.
#[derive(Debug)]
pub(crate) enum Completion {
    Nothing,
    /// The leader's assignment: hand it to the members, unless the group has moved on.
    Assignment {
        group: Arc<str>,
        assignments: BTreeMap<Arc<str>, Bytes>,
    },
    /// A static member that took over without a rebalance: answer its join.
    StaticMember(Box<StaticMemberStored>),
}

#[derive(Debug)]
pub(crate) struct StaticMemberStored {
    pub(crate) group: Arc<str>,
    pub(crate) instance_id: Arc<str>,
    pub(crate) generation: i32,
    pub(crate) old_member_id: Arc<str>,
    pub(crate) new_member_id: Arc<str>,
    /// The leader before the member id changed.
    pub(crate) old_leader: Option<Arc<str>>,
    pub(crate) old_protocols: Vec<Protocol>,
    pub(crate) old_rebalance_timeout_ms: i32,
    pub(crate) old_session_timeout_ms: i32,
    pub(crate) supports_skip_assignment: bool,
}

/// How to take back what was changed in memory.
#[derive(Debug)]
pub(crate) enum Undo {
    Offset { group: Arc<str>, topic: Arc<str>, partition: i32, previous: Option<CommittedOffset> },
    GroupRemoved(Box<Group>),
}

#[derive(Debug)]
pub(crate) struct PendingAppend {
    pub(crate) ticket: Ticket,
    pub(crate) completion: Completion,
    pub(crate) undo: Vec<Undo>,
    /// Answers that may show what is not committed yet.
    pub(crate) held: Vec<(RequestToken, Response)>,
}

/// In order of tickets. Bounded by the shell: it admits only so many requests at a time.
#[derive(Debug, Default)]
pub(crate) struct Appends {
    issued: u64,
    pending: VecDeque<PendingAppend>,
}

impl Appends {
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn push(
        &mut self,
        records: Vec<Record>,
        completion: Completion,
        undo: Vec<Undo>,
        effects: &mut Effects,
    ) -> Ticket {
        self.issued += 1;
        let ticket = Ticket(self.issued);
        self.pending.push_back(PendingAppend { ticket, completion, undo, held: Vec::new() });
        effects.appends.push(Append { ticket, records });
        ticket
    }

    /// Answers now if nothing is on its way, else when all of it is committed.
    pub(crate) fn respond(
        &mut self,
        token: RequestToken,
        response: Response,
        effects: &mut Effects,
    ) {
        match self.pending.back_mut() {
            Some(append) => append.held.push((token, response)),
            None => effects.respond(token, response),
        }
    }

    /// The oldest append, if it is covered by the ticket.
    pub(crate) fn pop_committed(&mut self, ticket: Ticket) -> Option<PendingAppend> {
        self.pending.pop_front_if(|append| append.ticket <= ticket)
    }

    /// The newest append, if it is the ticket or later.
    pub(crate) fn pop_failed(&mut self, ticket: Ticket) -> Option<PendingAppend> {
        self.pending.pop_back_if(|append| append.ticket >= ticket)
    }
}
