//! A WAL in memory with a durable prefix that a test moves: the model of [`storage::wal::Wal`].
//!
//! In steps, a write stays in flight until [`MemoryWal::complete_write`] or
//! [`MemoryWal::fail_write`]; otherwise it completes when first polled. [`MemoryWal::crash`] gives
//! what a restarted node would find: all that was durable, and any prefix of the rest.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use bytes::Bytes;
use storage::wal::{FrameBuilder, FrameTag, SealedFrame, WalError, WalPosition};

use crate::FrameLog;

/// A frame in the model.
#[derive(Clone, Debug)]
pub struct MemoryFrame {
    pub position: WalPosition,
    pub tag: FrameTag,
    pub payload: Bytes,
}

/// See the module.
pub struct MemoryWal {
    state: RefCell<State>,
}

struct State {
    frames: Vec<MemoryFrame>,
    next: u64,
    durable: u64,
    in_flight: Option<u64>,
    in_steps: bool,
    keeps_frames: bool,
    failed: Option<WalError>,
    waker: Option<Waker>,
    writes: u64,
}

fn position(sequence: u64) -> WalPosition {
    WalPosition { sequence, file: 1, offset: (sequence - 1) * 4096 }
}

impl Default for MemoryWal {
    fn default() -> MemoryWal {
        MemoryWal::new()
    }
}

impl MemoryWal {
    /// Empty; writes complete at once.
    pub fn new() -> MemoryWal {
        MemoryWal::with_frames(Vec::new(), false)
    }

    /// Empty; each write waits for [`MemoryWal::complete_write`].
    pub fn in_steps() -> MemoryWal {
        MemoryWal::with_frames(Vec::new(), true)
    }

    /// Empty; writes complete at once and leave nothing behind, for benchmarks.
    pub fn forgetful() -> MemoryWal {
        let wal = MemoryWal::new();
        wal.state.borrow_mut().keeps_frames = false;
        wal
    }

    fn with_frames(frames: Vec<MemoryFrame>, in_steps: bool) -> MemoryWal {
        let next = frames.last().map_or(1, |frame| frame.position.sequence + 1);
        MemoryWal {
            state: RefCell::new(State {
                frames,
                next,
                durable: next,
                in_flight: None,
                in_steps,
                keeps_frames: true,
                failed: None,
                waker: None,
                writes: 0,
            }),
        }
    }

    /// What a restart finds when the node stops now: the durable frames and up to `torn` more.
    pub fn crash(&self, torn: usize) -> MemoryWal {
        let state = self.state.borrow();
        let durable = state.frames.iter().filter(|f| f.position.sequence < state.durable).count();
        let kept = state.frames.len().min(durable + torn);
        MemoryWal::with_frames(state.frames[..kept].to_vec(), state.in_steps)
    }

    /// All frames, durable or not, in order.
    pub fn frames(&self) -> Vec<MemoryFrame> {
        self.state.borrow().frames.clone()
    }

    /// Frames that are not durable.
    pub fn undurable(&self) -> usize {
        let state = self.state.borrow();
        (state.next - state.durable) as usize
    }

    /// Whether a write waits for its completion.
    pub fn is_writing(&self) -> bool {
        self.state.borrow().in_flight.is_some()
    }

    /// Completed writes.
    pub fn writes(&self) -> u64 {
        self.state.borrow().writes
    }

    /// The write in flight becomes durable. Panics if there is none.
    pub fn complete_write(&self) {
        let waker = {
            let mut state = self.state.borrow_mut();
            let end = state.in_flight.take().expect("a write is in flight");
            state.durable = end;
            state.writes += 1;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The write in flight, or the next one, fails; so does everything after it.
    pub fn fail_write(&self) {
        let waker = {
            let mut state = self.state.borrow_mut();
            state.in_flight = None;
            state.failed = Some(WalError::Failed {
                file: "memory".into(),
                offset: 0,
                message: "injected".into(),
            });
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl FrameLog for MemoryWal {
    fn seal(&self, frame: FrameBuilder, tag: FrameTag) -> Result<SealedFrame, WalError> {
        let mut state = self.state.borrow_mut();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        let position = position(state.next);
        state.next += 1;
        let payload = Bytes::copy_from_slice(frame.payload());
        if state.keeps_frames {
            state.frames.push(MemoryFrame { position, tag, payload: payload.clone() });
        }
        let checksum = frame.checksum();
        Ok(SealedFrame { position, payload: payload.clone(), checksum, frame: payload })
    }

    async fn write_queued(&self) -> Result<WalPosition, WalError> {
        let end = {
            let mut state = self.state.borrow_mut();
            assert!(state.in_flight.is_none(), "two writes at once");
            state.in_flight = Some(state.next);
            state.next
        };
        if !self.state.borrow().in_steps && self.state.borrow().failed.is_none() {
            self.complete_write();
        }
        poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            if let Some(error) = &state.failed {
                return Poll::Ready(Err(error.clone()));
            }
            if state.in_flight.is_none() {
                return Poll::Ready(Ok(position(end)));
            }
            state.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn durable_end(&self) -> WalPosition {
        position(self.state.borrow().durable)
    }
}
