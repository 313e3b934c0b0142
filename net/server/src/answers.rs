//! Answers of one connection on their way to its socket.
//!
//! Answers that are ready together leave in one vectored write. A write is cut at
//! `WRITE_BYTES_MAX`, so that progress of a slow client shows after each piece.

use std::{borrow::Cow, collections::VecDeque};

use bytes::Bytes;

use crate::service::Outcome;

const WRITE_BYTES_MAX: usize = 1 << 20;
const WRITE_SEGMENTS_MAX: usize = 256;

/// Bytes to write, in order, and whether the connection ends behind them.
#[derive(Debug, Default)]
pub struct Answers {
    segments: VecDeque<Bytes>,
    end: Option<Cow<'static, str>>,
}

impl Answers {
    /// Queues the next answer; returns its bytes. Nothing follows a `Close`.
    pub fn push(&mut self, outcome: Outcome) -> usize {
        if self.end.is_some() {
            return 0;
        }
        match outcome {
            Outcome::Frame(frame) => {
                let bytes = frame.len();
                self.segments.push_back(frame);
                bytes
            }
            Outcome::Segments(segments) => {
                let bytes = segments.iter().map(Bytes::len).sum();
                self.segments.extend(segments);
                bytes
            }
            Outcome::Nothing => 0,
            Outcome::Close(reason) => {
                self.end = Some(reason);
                0
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Set once an answer asked to close the connection.
    pub fn end(&self) -> Option<&Cow<'static, str>> {
        self.end.as_ref()
    }

    /// Moves what the next write takes into `batch`; returns its bytes.
    pub fn take_batch(&mut self, batch: &mut Vec<Bytes>) -> usize {
        let mut bytes = 0;
        while batch.len() < WRITE_SEGMENTS_MAX && bytes < WRITE_BYTES_MAX {
            let Some(segment) = self.segments.front_mut() else {
                break;
            };
            let room = WRITE_BYTES_MAX - bytes;
            let part = match segment.len() > room {
                true => segment.split_to(room),
                false => self.segments.pop_front().expect("the front was just seen"),
            };
            bytes += part.len();
            batch.push(part);
        }
        if self.segments.is_empty() {
            self.segments.shrink_to(16);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_answer_leaves_in_bounded_writes_and_whole() {
        let mut answers = Answers::default();
        let large: Vec<u8> = (0..3 * WRITE_BYTES_MAX / 2).map(|i| i as u8).collect();
        let small = vec![Bytes::from_static(b"x"); WRITE_SEGMENTS_MAX];
        answers.push(Outcome::Frame(Bytes::from(large.clone())));
        answers.push(Outcome::Segments(small.clone()));
        let (mut written, mut batch) = (Vec::new(), Vec::new());
        while !answers.is_empty() {
            let bytes = answers.take_batch(&mut batch);
            assert!((1..=WRITE_BYTES_MAX).contains(&bytes));
            assert!(batch.len() <= WRITE_SEGMENTS_MAX);
            assert_eq!(bytes, batch.iter().map(Bytes::len).sum::<usize>());
            batch.drain(..).for_each(|part| written.extend_from_slice(&part));
        }
        assert_eq!(written, [large, small.concat()].concat());
    }

    #[test]
    fn nothing_follows_a_close() {
        let mut answers = Answers::default();
        answers.push(Outcome::Frame(Bytes::from_static(b"before")));
        answers.push(Outcome::Close("acks=0".into()));
        assert_eq!(answers.push(Outcome::Frame(Bytes::from_static(b"after"))), 0);
        let mut batch = Vec::new();
        answers.take_batch(&mut batch);
        assert_eq!(batch, [Bytes::from_static(b"before")]);
        assert_eq!(answers.end().map(AsRef::as_ref), Some("acks=0"));
    }
}
