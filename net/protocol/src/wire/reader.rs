//! Reading primitive types.

use super::WireError;

/// Kafka's limit for strings, in both encodings.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// A cursor over `bytes`.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// A cursor that starts at `at`, which may be up to `bytes.len()`.
    pub fn at(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at: at.min(bytes.len()) }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        if n > self.remaining() {
            return Err(WireError::Eof { at: self.at, wanted: n });
        }
        let out = &self.bytes[self.at..self.at + n];
        self.at += n;
        Ok(out)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub fn i8(&mut self) -> Result<i8, WireError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub fn bool(&mut self) -> Result<bool, WireError> {
        Ok(self.i8()? != 0)
    }

    pub fn i16(&mut self) -> Result<i16, WireError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub fn i32(&mut self) -> Result<i32, WireError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Result<i64, WireError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub fn uuid(&mut self) -> Result<uuid::Uuid, WireError> {
        Ok(uuid::Uuid::from_bytes(self.array()?))
    }

    /// An unsigned varint; bits beyond 32 are dropped.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32, WireError> {
        let start = self.at;
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let b = self.take(1)?[0];
            value |= u32::from(b & 0x7f) << shift;
            if b < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Varint { at: start })
    }

    /// The length in front of a compact type: `None` is null.
    #[inline]
    fn compact_len(&mut self) -> Result<Option<usize>, WireError> {
        let len = (self.uvarint()? as i32).wrapping_sub(1);
        Ok((len >= 0).then_some(len as usize))
    }

    /// The length in front of a string.
    #[inline]
    pub fn string_len(&mut self, compact: bool) -> Result<Option<usize>, WireError> {
        let at = self.at;
        let len = if compact {
            self.compact_len()?
        } else {
            let len = self.i16()?;
            (len >= 0).then_some(len as usize)
        };
        match len {
            Some(len) if len > STRING_BYTES_MAX => Err(WireError::StringLength { at, len }),
            len => Ok(len),
        }
    }

    /// A nullable string's bytes, not checked to be UTF-8.
    pub fn nullable_string(&mut self, compact: bool) -> Result<Option<&'a [u8]>, WireError> {
        match self.string_len(compact)? {
            None => Ok(None),
            Some(n) => self.take(n).map(Some),
        }
    }

    /// A string's bytes, not checked to be UTF-8.
    pub fn string(&mut self, compact: bool) -> Result<&'a [u8], WireError> {
        let at = self.at;
        self.nullable_string(compact)?.ok_or(WireError::Null { at })
    }

    /// The length in front of bytes or records.
    pub fn bytes_len(&mut self, compact: bool) -> Result<Option<usize>, WireError> {
        if compact {
            return self.compact_len();
        }
        let len = self.i32()?;
        Ok((len >= 0).then_some(len as usize))
    }

    pub fn nullable_bytes(&mut self, compact: bool) -> Result<Option<&'a [u8]>, WireError> {
        match self.bytes_len(compact)? {
            None => Ok(None),
            Some(n) => self.take(n).map(Some),
        }
    }

    /// The element count of an array. More elements than bytes left is an error, as in Kafka:
    /// every element takes at least one byte.
    pub fn nullable_array(&mut self, compact: bool) -> Result<Option<usize>, WireError> {
        let at = self.at;
        match self.bytes_len(compact)? {
            Some(count) if count > self.remaining() => {
                Err(WireError::ArrayLength { at, count, left: self.remaining() })
            }
            count => Ok(count),
        }
    }

    pub fn array_len(&mut self, compact: bool) -> Result<usize, WireError> {
        let at = self.at;
        self.nullable_array(compact)?.ok_or(WireError::Null { at })
    }

    /// Reads tagged fields and skips those that `known` does not take. `known` gets the tag and
    /// the cursor, and reads the field or returns `false`.
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<bool, WireError>,
    ) -> Result<(), WireError> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let size = self.uvarint()? as usize;
            if !known(tag, self)? {
                self.take(size)?;
            }
        }
        Ok(())
    }

    /// Skips all tagged fields.
    #[inline]
    pub fn skip_tagged_fields(&mut self) -> Result<(), WireError> {
        self.tagged_fields(|_, _| Ok(false))
    }
}
