//! Collects the payload of one frame in place.
//!
//! The buffer already has the header's room in front, so sealing copies nothing: what is appended
//! here is what the disk, the peers and the tail cache get.

use std::ops::Range;

use bytes::Bytes;
use runtime::fs::AlignedBuf;

use super::frame::{FrameHeader, HEADER_BYTES, frame_bytes};

/// Largest payload of a frame: with its header it just fills a file of 64 MiB.
pub const PAYLOAD_BYTES_MAX: usize = (64 << 20) - HEADER_BYTES;

/// The payload of a frame that is still open. Ranges are relative to the payload.
pub struct FrameBuilder {
    /// Header and payload.
    buffer: AlignedBuf,
}

impl FrameBuilder {
    /// An empty payload with room for `capacity` bytes; it grows beyond them by copying.
    pub fn new(capacity: usize) -> FrameBuilder {
        let bytes = frame_bytes(capacity.min(PAYLOAD_BYTES_MAX));
        let mut buffer = AlignedBuf::with_capacity(bytes);
        buffer.resize(HEADER_BYTES);
        FrameBuilder { buffer }
    }

    /// Bytes of payload so far.
    pub fn len(&self) -> usize {
        self.buffer.len() - HEADER_BYTES
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `bytes` more stay within [`PAYLOAD_BYTES_MAX`].
    pub fn fits(&self, bytes: usize) -> bool {
        bytes <= PAYLOAD_BYTES_MAX - self.len()
    }

    /// Copies `bytes` to the end of the payload and says where they lie.
    ///
    /// Panics above [`PAYLOAD_BYTES_MAX`]; ask [`FrameBuilder::fits`] first.
    pub fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        assert!(self.fits(bytes.len()), "{} + {} bytes in a frame", self.len(), bytes.len());
        let start = self.len();
        self.buffer.extend_from_slice(bytes);
        start..self.len()
    }

    /// A part of the payload, to stamp offsets in place.
    pub fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.buffer[HEADER_BYTES + range.start..HEADER_BYTES + range.end]
    }

    /// The payload so far.
    pub fn payload(&self) -> &[u8] {
        &self.buffer[HEADER_BYTES..]
    }

    /// Bytes that the sealed frame takes in its file.
    pub(crate) fn frame_bytes(&self) -> usize {
        frame_bytes(self.len())
    }

    /// Checksum of the payload.
    pub(crate) fn checksum(&self) -> u32 {
        crc32c::crc32c(self.payload())
    }

    /// Writes the header; returns the whole frame and its payload, sharing one allocation.
    pub(crate) fn finish(mut self, header: &FrameHeader) -> (Bytes, Bytes) {
        header.write_to(&mut self.buffer);
        let end = self.buffer.len();
        self.buffer.pad();
        let frame = self.buffer.freeze();
        let payload = frame.slice(HEADER_BYTES..end);
        (frame, payload)
    }
}
