//! Headers of batches: parsing into a value, views over bytes, and the walk over concatenated
//! batches.
//!
//! [`BatchHeader`] is a plain copy of the 61 header bytes, cheap to pass between shards.
//! [`BatchView`] borrows the batch it describes. Both describe exactly the bytes that the length
//! field names; what stands behind them is the next batch.

use crate::codec::Codec;
use crate::error::BatchError;
use crate::increment_sequence;
use crate::layout::{self, i16_at, i32_at, i64_at, u32_at};
use crate::records::Records;

/// Who sets the timestamps of a batch: attribute bit 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    #[default]
    CreateTime,
    LogAppendTime,
}

/// The attribute bits of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0x07;
    const TIMESTAMP_TYPE: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// The codec's number; 5 to 7 name no codec.
    pub fn codec_id(self) -> u8 {
        (self.0 & Self::CODEC) as u8
    }

    /// Errors: `BatchError::UnknownCodec`.
    pub fn codec(self) -> Result<Codec, BatchError> {
        Codec::from_id(self.codec_id()).ok_or(BatchError::UnknownCodec(self.codec_id()))
    }

    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::TIMESTAMP_TYPE == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Set by the cleaner: the base timestamp is then the time at which tombstones may go.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    pub fn with_codec(self, codec: Codec) -> Self {
        Self(self.0 & !Self::CODEC | i16::from(codec.id()))
    }

    pub fn with_timestamp_type(self, t: TimestampType) -> Self {
        match t {
            TimestampType::CreateTime => Self(self.0 & !Self::TIMESTAMP_TYPE),
            TimestampType::LogAppendTime => Self(self.0 | Self::TIMESTAMP_TYPE),
        }
    }

    pub fn with_transactional(self, on: bool) -> Self {
        if on { Self(self.0 | Self::TRANSACTIONAL) } else { Self(self.0 & !Self::TRANSACTIONAL) }
    }

    pub fn with_control(self, on: bool) -> Self {
        if on { Self(self.0 | Self::CONTROL) } else { Self(self.0 & !Self::CONTROL) }
    }

    /// Only the bits Kafka's broker keeps when it writes this field anew.
    pub(crate) fn kept_by_broker(self) -> Self {
        Self(
            self.0
                & (Self::CODEC
                    | Self::TIMESTAMP_TYPE
                    | Self::TRANSACTIONAL
                    | Self::CONTROL
                    | Self::DELETE_HORIZON),
        )
    }
}

/// The header fields of one batch, as they stand in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes of the whole batch, header included.
    pub size: usize,
    pub partition_leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: Attributes,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the header of the batch at the start of `bytes`; neither checksum nor records are
    /// looked at.
    ///
    /// Errors: `Truncated` if the declared batch does not lie in `bytes` whole, `TooSmall`, `Magic`.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let size = declared_size(bytes)?;
        if bytes.len() > layout::MAGIC && bytes[layout::MAGIC] as i8 != layout::MAGIC_V2 {
            return Err(BatchError::Magic { magic: bytes[layout::MAGIC] as i8 });
        }
        if size < layout::BATCH_OVERHEAD {
            let length = (size - layout::LOG_OVERHEAD) as i32;
            let min = (layout::BATCH_OVERHEAD - layout::LOG_OVERHEAD) as i32;
            return Err(BatchError::TooSmall { length, min });
        }
        if bytes.len() < size {
            return Err(BatchError::Truncated { declared: size, present: bytes.len() });
        }
        Ok(Self::read(bytes, size))
    }

    /// Reads the header of the batch at the start of `bytes` when only its first 61 bytes need be
    /// there: for walking a file by headers.
    ///
    /// Errors: `Truncated`, `TooSmall`, `Magic`.
    pub fn parse_prefix(bytes: &[u8]) -> Result<Self, BatchError> {
        let size = declared_size(bytes)?;
        if bytes.len() < layout::BATCH_OVERHEAD {
            return Err(BatchError::Truncated { declared: size, present: bytes.len() });
        }
        if size < layout::BATCH_OVERHEAD {
            let length = (size - layout::LOG_OVERHEAD) as i32;
            let min = (layout::BATCH_OVERHEAD - layout::LOG_OVERHEAD) as i32;
            return Err(BatchError::TooSmall { length, min });
        }
        let magic = bytes[layout::MAGIC] as i8;
        if magic != layout::MAGIC_V2 {
            return Err(BatchError::Magic { magic });
        }
        Ok(Self::read(bytes, size))
    }

    /// `bytes` holds at least the 61 header bytes.
    fn read(bytes: &[u8], size: usize) -> Self {
        Self {
            base_offset: i64_at(bytes, layout::BASE_OFFSET),
            size,
            partition_leader_epoch: i32_at(bytes, layout::PARTITION_LEADER_EPOCH),
            magic: bytes[layout::MAGIC] as i8,
            crc: u32_at(bytes, layout::CRC),
            attributes: Attributes(i16_at(bytes, layout::ATTRIBUTES)),
            last_offset_delta: i32_at(bytes, layout::LAST_OFFSET_DELTA),
            base_timestamp: i64_at(bytes, layout::BASE_TIMESTAMP),
            max_timestamp: i64_at(bytes, layout::MAX_TIMESTAMP),
            producer_id: i64_at(bytes, layout::PRODUCER_ID),
            producer_epoch: i16_at(bytes, layout::PRODUCER_EPOCH),
            base_sequence: i32_at(bytes, layout::BASE_SEQUENCE),
            records_count: i32_at(bytes, layout::RECORDS_COUNT),
        }
    }

    /// Offset of the last record (also of one that compaction removed).
    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    /// Offset behind the last record.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// Whether the batch carries a producer id (Kafka: any id above -1).
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > layout::NO_PRODUCER_ID
    }

    /// Sequence of the last record, -1 without sequences.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == layout::NO_SEQUENCE {
            return layout::NO_SEQUENCE;
        }
        increment_sequence(self.base_sequence, self.last_offset_delta.max(0))
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }
}

