//! Frames that wait to be written to one connection: bounded in bytes, first in first out.
//!
//! Bytes count until they are written, not until they are taken. One task takes.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use runtime::sync::Notify;

use crate::frame::OutFrame;

/// Most bytes that are taken for one write.
const WRITE_BYTES_MAX: usize = 1 << 20;

pub(crate) struct Outbox {
    frames: RefCell<VecDeque<OutFrame>>,
    bytes: Cell<usize>,
    bytes_max: usize,
    news: Notify,
}

impl Outbox {
    pub fn new(bytes_max: usize) -> Outbox {
        Outbox { frames: RefCell::default(), bytes: Cell::new(0), bytes_max, news: Notify::new() }
    }

    /// Bytes queued or being written.
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Whether a frame of so many bytes may be queued. An empty queue takes any frame.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.bytes.get() == 0 || self.bytes.get() + bytes <= self.bytes_max
    }

    /// Queues a frame; the caller has asked whether there is room.
    pub fn push(&self, frame: OutFrame) {
        self.bytes.set(self.bytes.get() + frame.bytes);
        self.frames.borrow_mut().push_back(frame);
        self.news.notify_one();
    }

    pub fn is_empty(&self) -> bool {
        self.frames.borrow().is_empty()
    }

    /// Waits until something is queued.
    pub async fn filled(&self) {
        while self.is_empty() {
            self.news.notified().await;
        }
    }

    /// Takes frames for one write, leaving out calls that nobody waits for any more; returns their
    /// bytes, to be given to [`Outbox::written`].
    pub fn take(&self, out: &mut Vec<Bytes>, wanted: impl Fn(u64) -> bool) -> usize {
        let mut frames = self.frames.borrow_mut();
        let mut taken = 0;
        while taken < WRITE_BYTES_MAX
            && let Some(frame) = frames.pop_front()
        {
            if frame.call.is_some_and(|call| !wanted(call)) {
                self.bytes.set(self.bytes.get() - frame.bytes);
                continue;
            }
            taken += frame.bytes;
            out.extend(frame.pieces);
        }
        taken
    }

    /// So many bytes have left.
    pub fn written(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() - bytes);
    }

    /// Drops everything, also what is being written.
    pub fn clear(&self) {
        self.frames.borrow_mut().clear();
        self.bytes.set(0);
    }

    /// Calls that were not taken.
    pub fn queued_calls(&self) -> BTreeSet<u64> {
        self.frames.borrow().iter().filter_map(|frame| frame.call).collect()
    }

    /// How many frames that are no calls were not taken.
    pub fn queued_messages(&self) -> u64 {
        self.frames.borrow().iter().filter(|frame| frame.call.is_none()).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameKind, HEADER_BYTES};

    fn frame(kind: FrameKind, call: u64, bytes: usize) -> OutFrame {
        OutFrame::new(kind, 1, call, vec![Bytes::from(vec![0; bytes - HEADER_BYTES])])
    }

    #[test]
    fn the_queue_is_bounded_but_one_large_frame_always_passes() {
        let outbox = Outbox::new(1000);
        assert!(outbox.has_room(5000), "an empty queue takes any frame");
        outbox.push(frame(FrameKind::Message, 0, 600));
        assert!(outbox.has_room(400));
        assert!(!outbox.has_room(401));
        let mut pieces = Vec::new();
        let taken = outbox.take(&mut pieces, |_| true);
        assert_eq!((taken, pieces.len()), (600, 2));
        assert!(!outbox.has_room(401), "what is being written counts");
        outbox.written(taken);
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn calls_that_nobody_waits_for_are_not_written() {
        let outbox = Outbox::new(10_000);
        for call in 1..=3 {
            outbox.push(frame(FrameKind::Call, call, 100));
        }
        let mut pieces = Vec::new();
        assert_eq!(outbox.take(&mut pieces, |call| call == 2), 100);
        assert_eq!(outbox.bytes(), 100);
    }

    #[test]
    fn an_end_drops_all_and_tells_what_was_not_written() {
        let outbox = Outbox::new(10_000);
        outbox.push(frame(FrameKind::Message, 0, 100));
        outbox.push(frame(FrameKind::Call, 1, 50));
        assert_eq!((outbox.queued_calls(), outbox.queued_messages()), ([1].into(), 1));
        outbox.clear();
        assert_eq!((outbox.bytes(), outbox.is_empty()), (0, true));
    }
}
