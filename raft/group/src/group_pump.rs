//! After every event of a group: seal what became unstable, deliver what became committed, let
//! messages go.
//!
//! The rules that `raft::RawNode` would keep, and one more:
//! - frames are sealed in the order hard state, entries, so no torn write leaves an entry whose
//!   term the replica does not know;
//! - a leader sends at once, in parallel with its own write, but only if the hard state of its
//!   term is durable (a sole voter with learners leads before that; were it to send then and stop,
//!   it could lead the same term again with other entries);
//! - everybody else sends only what is durable: messages wait for the last frames sealed before
//!   them. Answers to heartbeats promise nothing and do not wait, or the leader of replicas whose
//!   disks are slow would take them for dead and step down;
//! - a change of members takes effect only when a hard state whose commit index covers it is
//!   durable. So a restarted replica knows all members it acted with before it campaigns.

use std::mem;

use raft::eraftpb::{Message, MessageType};
use runtime::mutant;
use storage::wal::{SealedFrame, WalError, WalPosition};

use crate::apply::{Committed, Event, Leadership, MembershipChange, Outbox};
use crate::conf_change::ConfChange;
use crate::frame_kind::FrameKind;
use crate::group::{Group, Unwritten, seal_copy};
use crate::group_log::{LogEntry, checksum_of, kind_of};
use crate::group_state::{HardState, Membership};
use crate::{EntryKind, FrameLog, RaftIndex, ReplicaId, Term};

impl Group {
    /// Brings everything outside of `raft` up to date with it. `sealed` is the frame of the one
    /// unstable entry, if the caller has sealed it.
    pub(crate) fn pump<W: FrameLog>(
        &mut self,
        wal: &W,
        out: &mut Outbox,
        sealed: Option<SealedFrame>,
    ) -> Result<(), WalError> {
        self.note_leadership(out);
        self.seal_unstable(wal, out, sealed)?;
        self.send(out);
        loop {
            let sealed = self.deliver(wal, out)?;
            // Delivering may append (leaving a joint configuration) and ask for a hard state.
            if !self.has_unstable() {
                break;
            }
            self.seal_unstable(wal, out, sealed)?;
            self.send(out);
        }
        self.note_leadership(out);
        self.tell_copies(out);
        self.pin_election_timeout();
        #[cfg(simulation)]
        self.show_commit_index();
        Ok(())
    }

    /// The WAL is durable before `durable_end`.
    pub(crate) fn written<W: FrameLog>(
        &mut self,
        durable_end: WalPosition,
        wal: &W,
        out: &mut Outbox,
    ) -> Result<(), WalError> {
        while self.unwritten.front().is_some_and(|first| first.position < durable_end) {
            let Some(first) = self.unwritten.pop_front() else {
                break;
            };
            out.queued_bytes -= first.bytes;
            out.queued_frames -= first.frames;
            if let Some(hard_state) = first.hard_state {
                self.durable = hard_state;
            }
            if let Some((index, term)) = first.last_entry {
                self.raft.on_persist_entries(index, term);
                if mutant::is("committed-without-majority") && self.is_leader() {
                    self.raft.raft_log.commit_to(index);
                }
            }
            out.messages.extend(first.messages.into_iter().map(|message| (self.id, message)));
        }
        if self.origin.is_some_and(|origin| origin < durable_end) {
            self.origin = None;
        }
        if self.installing.as_ref().is_some_and(|it| it.origin < durable_end) {
            self.installing = None;
        }
        self.pump(wal, out, None)
    }

    fn hard_state(&self) -> HardState {
        HardState {
            term: Term(self.raft.term),
            vote: Some(ReplicaId(self.raft.vote)).filter(|vote| vote.0 != 0),
            commit: RaftIndex(self.raft.raft_log.committed),
        }
    }

    fn needs_hard_state(&self, now: &HardState) -> bool {
        (now.term, now.vote) != (self.framed.term, self.framed.vote)
            || self.wanted_commit > self.framed.commit.0
    }

    fn has_unstable(&self) -> bool {
        !self.raft.raft_log.unstable.entries.is_empty()
            || !self.raft.msgs.is_empty()
            || self.needs_hard_state(&self.hard_state())
    }

    fn seal_unstable<W: FrameLog>(
        &mut self,
        wal: &W,
        out: &mut Outbox,
        mut sealed: Option<SealedFrame>,
    ) -> Result<(), WalError> {
        let mut unwritten: Option<Unwritten> = None;
        let mut add = |frame: &SealedFrame| match &mut unwritten {
            Some(unwritten) => unwritten.add(frame.position, frame.frame.len()),
            None => unwritten = Some(Unwritten::at(frame.position, frame.frame.len())),
        };
        let now = self.hard_state();
        let hard_state = self.needs_hard_state(&now).then_some(now);
        if let Some(now) = hard_state {
            let tag = FrameKind::HardState.tag(self.id, now.term, now.commit);
            add(&seal_copy(wal, tag, &now.encode(), None)?);
            self.framed = now;
        }
        let log = &mut self.raft.raft_log;
        let last_entry = log.unstable.entries.last().map(|entry| (entry.index, entry.term));
        #[cfg(simulation)]
        let appended: Vec<u64> = log.unstable.entries.iter().map(|entry| entry.index).collect();
        for entry in &log.unstable.entries {
            let kind = kind_of(entry).expect("checked when it came in");
            let frame = match sealed.take() {
                Some(frame) => frame,
                None => {
                    let (term, index) = (Term(entry.term), RaftIndex(entry.index));
                    let tag = FrameKind::Entry(kind).tag(self.id, term, index);
                    seal_copy(wal, tag, &entry.data, checksum_of(entry))?
                }
            };
            add(&frame);
            log.store.append(
                entry.index,
                LogEntry {
                    term: entry.term,
                    kind,
                    payload: frame.payload,
                    checksum: Some(frame.checksum),
                    position: frame.position,
                },
            );
        }
        if let Some((index, term)) = last_entry {
            log.stable_entries(index, term);
        }
        #[cfg(simulation)]
        self.show_appended(&appended);
        if let Some(unwritten) = unwritten {
            self.push_unwritten(Unwritten { hard_state, last_entry, ..unwritten }, out);
        }
        Ok(())
    }

