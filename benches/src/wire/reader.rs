//! Reads one response. A response that ends too soon is an error, never a panic.

use anyhow::{Result, bail};

pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// `frame` begins behind the length prefix; the correlation id is returned.
    pub fn response(frame: &'a [u8], flexible: bool) -> Result<(i32, Reader<'a>)> {
        let mut r = Reader { rest: frame };
        let correlation = r.i32()?;
        if flexible {
            r.tags()?;
        }
        Ok((correlation, r))
    }

    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        if len > self.rest.len() {
            bail!("response ends {} bytes too soon", len - self.rest.len());
        }
        let (head, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N)?);
        Ok(out)
    }

    pub fn i8(&mut self) -> Result<i8> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// Count of a plain array; null counts as empty.
    pub fn count(&mut self) -> Result<usize> {
        Ok(self.i32()?.max(0) as usize)
    }

    pub fn string(&mut self) -> Result<String> {
        let len = self.i16()?.max(0) as usize;
        Ok(String::from_utf8_lossy(self.bytes(len)?).into_owned())
    }

    pub fn uvarint(&mut self) -> Result<u32> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.i8()? as u8;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bail!("varint of more than five bytes")
    }

    /// Length of a compact array, string or bytes; null counts as empty.
    pub fn compact_len(&mut self) -> Result<usize> {
        Ok(self.uvarint()?.saturating_sub(1) as usize)
    }

    pub fn compact_bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.compact_len()?;
        self.bytes(len)
    }

    pub fn tags(&mut self) -> Result<()> {
        for _ in 0..self.uvarint()? {
            self.uvarint()?;
            let len = self.uvarint()? as usize;
            self.bytes(len)?;
        }
        Ok(())
    }
}
