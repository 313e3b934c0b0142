//! Replicas that are behind the start of their leader's log: snapshots without data.
//!
//! ```text
//! leader     the entries that a member needs are gone: MsgSnapshot with index, term and members of
//!            what the leader has applied; again, and newer, until the member has caught up
//! follower   hands the offer to the broker ([`crate::Apply::snapshot_offered`]), which brings its own
//!            data to at least that index out of band, durably
//! broker     [`crate::RaftShard::install_snapshot`]: an origin frame begins the log behind the index;
//!            the answer to the leader leaves when the frame is durable
//! ```
//!
//! What an offer names is committed, so it stays true whoever leads later. Until the origin frame is
//! durable, checkpoints hold the state from before: a crash then finds the old log, and data that is
//! ahead of it.

use raft::StateRole;
use raft::eraftpb::{self, Message, MessageType};
use raft::prelude::Snapshot;
use storage::wal::{WalError, WalPosition};

use crate::apply::{Event, MembershipChange, Outbox, SnapshotOffer};
use crate::frame_kind::FrameKind;
use crate::group::{Group, Unwritten, seal_copy};
use crate::group_state::{HardState, LogStart, Membership, Origin};
use crate::{FrameLog, GroupCheckpoint, GroupError, RaftIndex, ReplicaId, StepError, Term};

/// A snapshot that was installed and whose frame is not durable yet.
pub(crate) struct Installing {
    pub origin: WalPosition,
    /// What checkpoints say meanwhile, and the first frame that it needs.
    pub before: GroupCheckpoint,
    pub needed: Option<WalPosition>,
}

/// What the message of a leader offers.
pub(crate) fn offered(message: &Message) -> LogStart {
    let metadata = message.get_snapshot().get_metadata();
    LogStart {
        index: RaftIndex(metadata.index),
        term: Term(metadata.term),
        membership: Membership::from_raft(metadata.get_conf_state()),
    }
}

/// The descriptor for a replica that needs what is not in the log any more.
pub(crate) fn descriptor(start: &LogStart) -> eraftpb::Snapshot {
    let mut snapshot = Snapshot::default();
    let metadata = snapshot.mut_metadata();
    (metadata.index, metadata.term) = (start.index.0, start.term.0);
    metadata.set_conf_state(start.membership.to_raft());
    snapshot
}

