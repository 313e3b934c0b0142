//! The open entry of a Raft group: what was appended since the last one was closed.
//!
//! Belongs to the shard's [`crate::RaftShard`]; the broker borrows it for one synchronous step.
//! Bytes are copied once, into the frame that the WAL writes; sealing, proposing and delivering
//! share that memory. Offsets are stamped in place while the window is open.

use std::ops::Range;

use storage::wal::FrameBuilder;

use crate::{RaftGroupId, RaftIndex, Term, WindowFull};

/// Payload capacity of the smallest frame: one 4 KiB unit with its header.
const FIRST_CAPACITY: usize = 3 * 1024;

/// When the broker may acknowledge what is in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the entry is committed: durable on a majority.
    Disk,
    /// When the entry is accepted in memory; it is written within milliseconds.
    Memory,
}

/// Stands for one proposal. The entry that becomes of it has exactly this term and index, or
/// never exists; `sequence` is unique in the shard for as long as it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowTicket {
    pub raft_group: RaftGroupId,
    pub term: Term,
    pub index: RaftIndex,
    pub sequence: u64,
}

/// Limits of windows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowLimits {
    /// A window that holds something takes no more than this.
    pub window_bytes_max: usize,
    /// A single piece in an empty window may be as large as this.
    pub entry_bytes_max: usize,
}

/// See the module.
pub struct Window {
    frame: FrameBuilder,
    ticket: WindowTicket,
    limits: WindowLimits,
    pub(crate) durability: Durability,
}

impl Window {
    pub(crate) fn new(ticket: WindowTicket, limits: WindowLimits, capacity: usize) -> Window {
        Window {
            frame: FrameBuilder::new(capacity.max(FIRST_CAPACITY)),
            ticket,
            limits,
            durability: Durability::Disk,
        }
    }

    /// What [`crate::Committed`] and [`crate::Accepted`] will name.
    pub fn ticket(&self) -> WindowTicket {
        self.ticket
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.frame.len()
    }

    /// Whether nothing was appended; an empty window never becomes an entry.
    pub fn is_empty(&self) -> bool {
        self.frame.is_empty()
    }

    /// Whether `bytes` more fit. Ask once for all pieces that belong together.
    pub fn check_room(&self, bytes: usize) -> Result<(), WindowFull> {
        let WindowLimits { window_bytes_max, entry_bytes_max } = self.limits;
        if bytes > entry_bytes_max {
            return Err(WindowFull::Never { bytes, bytes_max: entry_bytes_max });
        }
        let room = window_bytes_max.saturating_sub(self.len());
        if !self.is_empty() && bytes > room {
            return Err(WindowFull::Later { bytes, room });
        }
        Ok(())
    }

    /// Copies a piece to the end; returns where it lies in the entry's payload.
    pub fn append(&mut self, piece: &[u8]) -> Result<Range<usize>, WindowFull> {
        self.check_room(piece.len())?;
        Ok(self.frame.append(piece))
    }

    /// Copies pieces that belong together, all or none; returns where they lie as one.
    pub fn append_all(&mut self, pieces: &[&[u8]]) -> Result<Range<usize>, WindowFull> {
        self.check_room(pieces.iter().map(|piece| piece.len()).sum())?;
        let start = self.len();
        for piece in pieces {
            self.frame.append(piece);
        }
        Ok(start..self.len())
    }

    /// A part of what was appended, to be changed in place. Panics beyond [`Window::len`].
    pub fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        self.frame.bytes_mut(range)
    }

    /// Everything so far.
    pub fn payload(&self) -> &[u8] {
        self.frame.payload()
    }

    pub(crate) fn into_frame(self) -> FrameBuilder {
        self.frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window {
        let ticket = WindowTicket {
            raft_group: RaftGroupId(1),
            term: Term(2),
            index: RaftIndex(3),
            sequence: 1,
        };
        Window::new(ticket, WindowLimits { window_bytes_max: 10, entry_bytes_max: 20 }, 0)
    }

    #[test]
    fn a_full_window_takes_nothing_more_and_says_how_much_is_left() {
        let mut window = window();
        assert_eq!(window.append(b"12345"), Ok(0..5));
        assert_eq!(
            window.append_all(&[b"123", b"456"]),
            Err(WindowFull::Later { bytes: 6, room: 5 })
        );
        assert_eq!(window.payload(), b"12345");
        assert_eq!(window.append_all(&[b"12", b"345"]), Ok(5..10));
        assert_eq!(window.append(b"1"), Err(WindowFull::Later { bytes: 1, room: 0 }));
    }

    #[test]
    fn one_large_piece_fits_alone_up_to_the_limit_of_an_entry() {
        let mut window = window();
        assert_eq!(window.append(&[0; 21]), Err(WindowFull::Never { bytes: 21, bytes_max: 20 }));
        assert_eq!(window.append(&[0; 20]), Ok(0..20));
        assert_eq!(window.append(&[0; 1]), Err(WindowFull::Later { bytes: 1, room: 0 }));
    }

    #[test]
    fn bytes_can_be_stamped_while_the_window_is_open() {
        let mut window = window();
        let range = window.append(b"offset").unwrap();
        window.bytes_mut(range.start..range.start + 3).copy_from_slice(b"OFF");
        assert_eq!(window.payload(), b"OFFset");
    }
}
