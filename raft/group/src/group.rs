//! One replica of one Raft group: the consensus core, its log, its open window.
//!
//! Lives on one shard, owned by [`crate::shard_state::ShardState`]; synchronous. It drives
//! `raft::Raft` directly instead of through `RawNode`: a `Ready` copies the unstable entries and
//! the committed ones into fresh vectors for every commit, and holds committed entries back until
//! they are durable *here*, where a majority elsewhere is enough to acknowledge. The rules that
//! `RawNode` keeps are kept in `group_pump.rs`.
//!
//! Invariants:
//! - `log start <= delivered <= committed <= last index`;
//! - between two calls nothing is unstable in `raft`: all entries are sealed and in [`GroupLog`];
//! - the frame of a hard state lies before the frames of entries of its term;
//! - the open window's ticket is (current term, last index + 1): whatever else appends to the
//!   log closes the window first.

use std::collections::VecDeque;

use raft::eraftpb::{Message, MessageType};
use raft::{Raft, StateRole};
use slog::Logger;
use storage::wal::{FrameBuilder, SealedFrame, WalError, WalPosition};

use crate::apply::{Accepted, Event, Leadership, LeadershipChange, Outbox};
use crate::conf_change::ConfChange;
use crate::frame_kind::FrameKind;
use crate::group_log::{GroupLog, LogEntry, raft_entry};
use crate::group_snapshot::Installing;
use crate::group_state::{HardState, LogStart, Membership, Origin};
use crate::options::RaftOptions;
use crate::window::{Durability, Window, WindowLimits, WindowTicket};
use crate::{
    EntryKind, FrameLog, GroupCheckpoint, GroupError, ProposeError, RaftGroupId, RaftIndex,
    ReplicaId, StepError, Term,
};

/// A follower keeps this part of what a leader would keep for its members.
const FOLLOWER_SHARE: usize = 8;

/// Frames of one group that were sealed together, and what their durability permits.
pub(crate) struct Unwritten {
    /// Where the last of the frames lies.
    pub position: WalPosition,
    pub bytes: usize,
    pub frames: usize,
    pub hard_state: Option<HardState>,
    /// Index and term of the last entry among them.
    pub last_entry: Option<(u64, u64)>,
    /// To be sent once the frames are durable.
    pub messages: Vec<Message>,
}

pub(crate) struct Group {
    pub(crate) id: RaftGroupId,
    pub(crate) raft: Raft<GroupLog>,
    pub(crate) window: Option<Window>,
    pub(crate) replica: ReplicaId,
    limits: WindowLimits,
    election_seed: u64,
    /// Roles taken so far; makes each election timeout a new draw.
    roles_taken: u64,
    /// Capacity for the next window: what the last ones needed.
    window_capacity: usize,
    /// Own proposals that are not delivered.
    pub(crate) tickets: VecDeque<WindowTicket>,
    /// Sealed, not known to be durable; in WAL order.
    pub(crate) unwritten: VecDeque<Unwritten>,
    /// The hard state in the newest frame.
    pub(crate) framed: HardState,
    /// The newest hard state that is durable.
    pub(crate) durable: HardState,
    /// A hard state with at least this commit index must become durable.
    pub(crate) wanted_commit: u64,
    /// Last index handed to the broker.
    pub(crate) delivered: u64,
    /// Who belongs to the group behind each index; the first one holds at the start of the log.
    pub(crate) memberships: VecDeque<(u64, Membership)>,
    pub(crate) leadership: LeadershipChange,
    /// Term for which the broker was told that this replica is ready.
    pub(crate) ready_term: Term,
    /// Where the group's first frame in this stream lies, until it is durable.
    pub(crate) origin: Option<WalPosition>,
    /// Where the frame lies that ends the group in this stream.
    pub(crate) removed: Option<WalPosition>,
    /// A snapshot whose frame is not durable yet.
    pub(crate) installing: Option<Installing>,
    /// Ticks since members that need a snapshot were last offered one anew.
    pub(crate) offer_ticks: usize,
}

