//! Where a frame lies in a stream.
//!
//! Positions are ordered by sequence; file and offset follow from it and are carried so that
//! nobody has to search. A position also stands for "everything before it": the durable end that
//! a write returns is the position of the frame that will come next.

use std::cmp::Ordering;
use std::fmt;

/// Place of a frame (or of the end of the log) in one WAL stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WalPosition {
    /// Number of the frame in the stream, from 1, without gaps.
    pub sequence: u64,
    /// Number of the file, from 1.
    pub file: u64,
    /// Byte offset of the frame in its file; may equal the file's size for the end of the log.
    pub offset: u64,
}

impl WalPosition {
    /// The first frame of a new stream.
    pub const START: WalPosition = WalPosition { sequence: 1, file: 1, offset: 0 };

    /// Size of [`WalPosition::encode`].
    pub const ENCODED_BYTES: usize = 24;

    /// Sequence, file, offset; little-endian.
    pub fn encode(self) -> [u8; Self::ENCODED_BYTES] {
        let mut out = [0; Self::ENCODED_BYTES];
        out[0..8].copy_from_slice(&self.sequence.to_le_bytes());
        out[8..16].copy_from_slice(&self.file.to_le_bytes());
        out[16..24].copy_from_slice(&self.offset.to_le_bytes());
        out
    }

    /// Inverse of [`WalPosition::encode`].
    pub fn decode(bytes: &[u8; Self::ENCODED_BYTES]) -> WalPosition {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        WalPosition { sequence: word(0), file: word(8), offset: word(16) }
    }
}

/// Where a replay begins, and what it must not mistake for a frame.
///
/// A write that was torn may leave whole frames behind the end of the log. A reader that comes to them over the frame
/// before sees their lower epoch; one that begins there needs to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayPoint {
    /// Of the first frame to read.
    pub position: WalPosition,
    /// A frame at `position` with a lower epoch is dead: the log ends there.
    pub epoch_min: u64,
}

impl ReplayPoint {
    /// A stream from its beginning.
    pub const START: ReplayPoint = ReplayPoint { position: WalPosition::START, epoch_min: 0 };

    /// Size of [`ReplayPoint::encode`].
    pub const ENCODED_BYTES: usize = WalPosition::ENCODED_BYTES + 8;

    /// Position, then epoch; little-endian.
    pub fn encode(self) -> [u8; Self::ENCODED_BYTES] {
        let mut out = [0; Self::ENCODED_BYTES];
        let (position, epoch) = out.split_at_mut(WalPosition::ENCODED_BYTES);
        position.copy_from_slice(&self.position.encode());
        epoch.copy_from_slice(&self.epoch_min.to_le_bytes());
        out
    }

    /// Inverse of [`ReplayPoint::encode`].
    pub fn decode(bytes: &[u8; Self::ENCODED_BYTES]) -> ReplayPoint {
        let (position, epoch) = bytes.split_first_chunk().expect("longer than a position");
        ReplayPoint {
            position: WalPosition::decode(position),
            epoch_min: u64::from_le_bytes(epoch.try_into().expect("8 bytes")),
        }
    }
}

impl PartialOrd for WalPosition {
    fn partial_cmp(&self, other: &WalPosition) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for WalPosition {
    fn cmp(&self, other: &WalPosition) -> Ordering {
        (self.sequence, self.file, self.offset).cmp(&(other.sequence, other.file, other.offset))
    }
}

impl fmt::Display for WalPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame {} at {}:{}", self.sequence, self.file, self.offset)
    }
}
