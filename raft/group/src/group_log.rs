//! The entries of one Raft group that are not truncated yet, in memory: `raft`'s [`Storage`].
//!
//! Lives in [`crate::group::Group`]. Payloads are slices of the sealed WAL frames, so holding an
//! entry holds its frame's memory; [`GroupLog::truncate_prefix`] lets go after a checkpoint. An
//! entry is here as soon as it is sealed, before it is durable: `raft` learns of durability
//! separately.
//!
//! Invariants: indexes run from `start_index + 1` without gaps; terms do not decrease; positions
//! grow with the index.

use std::collections::VecDeque;

use bytes::Bytes;
use raft::eraftpb::{self, EntryType};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use storage::wal::{FRAME_ALIGNMENT, WalPosition};

use crate::group_snapshot::descriptor;
use crate::{EntryKind, HardState, LogStart, Membership, RaftIndex, Term};

/// Added to each payload when messages to peers are bounded by size.
pub(crate) const ENTRY_OVERHEAD_BYTES: u64 = 32;
/// About what a frame adds to its payload before it is aligned.
const FRAME_HEADER_BYTES: usize = 128;

/// A log entry and where its frame lies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LogEntry {
    pub term: u64,
    pub kind: EntryKind,
    pub payload: Bytes,
    /// CRC-32C of the payload, if it is known.
    pub checksum: Option<u32>,
    pub position: WalPosition,
}

impl LogEntry {
    /// What holding the entry costs: its frame, which is aligned.
    fn memory_bytes(&self) -> usize {
        (FRAME_HEADER_BYTES + self.payload.len()).next_multiple_of(FRAME_ALIGNMENT)
    }

    /// Without copying the payload.
    pub fn to_raft(&self, index: u64) -> eraftpb::Entry {
        let mut entry = raft_entry(self.kind, self.payload.clone(), self.checksum);
        entry.term = self.term;
        entry.index = index;
        entry
    }
}

/// Payloads from this size on travel with their checksum, so that nobody makes another pass over them. Over small ones a pass
/// is cheaper than putting a known checksum behind another one. The simulated world has only small ones.
pub(crate) const CHECKSUM_FROM_BYTES: usize = if cfg!(simulation) { 300 } else { 256 << 10 };

/// An entry for `raft`, term and index unset. The kind travels as the entry's context, behind it the checksum of a large
/// payload, if it is known.
pub(crate) fn raft_entry(kind: EntryKind, payload: Bytes, checksum: Option<u32>) -> eraftpb::Entry {
    let context = match checksum.filter(|_| payload.len() >= CHECKSUM_FROM_BYTES) {
        Some(checksum) => {
            let mut context = [kind as u8; 5];
            context[1..].copy_from_slice(&checksum.to_le_bytes());
            Bytes::copy_from_slice(&context)
        }
        None => Bytes::from_static(kind.as_static()),
    };
    let entry_type = match kind {
        EntryKind::ConfChange => EntryType::EntryConfChangeV2,
        _ => EntryType::EntryNormal,
    };
    eraftpb::Entry { entry_type, data: payload, context, ..Default::default() }
}

/// The kind of an entry, `None` if no replica of ours made it. Entries that `raft` makes by itself
/// have no context: the first of a term, and the one that leaves a joint configuration.
pub(crate) fn kind_of(entry: &eraftpb::Entry) -> Option<EntryKind> {
    let kind = match entry.context[..] {
        [] if entry.entry_type == EntryType::EntryNormal && entry.data.is_empty() => {
            EntryKind::Empty
        }
        [] => EntryKind::ConfChange,
        [byte] | [byte, _, _, _, _] => EntryKind::from_byte(byte)?,
        _ => return None,
    };
    let expected = match kind {
        EntryKind::ConfChange => EntryType::EntryConfChangeV2,
        _ => EntryType::EntryNormal,
    };
    (entry.entry_type == expected).then_some(kind)
}

/// The checksum that travels with an entry.
pub(crate) fn checksum_of(entry: &eraftpb::Entry) -> Option<u32> {
    let checksum = entry.context.get(1..)?.try_into().ok()?;
    Some(u32::from_le_bytes(checksum))
}

pub(crate) struct GroupLog {
    initial: RaftState,
    start_index: u64,
    start_term: u64,
    entries: VecDeque<LogEntry>,
    /// Payloads up to here are released.
    released_to: u64,
    memory_bytes: usize,
    /// Where a replica can begin that is behind the start: what is applied here, and the members
    /// then.
    applied: u64,
    membership: Membership,
}

impl GroupLog {
    /// A log of `entries` behind `start`; `hard_state` is what `raft` starts with.
    pub fn new(start: &LogStart, hard_state: HardState, entries: VecDeque<LogEntry>) -> GroupLog {
        GroupLog {
            initial: RaftState::new(hard_state.to_raft(), start.membership.to_raft()),
            start_index: start.index.0,
            start_term: start.term.0,
            released_to: 0,
            memory_bytes: entries.iter().map(LogEntry::memory_bytes).sum(),
            entries,
            applied: start.index.0,
            membership: start.membership.clone(),
        }
    }