impl Group {
    /// A replica as it was left: `entries` follow `start`.
    pub fn new(
        id: RaftGroupId,
        start: LogStart,
        hard_state: HardState,
        entries: VecDeque<LogEntry>,
        options: &RaftOptions,
        logger: &Logger,
    ) -> Result<Group, GroupError> {
        start.membership.check().map_err(|()| GroupError::BadMembership(id))?;
        let last_index = start.index.0 + entries.len() as u64;
        let commit = hard_state.commit.0.clamp(start.index.0, last_index);
        let term = hard_state.term.max(start.term);
        let hard_state = HardState { term, commit: RaftIndex(commit), ..hard_state };
        let log = GroupLog::new(&start, hard_state, entries);
        let raft = Raft::new(&options.raft_config(), log, logger)
            .map_err(|_| GroupError::BadMembership(id))?;
        let mut group = Group {
            id,
            raft,
            window: None,
            replica: options.replica,
            limits: options.window_limits(),
            election_seed: options.election_seed,
            roles_taken: 0,
            window_capacity: 0,
            tickets: VecDeque::new(),
            unwritten: VecDeque::new(),
            framed: hard_state,
            durable: hard_state,
            wanted_commit: 0,
            delivered: start.index.0,
            memberships: VecDeque::from([(start.index.0, start.membership)]),
            leadership: LeadershipChange {
                raft_group: id,
                term,
                leadership: Leadership::Following(None),
            },
            ready_term: Term(0),
            origin: None,
            removed: None,
            installing: None,
            offer_ticks: 0,
        };
        group.pin_election_timeout();
        Ok(group)
    }

    /// Writes the group into this stream: its origin and all its entries, as they stand.
    pub fn rewrite<W: FrameLog>(&mut self, wal: &W, out: &mut Outbox) -> Result<(), WalError> {
        let log = &self.raft.raft_log.store;
        let (start_index, last_index) = (log.start_index(), log.last_index_known());
        let last_term = log.term_at(last_index).expect("the last index has a term");
        let (_, membership) = &self.memberships[0];
        let origin = Origin {
            start: LogStart {
                index: RaftIndex(start_index),
                term: log.term_at(start_index).expect("the start has a term"),
                membership: membership.clone(),
            },
            hard_state: self.framed,
            last_index: RaftIndex(last_index),
            last_term,
        };
        let tag = FrameKind::Origin.tag(self.id, origin.start.term, origin.start.index);
        let sealed = seal_copy(wal, tag, &origin.encode())?;
        let mut written = Unwritten::at(sealed.position, sealed.frame.len());
        self.origin = Some(sealed.position);
        for index in start_index + 1..=last_index {
            let log = &mut self.raft.raft_log.store;
            let entry = log.entry(index).expect("no gaps").clone();
            let tag = FrameKind::Entry(entry.kind).tag(self.id, Term(entry.term), RaftIndex(index));
            let sealed = seal_copy(wal, tag, &entry.payload)?;
            written.add(sealed.position, sealed.frame.len());
            log.replace(
                index,
                LogEntry { payload: sealed.payload, position: sealed.position, ..entry },
            );
        }
        self.push_unwritten(written, out);
        Ok(())
    }

    /// Starts an election if this replica alone decides; it leads when this returns, and is ready
    /// once the entry that it queued is durable.
    pub fn campaign_if_sole_voter<W: FrameLog>(
        &mut self,
        wal: &W,
        out: &mut Outbox,
    ) -> Result<(), WalError> {
        if !self.membership().is_sole_voter(self.replica) || self.is_leader() {
            return Ok(());
        }
        self.campaign(wal, out)
    }

