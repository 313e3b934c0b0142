//! All Raft groups of a shard: the synchronous core behind [`crate::RaftShard`].
//!
//! Every method is one step: it changes groups, seals frames, and leaves in the outbox what the
//! broker and the peers must hear. Nothing here waits.

use std::collections::{BTreeMap, VecDeque};
use std::mem;

use slog::Logger;
use storage::wal::{WalError, WalPosition};

use crate::apply::{Event, Leadership, Outbox};
use crate::frame_kind::FrameKind;
use crate::group::{Group, Unwritten, seal_copy};
use crate::group_state::{HardState, LogStart, Membership};
use crate::options::{PEER_LOG_BYTES_MIN, RaftOptions};
use crate::raft_logger::raft_logger;
use crate::replay::RecoveredGroup;
use crate::shard_report::{GroupStatus, ShardCheckpoint, ShardStats};
use crate::window::{Durability, Window};
use crate::{FrameLog, GroupError, ProposeError, RaftGroupId, RaftIndex, ReplicaId, Term};

pub(crate) struct ShardState {
    pub options: RaftOptions,
    logger: Logger,
    groups: BTreeMap<RaftGroupId, Group>,
    /// Groups whose window is open.
    opened: Vec<RaftGroupId>,
    pub out: Outbox,
    pub next_sequence: u64,
    /// A write is in flight.
    pub writing: bool,
    /// Why nothing is done any more.
    pub failed: Option<WalError>,
}

/// Which windows to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    /// Those whose entries can be acknowledged before they are written.
    Memory,
}

impl ShardState {
    pub fn new(options: RaftOptions) -> ShardState {
        ShardState {
            options,
            logger: raft_logger(),
            groups: BTreeMap::new(),
            opened: Vec::new(),
            out: Outbox::default(),
            next_sequence: 0,
            writing: false,
            failed: None,
        }
    }

    pub fn group(&self, id: RaftGroupId) -> Option<&Group> {
        self.groups.get(&id).filter(|group| group.removed.is_none())
    }

    /// The group and what it needs to work.
    pub fn group_mut(&mut self, id: RaftGroupId) -> Option<(&mut Group, &mut Outbox, &mut u64)> {
        let group = self.groups.get_mut(&id).filter(|group| group.removed.is_none())?;
        Some((group, &mut self.out, &mut self.next_sequence))
    }

    /// Takes in a group and writes it into the stream if it is not there yet. A sole voter leads
    /// when this returns.
    pub fn add<W: FrameLog>(
        &mut self,
        recovered: RecoveredGroup,
        wal: &W,
    ) -> Result<(), GroupError> {
        let id = recovered.raft_group;
        if self.groups.contains_key(&id) {
            return Err(GroupError::Exists(id));
        }
        let RecoveredGroup { start, mut hard_state, entries, stream, .. } = recovered;
        if runtime::mutant::is("vote-forgotten") {
            hard_state.vote = None;
        }
        let mut group = Group::new(id, start, hard_state, entries, &self.options, &self.logger)?;
        if stream != self.options.stream {
            group.rewrite(wal, &mut self.out)?;
        }
        self.start(group, wal)
    }

    /// Begins a group that never existed.
    pub fn create<W: FrameLog>(
        &mut self,
        id: RaftGroupId,
        membership: Membership,
        wal: &W,
    ) -> Result<(), GroupError> {
        if self.groups.contains_key(&id) {
            return Err(GroupError::Exists(id));
        }
        let start = LogStart::create(membership);
        let (term, commit) = (start.term, start.index);
        let hard_state = HardState { term, vote: None, commit };
        let (options, logger) = (&self.options, &self.logger);
        let mut group = Group::new(id, start, hard_state, VecDeque::new(), options, logger)?;
        group.rewrite(wal, &mut self.out)?;
        self.start(group, wal)
    }

    fn start<W: FrameLog>(&mut self, mut group: Group, wal: &W) -> Result<(), GroupError> {
        group.pump(wal, &mut self.out, None)?;
        group.campaign_if_sole_voter(wal, &mut self.out)?;
        self.groups.insert(group.id, group);
        Ok(())
    }

    /// Ends a group in this stream. It answers nothing from now on; it is gone once the frame that
    /// says so is durable.
    pub fn remove<W: FrameLog>(&mut self, id: RaftGroupId, wal: &W) -> Result<(), GroupError> {
        let group = self.groups.get_mut(&id).filter(|group| group.removed.is_none());
        let group = group.ok_or(GroupError::UnknownGroup(id))?;
        let tag = FrameKind::Removed.tag(id, group.term(), RaftIndex(group.delivered));
        let sealed = seal_copy(wal, tag, &[], None)?;
        group.window = None;
        group.removed = Some(sealed.position);
        group.push_unwritten(Unwritten::at(sealed.position, 0), &mut self.out);
        Ok(())
    }

    /// Marks a copy of a group that lives in another stream as gone from this one.
    pub fn forget_copy<W: FrameLog>(&mut self, id: RaftGroupId, wal: &W) -> Result<(), GroupError> {
        if self.groups.contains_key(&id) {
            return Err(GroupError::Exists(id));
        }
        let sealed = seal_copy(wal, FrameKind::Removed.tag(id, Term(0), RaftIndex(0)), &[], None)?;
        self.out.queued_frames += 1;
        self.out.unowned_frames += 1;
        self.out.last_sealed = Some(sealed.position);
        Ok(())
    }

