//! Building one frame out of written fields and attached record bytes.
//!
//! All written fields go into one buffer; attached bytes remember their place in it. At the end the
//! buffer is cut at those places, which costs a reference count per piece and no copy.

use bytes::{BufMut, Bytes, BytesMut};

/// A frame under construction. The length field comes first and is filled in by
/// [`FrameBuilder::finish`].
#[derive(Debug)]
pub struct FrameBuilder {
    out: BytesMut,
    attached: Vec<(usize, Bytes)>,
    attached_bytes: usize,
}

impl FrameBuilder {
    /// `out` is an empty buffer with the capacity the caller expects to need.
    pub fn new(mut out: BytesMut) -> Self {
        debug_assert!(out.is_empty());
        out.put_i32(0);
        Self { out, attached: Vec::new(), attached_bytes: 0 }
    }

    /// Where fields are written.
    pub fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// Puts `bytes` here without copying them.
    pub fn attach(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.attached_bytes += bytes.len();
            self.attached.push((self.out.len(), bytes));
        }
    }

    /// Bytes so far, attached ones included.
    pub fn len(&self) -> usize {
        self.out.len() + self.attached_bytes
    }

    pub fn is_empty(&self) -> bool {
        false
    }

    /// The frame in pieces. A frame without attached bytes is one piece.
    pub fn finish(mut self) -> Vec<Bytes> {
        let len = (self.len() - 4) as i32;
        self.out[..4].copy_from_slice(&len.to_be_bytes());
        let fields = self.out.freeze();
        let mut pieces = Vec::with_capacity(2 * self.attached.len() + 1);
        let mut from = 0;
        for (at, bytes) in self.attached {
            if at > from {
                pieces.push(fields.slice(from..at));
                from = at;
            }
            pieces.push(bytes);
        }
        if from < fields.len() {
            pieces.push(fields.slice(from..));
        }
        pieces
    }
}
