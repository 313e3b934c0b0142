//! What a group refuses before `raft` sees it: proposals that cannot be, and messages that no
//! correct replica sends.
//!
//! `raft` panics on some of them, and turns others silently into something else. Here they are
//! values, so bytes from the network never end a node.

use raft::eraftpb::{Entry, Message, MessageType};

use crate::conf_change::ConfChange;
use crate::group::Group;
use crate::group_log::kind_of;
use crate::{EntryKind, ProposeError, ReplicaId, StepError, Term};

impl Group {
    pub(crate) fn check_can_propose(&self) -> Result<(), ProposeError> {
        if self.removed.is_some() {
            return Err(ProposeError::UnknownGroup(self.id));
        }
        if !self.is_leader() || !self.membership().has_voter(self.replica) {
            let leader = self.leader().filter(|leader| *leader != self.replica);
            return Err(ProposeError::NotLeader { raft_group: self.id, leader });
        }
        if self.ready_term != self.term() {
            return Err(ProposeError::NotReady(self.id));
        }
        if self.raft.lead_transferee.is_some() {
            return Err(ProposeError::Transferring(self.id));
        }
        Ok(())
    }

    /// What `raft` would refuse by silently proposing something else.
    pub(crate) fn check_conf_change(&self, change: &ConfChange) -> Result<(), ProposeError> {
        let joint = !self.membership().voters_outgoing.is_empty();
        if self.raft.has_pending_conf() || joint != change.changes.is_empty() {
            return Err(ProposeError::ChangePending(self.id));
        }
        let change = change.to_raft();
        let mut changer = raft::Changer::new(self.raft.prs());
        let possible = match change.enter_joint() {
            Some(auto_leave) => changer.enter_joint(auto_leave, &change.changes).is_ok(),
            None if change.leave_joint() => changer.leave_joint().is_ok(),
            None => changer.simple(&change.changes).is_ok(),
        };
        if possible { Ok(()) } else { Err(ProposeError::BadChange(self.id)) }
    }

    pub(crate) fn check_message(&self, message: &Message) -> Result<(), StepError> {
        let raft_group = self.id;
        let malformed = |reason| Err(StepError::Malformed { raft_group, reason });
        if message.to != self.replica.0 {
            return malformed("meant for another replica");
        }
        if message.from == 0 || message.from == self.replica.0 || message.term == 0 {
            return malformed("without sender or term");
        }
        let response = match message.get_msg_type() {
            MessageType::MsgAppend
            | MessageType::MsgHeartbeat
            | MessageType::MsgRequestVote
            | MessageType::MsgRequestPreVote
            | MessageType::MsgTimeoutNow => false,
            MessageType::MsgSnapshot => match self.check_offer(message) {
                Ok(()) => false,
                Err(reason) => return malformed(reason),
            },
            MessageType::MsgAppendResponse
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVoteResponse => true,
            _ => return malformed("of a kind that replicas do not exchange"),
        };
        if response && self.raft.prs().get(message.from).is_none() {
            return Err(StepError::NotMember { raft_group, from: ReplicaId(message.from) });
        }
        let log = &self.raft.raft_log;
        if message.term >= self.raft.term {
            // What `raft` would panic on: the sender believes that this replica has lost or
            // committed something else. No correct replica does.
            let (beyond, kind) = (log.last_index() + 1, message.get_msg_type());
            let knows_more = match kind {
                MessageType::MsgHeartbeat => message.commit >= beyond,
                // One that has lost its lead with its unwritten tail ignores such answers.
                MessageType::MsgAppendResponse if self.is_leader() => {
                    message.term == self.raft.term && !message.reject && message.index >= beyond
                }
                _ => false,
            };
            if knows_more {
                return malformed("claims entries that this replica does not have");
            }
            let contradicts = |entry: &Entry| {
                entry.index > log.store.start_index()
                    && entry.index <= log.committed
                    && log.store.term_at(entry.index) != Some(Term(entry.term))
            };
            if message.entries.iter().any(contradicts) {
                return malformed("contradicts committed entries");
            }
        }
        let mut previous = (message.index, message.log_term);
        for entry in &message.entries {
            if entry.index != previous.0 + 1 || entry.term < previous.1 {
                return malformed("entries that do not follow one another");
            }
            match kind_of(entry) {
                None => return malformed("an entry of no known kind"),
                Some(EntryKind::ConfChange) if ConfChange::decode(&entry.data).is_err() => {
                    return malformed("an unreadable change of members");
                }
                Some(_) => previous = (entry.index, entry.term),
            }
        }
        Ok(())
    }
}
