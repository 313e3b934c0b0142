//! Writing primitive types.

use bytes::BufMut;

use super::STRING_BYTES_MAX;

/// Writing, in the encoding of a flexible (`compact`) or an older version.
pub trait WriteWire: BufMut {
    fn put_uvarint(&mut self, mut v: u32) {
        while v >= 0x80 {
            self.put_u8(v as u8 | 0x80);
            v >>= 7;
        }
        self.put_u8(v as u8);
    }

    fn put_nullable_string(&mut self, compact: bool, s: Option<&[u8]>) {
        match (compact, s) {
            (true, None) => self.put_u8(0),
            (true, Some(s)) => {
                self.put_uvarint(s.len() as u32 + 1);
                self.put_slice(s);
            }
            (false, None) => self.put_i16(-1),
            (false, Some(s)) => {
                debug_assert!(s.len() <= STRING_BYTES_MAX, "string of {} bytes", s.len());
                self.put_i16(s.len() as i16);
                self.put_slice(s);
            }
        }
    }

    fn put_string(&mut self, compact: bool, s: &str) {
        self.put_nullable_string(compact, Some(s.as_bytes()));
    }

    /// The length in front of bytes or records.
    fn put_bytes_len(&mut self, compact: bool, len: Option<usize>) {
        match (compact, len) {
            (true, None) => self.put_u8(0),
            (true, Some(n)) => self.put_uvarint(n as u32 + 1),
            (false, None) => self.put_i32(-1),
            (false, Some(n)) => self.put_i32(n as i32),
        }
    }

    fn put_array_len(&mut self, compact: bool, len: Option<usize>) {
        self.put_bytes_len(compact, len);
    }

    /// An empty set of tagged fields, in flexible versions.
    fn put_no_tags(&mut self, flexible: bool) {
        if flexible {
            self.put_u8(0);
        }
    }
}

impl<B: BufMut> WriteWire for B {}

/// Bytes that [`WriteWire::put_uvarint`] writes for `v`.
pub fn uvarint_len(v: u32) -> usize {
    (38 - v.leading_zeros() as usize) / 7 + usize::from(v == 0)
}
