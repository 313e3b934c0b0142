//! The Raft groups of one shard on one WAL: what the broker holds.
//!
//! One per shard, in an `Rc`. All methods but the four `async` ones are synchronous steps; none
//! keeps a borrow but [`RaftShard::open_window`], whose guard must not be held across an await.
//! [`RaftShard::run`] (in `commit_loop.rs`) must be running for anything to become durable.
//!
//! After a failed write nothing is acknowledged, applied or sent any more: `run` returns the error,
//! every method refuses, and the process ends.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use raft::eraftpb::Message;
use runtime::sync::Notify;
use storage::wal::{Wal, WalError};

use crate::shard_state::ShardState;
use crate::{
    ConfChange, Durability, EntryKind, FrameLog, GroupError, GroupProgress, GroupStatus,
    Leadership, LogStart, Membership, ProposeError, RaftGroupId, RaftIndex, RaftOptions,
    RecoveredGroup, ReplicaId, ShardCheckpoint, ShardStats, StepError, Term, Window, WindowTicket,
};

/// See the module.
pub struct RaftShard<W: FrameLog = Wal> {
    pub(crate) wal: Rc<W>,
    pub(crate) state: RefCell<ShardState>,
    /// Something for the commit loop to do.
    pub(crate) work: Notify,
    /// Windows were closed or the backlog shrank: there may be room.
    pub(crate) closed: Notify,
    /// Something became durable or somebody ready, or nothing ever will.
    pub(crate) progress: Notify,
    pub(crate) stopping: std::cell::Cell<bool>,
}

impl<W: FrameLog> RaftShard<W> {
    /// A shard without groups. The WAL is written by nobody else.
    pub fn new(options: RaftOptions, wal: Rc<W>) -> Rc<RaftShard<W>> {
        Rc::new(RaftShard {
            wal,
            state: RefCell::new(ShardState::new(options)),
            work: Notify::new(),
            closed: Notify::new(),
            progress: Notify::new(),
            stopping: std::cell::Cell::new(false),
        })
    }

    /// Begins a group that never existed, with these members; the same on each of them.
    ///
    /// If this replica is the only voter it leads when this returns, and is ready
    /// ([`RaftShard::ready`]) after one write.
    pub fn create_group(
        &self,
        raft_group: RaftGroupId,
        membership: Membership,
    ) -> Result<(), GroupError> {
        self.change(|state, wal| state.create(raft_group, membership, wal))
    }

    /// Takes in a group that was found in a WAL. If it was found in another stream than this
    /// shard's, it is written into this one; when [`RaftShard::settled`] returns, the other one is
    /// not needed for it any more.
    ///
    /// Everything behind the start of its log is applied again: at once up to the known commit
    /// index, the rest when it is committed anew. A sole voter leads when this returns.
    pub fn add_group(&self, recovered: RecoveredGroup) -> Result<(), GroupError> {
        self.change(|state, wal| state.add(recovered, wal))
    }

    /// Ends a group on this shard: it was deleted, or moved to another stream (and is settled
    /// there).
    pub fn remove_group(&self, raft_group: RaftGroupId) -> Result<(), GroupError> {
        self.change(|state, wal| state.remove(raft_group, wal))
    }

    /// Marks the copy of a group that was found in this stream, but lives in another one, as gone.
    pub fn forget_copy(&self, raft_group: RaftGroupId) -> Result<(), GroupError> {
        self.change(|state, wal| state.forget_copy(raft_group, wal))
    }

