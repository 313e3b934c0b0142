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
use storage::wal::{FrameBuilder, WalError, WalPosition};

use crate::apply::{Event, Leadership, LeadershipChange, Outbox};
use crate::frame_kind::FrameKind;
use crate::group_copies::CopiesWanted;
use crate::group_log::{GroupLog, LogEntry};
use crate::group_memory::{HeldInMemory, is_held, is_marked};
use crate::group_snapshot::Installing;
use crate::group_state::{HardState, LogStart, Membership, Origin};
use crate::options::RaftOptions;
use crate::window::{Window, WindowLimits, WindowTicket};
use crate::{
    FrameLog, GroupCheckpoint, GroupError, RaftGroupId, RaftIndex, ReplicaId, StepError, Term,
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
    pub(crate) limits: WindowLimits,
    pub(crate) election_seed: u64,
    /// Capacity for the next window: what the last ones needed.
    pub(crate) window_capacity: usize,
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
    /// What followers hold before it is durable.
    pub(crate) memory: HeldInMemory,
    /// Copies beyond the majority that the broker waits for.
    pub(crate) copies: CopiesWanted,
    #[cfg(simulation)]
    pub(crate) commit_seen: u64,
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
            memory: HeldInMemory::default(),
            copies: CopiesWanted::default(),
            #[cfg(simulation)]
            commit_seen: 0,
        };
        group.pin_election_timeout();
        #[cfg(simulation)]
        group.show_began();
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
        let sealed = seal_copy(wal, tag, &origin.encode(), None)?;
        let mut written = Unwritten::at(sealed.position, sealed.frame.len());
        self.origin = Some(sealed.position);
        for index in start_index + 1..=last_index {
            let log = &mut self.raft.raft_log.store;
            let entry = log.entry(index).expect("no gaps").clone();
            let tag = FrameKind::Entry(entry.kind).tag(self.id, Term(entry.term), RaftIndex(index));
            let sealed = seal_copy(wal, tag, &entry.payload, entry.checksum)?;
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
        mut message: Message,
        wal: &W,
        out: &mut Outbox,
    ) -> Result<Result<(), StepError>, WalError> {
        if let Err(error) = self.check_message(&message) {
            #[cfg(simulation)]
            if let StepError::Malformed { reason, .. } = &error {
                self.show_refused(reason);
            }
            return Ok(Err(error));
        }
        if message.get_msg_type() == MessageType::MsgRequestVoteResponse
            && runtime::mutant::is("old-vote-counts")
        {
            message.term = message.term.max(self.raft.term);
        }
        if message.get_msg_type() == MessageType::MsgSnapshot {
            return self.take_offer(message, wal, out);
        }
        if is_held(&message) {
            self.note_held(&message, out);
            return Ok(Ok(()));
        }
        let marked = is_marked(&message);
        if self.raft.step(message).is_err() {
            let reason = "a proposal for a replica that does not lead";
            return Ok(Err(StepError::Malformed { raft_group: self.id, reason }));
        }
        if marked {
            self.answer_from_memory(out);
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
        #[cfg(simulation)]
        if leads {
            self.show_elected();
        }
        if !leads {
            self.window = None;
            self.tickets.clear();
            self.memory.clear();
            self.copies.clear();
        }
        self.leadership = now;
        out.events.push(Event::Leadership(now));
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
    checksum: Option<u32>,
) -> Result<storage::wal::SealedFrame, WalError> {
    wal.seal(FrameBuilder::copy_of(payload, checksum), tag)
}
