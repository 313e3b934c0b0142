//! What a stream has sealed and not written yet, gathered into writes of consecutive frames.

use std::collections::VecDeque;

use bytes::Bytes;

use super::file_pool::FilePool;
use super::{WalError, WalPosition};

/// Most frames in one vectored write (the kernel takes 1024 buffers).
const FRAMES_PER_WRITE_MAX: usize = 256;
/// Most bytes in one vectored write, except that a single frame may be larger.
const BYTES_PER_WRITE_MAX: u64 = 8 << 20;

/// Counters since the stream was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalStats {
    pub frames: u64,
    pub writes: u64,
    pub written_bytes: u64,
    pub files_created: u64,
    pub files_recycled: u64,
    /// Writes that had to wait for a file to be made ready.
    pub file_waits: u64,
}

/// One write in the making: consecutive frames of one file.
pub(super) struct Chunk {
    pub(super) file: u64,
    pub(super) offset: u64,
    pub(super) first_sequence: u64,
    pub(super) bytes: u64,
    pub(super) frames: Vec<Bytes>,
    pub(super) end: WalPosition,
}

pub(super) struct State {
    pub(super) pool: FilePool,
    pub(super) next_sequence: u64,
    pub(super) queue: VecDeque<Chunk>,
    pub(super) durable: WalPosition,
    pub(super) failed: Option<WalError>,
    pub(super) stats: WalStats,
}

impl State {
    /// The queued write that a frame at `position` joins, or a new one.
    pub(super) fn chunk_for(&mut self, position: WalPosition, bytes: u64) -> &mut Chunk {
        let joins = self.queue.back().is_some_and(|last| {
            last.file == position.file
                && last.frames.len() < FRAMES_PER_WRITE_MAX
                && last.bytes + bytes <= BYTES_PER_WRITE_MAX
        });
        if !joins {
            self.queue.push_back(Chunk {
                file: position.file,
                offset: position.offset,
                first_sequence: position.sequence,
                bytes: 0,
                frames: Vec::new(),
                end: position,
            });
        }
        self.queue.back_mut().expect("just pushed")
    }
}
