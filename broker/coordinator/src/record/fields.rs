//! Kafka's primitive field types over a byte slice, plain and compact.

use bytes::{BufMut, BytesMut};

use crate::RecordError;

/// Reads fields in order; every read is checked against what is left.
pub(crate) struct FieldReader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> FieldReader<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        FieldReader { what, rest: bytes }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        match self.rest.split_at_checked(length) {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(head)
            }
            None => Err(RecordError::Truncated {
                what: self.what,
                needed: length,
                present: self.rest.len(),
            }),
        }
    }

    pub(crate) fn i16(&mut self) -> Result<i16, RecordError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, RecordError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, RecordError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, RecordError> {
        let length = self.i16()?;
        self.nullable(i64::from(length))?.ok_or(self.bad_length(-1)).and_then(|b| self.utf8(b))
    }

    pub(crate) fn nullable_string(&mut self) -> Result<Option<&'a str>, RecordError> {
        let length = self.i16()?;
        self.nullable(i64::from(length))?.map(|bytes| self.utf8(bytes)).transpose()
    }

    pub(crate) fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, RecordError> {
        let length = self.i32()?;
        self.nullable(i64::from(length))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        self.nullable_bytes()?.ok_or(self.bad_length(-1))
    }

    pub(crate) fn varint(&mut self) -> Result<u32, RecordError> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array::<1>()?;
            value |= u32::from(byte & 0x7f).wrapping_shl(shift);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.bad_length(i64::from(value)))
    }

    pub(crate) fn compact_string(&mut self) -> Result<&'a str, RecordError> {
        self.compact()?.ok_or(self.bad_length(-1)).and_then(|bytes| self.utf8(bytes))
    }

    pub(crate) fn compact_nullable_string(&mut self) -> Result<Option<&'a str>, RecordError> {
        self.compact()?.map(|bytes| self.utf8(bytes)).transpose()
    }

    pub(crate) fn compact_bytes(&mut self) -> Result<&'a [u8], RecordError> {
        self.compact()?.ok_or(self.bad_length(-1))
    }

    /// Calls `visit(tag, bytes)` for each tagged field.
    pub(crate) fn tags(
        &mut self,
        mut visit: impl FnMut(u32, &'a [u8]) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let length = self.varint()?;
            visit(tag, self.take(length as usize)?)?;
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<Option<&'a [u8]>, RecordError> {
        let length = i64::from(self.varint()?) - 1;
        self.nullable(length)
    }

    fn nullable(&mut self, length: i64) -> Result<Option<&'a [u8]>, RecordError> {
        match usize::try_from(length) {
            Ok(length) => self.take(length).map(Some),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(self.bad_length(length)),
        }
    }

    fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str, RecordError> {
        std::str::from_utf8(bytes).map_err(|_| RecordError::NotUtf8 { what: self.what })
    }

    fn bad_length(&self, length: i64) -> RecordError {
        RecordError::BadLength { what: self.what, length }
    }
}

/// Kafka's strings on the wire are at most this long; ids and names come from there.
const STRING_BYTES_MAX: usize = i16::MAX as usize;

pub(crate) fn put_string(buffer: &mut BytesMut, string: &str) {
    assert!(string.len() <= STRING_BYTES_MAX, "a string of {} bytes", string.len());
    buffer.put_i16(string.len() as i16);
    buffer.put_slice(string.as_bytes());
}

pub(crate) fn put_nullable_string(buffer: &mut BytesMut, string: Option<&str>) {
    match string {
        Some(string) => put_string(buffer, string),
        None => buffer.put_i16(-1),
    }
}

pub(crate) fn put_bytes(buffer: &mut BytesMut, bytes: &[u8]) {
    buffer.put_i32(i32::try_from(bytes.len()).expect("metadata fits a request, so an i32"));
    buffer.put_slice(bytes);
}

pub(crate) fn put_varint(buffer: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        buffer.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8(value as u8);
}

pub(crate) fn put_compact_string(buffer: &mut BytesMut, string: &str) {
    put_varint(buffer, u32::try_from(string.len() + 1).expect("a string fits a request"));
    buffer.put_slice(string.as_bytes());
}
