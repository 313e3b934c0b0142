//! How entries get into the log of a group that this replica leads: the open window, entries of their
//! own, changes of members.
//!
//! An entry is sealed under the term and index that it is about to get, then appended to `raft`, which
//! must give it exactly those. So whatever appends closes the open window first.

use raft::eraftpb::{Message, MessageType};
use storage::wal::{FrameBuilder, SealedFrame, WalError};

use crate::apply::{Accepted, Event, Outbox};
use crate::conf_change::ConfChange;
use crate::frame_kind::FrameKind;
use crate::group::Group;
use crate::group_log::raft_entry;
use crate::window::{Durability, Window, WindowTicket};
use crate::{EntryKind, FrameLog, ProposeError, RaftIndex};

impl Group {
    /// Opens the window if it is not open.
    pub fn open_window(
        &mut self,
        durability: Durability,
        next_sequence: &mut u64,
    ) -> Result<&mut Window, ProposeError> {
        self.check_can_propose()?;
        if self.window.is_none() {
            let ticket = self.next_ticket(next_sequence);
            self.window = Some(Window::new(ticket, self.limits, self.window_capacity));
        }
        let window = self.window.as_mut().expect("just opened");
        if durability == Durability::Memory {
            window.durability = Durability::Memory;
        }
        Ok(window)
    }

    /// Proposes what the window holds, if anything.
    pub fn close_window<W: FrameLog>(&mut self, wal: &W, out: &mut Outbox) -> Result<(), WalError> {
        if self.window.as_ref().is_none_or(Window::is_empty) {
            // One that holds nothing goes, too: its ticket is about to be somebody else's.
            self.window = None;
            return Ok(());
        }
        match self.append_window(wal, out)? {
            None => Ok(()),
            Some(sealed) => {
                self.raft.bcast_append();
                self.pump(wal, out, Some(sealed))
            }
        }
    }

    /// Appends what the window holds, and takes the window away also if it holds nothing: its ticket
    /// is about to be somebody else's.
    pub(crate) fn append_window<W: FrameLog>(
        &mut self,
        wal: &W,
        out: &mut Outbox,
    ) -> Result<Option<SealedFrame>, WalError> {
        let Some(window) = self.window.take().filter(|window| !window.is_empty()) else {
            return Ok(None);
        };
        self.window_capacity = window.len().max(self.window_capacity - self.window_capacity / 8);
        let (ticket, durability) = (window.ticket(), window.durability);
        let frame = window.into_frame();
        self.append(frame, EntryKind::Inline, ticket, durability, wal, out).map(Some)
    }

    /// Proposes an entry of its own.
    pub fn propose_alone<W: FrameLog>(
        &mut self,
        kind: EntryKind,
        payload: &[u8],
        next_sequence: &mut u64,
        wal: &W,
        out: &mut Outbox,
    ) -> Result<Result<WindowTicket, ProposeError>, WalError> {
        if let Err(error) = self.check_can_propose() {
            return Ok(Err(error));
        }
        self.close_window(wal, out)?;
        let ticket = self.next_ticket(next_sequence);
        let frame = FrameBuilder::copy_of(payload, None);
        let sealed = self.append(frame, kind, ticket, Durability::Disk, wal, out)?;
        self.raft.bcast_append();
        self.pump(wal, out, Some(sealed))?;
        Ok(Ok(ticket))
    }

    /// Proposes a change of the members.
    pub fn propose_conf_change<W: FrameLog>(
        &mut self,
        change: &ConfChange,
        next_sequence: &mut u64,
        wal: &W,
        out: &mut Outbox,
    ) -> Result<Result<WindowTicket, ProposeError>, WalError> {
        let checked = self.check_can_propose().and_then(|()| self.check_conf_change(change));
        if let Err(error) = checked {
            return Ok(Err(error));
        }
        self.close_window(wal, out)?;
        let ticket = self.next_ticket(next_sequence);
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.replica.0;
        message.entries.push(raft_entry(EntryKind::ConfChange, change.encode().into(), None));
        if self.raft.step(message).is_err() {
            return Ok(Err(ProposeError::ChangePending(self.id)));
        }
        self.tickets.push_back(ticket);
        self.pump(wal, out, None)?;
        Ok(Ok(ticket))
    }

    fn next_ticket(&self, next_sequence: &mut u64) -> WindowTicket {
        *next_sequence += 1;
        WindowTicket {
            raft_group: self.id,
            term: self.term(),
            index: RaftIndex(self.raft.raft_log.last_index() + 1),
            sequence: *next_sequence,
        }
    }

    /// Seals the frame under the term and index that the entry is about to get, then appends.
    fn append<W: FrameLog>(
        &mut self,
        frame: FrameBuilder,
        kind: EntryKind,
        ticket: WindowTicket,
        durability: Durability,
        wal: &W,
        out: &mut Outbox,
    ) -> Result<SealedFrame, WalError> {
        let sealed =
            wal.seal(frame, FrameKind::Entry(kind).tag(self.id, ticket.term, ticket.index))?;
        let mut entry = raft_entry(kind, sealed.payload.clone(), Some(sealed.checksum));
        let appended = self.raft.append_entry(std::slice::from_mut(&mut entry));
        assert!(
            appended && (entry.term, entry.index) == (ticket.term.0, ticket.index.0),
            "sealed as {}/{} but appended as {}/{} in Raft group {}",
            ticket.term,
            ticket.index,
            entry.term,
            entry.index,
            self.id
        );
        self.tickets.push_back(ticket);
        if durability == Durability::Memory {
            if self.membership().is_sole_voter(self.replica) {
                let payload = sealed.payload.clone();
                out.events.push(Event::Accepted(Accepted { ticket, payload }));
            } else {
                self.memory.await_majority(ticket);
            }
        }
        Ok(sealed)
    }
}