    pub fn open_window(
        &mut self,
        id: RaftGroupId,
        durability: Durability,
    ) -> Result<&mut Window, ProposeError> {
        if self.failed.is_some() {
            return Err(ProposeError::Stopped);
        }
        let (queued_bytes, queued_bytes_max) =
            (self.out.queued_bytes, self.options.queued_bytes_max);
        if queued_bytes >= queued_bytes_max {
            return Err(ProposeError::Backlog { queued_bytes, queued_bytes_max });
        }
        let group = self.groups.get_mut(&id).ok_or(ProposeError::UnknownGroup(id))?;
        let was_open = group.window.is_some();
        let window = group.open_window(durability, &mut self.next_sequence)?;
        if !was_open {
            self.opened.push(id);
        }
        Ok(window)
    }

    /// Proposes what the open windows hold.
    pub fn close_windows<W: FrameLog>(&mut self, which: Which, wal: &W) -> Result<(), WalError> {
        let mut opened = mem::take(&mut self.opened);
        let mut result = Ok(());
        opened.retain(|id| {
            let Some(group) = self.groups.get_mut(id) else {
                return false;
            };
            let due = match &group.window {
                None => return false,
                Some(window) => which == Which::All || window.durability == Durability::Memory,
            };
            if due && result.is_ok() {
                result = group.close_window(wal, &mut self.out);
            }
            group.window.is_some()
        });
        self.opened = opened;
        result
    }

    /// The WAL is durable before `durable_end`.
    pub fn written<W: FrameLog>(
        &mut self,
        durable_end: WalPosition,
        wal: &W,
    ) -> Result<(), WalError> {
        for group in self.groups.values_mut() {
            if group.unwritten.front().is_some_and(|first| first.position < durable_end) {
                group.written(durable_end, wal, &mut self.out)?;
            }
        }
        self.groups.retain(|_, group| group.removed.is_none_or(|position| position >= durable_end));
        if self.out.last_sealed.is_some_and(|last| last < durable_end) {
            self.out.queued_frames -= mem::take(&mut self.out.unowned_frames);
        }
        Ok(())
    }

    pub fn tick<W: FrameLog>(&mut self, wal: &W) -> Result<(), WalError> {
        let live = self.groups.values_mut().filter(|group| group.removed.is_none());
        for group in live {
            group.tick(wal, &mut self.out)?;
        }
        Ok(())
    }

    /// Notes what the broker is about to hear: from then on it may open windows.
    pub fn note_delivery(&mut self, event: &Event) {
        if let Event::Leadership(change) = event
            && change.leadership == Leadership::Ready
            && let Some(group) = self.groups.get_mut(&change.raft_group)
        {
            group.ready_term = change.term;
        }
    }

    /// Nothing leaves this shard any more.
    pub fn fail(&mut self, error: WalError) {
        self.failed.get_or_insert(error);
        self.out = Outbox::default();
        self.opened.clear();
        for group in self.groups.values_mut() {
            group.window = None;
        }
    }

    /// See [`crate::RaftShard::checkpoint`].
    pub fn checkpoint<W: FrameLog>(
        &self,
        destaged: &BTreeMap<RaftGroupId, RaftIndex>,
        wal: &W,
    ) -> Result<ShardCheckpoint, GroupError> {
        let covers_before = wal.durable_end();
        let mut groups = Vec::new();
        let mut release_before = covers_before;
        for (id, group) in &self.groups {
            if let Some(origin) = group.origin {
                // Created after what this checkpoint covers; its frames tell all.
                release_before = release_before.min(origin);
                continue;
            }
            if let Some(installing) = &group.installing {
                // The frame that begins the log anew is not durable: until then the old log holds.
                release_before =
                    installing.needed.map_or(release_before, |needed| release_before.min(needed));
                groups.push(crate::GroupCheckpoint { covers_before, ..installing.before.clone() });
                continue;
            }
            let index = destaged.get(id).copied().unwrap_or_default();
            let checkpoint = group.checkpoint(index)?;
            let log = &group.raft.raft_log.store;
            if let Some(needed) = log.position_after(checkpoint.start.index) {
                release_before = release_before.min(needed);
            }
            groups.push(crate::GroupCheckpoint { covers_before, ..checkpoint });
        }
        Ok(ShardCheckpoint { groups, release_before })
    }

    /// See [`crate::RaftShard::checkpointed`].
    pub fn checkpointed(&mut self, checkpoint: &ShardCheckpoint) {
        let with_peers = self.groups.values().filter(|group| group.has_peers()).count().max(1);
        let share = (self.options.peer_log_bytes_max / with_peers).max(PEER_LOG_BYTES_MIN);
        let share = share.min(self.options.peer_log_bytes_max);
        for done in &checkpoint.groups {
            if let Some(group) = self.groups.get_mut(&done.raft_group) {
                group.truncate_prefix(done.start.index, share);
            }
        }
    }

    /// What was sent to a replica is probably lost.
    pub fn report_unreachable<W: FrameLog>(
        &mut self,
        replica: ReplicaId,
        wal: &W,
    ) -> Result<(), WalError> {
        let live = self.groups.values_mut().filter(|group| group.removed.is_none());
        for group in live {
            group.report_unreachable(replica, wal, &mut self.out)?;
        }
        Ok(())
    }

    pub fn status(&self, id: RaftGroupId) -> Option<GroupStatus> {
        self.group(id).map(GroupStatus::of)
    }

    pub fn statuses(&self) -> Vec<GroupStatus> {
        let live = self.groups.values().filter(|group| group.removed.is_none());
        live.map(GroupStatus::of).collect()
    }

    pub fn stats(&self) -> ShardStats {
        let windows = self.groups.values().filter_map(|group| group.window.as_ref());
        ShardStats {
            groups: self.groups.len(),
            log_bytes: self.groups.values().map(|g| g.raft.raft_log.store.memory_bytes()).sum(),
            window_bytes: windows.map(Window::len).sum(),
            queued_bytes: self.out.queued_bytes,
            queued_frames: self.out.queued_frames,
        }
    }
}