/// Size of the whole batch that starts at `bytes`, from its length field.
fn declared_size(bytes: &[u8]) -> Result<usize, BatchError> {
    if bytes.len() < layout::LOG_OVERHEAD {
        return Err(BatchError::Truncated { declared: layout::LOG_OVERHEAD, present: bytes.len() });
    }
    let length = i32_at(bytes, layout::BATCH_LENGTH);
    if length < layout::LENGTH_MIN {
        return Err(BatchError::TooSmall { length, min: layout::LENGTH_MIN });
    }
    Ok(layout::LOG_OVERHEAD + length as usize)
}

/// One batch inside a buffer.
#[derive(Debug, Clone, Copy)]
pub struct BatchView<'a> {
    pub header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// The batch at the start of `bytes`. Errors as [`BatchHeader::parse`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        Ok(Self { header, bytes: &bytes[..header.size] })
    }

    /// Exactly the bytes of this batch.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records as they stand, compressed or not.
    pub fn records_bytes(&self) -> &'a [u8] {
        &self.bytes[layout::RECORDS..]
    }

    /// Errors: `Crc`. One pass over the bytes.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let computed = crate::crc32c(&self.bytes[layout::ATTRIBUTES..]);
        if computed != self.header.crc {
            return Err(BatchError::Crc { stored: self.header.crc, computed });
        }
        Ok(())
    }

    /// The records of an uncompressed batch, borrowed. For a compressed batch, decompress
    /// [`Self::records_bytes`] first and use [`Records::new`].
    ///
    /// Errors: `UnknownCodec`; `Codec(NotPlain)` if the batch is compressed.
    pub fn records(&self) -> Result<Records<'a>, BatchError> {
        match self.header.attributes.codec()? {
            Codec::None => Ok(Records::new(&self.header, self.records_bytes())),
            codec => Err(crate::codec::CodecError::NotPlain { codec }.into()),
        }
    }
}

/// Checks one whole batch: size, format, checksum, codec and that the counts can be true
/// (`records_count` may be below `last_offset_delta + 1` after compaction, never above).
///
/// Cost: one checksum pass; records are not walked.
pub fn validate(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let view = BatchView::parse(bytes)?;
    view.verify_crc()?;
    let h = view.header;
    h.attributes.codec()?;
    let span = i64::from(h.last_offset_delta) + 1;
    if h.records_count < 0 || span < 1 || i64::from(h.records_count) > span {
        return Err(BatchError::Counts {
            count: h.records_count,
            last_offset_delta: h.last_offset_delta,
        });
    }
    Ok(h)
}

/// The batches that follow one another in `bytes`. Ends at the end of the bytes or after the first
/// error (a cut last batch is `BatchError::Truncated`).
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { rest: bytes, position: 0 }
}

/// See [`batches`].
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    rest: &'a [u8],
    position: usize,
}

impl Batches<'_> {
    /// Bytes walked so far: the position of the batch that comes next.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match BatchView::parse(self.rest) {
            Ok(view) => {
                self.rest = &self.rest[view.header.size..];
                self.position += view.header.size;
                Some(Ok(view))
            }
            Err(e) => {
                self.rest = &[];
                Some(Err(e))
            }
        }
    }
}
