//! The frame header: 128 bytes in front of each payload.
//!
//! Little-endian. The header's checksum covers everything behind itself, so a header that was torn,
//! moved or left over from an earlier use of the sector never passes for a new one:
//! - `file` and `offset` say where it was meant to lie (misdirected writes, recycled files);
//! - `sequence` and `epoch` say when it was written (stale sectors);
//! - `write_first` is the first sequence of the write it was part of. Writes of a stream do not
//!   overlap, so the frame testifies that all frames before `write_first` were durable.

use bytes::Bytes;

use super::WalPosition;
use super::error::Found;

/// Alignment of every frame in address, position and length: the direct I/O unit.
pub const FRAME_ALIGNMENT: usize = 4096;
/// Size of the header, and so the offset of the payload in the frame.
pub(crate) const HEADER_BYTES: usize = 128;
const MAGIC: u32 = u32::from_le_bytes(*b"MRWF");
const VERSION: u16 = 1;
/// The header checksum covers from here to the end of the header.
const CHECKED_FROM: usize = 12;

/// Opaque label of a frame, for whoever writes and replays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FrameTag {
    /// Whose frame it is.
    pub owner: u64,
    /// What it holds.
    pub kind: u8,
    /// High part of the owner's order, such as a term.
    pub major: u64,
    /// Low part of the owner's order, such as an index.
    pub minor: u64,
}

/// A frame that has its place in the stream and waits to be written.
#[derive(Clone, Debug)]
pub struct SealedFrame {
    pub position: WalPosition,
    /// The payload: a slice of `frame`, not a copy.
    pub payload: Bytes,
    /// CRC-32C of the payload.
    pub checksum: u32,
    /// Header, payload and padding.
    pub frame: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub stream: u64,
    pub epoch: u64,
    pub position: WalPosition,
    pub write_first: u64,
    pub payload_bytes: u32,
    pub payload_checksum: u32,
    pub tag: FrameTag,
}

/// Bytes that a payload of this size takes in a file.
pub(crate) fn frame_bytes(payload_bytes: usize) -> usize {
    (HEADER_BYTES + payload_bytes).next_multiple_of(FRAME_ALIGNMENT)
}

impl FrameHeader {
    pub fn write_to(&self, out: &mut [u8]) {
        let out = &mut out[..HEADER_BYTES];
        out.fill(0);
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4..6].copy_from_slice(&VERSION.to_le_bytes());
        out[6..8].copy_from_slice(&(HEADER_BYTES as u16).to_le_bytes());
        out[12..16].copy_from_slice(&self.payload_checksum.to_le_bytes());
        out[16..24].copy_from_slice(&self.stream.to_le_bytes());
        out[24..32].copy_from_slice(&self.epoch.to_le_bytes());
        out[32..56].copy_from_slice(&self.position.encode());
        out[56..64].copy_from_slice(&self.write_first.to_le_bytes());
        out[64..68].copy_from_slice(&self.payload_bytes.to_le_bytes());
        out[68] = self.tag.kind;
        out[72..80].copy_from_slice(&self.tag.owner.to_le_bytes());
        out[80..88].copy_from_slice(&self.tag.major.to_le_bytes());
        out[88..96].copy_from_slice(&self.tag.minor.to_le_bytes());
        let checksum = crc32c::crc32c(&out[CHECKED_FROM..]);
        out[8..12].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Reads a header and proves its checksum; says nothing about its place or its payload.
    pub fn parse(block: &[u8]) -> Result<FrameHeader, Found> {
        let Some(header) = block.get(..HEADER_BYTES) else {
            return Err(Found::EndOfFile);
        };
        let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("4"));
        let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("8"));
        let version_and_size = u32::from(VERSION) | (HEADER_BYTES as u32) << 16;
        if u32_at(0) != MAGIC || u32_at(4) != version_and_size {
            return Err(Found::NoFrame);
        }
        let computed = crc32c::crc32c(&header[CHECKED_FROM..]);
        if computed != u32_at(8) {
            return Err(Found::HeaderChecksum { expected: u32_at(8), found: computed });
        }
        Ok(FrameHeader {
            stream: u64_at(16),
            epoch: u64_at(24),
            position: WalPosition::decode(header[32..56].try_into().expect("24")),
            write_first: u64_at(56),
            payload_bytes: u32_at(64),
            payload_checksum: u32_at(12),
            tag: FrameTag {
                owner: u64_at(72),
                kind: header[68],
                major: u64_at(80),
                minor: u64_at(88),
            },
        })
    }

    /// Whether this header was written by `stream` for this very place.
    pub fn check_place(&self, stream: u64, file: u64, offset: u64) -> Result<(), Found> {
        if self.stream != stream {
            return Err(Found::OtherStream { stream: self.stream });
        }
        let meant = self.position;
        if meant.file != file || meant.offset != offset {
            return Err(Found::OtherPlace {
                file: meant.file,
                offset: meant.offset,
                sequence: meant.sequence,
            });
        }
        Ok(())
    }

    /// Size of the whole frame in its file.
    pub fn frame_bytes(&self) -> u64 {
        frame_bytes(self.payload_bytes as usize) as u64
    }

    /// The position behind this frame, in the same file.
    pub fn end(&self) -> WalPosition {
        WalPosition {
            sequence: self.position.sequence + 1,
            file: self.position.file,
            offset: self.position.offset + self.frame_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FrameHeader {
        FrameHeader {
            stream: 0x1122_3344_5566_7788,
            epoch: 3,
            position: WalPosition { sequence: 77, file: 5, offset: 8192 },
            write_first: 75,
            payload_bytes: 5000,
            payload_checksum: 0xdead_beef,
            tag: FrameTag { owner: 9, kind: 2, major: 4, minor: 1234 },
        }
    }

    #[test]
    fn a_header_reads_back_as_written() {
        let mut bytes = [0xff; HEADER_BYTES];
        header().write_to(&mut bytes);
        assert_eq!(FrameHeader::parse(&bytes), Ok(header()));
        assert_eq!(header().frame_bytes(), 8192);
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let mut bytes = [0; HEADER_BYTES];
        header().write_to(&mut bytes);
        for bit in 0..HEADER_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(FrameHeader::parse(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_header_knows_its_place() {
        assert_eq!(header().check_place(0x1122_3344_5566_7788, 5, 8192), Ok(()));
        assert_eq!(
            header().check_place(1, 5, 8192),
            Err(Found::OtherStream { stream: 0x1122_3344_5566_7788 })
        );
        let other = Err(Found::OtherPlace { file: 5, offset: 8192, sequence: 77 });
        assert_eq!(header().check_place(0x1122_3344_5566_7788, 4, 8192), other);
        assert_eq!(header().check_place(0x1122_3344_5566_7788, 5, 4096), other);
    }
}