    /// Starts an election.
    pub fn campaign<W: FrameLog>(&mut self, wal: &W, out: &mut Outbox) -> Result<(), WalError> {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgHup);
        // Only answers to proposals can fail.
        let _ = self.raft.step(message);
        self.pump(wal, out, None)
    }

    pub fn is_leader(&self) -> bool {
        self.raft.state == StateRole::Leader
    }

    /// Who leads, if known.
    pub fn leader(&self) -> Option<ReplicaId> {
        Some(ReplicaId(self.raft.leader_id)).filter(|leader| leader.0 != 0)
    }

    pub fn term(&self) -> Term {
        Term(self.raft.term)
    }

    /// The members now.
    pub fn membership(&self) -> &Membership {
        &self.memberships.back().expect("never empty").1
    }

    /// Whether somebody else has to be told what happens here.
    pub fn has_peers(&self) -> bool {
        self.raft.prs().iter().any(|(id, _)| *id != self.replica.0)
    }

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
        let mut frame = FrameBuilder::new(payload.len());
        frame.append(payload);
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
        message.entries.push(raft_entry(EntryKind::ConfChange, change.encode().into()));
        if self.raft.step(message).is_err() {
            return Ok(Err(ProposeError::ChangePending(self.id)));
        }
        self.tickets.push_back(ticket);
        self.pump(wal, out, None)?;
        Ok(Ok(ticket))
    }

    /// Hands leadership to another voter; windows are refused until it is done or given up.
    pub fn transfer_leadership<W: FrameLog>(
        &mut self,
        to: ReplicaId,
        wal: &W,
        out: &mut Outbox,
    ) -> Result<(), WalError> {
        if !self.is_leader() {
            return Ok(());
        }
        self.close_window(wal, out)?;
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgTransferLeader);
        message.from = to.0;
        let _ = self.raft.step(message);
        self.pump(wal, out, None)
    }

    /// Takes a message of another replica.
    pub fn step<W: FrameLog>(
        &mut self,
        message: Message,
        wal: &W,
        out: &mut Outbox,
    ) -> Result<Result<(), StepError>, WalError> {
        if let Err(error) = self.check_message(&message) {
            return Ok(Err(error));
        }
        if message.get_msg_type() == MessageType::MsgSnapshot {
            return self.take_offer(message, wal, out);
        }
        if self.raft.step(message).is_err() {
            let reason = "a proposal for a replica that does not lead";
            return Ok(Err(StepError::Malformed { raft_group: self.id, reason }));
        }
        self.pump(wal, out, None)?;
        Ok(Ok(()))
    }

    /// Moves the group's clock. A leader without peers has no use for it.
    pub fn tick<W: FrameLog>(&mut self, wal: &W, out: &mut Outbox) -> Result<(), WalError> {
        if self.is_leader() && !self.has_peers() {
            return Ok(());
        }
        self.raft.tick();
        if self.is_leader() {
            self.renew_offers();
        }
        self.pump(wal, out, None)
    }

    /// What was sent to this replica is probably lost. The leader finds out where it stands.
    pub fn report_unreachable<W: FrameLog>(
        &mut self,
        replica: ReplicaId,
        wal: &W,
        out: &mut Outbox,
    ) -> Result<(), WalError> {
        if !self.is_leader() || self.raft.prs().get(replica.0).is_none() {
            return Ok(());
        }
        let mut message = Message { from: replica.0, ..Message::default() };
        message.set_msg_type(MessageType::MsgUnreachable);
        let _ = self.raft.step(message);
        self.pump(wal, out, None)
    }

    /// The state from which a replay can continue when all up to `index` is in segments.
    pub fn checkpoint(&self, index: RaftIndex) -> Result<GroupCheckpoint, GroupError> {
        let log = &self.raft.raft_log.store;
        let index = index.0.max(log.start_index());
        if index > self.delivered {
            let (asked, applied) = (RaftIndex(index), RaftIndex(self.delivered));
            return Err(GroupError::NotApplied { raft_group: self.id, asked, applied });
        }
        let (_, membership) = self.memberships.iter().rfind(|(at, _)| *at <= index).expect("first");
        Ok(GroupCheckpoint {
            raft_group: self.id,
            start: LogStart {
                index: RaftIndex(index),
                term: log.term_at(index).expect("delivered entries have terms"),
                membership: membership.clone(),
            },
            hard_state: HardState {
                commit: self.framed.commit.max(RaftIndex(index)),
                ..self.framed
            },
            covers_before: WalPosition::START,
        })
    }

    /// Lets go of entries up to `index`, which a durable checkpoint covers. With other members, up
    /// to `peer_log_bytes_max` stay: on a leader what a member may still need, on a follower, which
    /// may lead soon, a part of it.
    pub fn truncate_prefix(&mut self, index: RaftIndex, peer_log_bytes_max: usize) {
        let mut index = index.0.min(self.delivered);
        let log = &self.raft.raft_log;
        if self.is_leader() {
            let needed = |at: &raft::Progress| at.matched.max(at.pending_snapshot);
            let slowest = self.raft.prs().iter().map(|(_, at)| needed(at)).min();
            let within = log.store.index_within(peer_log_bytes_max);
            index = index.min(slowest.unwrap_or(index).max(within));
        } else if self.has_peers() {
            index = index.min(log.store.index_within(peer_log_bytes_max / FOLLOWER_SHARE));
        }
        index = index.min(log.applied);
        while self.memberships.get(1).is_some_and(|(at, _)| *at <= index) {
            self.memberships.pop_front();
        }
        self.raft.raft_log.store.truncate_prefix(index);
    }

    pub(crate) fn push_unwritten(&mut self, unwritten: Unwritten, out: &mut Outbox) {
        out.queued_bytes += unwritten.bytes;
        out.queued_frames += unwritten.frames;
        out.last_sealed = Some(unwritten.position);
        self.unwritten.push_back(unwritten);
    }

    /// Replaces the timeout that `raft` drew from its thread's random source by one that depends
    /// on nothing but the seed and what happened to this group.
    pub(crate) fn pin_election_timeout(&mut self) {
        let mut hash = self.election_seed ^ 0x9e37_79b9_7f4a_7c15;
        for word in [self.id.0, self.replica.0, self.raft.term, self.roles_taken] {
            hash = (hash ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            hash ^= hash >> 29;
        }
        let ticks = self.raft.election_timeout();
        self.raft.set_randomized_election_timeout(ticks + (hash % ticks as u64) as usize);
    }

    /// Notices a new term or role and tells the broker.
    pub(crate) fn note_leadership(&mut self, out: &mut Outbox) {
        let leads = self.is_leader();
        let now = LeadershipChange {
            raft_group: self.id,
            term: self.term(),
            leadership: match self.leadership.leadership {
                Leadership::Ready if leads && self.leadership.term == self.term() => return,
                _ if leads => Leadership::Elected,
                _ => Leadership::Following(self.leader()),
            },
        };
        if now == self.leadership {
            return;
        }
        self.roles_taken += 1;
        if !leads {
            self.window = None;
            self.tickets.clear();
        }
        self.leadership = now;
        out.events.push(Event::Leadership(now));
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
        let mut entry = raft_entry(kind, sealed.payload.clone());
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
        if durability == Durability::Memory && self.membership().is_sole_voter(self.replica) {
            let payload = sealed.payload.clone();
            out.events.push(Event::Accepted(Accepted { ticket, payload }));
        }
        Ok(sealed)
    }
}

impl Unwritten {
    pub fn at(position: WalPosition, bytes: usize) -> Unwritten {
        Unwritten {
            position,
            bytes,
            frames: 1,
            hard_state: None,
            last_entry: None,
            messages: Vec::new(),
        }
    }

    pub fn add(&mut self, position: WalPosition, bytes: usize) {
        self.position = position;
        self.bytes += bytes;
        self.frames += 1;
    }
}

/// Seals a frame with a copy of `payload`.
pub(crate) fn seal_copy<W: FrameLog>(
    wal: &W,
    tag: storage::wal::FrameTag,
    payload: &[u8],
) -> Result<storage::wal::SealedFrame, WalError> {
    let mut frame = FrameBuilder::new(payload.len());
    frame.append(payload);
    wal.seal(frame, tag)
}
