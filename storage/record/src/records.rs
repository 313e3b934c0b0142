//! Records inside a batch: borrowed, parsed one at a time, no allocation.
//!
//! [`parse_record`] is the one place that knows the layout of a record. The rules are those of
//! Kafka's `DefaultRecord.readFrom`: a record must end exactly where its length says, a negative
//! key or value length of any size means null, a header key may not be null. Header keys are not
//! checked to be UTF-8 (Kafka does not).

use crate::error::BatchError;
use crate::header::{BatchHeader, TimestampType};
use crate::varint::{VarintFault, read_i32, read_i64};

/// What is wrong with the bytes of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    #[error("its bytes end early")]
    Eof,
    /// The length in front of the record goes on for more than five bytes. Kafka answers this one
    /// with another error than all others, hence a variant of its own.
    #[error("its length is not a varint")]
    LengthTooLong,
    #[error("a varint in it is too long")]
    VarintTooLong,
    #[error("its length {declared} is not what its fields take")]
    Length { declared: i32 },
    #[error("it declares {0} headers")]
    HeaderCount(i32),
    #[error("a header key has length {0}")]
    HeaderKey(i32),
}

/// One record; slices borrow the (decompressed) records of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Bytes the record takes, its length field included.
    pub size: usize,
    pub attributes: i8,
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// The headers of one record, checked, in their wire form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The wire form behind the count.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// One header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.count = self.count.checked_sub(1)?;
        let mut at = 0;
        let key = bytes_field(self.bytes, &mut at).ok()??;
        let value = bytes_field(self.bytes, &mut at).ok()?;
        self.bytes = &self.bytes[at..];
        Some(Header { key, value })
    }
}

#[inline(always)]
fn inner(fault: VarintFault) -> RecordFault {
    match fault {
        VarintFault::Eof => RecordFault::Eof,
        VarintFault::TooLong => RecordFault::VarintTooLong,
    }
}

/// A length and that many bytes; a negative length is null.
#[inline(always)]
fn bytes_field<'a>(buf: &'a [u8], at: &mut usize) -> Result<Option<&'a [u8]>, RecordFault> {
    let len = read_i32(buf, at).map_err(inner)?;
    if len < 0 {
        return Ok(None);
    }
    let end = *at + len as usize;
    let bytes = buf.get(*at..end).ok_or(RecordFault::Eof)?;
    *at = end;
    Ok(Some(bytes))
}

/// Parses the record at `*at` and moves `*at` behind it.
#[inline(always)]
pub fn parse_record<'a>(buf: &'a [u8], at: &mut usize) -> Result<Record<'a>, RecordFault> {
    let start = *at;
    let declared = read_i32(buf, at).map_err(|fault| match fault {
        VarintFault::Eof => RecordFault::Eof,
        VarintFault::TooLong => RecordFault::LengthTooLong,
    })?;
    if declared < 0 {
        return Err(RecordFault::Length { declared });
    }
    let end = *at + declared as usize;
    // The record may not read beyond the end it declares, so it is parsed within that end.
    let buf = buf.get(..end).ok_or(RecordFault::Eof)?;
    let attributes = *buf.get(*at).ok_or(RecordFault::Eof)? as i8;
    *at += 1;
    let timestamp_delta = read_i64(buf, at).map_err(inner)?;
    let offset_delta = read_i32(buf, at).map_err(inner)?;
    let key = bytes_field(buf, at)?;
    let value = bytes_field(buf, at)?;
    let count = read_i32(buf, at).map_err(inner)?;
    // The headers take at least two bytes each: a count beyond that is a lie.
    if count < 0 || count as usize > buf.len() - *at {
        return Err(RecordFault::HeaderCount(count));
    }
    let headers_at = *at;
    for _ in 0..count {
        let key_at = *at;
        if bytes_field(buf, at)?.is_none() {
            let len = read_i32(buf, &mut { key_at }).map_err(inner)?;
            return Err(RecordFault::HeaderKey(len));
        }
        bytes_field(buf, at)?;
    }
    if *at != end {
        return Err(RecordFault::Length { declared });
    }
    let headers = Headers { count: count as u32, bytes: &buf[headers_at..] };
    Ok(Record { size: end - start, attributes, timestamp_delta, offset_delta, key, value, headers })
}

/// The records of one batch, in order. Yields exactly the declared number, or ends with an error;
/// bytes left behind the last record are an error too.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    buf: &'a [u8],
    at: usize,
    index: u32,
    count: u32,
    base_offset: i64,
    base_timestamp: i64,
    log_append_time: Option<i64>,
}

impl<'a> Records<'a> {
    /// `plain` is what [`crate::BatchView::records_bytes`] holds, decompressed.
    pub fn new(header: &BatchHeader, plain: &'a [u8]) -> Self {
        let log_append_time = (header.timestamp_type() == TimestampType::LogAppendTime)
            .then_some(header.max_timestamp);
        Self {
            buf: plain,
            at: 0,
            index: 0,
            count: header.records_count.max(0) as u32,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            log_append_time,
        }
    }

    /// Offset of `record` of this batch.
    pub fn offset_of(&self, record: &Record<'_>) -> i64 {
        self.base_offset.wrapping_add(i64::from(record.offset_delta))
    }

    /// Timestamp of `record` of this batch, as a consumer sees it.
    pub fn timestamp_of(&self, record: &Record<'_>) -> i64 {
        match self.log_append_time {
            Some(t) => t,
            None => self.base_timestamp.wrapping_add(record.timestamp_delta),
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index == self.count {
            let left = self.buf.len() - self.at;
            if left > 0 {
                self.at = self.buf.len();
                return Some(Err(BatchError::TrailingBytes { left }));
            }
            return None;
        }
        match parse_record(self.buf, &mut self.at) {
            Ok(record) => {
                self.index += 1;
                Some(Ok(record))
            }
            Err(fault) => {
                let index = self.index;
                self.index = self.count;
                self.at = self.buf.len();
                Some(Err(BatchError::Record { index, fault }))
            }
        }
    }
}
