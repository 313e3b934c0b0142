//! Splits a byte stream into Kafka frames. Sans-I/O: bytes in, frames or a refusal out.
//!
//! A frame is an `i32` length, big endian, and that many bytes. The splitter never reserves memory:
//! it only says how many bytes the frame at the front needs, and the caller decides how fast a
//! buffer may grow towards that (see `read_buffer`). A length that is negative or above the maximum
//! cannot be skipped, so every error ends the connection.
//!
//! A first length above the maximum is mostly somebody else's protocol on this port. The bytes of
//! an HTTP verb or of a TLS record read as a length are all above 100 MiB, so looking at them only
//! when a frame is refused costs nothing on the hot path and cannot hit a well formed frame.
//!
//! Source: Kafka's `NetworkReceive` and `socket.request.max.bytes`.

use bytes::{Buf, BytesMut};

/// Bytes of the length in front of each frame.
pub const LENGTH_BYTES: usize = 4;

/// Why a stream of frames cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("frame length {length} is negative; the client does not speak the Kafka protocol")]
    Negative { length: i32 },
    #[error(
        "frame length {length} is above socket.request.max.bytes = {frame_bytes_max}; \
         raise it if this is a Kafka client with such large requests"
    )]
    TooLarge { length: usize, frame_bytes_max: usize },
    #[error("this is an HTTP request; the port speaks the Kafka protocol, not HTTP")]
    Http,
    #[error(
        "this is a TLS handshake; the listener is PLAINTEXT, \
         so the client's security.protocol must be PLAINTEXT too"
    )]
    Tls,
}

/// Finds frames at the front of a buffer.
#[derive(Clone, Copy, Debug)]
pub struct FrameSplitter {
    frame_bytes_max: usize,
}

impl FrameSplitter {
    /// Frames longer than `frame_bytes_max` (without their length field) are refused.
    pub fn new(frame_bytes_max: usize) -> FrameSplitter {
        FrameSplitter { frame_bytes_max }
    }

    /// Takes the first frame, without its length field, out of `buffer`; `None` if it is not yet
    /// complete. Shares memory with `buffer`, copies nothing.
    pub fn split(&self, buffer: &mut BytesMut) -> Result<Option<BytesMut>, FrameError> {
        let wanted = self.wanted(buffer)?;
        if buffer.len() < wanted || buffer.len() < LENGTH_BYTES {
            return Ok(None);
        }
        buffer.advance(LENGTH_BYTES);
        Ok(Some(buffer.split_to(wanted - LENGTH_BYTES)))
    }

    /// How many bytes, length field included, the frame at the front of `buffer` has. While the
    /// length itself is incomplete, that is the length field alone.
    pub fn wanted(&self, buffer: &[u8]) -> Result<usize, FrameError> {
        let Some(field) = buffer.first_chunk::<LENGTH_BYTES>() else {
            return Ok(LENGTH_BYTES);
        };
        let length = i32::from_be_bytes(*field);
        match usize::try_from(length) {
            Ok(length) if length <= self.frame_bytes_max => Ok(LENGTH_BYTES + length),
            Ok(length) => Err(self.refusal(*field, length)),
            Err(_) => Err(FrameError::Negative { length }),
        }
    }

    fn refusal(&self, field: [u8; LENGTH_BYTES], length: usize) -> FrameError {
        const VERBS: [&[u8; LENGTH_BYTES]; 7] =
            [b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTI", b"DELE", b"PRI "];
        match field {
            verb if VERBS.contains(&&verb) => FrameError::Http,
            [0x16, 0x03, 0..=4, _] => FrameError::Tls,
            _ => FrameError::TooLarge { length, frame_bytes_max: self.frame_bytes_max },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPLITTER: FrameSplitter = FrameSplitter { frame_bytes_max: 1000 };

    fn split(bytes: &[u8]) -> Result<Option<BytesMut>, FrameError> {
        SPLITTER.split(&mut BytesMut::from(bytes))
    }

    #[test]
    fn frames_come_out_whole_wherever_the_stream_is_cut() {
        let stream = [&[0, 0, 0, 3, b'a', b'b', b'c', 0, 0, 0, 0, 0, 0, 0, 1, b'd'][..]].concat();
        for cut in 0..=stream.len() {
            let mut frames = Vec::new();
            let mut buffer = BytesMut::new();
            for part in [&stream[..cut], &stream[cut..]] {
                buffer.extend_from_slice(part);
                while let Some(frame) = SPLITTER.split(&mut buffer).expect("good frames") {
                    frames.push(frame.to_vec());
                }
            }
            assert_eq!(frames, [b"abc".to_vec(), b"".to_vec(), b"d".to_vec()], "cut at {cut}");
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_negative_length_is_refused() {
        assert_eq!(split(&[0xff, 0xff, 0xff, 0xfe]), Err(FrameError::Negative { length: -2 }));
    }

    #[test]
    fn a_frame_of_the_maximum_passes_and_one_byte_more_is_refused_before_it_arrives() {
        assert_eq!(split(&1000i32.to_be_bytes()), Ok(None));
        assert_eq!(SPLITTER.wanted(&1000i32.to_be_bytes()), Ok(1004));
        let refusal = FrameError::TooLarge { length: 1001, frame_bytes_max: 1000 };
        assert_eq!(split(&1001i32.to_be_bytes()), Err(refusal));
    }

    #[test]
    fn an_http_client_is_told_from_its_verb() {
        for verb in ["GET / HTTP/1.1", "POST /topics", "PRI * HTTP/2.0"] {
            assert_eq!(split(verb.as_bytes()), Err(FrameError::Http), "{verb}");
        }
    }

    #[test]
    fn a_tls_client_is_told_from_its_hello() {
        assert_eq!(split(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]), Err(FrameError::Tls));
    }

    #[test]
    fn nothing_is_decided_before_the_length_is_complete() {
        for have in 0..LENGTH_BYTES {
            assert_eq!(split(&b"GET "[..have]), Ok(None));
        }
    }
}
