//! The walk over one body: checks what it declares, adds up what decoding reserves, and writes the
//! plain form when asked to.

use super::schema::Schema;
use super::{GuardError, RESERVED_BASE_MAX, RESERVED_PER_BYTE_MAX};
use crate::wire::{Reader, WireError, WriteWire};

/// What decoding takes once, whatever is decoded: shared ownership of the body, an error's text.
const DECODER_BYTES: usize = 512;
/// What the plain form may need beyond the body's length when no string is patched.
const REWRITE_BYTES_MORE: usize = 16;

pub(super) struct Walker<'a> {
    body: &'a [u8],
    reader: Reader<'a>,
    reserved: usize,
    /// Nothing in it needs the plain form.
    plain: bool,
    out: Option<Vec<u8>>,
}

pub(super) struct Outcome {
    pub plain: bool,
    /// The plain form; empty unless it was asked for.
    pub rewritten: Vec<u8>,
}

impl<'a> Walker<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Self { body, reader: Reader::new(body), reserved: DECODER_BYTES, plain: true, out: None }
    }

    pub fn rewriting(body: &'a [u8]) -> Self {
        Self { out: Some(Vec::with_capacity(body.len() + REWRITE_BYTES_MORE)), ..Self::new(body) }
    }

    pub fn walk(mut self, schema: Schema) -> Result<Outcome, GuardError> {
        self.fields(schema)?;
        if !self.plain && self.out.is_none() {
            // The plain form is a second copy of the body.
            self.reserve(self.body.len() + REWRITE_BYTES_MORE)?;
        }
        Ok(Outcome { plain: self.plain, rewritten: self.out.unwrap_or_default() })
    }

    fn fields(&mut self, mut schema: Schema) -> Result<(), GuardError> {
        while let Some(c) = schema.next() {
            let nullable = c == b'?';
            let c = if nullable { schema.next().unwrap_or(b'?') } else { c };
            match c {
                b'b' | b'1' => self.copy(1)?,
                b'2' | b'H' => self.copy(2)?,
                b'4' => self.copy(4)?,
                b'8' | b'F' => self.copy(8)?,
                b'U' => self.copy(16)?,
                b's' | b'S' | b'c' | b'C' => {
                    self.string(matches!(c, b'c' | b'C'), matches!(c, b'S' | b'C'))?
                }
                b'y' | b'z' | b'Y' | b'Z' | b'R' | b'Q' => {
                    let compact = matches!(c, b'z' | b'Z' | b'Q');
                    self.bytes(compact, !matches!(c, b'y' | b'z'))?;
                }
                b'[' | b'<' => {
                    let size = schema.number(b';');
                    let element = schema.inside();
                    self.array(c == b'<', nullable, size, element)?;
                }
                b'(' => {
                    let inside = schema.inside();
                    self.structure(nullable, inside)?;
                }
                b'{' => {
                    let known = schema.inside();
                    self.tags(known)?;
                }
                _ => unreachable!("schema character {c}"),
            }
        }
        Ok(())
    }

    fn copy(&mut self, n: usize) -> Result<(), GuardError> {
        let bytes = self.reader.take(n)?;
        if let Some(out) = &mut self.out {
            out.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Notes a null; `plain` says whether it was written as null always is.
    fn null(&mut self, at: usize, nullable: bool, plain: &[u8]) -> Result<(), GuardError> {
        if !nullable {
            return Err(WireError::Null { at }.into());
        }
        self.plain &= &self.body[at..self.reader.position()] == plain;
        if let Some(out) = &mut self.out {
            out.extend_from_slice(plain);
        }
        Ok(())
    }

    fn string(&mut self, compact: bool, nullable: bool) -> Result<(), GuardError> {
        let at = self.reader.position();
        let Some(s) = self.reader.nullable_string(compact)? else {
            let plain: &[u8] = if compact { &[0] } else { &[0xff, 0xff] };
            return self.null(at, nullable, plain);
        };
        if std::str::from_utf8(s).is_err() {
            self.plain = false;
            // Each bad byte becomes three, first in a string of its own, then in the plain form,
            // which may grow to twice what it holds.
            self.reserve(9 * s.len())?;
        }
        if let Some(out) = &mut self.out {
            let s = String::from_utf8_lossy(s);
            // Patching can make it longer than a string may be: then it is cut.
            let mut end = s.len().min(crate::wire::STRING_BYTES_MAX);
            while !s.is_char_boundary(end) {
                end -= 1;
            }
            out.put_string(compact, &s[..end]);
        }
        Ok(())
    }

    fn bytes(&mut self, compact: bool, nullable: bool) -> Result<(), GuardError> {
        let at = self.reader.position();
        let Some(b) = self.reader.nullable_bytes(compact)? else {
            return self.null(at, nullable, if compact { &[0] } else { &[0xff; 4] });
        };
        if let Some(out) = &mut self.out {
            out.put_bytes_len(compact, Some(b.len()));
            out.extend_from_slice(b);
        }
        Ok(())
    }

    fn array(
        &mut self,
        compact: bool,
        nullable: bool,
        element_size: usize,
        element: Schema,
    ) -> Result<(), GuardError> {
        let at = self.reader.position();
        let Some(count) = self.reader.nullable_array(compact)? else {
            return self.null(at, nullable, if compact { &[0] } else { &[0xff; 4] });
        };
        self.reserve(count.saturating_mul(element_size))?;
        if let Some(out) = &mut self.out {
            out.put_array_len(compact, Some(count));
        }
        for _ in 0..count {
            self.fields(element)?;
        }
        Ok(())
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), GuardError> {
        self.reserved = self.reserved.saturating_add(bytes);
        let body = self.body.len();
        if self.reserved > body * RESERVED_PER_BYTE_MAX + RESERVED_BASE_MAX {
            return Err(GuardError::TooMuchMemory { body, reserved: self.reserved });
        }
        Ok(())
    }

    /// A nullable struct has a mark in front: negative is null.
    fn structure(&mut self, nullable: bool, inside: Schema) -> Result<(), GuardError> {
        if nullable {
            let mark = self.reader.i8()?;
            self.plain &= matches!(mark, 1 | -1);
            if let Some(out) = &mut self.out {
                out.push(if mark < 0 { 0xff } else { 1 });
            }
            if mark < 0 {
                return Ok(());
            }
        }
        self.fields(inside)
    }

    /// Known tags are walked, unknown ones are left out of the plain form.
    fn tags(&mut self, known: Schema) -> Result<(), GuardError> {
        let count = self.reader.uvarint()?;
        let mut kept = 0u32;
        let outer = self.out.as_mut().map(std::mem::take);
        for _ in 0..count {
            let tag = self.reader.uvarint()?;
            let size = self.reader.uvarint()? as usize;
            let Some(field) = known.tagged(tag) else {
                self.reader.take(size)?;
                self.plain = false;
                continue;
            };
            kept += 1;
            let start = self.out.as_ref().map_or(0, Vec::len);
            self.fields(field)?;
            if let Some(out) = &mut self.out {
                let body = out.split_off(start);
                out.put_uvarint(tag);
                out.put_uvarint(body.len() as u32);
                out.extend_from_slice(&body);
            }
        }
        if let (Some(mut outer), Some(tags)) = (outer, &mut self.out) {
            outer.put_uvarint(kept);
            outer.append(tags);
            self.out = Some(outer);
        }
        Ok(())
    }
}
