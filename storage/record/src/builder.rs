//! Building batches: for coordinators, tools, tests, load generators and recompression.
//!
//! A [`BatchBuilder`] is used again after [`BatchBuilder::clear`] and then allocates nothing for
//! uncompressed batches. Records are written straight into their final place behind the header;
//! [`BatchBuilder::finish`] fills in the header and the checksum. Compression replaces the record
//! bytes at the end.

use crate::codec::{Codec, CodecError, Compressor};
use crate::header::{Attributes, TimestampType};
use crate::layout;
use crate::varint::{len_i32, len_i64, write_i32, write_i64};

/// Producer identity of a batch; the default is "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerFields {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
}

impl Default for ProducerFields {
    fn default() -> Self {
        Self {
            producer_id: layout::NO_PRODUCER_ID,
            producer_epoch: layout::NO_PRODUCER_EPOCH,
            base_sequence: layout::NO_SEQUENCE,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A batch of more than 2 GiB or of more than 2^31 records.
    #[error("batch is too large: {bytes} bytes, {records} records")]
    TooLarge { bytes: usize, records: usize },
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// A header given to [`BatchBuilder::push`]: key and value, `None` being null.
pub type HeaderPair<'a> = (&'a [u8], Option<&'a [u8]>);

/// Builds one batch at a time.
pub struct BatchBuilder {
    /// Header space, then records.
    out: Vec<u8>,
    compressed: Vec<u8>,
    codec: Codec,
    attributes: Attributes,
    producer: ProducerFields,
    base_offset: i64,
    leader_epoch: i32,
    log_append_time: Option<i64>,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    count: i32,
    last_offset_delta: i32,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// Reserves room for `records_bytes` of records.
    pub fn with_capacity(records_bytes: usize) -> Self {
        let mut out = Vec::with_capacity(layout::RECORDS + records_bytes);
        out.resize(layout::RECORDS, 0);
        Self {
            out,
            compressed: Vec::new(),
            codec: Codec::None,
            attributes: Attributes(0),
            producer: ProducerFields::default(),
            base_offset: 0,
            leader_epoch: -1,
            log_append_time: None,
            base_timestamp: None,
            max_timestamp: layout::NO_TIMESTAMP,
            count: 0,
            last_offset_delta: -1,
        }
    }

    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    pub fn producer(mut self, producer: ProducerFields) -> Self {
        self.producer = producer;
        self
    }

    pub fn transactional(mut self, on: bool) -> Self {
        self.attributes = self.attributes.with_transactional(on);
        self
    }

    pub fn control(mut self, on: bool) -> Self {
        self.attributes = self.attributes.with_control(on);
        self
    }

    pub fn base_offset(mut self, offset: i64) -> Self {
        self.base_offset = offset;
        self
    }

    pub fn leader_epoch(mut self, epoch: i32) -> Self {
        self.leader_epoch = epoch;
        self
    }

    /// Type `LogAppendTime` with this time; record timestamps keep their deltas.
    pub fn log_append_time(mut self, now: Option<i64>) -> Self {
        self.log_append_time = now;
        self
    }

    /// Sets the producer fields of the next batch of a builder in use.
    pub fn set_producer(&mut self, producer: ProducerFields) {
        self.producer = producer;
    }

    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Size of the batch if it were finished uncompressed now.
    pub fn size(&self) -> usize {
        self.out.len()
    }

    /// Bytes that [`Self::push`] would add for this record at the end of the batch.
    pub fn record_size(
        &self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderPair<'_>],
    ) -> usize {
        let delta = timestamp.wrapping_sub(self.base_timestamp.unwrap_or(timestamp));
        let body = body_len(delta, self.last_offset_delta + 1, key, value)
            + len_i32(headers.len() as i32)
            + headers_len(headers);
        len_i32(body as i32) + body
    }

    /// Appends a record at the next offset; the first record's timestamp becomes the base.
    ///
    /// Errors: `TooLarge`, and the record is not added.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderPair<'_>],
    ) -> Result<(), BuildError> {
        self.push_at(self.last_offset_delta + 1, timestamp, key, value, headers)
    }

    /// Appends a record at an offset delta of its own (compaction leaves gaps).
    pub fn push_at(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderPair<'_>],
    ) -> Result<(), BuildError> {
        let headers_len = len_i32(headers.len() as i32) + headers_len(headers);
        self.start_record(offset_delta, timestamp, key, value, headers_len)?;
        write_i32(&mut self.out, headers.len() as i32);
        for (k, v) in headers {
            write_bytes(&mut self.out, Some(k));
            write_bytes(&mut self.out, *v);
        }
        Ok(())
    }

    /// Appends a record whose headers are already in wire form.
    pub(crate) fn push_raw_headers(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: crate::records::Headers<'_>,
    ) -> Result<(), BuildError> {
        let count = headers.len() as i32;
        let headers_len = len_i32(count) + headers.bytes().len();
        self.start_record(offset_delta, timestamp, key, value, headers_len)?;
        write_i32(&mut self.out, count);
        self.out.extend_from_slice(headers.bytes());
        Ok(())
    }

    fn start_record(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers_len: usize,
    ) -> Result<(), BuildError> {
        let base = *self.base_timestamp.get_or_insert(timestamp);
        let delta = timestamp.wrapping_sub(base);
        let body = body_len(delta, offset_delta, key, value) + headers_len;
        let bytes = self.out.len() + body;
        if bytes > i32::MAX as usize - layout::LOG_OVERHEAD || self.count == i32::MAX {
            return Err(BuildError::TooLarge { bytes, records: self.count as usize + 1 });
        }
        self.out.reserve(body + crate::varint::VARINT_BYTES_MAX);
        write_i32(&mut self.out, body as i32);
        self.out.push(0);
        write_i64(&mut self.out, delta);
        write_i32(&mut self.out, offset_delta);
        write_bytes(&mut self.out, key);
        write_bytes(&mut self.out, value);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.count += 1;
        self.last_offset_delta = offset_delta;
        Ok(())
    }

    /// Makes the last offset of the batch `delta`, also if no record has it.
    pub fn set_last_offset_delta(&mut self, delta: i32) {
        self.last_offset_delta = delta;
    }

    /// Finishes an uncompressed batch, or compresses with default levels. The bytes are valid
    /// until [`Self::clear`].
    ///
    /// Errors: `Codec`.
    pub fn finish(&mut self) -> Result<&[u8], BuildError> {
        self.finish_with(&mut Compressor::default())
    }

    /// Finishes the batch, compressing with `compressor`.
    pub fn finish_with(&mut self, compressor: &mut Compressor) -> Result<&[u8], BuildError> {
        let fields = self.fields();
        if self.codec == Codec::None {
            fill_header(&mut self.out, fields);
            return Ok(&self.out);
        }
        self.compressed.clear();
        self.compressed.resize(layout::RECORDS, 0);
        compressor.compress(self.codec, &self.out[layout::RECORDS..], &mut self.compressed)?;
        fill_header(&mut self.compressed, fields);
        Ok(&self.compressed)
    }

    /// Forgets the records; settings stay.
    pub fn clear(&mut self) {
        self.out.truncate(layout::RECORDS);
        self.base_timestamp = None;
        self.max_timestamp = layout::NO_TIMESTAMP;
        self.count = 0;
        self.last_offset_delta = -1;
    }

    fn fields(&self) -> Fields {
        let (t, max_timestamp) = match self.log_append_time {
            Some(now) => (TimestampType::LogAppendTime, now),
            None => (TimestampType::CreateTime, self.max_timestamp),
        };
        Fields {
            base_offset: self.base_offset,
            leader_epoch: self.leader_epoch,
            attributes: self.attributes.with_codec(self.codec).with_timestamp_type(t),
            last_offset_delta: self.last_offset_delta,
            base_timestamp: self.base_timestamp.unwrap_or(layout::NO_TIMESTAMP),
            max_timestamp,
            producer: self.producer,
            count: self.count,
        }
    }
}

struct Fields {
    base_offset: i64,
    leader_epoch: i32,
    attributes: Attributes,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    producer: ProducerFields,
    count: i32,
}

fn fill_header(out: &mut [u8], f: Fields) {
    let length = (out.len() - layout::LOG_OVERHEAD) as i32;
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(layout::BASE_OFFSET, &f.base_offset.to_be_bytes());
    put(layout::BATCH_LENGTH, &length.to_be_bytes());
    put(layout::PARTITION_LEADER_EPOCH, &f.leader_epoch.to_be_bytes());
    put(layout::MAGIC, &layout::MAGIC_V2.to_be_bytes());
    put(layout::ATTRIBUTES, &f.attributes.0.to_be_bytes());
    put(layout::LAST_OFFSET_DELTA, &f.last_offset_delta.to_be_bytes());
    put(layout::BASE_TIMESTAMP, &f.base_timestamp.to_be_bytes());
    put(layout::MAX_TIMESTAMP, &f.max_timestamp.to_be_bytes());
    put(layout::PRODUCER_ID, &f.producer.producer_id.to_be_bytes());
    put(layout::PRODUCER_EPOCH, &f.producer.producer_epoch.to_be_bytes());
    put(layout::BASE_SEQUENCE, &f.producer.base_sequence.to_be_bytes());
    put(layout::RECORDS_COUNT, &f.count.to_be_bytes());
    let crc = crate::crc32c(&out[layout::ATTRIBUTES..]);
    out[layout::CRC..layout::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
}

fn write_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => write_i32(out, -1),
        Some(b) => {
            write_i32(out, b.len() as i32);
            out.extend_from_slice(b);
        }
    }
}

fn bytes_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |b| len_i32(b.len() as i32) + b.len())
}

fn body_len(delta: i64, offset_delta: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> usize {
    1 + len_i64(delta) + len_i32(offset_delta) + bytes_len(key) + bytes_len(value)
}

fn headers_len(headers: &[HeaderPair<'_>]) -> usize {
    headers.iter().map(|(k, v)| bytes_len(Some(k)) + bytes_len(*v)).sum()
}
