//! Collects the payload of one frame in place.
//!
//! The buffer already has the header's room in front, so sealing copies nothing of a large frame:
//! what is appended here is what the disk, the peers and the tail cache get. Of a small one the tail
//! cache gets a copy: a record of a hundred bytes would hold a whole aligned frame for minutes.
//!
//! Large frames are cut from slabs one behind the other; what they left is kept for the next, a few
//! pieces of it, since several frames are open at a time. Small ones have an allocation of their own:
//! a batch that is kept for long would hold a slab.

use std::cell::RefCell;
use std::ops::Range;

use bytes::Bytes;
use runtime::fs::{AlignedBuf, SLAB_BYTES, SlabRests};

use super::FRAME_ALIGNMENT;
use super::frame::{FrameHeader, HEADER_BYTES, frame_bytes};

/// Largest payload of a frame: with its header it just fills a file of 64 MiB.
pub const PAYLOAD_BYTES_MAX: usize = (64 << 20) - HEADER_BYTES;

/// Payloads up to this size are copied out of their frame, whose padding may be most of it.
const COPIED_PAYLOAD_BYTES_MAX: usize = 4 << 10;

/// Frames that expect less than this do not come from slabs.
const SLAB_FRAME_BYTES_MIN: usize = 128 << 10;

/// Pieces that a thread keeps: about as many as groups have a frame open on a shard at a time.
const RESTS_MAX: usize = 4;

thread_local! {
    /// What the frames of this thread have left of their slabs.
    static RESTS: RefCell<SlabRests> = const { RefCell::new(SlabRests::new(RESTS_MAX)) };
}

fn room_for(bytes: usize) -> AlignedBuf {
    RESTS.with_borrow_mut(|rests| rests.take(bytes))
}

/// The payload of a frame that is still open. Ranges are relative to the payload.
pub struct FrameBuilder {
    /// Header and payload.
    buffer: AlignedBuf,
    /// That of the payload, where it came with it.
    checksum: Option<u32>,
}

impl FrameBuilder {
    /// An empty payload with room for `capacity` bytes; it grows beyond them by copying.
    pub fn new(capacity: usize) -> FrameBuilder {
        let bytes = frame_bytes(capacity.min(PAYLOAD_BYTES_MAX));
        let mut buffer = match bytes {
            SLAB_FRAME_BYTES_MIN..=SLAB_BYTES => room_for(bytes),
            _ => AlignedBuf::with_capacity(bytes),
        };
        buffer.resize(HEADER_BYTES);
        FrameBuilder { buffer, checksum: None }
    }

    /// A copy of a whole payload. `checksum` is its CRC-32C, if the caller knows it: sealing makes no pass over it then, and
    /// whoever reads the frame finds out about a wrong one.
    pub fn copy_of(payload: &[u8], checksum: Option<u32>) -> FrameBuilder {
        let mut frame = FrameBuilder::new(payload.len());
        frame.append(payload);
        frame.checksum = checksum;
        frame
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
        self.checksum = None;
        let start = self.len();
        self.make_room(bytes.len());
        self.buffer.extend_from_slice(bytes);
        start..self.len()
    }

    /// A frame that outgrows its place becomes large: it moves to a slab if it fits into one.
    fn make_room(&mut self, bytes: usize) {
        let wanted = (self.buffer.len() + bytes).next_multiple_of(FRAME_ALIGNMENT);
        if wanted > self.buffer.capacity() && (SLAB_FRAME_BYTES_MIN..=SLAB_BYTES).contains(&wanted)
        {
            // It may go on growing, and each time is a copy.
            let mut larger = room_for(wanted.max(SLAB_BYTES / 4));
            larger.extend_from_slice(&self.buffer);
            self.buffer = larger;
        }
    }

    /// A part of the payload, to stamp offsets in place.
    pub fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        self.checksum = None;
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

    /// CRC-32C of the payload: one pass, if it is not known.
    pub fn checksum(&self) -> u32 {
        self.checksum.unwrap_or_else(|| crc32c::crc32c(self.payload()))
    }

    /// Writes the header; returns the whole frame and its payload, which share one allocation unless
    /// the payload is small.
    pub(crate) fn finish(mut self, header: &FrameHeader) -> (Bytes, Bytes) {
        header.write_to(&mut self.buffer);
        let end = self.buffer.len();
        self.buffer.pad();
        if let Some(rest) = self.buffer.take_rest() {
            RESTS.with_borrow_mut(|rests| rests.keep(rest));
        }
        let frame = self.buffer.freeze();
        let payload = frame.slice(HEADER_BYTES..end);
        if payload.len() <= COPIED_PAYLOAD_BYTES_MAX {
            let copied = Bytes::copy_from_slice(&payload);
            return (frame, copied);
        }
        (frame, payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::{FrameTag, WalPosition};

    fn sealed(fill: u8, bytes: usize) -> (Bytes, Bytes) {
        let mut builder = FrameBuilder::new(SLAB_FRAME_BYTES_MIN);
        builder.append(&vec![fill; bytes]);
        let header = FrameHeader {
            stream: 1,
            epoch: 1,
            position: WalPosition::START,
            write_first: 1,
            payload_bytes: bytes as u32,
            payload_checksum: builder.checksum(),
            tag: FrameTag::default(),
        };
        builder.finish(&header)
    }

    #[test]
    fn what_is_kept_of_a_small_frame_does_not_hold_it_and_a_large_one_is_not_copied() {
        let (frame, payload) = sealed(7, COPIED_PAYLOAD_BYTES_MAX);
        assert_eq!(frame.slice(HEADER_BYTES..HEADER_BYTES + payload.len()), payload);
        assert!(!holds(&frame, &payload));
        let (frame, payload) = sealed(7, COPIED_PAYLOAD_BYTES_MAX + 1);
        assert!(holds(&frame, &payload));
    }

    #[test]
    fn a_checksum_that_is_known_holds_until_the_payload_changes() {
        let computed = crc32c::crc32c(b"payload");
        assert_eq!(FrameBuilder::copy_of(b"payload", None).checksum(), computed);
        let known = || FrameBuilder::copy_of(b"payload", Some(7));
        assert_eq!(known().checksum(), 7);
        let (mut longer, mut other) = (known(), known());
        longer.append(b"s");
        assert_eq!(longer.checksum(), crc32c::crc32c(b"payloads"));
        other.bytes_mut(0..1)[0] = b'q';
        assert_eq!(other.checksum(), crc32c::crc32c(b"qayload"));
    }

    /// Whether `part` lies in `whole`.
    fn holds(whole: &Bytes, part: &Bytes) -> bool {
        whole.as_ptr_range().contains(&part.as_ptr())
    }

    #[test]
    fn large_frames_lie_one_behind_the_other_and_keep_their_bytes() {
        let frames: Vec<(Bytes, Bytes)> =
            (0..40).map(|i| sealed(i, 1_000_000 + 999 * usize::from(i))).collect();
        let neighbours = frames.windows(2).filter(|pair| {
            let end = pair[0].0.as_ptr() as usize + pair[0].0.len();
            end == pair[1].0.as_ptr() as usize
        });
        assert!(neighbours.count() > 30, "a slab holds many frames");
        for (i, (frame, payload)) in frames.iter().enumerate() {
            assert_eq!(frame.as_ptr() as usize % 4096, 0);
            assert!(payload.iter().all(|&byte| usize::from(byte) == i));
        }
    }
}
