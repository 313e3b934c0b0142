//! From the frames of a WAL stream back to Raft groups.
//!
//! Runs at start-up on the shard that will own the groups, or on any other: what it yields can be
//! sent. Feed it the checkpoint of the stream, then every frame from the checkpoint's position on,
//! in order. A group that lies in several streams (its move to another stream was interrupted) is
//! settled by [`newest_of`].
//!
//! Rules:
//! - an entry at or before the last one replaces the log from there on;
//! - entries behind a gap belong to a tail that was replaced later; a gap at the end is an error;
//! - of hard states the one written last counts, and the checkpoint's is among them;
//! - an origin whose last entry never follows is a move that did not finish: the group is not here.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use runtime::mutant;
use storage::wal::{FrameTag, WalPosition};

use crate::conf_change::ConfChange;
use crate::frame_kind::FrameKind;
use crate::group_log::LogEntry;
use crate::{
    EntryKind, GroupCheckpoint, HardState, LogStart, Membership, Origin, RaftGroupId, RaftIndex,
    RecoveryError, ReplicaId, StateError, Term,
};

/// Terms that a recovery leaves out.
const RECOVERY_TERMS: u64 = 1000;

/// A group as a stream left it. `Send`: it may be taken in by any shard.
#[derive(Debug)]
pub struct RecoveredGroup {
    pub raft_group: RaftGroupId,
    /// The stream it was found in.
    pub stream: u16,
    pub start: LogStart,
    pub hard_state: HardState,
    pub(crate) entries: VecDeque<LogEntry>,
}

/// Reads one stream. See the module.
pub struct StreamReplay {
    stream: u16,
    groups: BTreeMap<RaftGroupId, Replayed>,
}

#[derive(Default)]
struct Replayed {
    checkpoint: Option<GroupCheckpoint>,
    /// Absent until a checkpoint or an origin tells where the log begins.
    start: Option<LogStart>,
    hard_state: HardState,
    entries: VecDeque<LogEntry>,
    /// The last entry of a move into this stream, until it is seen.
    awaited: Option<(RaftIndex, Term)>,
    gap: Option<RecoveryError>,
    orphan: Option<RecoveryError>,
}

impl RecoveredGroup {
    /// Term and index of the last entry.
    pub fn last(&self) -> (Term, RaftIndex) {
        let index = RaftIndex(self.start.index.0 + self.entries.len() as u64);
        (self.entries.back().map_or(self.start.term, |entry| Term(entry.term)), index)
    }

    /// The entries behind the start, with what the broker or this crate put into them.
    pub fn entries(&self) -> impl Iterator<Item = (RaftIndex, EntryKind, &Bytes)> {
        let first = self.start.index.0 + 1;
        (first..).zip(&self.entries).map(|(at, entry)| (RaftIndex(at), entry.kind, &entry.payload))
    }

    /// Who votes when the log ends, as far as changes of one member at a time say.
    pub fn last_membership(&self) -> Membership {
        let mut members = self.start.membership.clone();
        for (_, kind, payload) in self.entries() {
            if kind == EntryKind::ConfChange
                && let Ok(change) = ConfChange::decode(payload)
            {
                members.follow(&change);
            }
        }
        members
    }

    /// Makes this replica the only member, whatever the others were: for a recovery after the loss of a majority, which
    /// gives up what the others acknowledged without it. Nothing of that is written: the WAL says so once a checkpoint
    /// begins behind everything that was here, and until then this has to be done again at each start.
    ///
    /// The term takes a leap, so that those that the others may have had meanwhile are not used again.
    pub fn continue_alone(&mut self, replica: ReplicaId) {
        self.start.membership = Membership::of_voters([replica]);
        for entry in &mut self.entries {
            if entry.kind == EntryKind::ConfChange {
                (entry.kind, entry.payload) = (EntryKind::Empty, Bytes::new());
            }
        }
        self.hard_state.term = Term(self.hard_state.term.0 + RECOVERY_TERMS);
        self.hard_state.vote = None;
    }

    /// Which of two copies of a group was written to last. A finished move is continued by an
    /// election, so only equal copies tie.
    fn age(&self) -> impl Ord {
        (self.hard_state.term, self.last(), self.hard_state.commit)
    }
}