    pub fn start_index(&self) -> u64 {
        self.start_index
    }

    pub fn last_index_known(&self) -> u64 {
        self.start_index + self.entries.len() as u64
    }

    /// Memory of the frames held.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    pub fn entry(&self, index: u64) -> Option<&LogEntry> {
        let at = index.checked_sub(self.start_index + 1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// Everything up to and including `index` is applied.
    pub fn note_applied(&mut self, index: u64) {
        self.applied = index;
    }

    /// The members changed by the entry that is applied next.
    pub fn note_membership(&mut self, membership: Membership) {
        self.membership = membership;
    }

    /// Drops all entries; the log goes on behind `start`.
    pub fn begin_behind(&mut self, start: &LogStart) {
        self.entries.clear();
        self.memory_bytes = 0;
        self.released_to = 0;
        (self.start_index, self.start_term) = (start.index.0, start.term.0);
        (self.applied, self.membership) = (start.index.0, start.membership.clone());
    }

    /// The lowest index behind which all entries together need at most `bytes_max` of memory.
    pub fn index_within(&self, bytes_max: usize) -> u64 {
        let mut bytes = self.memory_bytes;
        let mut index = self.start_index;
        for entry in &self.entries {
            if bytes <= bytes_max {
                break;
            }
            index += 1;
            if index > self.released_to {
                bytes -= entry.memory_bytes();
            }
        }
        index
    }

    /// Puts an entry at `index`, dropping what was there and behind it.
    ///
    /// Panics on a gap or below the start: `raft` never writes there.
    pub fn append(&mut self, index: u64, entry: LogEntry) {
        let last = self.last_index_known();
        assert!(
            index > self.start_index.max(self.released_to) && index <= last + 1,
            "entry {index} does not follow {last} (log starts after {})",
            self.start_index
        );
        let keep = (index - self.start_index - 1) as usize;
        for dropped in self.entries.drain(keep..) {
            self.memory_bytes -= dropped.memory_bytes();
        }
        self.memory_bytes += entry.memory_bytes();
        self.entries.push_back(entry);
    }

    /// Lets go of the payloads up to and including `index`; terms and positions stay. For `raft`
    /// the log then begins behind it: nobody can be sent those entries any more.
    pub fn release_payloads(&mut self, index: u64) {
        let last = index.min(self.last_index_known());
        for index in self.released_to.max(self.start_index) + 1..=last {
            let entry = &mut self.entries[(index - self.start_index - 1) as usize];
            self.memory_bytes -= entry.memory_bytes();
            entry.payload = Bytes::new();
        }
        self.released_to = self.released_to.max(last);
    }

    /// The entry at `index`, unless its payload was released.
    pub fn whole_entry(&self, index: u64) -> Option<&LogEntry> {
        self.entry(index).filter(|_| index > self.released_to)
    }

    /// Puts the same entry in another frame.
    pub fn replace(&mut self, index: u64, entry: LogEntry) {
        let at = (index - self.start_index - 1) as usize;
        assert_eq!(self.entries[at].term, entry.term, "entry {index} changed its term");
        self.entries[at] = entry;
    }

    /// Lets go of everything up to and including `index`, which must be in the log.
    pub fn truncate_prefix(&mut self, index: u64) {
        let Some(entry) = self.entry(index) else {
            return;
        };
        let term = entry.term;
        let count = (index - self.start_index) as usize;
        for (dropped, at) in self.entries.drain(..count).zip(self.start_index + 1..) {
            if at > self.released_to {
                self.memory_bytes -= dropped.memory_bytes();
            }
        }
        self.start_index = index;
        self.start_term = term;
    }

    /// Term of the entry at `index`, also of the one right before the first.
    pub fn term_at(&self, index: u64) -> Option<Term> {
        if index == self.start_index {
            return Some(Term(self.start_term));
        }
        self.entry(index).map(|entry| Term(entry.term))
    }

    /// Where the frame of the first entry behind `index` lies.
    pub fn position_after(&self, index: RaftIndex) -> Option<WalPosition> {
        self.entry(index.0.max(self.start_index) + 1).map(|entry| entry.position)
    }
}

impl Storage for GroupLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if low <= self.start_index.max(self.released_to) {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last_index_known() + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0u64;
        let mut found = Vec::new();
        for index in low..high {
            let Some(entry) = self.entry(index) else {
                break;
            };
            bytes += entry.payload.len() as u64 + ENTRY_OVERHEAD_BYTES;
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(entry.to_raft(index));
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.term_at(index) {
            Some(term) => Ok(term.0),
            None if index < self.start_index => Err(StorageError::Compacted.into()),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.start_index.max(self.released_to) + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last_index_known())
    }