impl Group {
    /// Refuses offers that no correct leader makes.
    pub(crate) fn check_offer(&self, message: &Message) -> Result<(), &'static str> {
        let LogStart { index, term, membership } = offered(message);
        if membership.check().is_err() || !membership.names(self.replica) {
            return Err("a snapshot with members that cannot be");
        }
        if index.0 < 1 || term.0 < 1 || term.0 > message.term {
            return Err("a snapshot of no entry");
        }
        let log = &self.raft.raft_log;
        let known = log.store.term_at(index.0);
        if index.0 <= log.committed && known.is_some_and(|known| known != term) {
            return Err("a snapshot that contradicts committed entries");
        }
        Ok(())
    }

    /// Takes the offer of a leader: `raft` answers if the log reaches that far, else the broker is
    /// told.
    pub(crate) fn take_offer<W: FrameLog>(
        &mut self,
        message: Message,
        wal: &W,
        out: &mut Outbox,
    ) -> Result<Result<(), StepError>, WalError> {
        let start = offered(&message);
        let (from, term) = (message.from, message.term);
        let log = &self.raft.raft_log;
        let known =
            start.index.0 <= log.committed || log.store.term_at(start.index.0) == Some(start.term);
        if known || term < self.raft.term {
            let _ = self.raft.step(message);
            self.pump(wal, out, None)?;
            return Ok(Ok(()));
        }
        // Whoever offers leads: the same as if it had sent a heartbeat.
        let mut heartbeat =
            Message { from, to: self.replica.0, term, commit: 0, ..Message::default() };
        heartbeat.set_msg_type(MessageType::MsgHeartbeat);
        let _ = self.raft.step(heartbeat);
        self.pump(wal, out, None)?;
        if self.raft.state == StateRole::Follower && self.raft.leader_id == from {
            out.events.push(Event::Offered(SnapshotOffer {
                raft_group: self.id,
                from: ReplicaId(from),
                start,
            }));
        }
        Ok(Ok(()))
    }

    /// Begins the log anew behind `start`; false if the replica has got there by itself.
    pub(crate) fn install<W: FrameLog>(
        &mut self,
        start: LogStart,
        wal: &W,
        out: &mut Outbox,
    ) -> Result<bool, GroupError> {
        if start.membership.check().is_err() || !start.membership.names(self.replica) {
            return Err(GroupError::BadMembership(self.id));
        }
        let log = &self.raft.raft_log;
        if start.index.0 <= log.committed || log.store.term_at(start.index.0) == Some(start.term) {
            return Ok(false);
        }
        if self.raft.state != StateRole::Follower {
            return Err(GroupError::NotFollower(self.id));
        }
        let before = match self.installing.take() {
            // The frame of an earlier one is not durable either.
            Some(earlier) => (earlier.before, earlier.needed),
            None => self.state_before_install()?,
        };
        assert!(self.raft.restore(descriptor(&start)), "checked what raft checks");
        self.raft.raft_log.store.begin_behind(&start);
        self.raft.raft_log.stable_snap(start.index.0);
        // Nothing that depends on it leaves this replica before the frame is durable.
        self.raft.on_persist_snap(start.index.0);
        self.raft.commit_apply(start.index.0);
        self.delivered = start.index.0;
        self.wanted_commit = self.wanted_commit.min(self.delivered);
        self.memberships = [(start.index.0, start.membership.clone())].into();
        self.seal_origin(&start, before, wal, out)?;
        out.events.push(Event::Membership(MembershipChange {
            raft_group: self.id,
            index: start.index,
            membership: start.membership,
        }));
        self.answer_leader(start.index);
        self.pump(wal, out, None)?;
        Ok(true)
    }

    fn state_before_install(&self) -> Result<(GroupCheckpoint, Option<WalPosition>), GroupError> {
        let before = self.checkpoint(RaftIndex(0))?;
        let needed = self.raft.raft_log.store.position_after(before.start.index);
        // Created here a moment ago: its first frame is still needed.
        Ok((before, self.origin.or(needed)))
    }

    fn seal_origin<W: FrameLog>(
        &mut self,
        start: &LogStart,
        (before, needed): (GroupCheckpoint, Option<WalPosition>),
        wal: &W,
        out: &mut Outbox,
    ) -> Result<(), WalError> {
        let hard_state = HardState {
            term: Term(self.raft.term),
            vote: Some(ReplicaId(self.raft.vote)).filter(|vote| vote.0 != 0),
            commit: start.index,
        };
        let origin = Origin {
            start: start.clone(),
            hard_state,
            last_index: start.index,
            last_term: start.term,
        };
        let tag = FrameKind::Origin.tag(self.id, start.term, start.index);
        let sealed = seal_copy(wal, tag, &origin.encode(), None)?;
        let unwritten = Unwritten::at(sealed.position, sealed.frame.len());
        self.push_unwritten(Unwritten { hard_state: Some(hard_state), ..unwritten }, out);
        self.framed = hard_state;
        self.installing = Some(Installing { origin: sealed.position, before, needed });
        Ok(())
    }

    fn answer_leader(&mut self, index: RaftIndex) {
        if self.raft.leader_id == 0 {
            return;
        }
        let mut answer = Message {
            from: self.replica.0,
            to: self.raft.leader_id,
            term: self.raft.term,
            index: index.0,
            commit: self.raft.raft_log.committed,
            ..Message::default()
        };
        answer.set_msg_type(MessageType::MsgAppendResponse);
        self.raft.msgs.push(answer);
    }

    /// Offers again to members that have not answered for a while: the offer may be lost, and a newer
    /// one is nearer to the end of the log.
    pub(crate) fn renew_offers(&mut self) {
        self.offer_ticks += 1;
        if self.offer_ticks < 2 * self.raft.election_timeout() {
            return;
        }
        self.offer_ticks = 0;
        let waiting = self.raft.prs().iter();
        let waiting = waiting.filter(|(_, at)| at.state == raft::ProgressState::Snapshot);
        let waiting: Vec<u64> = waiting.map(|(id, _)| *id).collect();
        for from in waiting {
            let mut failed = Message { from, reject: true, ..Message::default() };
            failed.set_msg_type(MessageType::MsgSnapStatus);
            let _ = self.raft.step(failed);
        }
    }
}
