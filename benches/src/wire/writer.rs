//! Builds one request frame: length, header, body.

pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// A header of version 1, or of version 2 (with tags) if `flexible`.
    pub fn request(key: i16, version: i16, correlation: i32, flexible: bool) -> Writer {
        let mut w = Writer { out: Vec::with_capacity(256) };
        w.i32(0);
        w.i16(key);
        w.i16(version);
        w.i32(correlation);
        w.string("millrace-bench");
        if flexible {
            w.tags();
        }
        w
    }

    /// The finished frame.
    pub fn frame(mut self) -> Vec<u8> {
        let length = (self.out.len() - 4) as i32;
        self.out[..4].copy_from_slice(&length.to_be_bytes());
        self.out
    }

    pub fn reserve(&mut self, bytes: usize) {
        self.out.reserve(bytes);
    }

    pub fn i8(&mut self, v: i8) {
        self.out.push(v as u8);
    }

    pub fn i16(&mut self, v: i16) {
        self.out.extend_from_slice(&v.to_be_bytes());
    }

    pub fn i32(&mut self, v: i32) {
        self.out.extend_from_slice(&v.to_be_bytes());
    }

    pub fn i64(&mut self, v: i64) {
        self.out.extend_from_slice(&v.to_be_bytes());
    }

    pub fn string(&mut self, v: &str) {
        self.i16(v.len() as i16);
        self.out.extend_from_slice(v.as_bytes());
    }

    pub fn uvarint(&mut self, mut v: u32) {
        while v >= 0x80 {
            self.out.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.out.push(v as u8);
    }

    /// Length of a compact array, string or bytes.
    pub fn compact_len(&mut self, len: usize) {
        self.uvarint(len as u32 + 1);
    }

    pub fn compact_string(&mut self, v: &str) {
        self.compact_len(v.len());
        self.out.extend_from_slice(v.as_bytes());
    }

    pub fn compact_null(&mut self) {
        self.out.push(0);
    }

    pub fn tags(&mut self) {
        self.out.push(0);
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}
