//! Frames after the hello: a header of 24 bytes, little-endian, and a body.
//!
//! ```text
//! body length u32 | kind u8 | 0 u8 | method u16 | call id u64 | crc32c of body u32 | of the 20 bytes before u32
//! ```
//!
//! The header has a checksum of its own, so a length is believed before the body is there. Memory
//! for a body is reserved as its bytes arrive, at most as much again as have arrived; a large one is read into a part of
//! a slab, which is used again and again, and becomes resident as bytes arrive where it is new. Bodies are
//! written from the pieces they were given as, and read into one piece.

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use runtime::fs::{AlignedBuf, SLAB_BYTES, SlabRests};
use runtime::net::TcpStream;
use runtime::time::{Instant, timeout};

use crate::{Ended, FrameError};

pub(crate) const HEADER_BYTES: usize = 24;
/// Room that a reader always makes, so that several small frames take one read.
const READ_BYTES: usize = 64 * 1024;
/// Bodies that are read into a slab.
const SLAB_BODY_BYTES: RangeInclusive<usize> = 256 << 10..=SLAB_BYTES;

thread_local! {
    /// Bodies live until they are in the WAL here. They come one after the other on a connection, so one rest is enough.
    static RESTS: RefCell<SlabRests> = const { RefCell::new(SlabRests::new(1)) };
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FrameKind {
    /// From the initiator, `method` is the kind of message.
    Message = 1,
    /// From the initiator.
    Call = 2,
    /// From the acceptor: the answer to the call with this id.
    Answer = 3,
    /// From the acceptor: code (u16) and reason instead of an answer.
    Failure = 4,
    /// From both: nothing to say, but alive.
    Beat = 5,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Result<FrameKind, FrameError> {
        Ok(match byte {
            1 => FrameKind::Message,
            2 => FrameKind::Call,
            3 => FrameKind::Answer,
            4 => FrameKind::Failure,
            5 => FrameKind::Beat,
            _ => return Err(FrameError::UnknownKind(byte)),
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub kind: FrameKind,
    pub method: u16,
    pub call: u64,
    pub body: Bytes,
    /// CRC-32C of the body.
    pub sum: u32,
}

/// What goes into a frame: pieces, and the CRC-32C of all of them, if it is known.
pub struct Body {
    pub(crate) pieces: Vec<Bytes>,
    sum: Option<u32>,
}

impl Body {
    /// Pieces whose CRC-32C is known: no pass over them is made.
    pub fn with_sum(pieces: Vec<Bytes>, sum: u32) -> Body {
        Body { pieces, sum: Some(sum) }
    }
}

impl From<Vec<Bytes>> for Body {
    fn from(pieces: Vec<Bytes>) -> Body {
        Body { pieces, sum: None }
    }
}

/// A frame ready to be written: the header is put before the pieces of the body.
pub(crate) struct OutFrame {
    pub pieces: Vec<Bytes>,
    pub bytes: usize,
    /// The id, if it is a call.
    pub call: Option<u64>,
}

impl OutFrame {
    pub fn new(kind: FrameKind, method: u16, call: u64, body: impl Into<Body>) -> OutFrame {
        let Body { mut pieces, sum } = body.into();
        let length = body_bytes(&pieces);
        let computed = || pieces.iter().fold(0, |sum, piece| crc32c::crc32c_append(sum, piece));
        let sum = sum.unwrap_or_else(computed);
        let mut header = BytesMut::with_capacity(HEADER_BYTES);
        header.put_u32_le(u32::try_from(length).expect("bounded by the caller"));
        header.put_u8(kind as u8);
        header.put_u8(0);
        header.put_u16_le(method);
        header.put_u64_le(call);
        header.put_u32_le(sum);
        let header_sum = crc32c::crc32c(&header);
        header.put_u32_le(header_sum);
        pieces.insert(0, header.freeze());
        OutFrame {
            pieces,
            bytes: HEADER_BYTES + length,
            call: Some(call).filter(|_| kind == FrameKind::Call),
        }
    }
}

/// The bytes of a body.
pub(crate) fn body_bytes(body: &[Bytes]) -> usize {
    body.iter().map(Bytes::len).sum()
}

struct Header {
    length: usize,
    kind: FrameKind,
    method: u16,
    call: u64,
    body_sum: u32,
}

impl Header {
    fn decode(mut bytes: &[u8], body_bytes_max: usize) -> Result<Header, FrameError> {
        let sum = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
        let length = bytes.get_u32_le() as usize;
        let kind = bytes.get_u8();
        let _reserved = bytes.get_u8();
        let (method, call, body_sum) = (bytes.get_u16_le(), bytes.get_u64_le(), bytes.get_u32_le());
        if bytes.get_u32_le() != sum {
            return Err(FrameError::HeaderChecksum);
        }
        if length > body_bytes_max {
            return Err(FrameError::TooLarge { bytes: length, bytes_max: body_bytes_max });
        }
        Ok(Header { length, kind: FrameKind::from_byte(kind)?, method, call, body_sum })
    }
}

/// Cuts a stream into frames.
pub(crate) struct FrameReader {
    buffer: BytesMut,
    header: Option<Header>,
    /// As much as has arrived of a large body; nothing is in `buffer` then.
    large: Option<AlignedBuf>,
    body_bytes_max: usize,
}

impl FrameReader {
    /// Begins with bytes that came with the hello.
    pub fn new(buffer: BytesMut, body_bytes_max: usize) -> FrameReader {
        FrameReader { buffer, header: None, large: None, body_bytes_max }
    }

    /// The next frame, if all of it is there.
    pub fn split(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.header.is_none() {
            if self.buffer.len() < HEADER_BYTES {
                return Ok(None);
            }
            let header = self.buffer.split_to(HEADER_BYTES);
            self.header = Some(Header::decode(&header, self.body_bytes_max)?);
        }
        let have = self.large.as_ref().map_or(self.buffer.len(), |large| large.len());
        let Some(header) = self.header.take_if(|header| header.length <= have) else {
            return Ok(None);
        };
        let body = match self.large.take() {
            Some(large) => large.freeze(),
            None => self.buffer.split_to(header.length).freeze(),
        };
        if crc32c::crc32c(&body) != header.body_sum {
            return Err(FrameError::BodyChecksum);
        }
        let Header { kind, method, call, body_sum: sum, .. } = header;
        Ok(Some(Frame { kind, method, call, body, sum }))
    }

    /// Makes room for the next read: for small frames a fixed amount, a part of a slab for the body of a large one, and
    /// for what is larger than that at most as much as has arrived of it.
    fn make_room(&mut self) {
        if self.large.is_some() {
            return;
        }
        if let Some(Header { length, .. }) = self.header
            && SLAB_BODY_BYTES.contains(&length)
        {
            let mut large = RESTS.with_borrow_mut(|rests| rests.cut(length));
            large.extend_from_slice(&self.buffer);
            self.buffer.clear();
            self.large = Some(large);
            return;
        }
        let have = self.buffer.len();
        let missing = match &self.header {
            Some(header) => header.length.saturating_sub(have),
            None => 0,
        };
        let room = missing.min(have.max(READ_BYTES));
        if self.buffer.capacity() - have < room.max(1) {
            self.buffer.reserve(room.max(READ_BYTES));
        }
    }

    /// Reads what there is into the room that it makes; of a large body no byte beyond it.
    async fn read(&mut self, stream: &TcpStream) -> std::io::Result<usize> {
        self.make_room();
        match (&mut self.large, &self.header) {
            (Some(large), Some(header)) => {
                let missing = header.length - large.len();
                stream.read_into(&mut large.limit(missing)).await
            }
            _ => stream.read(&mut self.buffer).await,
        }
    }

    /// The next frame of a stream that is never silent for longer than `silence_max`. `heard` is set
    /// whenever bytes come.
    pub async fn next(
        &mut self,
        stream: &TcpStream,
        silence_max: Duration,
        heard: &Cell<Option<Instant>>,
    ) -> Result<Frame, Ended> {
        loop {
            if let Some(frame) = self.split()? {
                return Ok(frame);
            }
            let read = timeout(silence_max, self.read(stream)).await;
            match read.map_err(|_| Ended::Silent)?? {
                0 if self.buffer.is_empty() && self.header.is_none() => return Err(Ended::Closed),
                0 => return Err(FrameError::Cut.into()),
                _ => heard.set(Some(Instant::now())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(frames: impl IntoIterator<Item = OutFrame>) -> Vec<u8> {
        frames.into_iter().flat_map(|frame| frame.pieces.concat()).collect()
    }

    fn message(body: &'static [&'static [u8]]) -> OutFrame {
        let body: Vec<Bytes> = body.iter().map(|piece| Bytes::from_static(piece)).collect();
        OutFrame::new(FrameKind::Message, 7, 0, body)
    }

    fn read_all(bytes: &[u8], max: usize) -> Result<Vec<Frame>, FrameError> {
        let mut reader = FrameReader::new(BytesMut::from(bytes), max);
        let mut frames = Vec::new();
        while let Some(frame) = reader.split()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn frames_come_out_whole_wherever_the_stream_is_cut() {
        let bytes = bytes_of([
            message(&[b"one", b"two"]),
            OutFrame::new(FrameKind::Call, 3, 42, Vec::new()),
            message(&[b"three"]),
        ]);
        for cut in 0..=bytes.len() {
            let mut reader = FrameReader::new(BytesMut::new(), 100);
            let mut frames = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                reader.make_room();
                reader.buffer.extend_from_slice(part);
                while let Some(frame) = reader.split().expect("good frames") {
                    frames.push((frame.kind, frame.method, frame.call, frame.body));
                }
            }
            let expected = [
                (FrameKind::Message, 7, 0, Bytes::from_static(b"onetwo")),
                (FrameKind::Call, 3, 42, Bytes::new()),
                (FrameKind::Message, 7, 0, Bytes::from_static(b"three")),
            ];
            assert_eq!(frames, expected, "cut at {cut}");
        }
    }

    /// As much of `bytes` as the reader has room for.
    fn feed(reader: &mut FrameReader, bytes: &[u8]) -> usize {
        reader.make_room();
        let (Some(large), Some(header)) = (&mut reader.large, &reader.header) else {
            let room = reader.buffer.capacity() - reader.buffer.len();
            let taken = room.min(bytes.len());
            reader.buffer.extend_from_slice(&bytes[..taken]);
            return taken;
        };
        let taken = (header.length - large.len()).min(bytes.len());
        large.extend_from_slice(&bytes[..taken]);
        taken
    }

    #[test]
    fn large_bodies_between_small_ones_come_out_whole_from_memory_that_is_used_again() {
        const LARGE: usize = 300_000;
        let large = |fill| OutFrame::new(FrameKind::Message, 9, 0, vec![vec![fill; LARGE].into()]);
        let bytes = bytes_of([message(&[b"one"]), large(1), large(2), message(&[b"two"])]);
        let mut places = Vec::new();
        for piece in [1_000, 70_001, LARGE] {
            let mut reader = FrameReader::new(BytesMut::new(), 1 << 20);
            let (mut sent, mut bodies) = (0, Vec::new());
            while bodies.len() < 4 {
                let next = &bytes[sent..bytes.len().min(sent + piece)];
                sent += feed(&mut reader, next);
                while let Some(frame) = reader.split().expect("good frames") {
                    bodies.push(frame.body);
                }
            }
            let expected = [&b"one"[..], &[1; LARGE], &[2; LARGE], b"two"];
            assert!(bodies.iter().eq(expected.iter()), "in pieces of {piece}");
            places.push(bodies[1].as_ptr());
        }
        let one_slab = places[0].wrapping_sub(SLAB_BYTES)..places[0].wrapping_add(SLAB_BYTES);
        assert!(places.iter().all(|place| one_slab.contains(place)), "{places:?}");
    }

    #[test]
    fn no_changed_bit_passes() {
        let bytes = bytes_of([message(&[b"payload"])]);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(read_all(&damaged, 100).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_anything_is_reserved() {
        let bytes = bytes_of([message(&[&[1; 101]])]);
        assert_eq!(
            read_all(&bytes[..HEADER_BYTES], 100),
            Err(FrameError::TooLarge { bytes: 101, bytes_max: 100 })
        );
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let mut bytes = bytes_of([message(&[])]);
        bytes[4] = 6;
        let sum = crc32c::crc32c(&bytes[..20]).to_le_bytes();
        bytes[20..].copy_from_slice(&sum);
        assert_eq!(read_all(&bytes, 100), Err(FrameError::UnknownKind(6)));
    }

    #[test]
    fn memory_for_a_declared_body_grows_with_what_arrives() {
        let length = 50 << 20;
        let frame = OutFrame::new(FrameKind::Message, 1, 0, vec![Bytes::from(vec![5; length])]);
        let bytes = bytes_of([frame]);
        let mut reader = FrameReader::new(BytesMut::new(), 64 << 20);
        let mut sent = 0;
        loop {
            reader.make_room();
            let (have, capacity) = (reader.buffer.len(), reader.buffer.capacity());
            assert!(capacity <= (4 * have).max(4 * READ_BYTES), "{capacity} for {have}");
            let piece = (capacity - have).min(300_000).min(bytes.len() - sent);
            reader.buffer.extend_from_slice(&bytes[sent..sent + piece]);
            sent += piece;
            if let Some(frame) = reader.split().expect("good frames") {
                assert_eq!(frame.body.len(), length);
                return;
            }
        }
    }
}