    /// Lets messages go, or ties them to the frames they must not overtake.
    fn send(&mut self, out: &mut Outbox) {
        if self.raft.msgs.is_empty() {
            return;
        }
        let mut messages = mem::take(&mut self.raft.msgs);
        self.memory.mark(&mut messages);
        let ahead_of_write = self.is_leader() && self.durable.term == self.term();
        let is_early = |message: &Message| match message.get_msg_type() {
            MessageType::MsgHeartbeatResponse => true,
            MessageType::MsgAppendResponse => mutant::is("follower-skips-its-disk"),
            MessageType::MsgRequestVoteResponse => mutant::is("vote-before-durable"),
            _ => false,
        };
        let early = messages.extract_if(.., |message| is_early(message));
        out.messages.extend(early.map(|message| (self.id, message)));
        match self.unwritten.back_mut() {
            Some(last) if !ahead_of_write => last.messages.extend(messages),
            _ => out.messages.extend(messages.into_iter().map(|message| (self.id, message))),
        }
    }

    /// Hands over what is committed, here durable or not. Returns the frame of the open window if
    /// that had to be closed.
    fn deliver<W: FrameLog>(
        &mut self,
        wal: &W,
        out: &mut Outbox,
    ) -> Result<Option<SealedFrame>, WalError> {
        let mut committed = self.raft.raft_log.committed;
        if mutant::is("follower-applies-too-much") && !self.is_leader() {
            committed = self.raft.raft_log.last_index().min(committed + 1);
        }
        while self.delivered < committed {
            let index = self.delivered + 1;
            let entry = self.raft.raft_log.store.entry(index).expect("committed entries exist");
            if entry.kind == EntryKind::ConfChange {
                if index > self.raft.raft_log.persisted || index > self.durable.commit.0 {
                    self.wanted_commit = index;
                    break;
                }
                let payload = entry.payload.clone();
                self.change_members(index, &payload, out);
            }
            self.delivered = index;
            self.push_committed(index, out);
        }
        self.memory.committed(self.delivered);
        let log = &self.raft.raft_log;
        let applied = self.delivered.min(log.persisted);
        let mut sealed = None;
        if applied > log.applied {
            if *self.raft.prs().conf().auto_leave() && self.is_leader() {
                // `raft` may be about to append: what is in the window comes before that.
                sealed = self.append_window(wal, out)?;
            }
            self.raft.commit_apply(applied);
            self.raft.raft_log.store.note_applied(applied);
            if self.is_leader() && !self.raft.raft_log.unstable.entries.is_empty() {
                self.raft.bcast_append();
            }
        }
        Ok(sealed)
    }

    fn push_committed(&mut self, index: u64, out: &mut Outbox) {
        let entry = self.raft.raft_log.store.entry(index).expect("committed entries exist");
        let term = Term(entry.term);
        #[cfg(simulation)]
        self.show_committed(index, term);
        let ticket = loop {
            match self.tickets.front() {
                Some(first) if first.index.0 <= index => {
                    let first = self.tickets.pop_front();
                    if first.is_some_and(|first| (first.index.0, first.term) == (index, term)) {
                        break first;
                    }
                }
                _ => break None,
            }
        };
        out.events.push(Event::Committed(Committed {
            raft_group: self.id,
            term,
            index: RaftIndex(index),
            kind: entry.kind,
            payload: entry.payload.clone(),
            position: entry.position,
            ticket,
        }));
        if self.is_leader()
            && term == self.term()
            && self.leadership.leadership != Leadership::Ready
        {
            self.leadership.leadership = Leadership::Ready;
            out.events.push(Event::Leadership(self.leadership));
        }
    }

    /// A change that is impossible is one that every replica finds impossible and skips.
    fn change_members(&mut self, index: u64, payload: &[u8], out: &mut Outbox) {
        let change = ConfChange::decode(payload).expect("checked when it came in");
        match self.raft.apply_conf_change(&change.to_raft()) {
            Ok(state) => {
                let membership = Membership::from_raft(&state);
                self.memberships.push_back((index, membership.clone()));
                self.raft.raft_log.store.note_membership(membership.clone());
                if self.is_leader() && !membership.has_voter(self.replica) {
                    // It could propose nothing any more, and nobody else would campaign.
                    self.raft.become_follower(self.raft.term, raft::INVALID_ID);
                }
                out.events.push(Event::Membership(MembershipChange {
                    raft_group: self.id,
                    index: RaftIndex(index),
                    membership,
                }));
            }
            Err(error) => {
                tracing::warn!(raft_group = %self.id, index, %error, "impossible change of members");
            }
        }
    }
}