/// The groups of a node, each once, and the copies that are left over.
#[derive(Debug, Default)]
pub struct NewestGroups {
    pub groups: Vec<RecoveredGroup>,
    /// Copies in other streams. If such a stream stays in use, tell its shard to
    /// [`crate::RaftShard::forget_copy`] once the group is settled elsewhere.
    pub left_over: Vec<(u16, RaftGroupId)>,
}

/// Picks the newest copy of each group.
pub fn newest_of(recovered: impl IntoIterator<Item = RecoveredGroup>) -> NewestGroups {
    let mut newest = BTreeMap::<RaftGroupId, RecoveredGroup>::new();
    let mut left_over = Vec::new();
    for group in recovered {
        let id = group.raft_group;
        let loser = match newest.remove(&id) {
            None => {
                newest.insert(id, group);
                continue;
            }
            Some(other) if other.age() >= group.age() => {
                newest.insert(id, other);
                group
            }
            Some(other) => {
                newest.insert(id, group);
                other
            }
        };
        left_over.push((loser.stream, id));
    }
    NewestGroups { groups: newest.into_values().collect(), left_over }
}

impl StreamReplay {
    /// Begins with what the checkpoint of stream number `stream` holds.
    pub fn new(stream: u16, checkpoint: impl IntoIterator<Item = GroupCheckpoint>) -> StreamReplay {
        let groups = checkpoint.into_iter().map(|group| (group.raft_group, Replayed::from(group)));
        StreamReplay { stream, groups: groups.collect() }
    }

    /// Takes the next frame. The payload is kept, not copied.
    pub fn frame(
        &mut self,
        tag: FrameTag,
        position: WalPosition,
        payload: Bytes,
    ) -> Result<(), RecoveryError> {
        let raft_group = RaftGroupId(tag.owner);
        let kind = FrameKind::from_byte(tag.kind).ok_or(RecoveryError::UnknownKind {
            raft_group,
            position,
            kind: tag.kind,
        })?;
        let bad_state =
            |source: StateError| RecoveryError::BadState { raft_group, position, source };
        let group = self.groups.entry(raft_group).or_default();
        match kind {
            FrameKind::Origin => {
                group.begin(Origin::decode(&payload).map_err(bad_state)?, position);
            }
            FrameKind::Removed if group.covers(position) => group.restart(),
            FrameKind::Removed => *group = Replayed::default(),
            _ if group.start.is_none() => {
                group.orphan.get_or_insert(RecoveryError::Orphan { raft_group, position });
            }
            FrameKind::HardState => {
                let state = HardState::decode(&payload).map_err(bad_state)?;
                if state.supersedes(&group.hard_state) {
                    group.hard_state = state;
                }
            }
            FrameKind::Entry(EntryKind::Inline) if mutant::is("replay-skips-batches") => {
                let entry = LogEntry {
                    term: tag.major,
                    kind: EntryKind::Empty,
                    payload: Bytes::new(),
                    checksum: None,
                    position,
                };
                group.put(raft_group, RaftIndex(tag.minor), entry)?;
            }
            FrameKind::Entry(kind) => {
                if kind == EntryKind::ConfChange {
                    ConfChange::decode(&payload).map_err(bad_state)?;
                }
                let entry = LogEntry { term: tag.major, kind, payload, checksum: None, position };
                group.put(raft_group, RaftIndex(tag.minor), entry)?;
            }
        }
        Ok(())
    }

    /// The groups of the stream, in order of their ids.
    pub fn finish(self) -> Result<Vec<RecoveredGroup>, RecoveryError> {
        let mut found = Vec::new();
        for (raft_group, group) in self.groups {
            if let Some(error) = group.orphan.or(group.gap) {
                return Err(error);
            }
            let Some(start) = group.start else { continue };
            if let Some((index, term)) = group.awaited {
                tracing::info!(%raft_group, stream = self.stream, %index, %term, "unfinished move");
                continue;
            }
            found.push(RecoveredGroup {
                raft_group,
                stream: self.stream,
                start,
                hard_state: group.hard_state,
                entries: group.entries,
            });
        }
        Ok(found)
    }
}

impl Replayed {
    fn from(checkpoint: GroupCheckpoint) -> Replayed {
        Replayed {
            start: Some(checkpoint.start.clone()),
            hard_state: checkpoint.hard_state,
            checkpoint: Some(checkpoint),
            ..Replayed::default()
        }
    }