    /// Says where a replica that lags behind the log can begin. The data is the broker's.
    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<eraftpb::Snapshot> {
        let Some(term) = self.term_at(self.applied) else {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        };
        let index = RaftIndex(self.applied);
        Ok(descriptor(&LogStart { index, term, membership: self.membership.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReplicaId;

    fn entry(term: u64, payload: &'static [u8]) -> LogEntry {
        LogEntry {
            term,
            kind: EntryKind::Inline,
            payload: Bytes::from_static(payload),
            checksum: None,
            position: WalPosition::START,
        }
    }

    fn log() -> GroupLog {
        let start = LogStart::create(Membership::of_voters([ReplicaId(1)]));
        let mut log = GroupLog::new(&start, HardState::default(), VecDeque::new());
        for (index, term) in [(2, 2), (3, 2), (4, 3)] {
            log.append(index, entry(term, b"12345678"));
        }
        log
    }

    fn fetch(log: &GroupLog, low: u64, high: u64, max: u64) -> raft::Result<Vec<u64>> {
        let found = log.entries(low, high, max, GetEntriesContext::empty(false))?;
        Ok(found.iter().map(|entry| entry.index).collect())
    }

    #[test]
    fn released_payloads_leave_memory_once_and_are_sent_to_nobody() {
        let mut log = log();
        log.release_payloads(3);
        log.release_payloads(3);
        log.release_payloads(2);
        assert_eq!(log.memory_bytes(), 4096);
        assert_eq!(log.first_index(), Ok(4));
        assert_eq!(log.term(3), Ok(2), "terms and positions stay for the checkpoint");
        assert_eq!(fetch(&log, 3, 5, 100), Err(StorageError::Compacted.into()));
        assert_eq!(fetch(&log, 4, 5, 100), Ok(vec![4]));
        assert!(log.whole_entry(3).is_none() && log.whole_entry(4).is_some());
        log.truncate_prefix(2);
        assert_eq!(log.memory_bytes(), 4096);
        log.release_payloads(99);
        log.append(5, entry(3, b"new"));
        assert_eq!(log.memory_bytes(), 4096);
        log.truncate_prefix(5);
        assert_eq!(log.memory_bytes(), 0);
    }

    #[test]
    fn a_later_entry_at_an_earlier_index_replaces_the_suffix() {
        let mut log = log();
        log.append(3, entry(4, b"1"));
        assert_eq!(log.last_index_known(), 3);
        assert_eq!(log.term_at(3), Some(Term(4)));
        assert_eq!(log.memory_bytes(), 2 * 4096);
    }

    #[test]
    fn truncation_keeps_the_term_of_the_last_entry_it_dropped() {
        let mut log = log();
        log.truncate_prefix(3);
        assert_eq!(log.first_index(), Ok(4));
        assert_eq!(log.term(3), Ok(2));
        assert_eq!(log.term(2), Err(StorageError::Compacted.into()));
        assert_eq!(log.memory_bytes(), 4096);
        log.truncate_prefix(2);
        assert_eq!(log.first_index(), Ok(4), "truncating again changes nothing");
        assert_eq!(fetch(&log, 3, 5, 100), Err(StorageError::Compacted.into()));
    }

    #[test]
    fn entries_are_bounded_by_size_but_never_none() {
        let log = log();
        assert_eq!(fetch(&log, 2, 5, u64::MAX), Ok(vec![2, 3, 4]));
        assert_eq!(fetch(&log, 2, 5, 80), Ok(vec![2, 3]));
        assert_eq!(fetch(&log, 2, 5, 0), Ok(vec![2]));
        assert_eq!(fetch(&log, 2, 6, 0), Err(StorageError::Unavailable.into()));
    }

    #[test]
    fn the_kind_of_an_entry_survives_the_raft_crate() {
        for byte in 1..=5 {
            let kind = EntryKind::from_byte(byte).unwrap();
            let small = raft_entry(kind, Bytes::new(), Some(7));
            assert_eq!((kind_of(&small), checksum_of(&small)), (Some(kind), None));
            let payload = Bytes::from(vec![0; CHECKSUM_FROM_BYTES]);
            let large = raft_entry(kind, payload.clone(), Some(7));
            assert_eq!((kind_of(&large), checksum_of(&large)), (Some(kind), Some(7)));
            assert_eq!(checksum_of(&raft_entry(kind, payload, None)), None);
        }
        assert_eq!(kind_of(&eraftpb::Entry::default()), Some(EntryKind::Empty));
        let mut odd = raft_entry(EntryKind::Inline, Bytes::new(), None);
        odd.entry_type = EntryType::EntryConfChangeV2;
        assert_eq!(kind_of(&odd), None);
        odd.context = Bytes::from_static(&[9]);
        assert_eq!(kind_of(&odd), None);
    }
}
