//! What this crate needs of a WAL: a place for frames, and one durable write of all of them.
//!
//! [`storage::wal::Wal`] is the one that nodes use; [`crate::MemoryWal`] is the model that tests
//! drive step by step.

use std::future::Future;

use storage::wal::{FrameBuilder, FrameTag, SealedFrame, Wal, WalError, WalPosition};

/// A log of frames with group commit. Written by one task.
pub trait FrameLog {
    /// Gives the frame its place and queues it. Positions grow with every call.
    fn seal(&self, frame: FrameBuilder, tag: FrameTag) -> Result<SealedFrame, WalError>;

    /// Writes what is queued when first polled; returns the end (exclusive) of what is durable.
    /// Frames may be sealed meanwhile. After an error the log is dead.
    fn write_queued(&self) -> impl Future<Output = Result<WalPosition, WalError>>;

    /// As `write_queued`, when nobody waits for anything else: the poll may last as long as the
    /// write does.
    fn write_queued_alone(&self) -> impl Future<Output = Result<WalPosition, WalError>> {
        self.write_queued()
    }

    /// Everything before this position is durable.
    fn durable_end(&self) -> WalPosition;
}

impl FrameLog for Wal {
    fn seal(&self, frame: FrameBuilder, tag: FrameTag) -> Result<SealedFrame, WalError> {
        Wal::seal(self, frame, tag)
    }

    fn write_queued(&self) -> impl Future<Output = Result<WalPosition, WalError>> {
        Wal::write_queued(self)
    }

    fn write_queued_alone(&self) -> impl Future<Output = Result<WalPosition, WalError>> {
        Wal::write_queued_alone(self)
    }

    fn durable_end(&self) -> WalPosition {
        Wal::durable_end(self)
    }
}