    /// Whether the checkpoint was made when this frame was durable already.
    fn covers(&self, position: WalPosition) -> bool {
        self.checkpoint.as_ref().is_some_and(|checkpoint| position < checkpoint.covers_before)
    }

    /// Forgets the frames of an earlier stay of the group in this stream.
    fn restart(&mut self) {
        if let Some(checkpoint) = self.checkpoint.take() {
            *self = Replayed::from(checkpoint);
        }
    }

    fn begin(&mut self, origin: Origin, position: WalPosition) {
        if self.covers(position) {
            return self.restart();
        }
        let last = (origin.last_index, origin.last_term);
        *self = Replayed {
            awaited: Some(last).filter(|(index, _)| *index > origin.start.index),
            start: Some(origin.start),
            hard_state: origin.hard_state,
            ..Replayed::default()
        };
    }

    fn put(
        &mut self,
        raft_group: RaftGroupId,
        index: RaftIndex,
        entry: LogEntry,
    ) -> Result<(), RecoveryError> {
        let covered = self.covers(entry.position);
        let Some(start) = &self.start else {
            return Ok(());
        };
        let (term, position) = (Term(entry.term), entry.position);
        if index <= start.index || term < start.term {
            // Truncated since, or part of a tail that was replaced.
            return Ok(());
        }
        let expected = RaftIndex(start.index.0 + self.entries.len() as u64 + 1);
        if index > expected {
            let found = index;
            self.gap.get_or_insert(RecoveryError::Gap { raft_group, position, expected, found });
            return Ok(());
        }
        let keep = (index.0 - start.index.0 - 1) as usize;
        let previous = match keep.checked_sub(1) {
            Some(last) => Term(self.entries[last].term),
            None => start.term,
        };
        let current = self.hard_state.term;
        if term < previous || term > current {
            return match covered {
                // Left from an earlier stay in this stream; its end is still to come.
                true => Ok(()),
                false if term < previous => {
                    Err(RecoveryError::TermWentBack { raft_group, position, previous, found: term })
                }
                false => {
                    Err(RecoveryError::TermAhead { raft_group, position, current, found: term })
                }
            };
        }
        self.gap = None;
        if mutant::is("replaced-tail-comes-back") && keep < self.entries.len() {
            self.entries[keep] = entry;
            return Ok(());
        }
        self.entries.truncate(keep);
        self.entries.push_back(entry);
        if self.awaited == Some((index, term)) {
            self.awaited = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf_change::MemberChange;

    fn entry(term: u64, kind: EntryKind, payload: Vec<u8>) -> LogEntry {
        LogEntry {
            term,
            kind,
            payload: payload.into(),
            checksum: None,
            position: WalPosition::START,
        }
    }

    #[test]
    fn a_replica_that_goes_on_alone_keeps_its_entries_and_forgets_all_other_members() {
        let join = ConfChange { changes: vec![MemberChange::AddVoter(ReplicaId(4))] };
        let membership = Membership::of_voters([1, 2, 3].map(ReplicaId));
        let mut group = RecoveredGroup {
            raft_group: RaftGroupId(7),
            stream: 0,
            start: LogStart { index: RaftIndex(10), term: Term(3), membership },
            hard_state: HardState {
                term: Term(5),
                vote: Some(ReplicaId(2)),
                commit: RaftIndex(11),
            },
            entries: VecDeque::from([
                entry(4, EntryKind::Inline, vec![1]),
                entry(5, EntryKind::ConfChange, join.encode()),
            ]),
        };
        assert_eq!(group.last_membership().voters, [1, 2, 3, 4].map(ReplicaId));
        group.continue_alone(ReplicaId(3));
        assert!(group.last_membership().is_sole_voter(ReplicaId(3)));
        assert_eq!(group.last(), (Term(5), RaftIndex(12)));
        let kinds: Vec<EntryKind> = group.entries().map(|(_, kind, _)| kind).collect();
        assert_eq!(kinds, [EntryKind::Inline, EntryKind::Empty]);
        assert_eq!(group.hard_state.vote, None);
        assert!(group.hard_state.term > Term(5), "what the others did meanwhile is not repeated");
    }
}