    /// The window of the group's next entry, opened if need be.
    ///
    /// What is appended becomes one entry when the commit loop closes the window: at once if no
    /// write is in flight or the window has [`Durability::Memory`], else when the write ends.
    /// One request that asks for memory makes the whole window so; others in it still wait for
    /// [`crate::Apply::apply`]. Costs no allocation but the window's frame.
    pub fn open_window(
        &self,
        raft_group: RaftGroupId,
        durability: Durability,
    ) -> Result<RefMut<'_, Window>, ProposeError> {
        let mut failed = None;
        let state = self.state.borrow_mut();
        let wake = !state.writing || durability == Durability::Memory;
        let window = RefMut::filter_map(state, |state| {
            state.open_window(raft_group, durability).map_err(|error| failed = Some(error)).ok()
        });
        match window {
            Ok(window) => {
                if wake {
                    self.work.notify_one();
                }
                Ok(window)
            }
            Err(_) => Err(failed.unwrap_or(ProposeError::Stopped)),
        }
    }

    /// Adds an entry of its own behind everything in the window. `kind` is `Control` or `Inline`;
    /// other kinds are this crate's.
    pub fn propose(
        &self,
        raft_group: RaftGroupId,
        kind: EntryKind,
        payload: &[u8],
    ) -> Result<WindowTicket, ProposeError> {
        assert!(
            matches!(kind, EntryKind::Control | EntryKind::Inline),
            "{kind:?} is not for the broker to propose"
        );
        let mut state = self.state.borrow_mut();
        let bytes_max = state.options.entry_bytes_max;
        if payload.len() > bytes_max {
            return Err(ProposeError::TooLarge { bytes: payload.len(), bytes_max });
        }
        let (queued_bytes, queued_bytes_max) =
            (state.out.queued_bytes, state.options.queued_bytes_max);
        if queued_bytes >= queued_bytes_max {
            return Err(ProposeError::Backlog { queued_bytes, queued_bytes_max });
        }
        self.step_group(&mut state, raft_group, |group, out, next_sequence, wal| {
            group.propose_alone(kind, payload, next_sequence, wal, out)
        })
        .unwrap_or_else(|refused| Err(refused.into()))
    }

    /// Adds a change of the group's members; [`crate::Apply::membership_changed`] tells when it
    /// takes effect. One at a time.
    pub fn propose_conf_change(
        &self,
        raft_group: RaftGroupId,
        change: &ConfChange,
    ) -> Result<WindowTicket, ProposeError> {
        let mut state = self.state.borrow_mut();
        self.step_group(&mut state, raft_group, |group, out, next_sequence, wal| {
            group.propose_conf_change(change, next_sequence, wal, out)
        })
        .unwrap_or_else(|refused| Err(refused.into()))
    }

    /// Hands leadership to another voter. Windows are refused until it is done, or given up after
    /// an election timeout.
    pub fn transfer_leadership(
        &self,
        raft_group: RaftGroupId,
        to: ReplicaId,
    ) -> Result<(), ProposeError> {
        let mut state = self.state.borrow_mut();
        self.step_group(&mut state, raft_group, |group, out, _, wal| {
            group.transfer_leadership(to, wal, out)
        })
        .map_err(ProposeError::from)
    }

    /// Starts an election, without waiting for the current leader to be missed.
    pub fn campaign(&self, raft_group: RaftGroupId) -> Result<(), ProposeError> {
        let mut state = self.state.borrow_mut();
        self.step_group(&mut state, raft_group, |group, out, _, wal| group.campaign(wal, out))
            .map_err(ProposeError::from)
    }

    /// Takes a message of another replica. Payloads are copied once, into this shard's WAL.
    pub fn step(&self, raft_group: RaftGroupId, message: Message) -> Result<(), StepError> {
        let mut state = self.state.borrow_mut();
        self.step_group(&mut state, raft_group, |group, out, _, wal| group.step(message, wal, out))
            .unwrap_or_else(|refused| Err(refused.into()))
    }

    /// Begins a group's log anew behind `start`, the newest that was offered
    /// ([`crate::Apply::snapshot_offered`]): the broker's data for the group is durable and complete
    /// at least up to there. What comes next to [`crate::Apply::apply`] is the entry behind it. The
    /// leader is answered when this is durable.
    ///
    /// False if the replica needs it no more, because entries came after all. Fails with
    /// [`GroupError::NotFollower`] while it leads or campaigns; it will be offered again.
    pub fn install_snapshot(
        &self,
        raft_group: RaftGroupId,
        start: LogStart,
    ) -> Result<bool, GroupError> {
        let mut installed = false;
        self.change(|state, wal| {
            let (group, out, _) =
                state.group_mut(raft_group).ok_or(GroupError::UnknownGroup(raft_group))?;
            installed = group.install(start, wal, out)?;
            Ok(())
        })?;
        Ok(installed)
    }

    /// What was sent to a replica in any group is probably lost: its leader here stops sending ahead
    /// until it answers.
    pub fn report_unreachable(&self, replica: ReplicaId) {
        let mut state = self.state.borrow_mut();
        if state.failed.is_none()
            && let Err(error) = state.report_unreachable(replica, &*self.wal)
        {
            state.fail(error);
        }
        self.work.notify_one();
    }

    /// The connection to `replica` broke: this group's replica here, if it follows it, does not wait
    /// until its heartbeats are missed before it asks for votes.
    pub fn suspect(&self, raft_group: RaftGroupId, replica: ReplicaId) {
        let mut state = self.state.borrow_mut();
        // a group that is not here has nobody to suspect
        let _ = self.step_group(&mut state, raft_group, |group, out, _, wal| {
            group.suspect(replica, wal, out)
        });
    }

    /// Asks for [`crate::Apply::copied`] once everything up to `index` is durable on that many
    /// voters, or on all if there are not as many. Forgotten when leadership is lost.
    pub fn want_copies(&self, raft_group: RaftGroupId, index: RaftIndex, voters: usize) {
        let mut state = self.state.borrow_mut();
        // a group that is not here tells nothing
        let _ = self.step_group(&mut state, raft_group, |group, out, _, _| {
            group.want_copies(index.0, voters, out);
            Ok(())
        });
    }

    /// Moves the clock of all groups by one tick. Groups with one member do not need it.
    pub fn tick(&self) {
        let mut state = self.state.borrow_mut();
        if state.failed.is_none()
            && let Err(error) = state.tick(&*self.wal)
        {
            state.fail(error);
        }
        self.work.notify_one();
    }

    /// What to put into the shard's checkpoint when everything up to `destaged` of each group is
    /// durable in segments (a group not named keeps its place). All groups are in it.
    ///
    /// Fails if a group is not applied that far.
    pub fn checkpoint(
        &self,
        destaged: &BTreeMap<RaftGroupId, RaftIndex>,
    ) -> Result<ShardCheckpoint, GroupError> {
        self.state.borrow().checkpoint(destaged, &*self.wal)
    }

    /// The checkpoint is durable: entries that it covers leave memory. The caller releases the WAL
    /// before [`ShardCheckpoint::release_before`].
    pub fn checkpointed(&self, checkpoint: &ShardCheckpoint) {
        self.state.borrow_mut().checkpointed(checkpoint);
    }

    /// Lets go of the payloads of entries up to and including `index`, before a checkpoint covers
    /// them: their batches are in segments, and the WAL has them for a restart. Does nothing for a
    /// group with other members, which may still ask for its entries.
    pub fn release_payloads(&self, raft_group: RaftGroupId, index: RaftIndex) {
        let mut state = self.state.borrow_mut();
        if let Some((group, _, _)) = state.group_mut(raft_group)
            && !group.has_peers()
        {
            let index = index.0.min(group.delivered).min(group.raft.raft_log.applied);
            group.raft.raft_log.store.release_payloads(index);
        }
    }

    /// The payload of an entry that is still in memory.
    pub fn entry(&self, raft_group: RaftGroupId, index: RaftIndex) -> Option<Bytes> {
        let state = self.state.borrow();
        let log = &state.group(raft_group)?.raft.raft_log.store;
        log.whole_entry(index.0).map(|entry| entry.payload.clone())
    }

    /// The term of an entry that is still in memory, or of the one that the log starts behind.
    pub fn entry_term(&self, raft_group: RaftGroupId, index: RaftIndex) -> Option<Term> {
        self.state.borrow().group(raft_group)?.raft.raft_log.store.term_at(index.0)
    }

    /// One group, now.
    pub fn status(&self, raft_group: RaftGroupId) -> Option<GroupStatus> {
        self.state.borrow().status(raft_group)
    }

    /// How far the members of a group are; `None` if it is not led here.
    pub fn progress(&self, raft_group: RaftGroupId) -> Option<GroupProgress> {
        GroupProgress::of(self.state.borrow().group(raft_group)?)
    }

    /// All groups, now, in order of their ids.
    pub fn statuses(&self) -> Vec<GroupStatus> {
        self.state.borrow().statuses()
    }

    /// Sums over the groups, for metrics.
    pub fn stats(&self) -> ShardStats {
        self.state.borrow().stats()
    }

    /// The error that ended the shard, if it has ended so.
    pub fn failure(&self) -> Option<WalError> {
        self.state.borrow().failed.clone()
    }

    /// Waits until there may be room again, after [`crate::WindowFull::Later`] or
    /// [`ProposeError::Backlog`]; then try again. Returns at once when the shard has failed.
    pub async fn window_closed(&self) {
        if self.failure().is_none() {
            self.closed.notified().await;
        }
    }

    /// Waits until everything sealed up to now is durable.
    pub async fn settled(&self) -> Result<(), WalError> {
        let Some(last) = self.state.borrow().out.last_sealed else {
            return self.failure().map_or(Ok(()), Err);
        };
        loop {
            if let Some(error) = self.failure() {
                return Err(error);
            }
            if last < self.wal.durable_end() {
                return Ok(());
            }
            self.progress.notified().await;
        }
    }

    /// Waits until this replica leads the group and has applied everything before its term.
    pub async fn ready(&self, raft_group: RaftGroupId) -> Result<(), GroupError> {
        loop {
            {
                let state = self.state.borrow();
                if state.failed.is_some() {
                    return Err(GroupError::Stopped);
                }
                let group = state.group(raft_group).ok_or(GroupError::UnknownGroup(raft_group))?;
                if group.leadership.leadership == Leadership::Ready
                    && group.ready_term == group.term()
                {
                    return Ok(());
                }
            }
            self.progress.notified().await;
        }
    }

    /// Makes [`RaftShard::run`] return once all windows are written and delivered.
    pub fn stop(&self) {
        self.stopping.set(true);
        self.work.notify_one();
    }

    fn change(
        &self,
        change: impl FnOnce(&mut ShardState, &W) -> Result<(), GroupError>,
    ) -> Result<(), GroupError> {
        let mut state = self.state.borrow_mut();
        if state.failed.is_some() {
            return Err(GroupError::Stopped);
        }
        let result = change(&mut state, &self.wal);
        if let Err(GroupError::Wal(error)) = &result {
            state.fail(error.clone());
        }
        self.work.notify_one();
        result
    }

    /// One step of one group; a failure to seal ends the shard.
    fn step_group<R>(
        &self,
        state: &mut ShardState,
        raft_group: RaftGroupId,
        step: impl FnOnce(
            &mut crate::group::Group,
            &mut crate::apply::Outbox,
            &mut u64,
            &W,
        ) -> Result<R, WalError>,
    ) -> Result<R, Refused> {
        if state.failed.is_some() {
            return Err(Refused::Stopped);
        }
        let Some((group, out, next_sequence)) = state.group_mut(raft_group) else {
            return Err(Refused::UnknownGroup(raft_group));
        };
        let result = step(group, out, next_sequence, &self.wal);
        self.work.notify_one();
        result.map_err(|error| {
            state.fail(error);
            Refused::Stopped
        })
    }
}

/// Why a group could not even be asked.
enum Refused {
    UnknownGroup(RaftGroupId),
    Stopped,
}

impl From<Refused> for ProposeError {
    fn from(refused: Refused) -> ProposeError {
        match refused {
            Refused::UnknownGroup(raft_group) => ProposeError::UnknownGroup(raft_group),
            Refused::Stopped => ProposeError::Stopped,
        }
    }
}

impl From<Refused> for StepError {
    fn from(refused: Refused) -> StepError {
        match refused {
            Refused::UnknownGroup(raft_group) => StepError::UnknownGroup(raft_group),
            Refused::Stopped => StepError::Stopped,
        }
    }
}
