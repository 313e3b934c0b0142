//! What a WAL frame of this crate holds: the meaning of [`FrameTag::kind`].
//!
//! The numbers are on disk. They are never reused; a new meaning gets a new number. The other
//! fields of the tag: `owner` is the Raft group, `major` the term, `minor` the index (of a hard
//! state: its commit index).

use storage::wal::FrameTag;

use crate::{RaftGroupId, RaftIndex, Term};

/// What the payload of a log entry is. Opaque to this crate except for `Empty` and `ConfChange`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// The entry that a new leader writes first. No payload.
    Empty = 1,
    /// Batches as they came on the wire.
    Inline = 2,
    /// Reference to data that is durable elsewhere. Reserved.
    ExtentRef = 3,
    /// A command of the broker that carries no batches.
    Control = 4,
    /// A change of the group's members; the payload is [`crate::ConfChange`].
    ConfChange = 5,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// One log entry.
    Entry(EntryKind),
    /// Term, vote and commit index; the payload is [`crate::HardState`].
    HardState,
    /// The group begins in this stream: created or moved here. Forgets all earlier frames of the
    /// group in this stream. The payload is [`crate::Origin`].
    Origin,
    /// The group has left this stream. No payload.
    Removed,
}

const HARD_STATE: u8 = 32;
const ORIGIN: u8 = 33;
const REMOVED: u8 = 34;

impl EntryKind {
    /// The kind with this number.
    pub fn from_byte(byte: u8) -> Option<EntryKind> {
        Some(match byte {
            1 => EntryKind::Empty,
            2 => EntryKind::Inline,
            3 => EntryKind::ExtentRef,
            4 => EntryKind::Control,
            5 => EntryKind::ConfChange,
            _ => return None,
        })
    }

    /// The number as a static slice, for the `context` of a `raft` entry: costs no allocation.
    pub(crate) fn as_static(self) -> &'static [u8] {
        match self {
            EntryKind::Empty => &[1],
            EntryKind::Inline => &[2],
            EntryKind::ExtentRef => &[3],
            EntryKind::Control => &[4],
            EntryKind::ConfChange => &[5],
        }
    }
}

impl FrameKind {
    /// The number on disk.
    pub fn to_byte(self) -> u8 {
        match self {
            FrameKind::Entry(kind) => kind as u8,
            FrameKind::HardState => HARD_STATE,
            FrameKind::Origin => ORIGIN,
            FrameKind::Removed => REMOVED,
        }
    }

    /// The kind with this number.
    pub fn from_byte(byte: u8) -> Option<FrameKind> {
        match byte {
            HARD_STATE => Some(FrameKind::HardState),
            ORIGIN => Some(FrameKind::Origin),
            REMOVED => Some(FrameKind::Removed),
            _ => EntryKind::from_byte(byte).map(FrameKind::Entry),
        }
    }

    /// The label for the WAL.
    pub(crate) fn tag(self, raft_group: RaftGroupId, term: Term, index: RaftIndex) -> FrameTag {
        FrameTag { owner: raft_group.0, kind: self.to_byte(), major: term.0, minor: index.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_from_its_number_and_no_other_number_is_a_kind() {
        let known = (0..=u8::MAX).filter_map(|b| FrameKind::from_byte(b).map(|k| (b, k)));
        let known: Vec<_> = known.collect();
        assert_eq!(known.len(), 8);
        for (byte, kind) in known {
            assert_eq!(kind.to_byte(), byte);
            if let FrameKind::Entry(kind) = kind {
                assert_eq!(kind.as_static(), &[byte]);
            }
        }
    }
}
