//! What Kafka's broker accepts, corrects and refuses when a client produces one batch
//! (`ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords`, `LogValidator`).
//!
//! [`validate_for_append`] is the only door through which client bytes reach a partition. It reads
//! the bytes where they lie and answers in which form they are stored: as sent, as sent with
//! corrected timestamp fields, or rewritten. The order of the checks is Kafka's, because a batch
//! with two faults must get the error that Kafka gives.
//!
//! **What is decompressed.** Kafka walks the records of every batch, compressed or not: for
//! undecodable data, counts, offset deltas, record timestamps out of range, and to correct a false
//! `maxTimestamp`. Without the walk a client could store bytes that no consumer can read, so
//! [`CompressedCheck::Full`] does the same, into a buffer that is kept; the stored bytes stay the
//! client's. [`CompressedCheck::HeaderOnly`] trusts the inside of a batch that is stored as sent on
//! a topic that is not compacted, if its header is plausible: for clusters whose clients are all
//! known. Uncompressed batches are always walked, in one pass, without allocation.
//!
//! Invariants: `Validated::header` describes the bytes as they will be stored; nothing behind
//! `header.size` bytes of the input belongs to the batch (Kafka accepts stray bytes there, and so
//! do we: they are not stored).

use bytes::Bytes;

use crate::builder::{BatchBuilder, BuildError, ProducerFields};
use crate::codec::{Codec, CodecError, Compressor, Decompressor, Levels};
use crate::error::BatchError;
use crate::header::{BatchHeader, BatchView, TimestampType};
use crate::layout::{self, NO_TIMESTAMP};
use crate::patch::TimestampPatch;
use crate::records::{RecordFault, parse_record};

/// Produce versions below this may not carry zstd.
const ZSTD_API_VERSION: i16 = 7;
/// The most record errors listed in one refusal; Kafka lists all, and an answer would then be
/// larger than its request many times over.
pub const RECORD_ERRORS_MAX: usize = 1000;

/// How far a compressed batch that will be stored as sent is inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompressedCheck {
    /// As Kafka: decompress and walk every record.
    #[default]
    Full,
    /// Believe the header unless it is suspicious.
    HeaderOnly,
}

/// The topic's and the request's side of a validation.
#[derive(Debug, Clone, Copy)]
pub struct AppendRules {
    /// Version of the Produce request.
    pub api_version: i16,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// The wall clock, for both bounds and for `LogAppendTime`.
    pub now_ms: i64,
    /// `cleanup.policy` contains `compact`: records without a key are refused.
    pub compacted: bool,
    /// `max.message.bytes`, for the batch as sent and as rewritten.
    pub batch_bytes_max: usize,
    /// `compression.type`; `None` is `producer`.
    pub compression: Option<Codec>,
    pub compressed_check: CompressedCheck,
}

impl Default for AppendRules {
    /// Kafka's defaults, at time 0.
    fn default() -> Self {
        Self {
            api_version: 13,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            now_ms: 0,
            compacted: false,
            batch_bytes_max: 1_048_588,
            compression: None,
            compressed_check: CompressedCheck::Full,
        }
    }
}

/// Buffers and codec contexts of one shard, used by every validation there.
#[derive(Default)]
pub struct Scratch {
    decompressor: Decompressor,
    compressor: Compressor,
}

impl Scratch {
    /// `decompressed_bytes_max` bounds what one batch may become in memory.
    pub fn new(decompressed_bytes_max: usize) -> Self {
        Self {
            decompressor: Decompressor::new(decompressed_bytes_max),
            compressor: Compressor::default(),
        }
    }

    /// Levels for rewriting; set before a call when the topic has its own.
    pub fn set_levels(&mut self, levels: Levels) {
        self.compressor.levels = levels;
    }

    /// For readers that need the records of a stored, compressed batch.
    pub fn decompressor(&mut self) -> &mut Decompressor {
        &mut self.decompressor
    }
}

/// In which form the batch goes into the log. Base offset and leader epoch are stamped afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// The first `header.size` bytes of the input.
    AsSent,
    /// Those bytes, with this patch applied to the copy.
    Patched(TimestampPatch),
    /// Another batch.
    Rewritten(Bytes),
}

/// A batch that may be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validated {
    /// The header as stored (base offset still 0).
    pub header: BatchHeader,
    pub stored: Stored,
}

impl Validated {
    /// What the answer says in `log_append_time_ms`.
    pub fn log_append_time_ms(&self) -> i64 {
        match self.header.timestamp_type() {
            TimestampType::LogAppendTime => self.header.max_timestamp,
            TimestampType::CreateTime => NO_TIMESTAMP,
        }
    }

    /// Appends the batch to `out` in its stored form; `sent` is what was validated. One copy.
    pub fn write_to(&self, sent: &[u8], out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(self.bytes(sent));
        self.patch(&mut out[at..]);
    }

    /// The bytes to copy into the log, before [`Self::patch`].
    pub fn bytes<'a>(&'a self, sent: &'a [u8]) -> &'a [u8] {
        match &self.stored {
            Stored::AsSent | Stored::Patched(_) => &sent[..self.header.size],
            Stored::Rewritten(bytes) => bytes,
        }
    }

    /// Applies the patch, if there is one, to the copy of [`Self::bytes`].
    pub fn patch(&self, copy: &mut [u8]) {
        if let Stored::Patched(patch) = &self.stored {
            patch.apply(copy);
        }
    }
}

/// The family of a refusal; the broker maps it to an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// CORRUPT_MESSAGE
    CorruptMessage,
    /// INVALID_RECORD
    InvalidRecord,
    /// INVALID_TIMESTAMP
    InvalidTimestamp,
    /// MESSAGE_TOO_LARGE
    MessageTooLarge,
    /// UNSUPPORTED_COMPRESSION_TYPE
    UnsupportedCompressionType,
    /// UNKNOWN_SERVER_ERROR: what Kafka gives where its own code throws
    Unknown,
}

/// Why a batch is not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchRefusal {
    #[error("no complete record batch")]
    NoBatch,
    #[error("more than one record batch for one partition")]
    SeveralBatches,
    /// The first bytes are no start of a batch.
    #[error(transparent)]
    NotABatch(BatchError),
    #[error(transparent)]
    Corrupt(BatchError),
    #[error("record batches of format {magic} are not accepted")]
    OldMagic { magic: i8 },
    #[error("zstd needs Produce version {ZSTD_API_VERSION}")]
    ZstdTooEarly,
    #[error("compression codec {id} is unknown")]
    UnknownCodec { id: u8 },
    #[error("base offset of a produced batch is {base_offset}, not 0")]
    BaseOffset { base_offset: i64 },
    #[error("batch of {size} bytes is larger than {max}")]
    TooLarge { size: usize, max: usize },
    #[error("batch declares {count} records and a last offset delta of {last_offset_delta}")]
    Counts { count: i32, last_offset_delta: i32 },
    #[error("clients may not write control batches")]
    Control,
    #[error("sequence {sequence} with producer id {producer_id}")]
    Sequence { producer_id: i64, sequence: i32 },
    #[error(transparent)]
    Undecodable(CodecError),
    #[error("more than {max} bytes after decompression")]
    Bomb { max: usize },
    #[error("record {index}: {fault}")]
    Malformed { index: u32, fault: RecordFault },
    #[error("{left} bytes are left behind the last record")]
    TrailingBytes { left: usize },
    /// A compressed batch, to be stored as sent, whose offset deltas are not 0, 1, 2...
    #[error("offset deltas of a compressed batch are not consecutive")]
    OffsetDeltas,
    #[error("{}", records_message(.0))]
    Records(Vec<RecordError>),
    #[error("rewritten batch: {0}")]
    Rewrite(BuildError),
}

impl BatchRefusal {
    pub fn kind(&self) -> RefusalKind {
        use RefusalKind::*;
        match self {
            Self::NotABatch(_) | Self::Corrupt(_) => CorruptMessage,
            Self::TooLarge { .. } | Self::Bomb { .. } => MessageTooLarge,
            Self::ZstdTooEarly => UnsupportedCompressionType,
            Self::UnknownCodec { .. }
            | Self::Undecodable(_)
            | Self::OffsetDeltas
            | Self::Rewrite(_)
            | Self::Malformed {
                fault: RecordFault::LengthTooLong,
                ..
            } => Unknown,
            Self::Records(errors) if any_timestamp(errors) => InvalidTimestamp,
            Self::NoBatch
            | Self::SeveralBatches
            | Self::OldMagic { .. }
            | Self::BaseOffset { .. }
            | Self::Counts { .. }
            | Self::Control
            | Self::Sequence { .. }
            | Self::Malformed { .. }
            | Self::TrailingBytes { .. }
            | Self::Records(_) => InvalidRecord,
        }
    }

    /// Errors of single records, for the answer's `record_errors`.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            Self::Records(errors) => errors,
            _ => &[],
        }
    }

    /// The answer's `error_message`: Kafka sends one with record errors, and where it finds no
    /// batch at all because of its first bytes.
    pub fn error_message(&self) -> Option<String> {
        match self {
            Self::Records(errors) => Some(records_message(errors)),
            Self::NotABatch(_) => Some(self.to_string()),
            _ => None,
        }
    }
}

fn any_timestamp(errors: &[RecordError]) -> bool {
    errors
        .iter()
        .any(|e| !matches!(e.fault, RecordErrorFault::NullKey))
}

fn records_message(errors: &[RecordError]) -> String {
    use std::fmt::Write;
    if any_timestamp(errors) {
        return "One or more records have been rejected due to invalid timestamp".into();
    }
    let mut out = format!(
        "One or more records have been rejected due to {} record errors in total, and only \
         showing the first three errors at most: [",
        errors.len()
    );
    for (i, e) in errors.iter().take(3).enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        let _ = write!(
            out,
            "{comma}RecordError(batchIndex={}, message='{e}')",
            e.batch_index
        );
    }
    out.push(']');
    out
}

/// One refused record. `Display` gives the message for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordError {
    /// Position of the record in its batch.
    pub batch_index: i32,
    pub fault: RecordErrorFault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordErrorFault {
    NullKey,
    /// The inclusive bounds are those in force at validation.
    Timestamp {
        timestamp: i64,
        offset: i64,
        from: i64,
        to: i64,
    },
    /// The producer set the `LogAppendTime` bit.
    TimestampType,
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.fault {
            RecordErrorFault::NullKey => {
                f.write_str("Compacted topic cannot accept message without key")
            }
            RecordErrorFault::Timestamp {
                timestamp,
                offset,
                from,
                to,
            } => write!(
                f,
                "Timestamp {timestamp} of message with offset {offset} is out of range. The \
                 timestamp should be within [{from}, {to}]"
            ),
            RecordErrorFault::TimestampType => f.write_str(
                "Invalid timestamp type in message. Producer should not set timestamp type to \
                 LogAppendTime.",
            ),
        }
    }
}

/// Judges the record bytes of one partition in a Produce request.
///
/// Cost: one checksum pass and one walk over the records; no allocation for an uncompressed batch
/// stored as sent or patched.
pub fn validate_for_append(
    sent: &[u8],
    rules: &AppendRules,
    scratch: &mut Scratch,
) -> Result<Validated, BatchRefusal> {
    let view = single_batch(sent, rules)?;
    let header = view.header;
    let source = header
        .attributes
        .codec()
        .map_err(|_| BatchRefusal::UnknownCodec {
            id: header.attributes.codec_id(),
        })?;
    check_header(&header)?;
    let target = rules.compression.unwrap_or(source);
    if source == Codec::None && target == Codec::None {
        let walk = walk(view.records_bytes(), &header, rules)?;
        return Ok(in_place(&view, rules, walk.max_timestamp));
    }
    if source == target && may_trust_header(&header, rules) {
        return Ok(in_place(&view, rules, header.max_timestamp));
    }
    let plain = match source {
        Codec::None => view.records_bytes(),
        codec => scratch
            .decompressor
            .decompress(codec, view.records_bytes())
            .map_err(|e| match e {
                CodecError::TooLarge { max } => BatchRefusal::Bomb { max },
                e => BatchRefusal::Undecodable(e),
            })?,
    };
    let walk = walk(plain, &header, rules).map_err(|refusal| match refusal {
        // Kafka reads compressed records through a stream, where this is a fault like others.
        BatchRefusal::Malformed {
            index,
            fault: RecordFault::LengthTooLong,
        } if source != Codec::None => BatchRefusal::Malformed {
            index,
            fault: RecordFault::VarintTooLong,
        },
        other => other,
    })?;
    if source != target {
        return rewrite(&header, plain, target, rules, &mut scratch.compressor);
    }
    if !walk.offsets_in_order {
        return Err(BatchRefusal::OffsetDeltas);
    }
    Ok(in_place(&view, rules, walk.max_timestamp))
}

/// Format and checksum of the one batch in `sent`.
fn single_batch<'a>(sent: &'a [u8], rules: &AppendRules) -> Result<BatchView<'a>, BatchRefusal> {
    let size = next_batch(sent)
        .map_err(BatchRefusal::NotABatch)?
        .ok_or(BatchRefusal::NoBatch)?;
    let magic = sent[layout::MAGIC] as i8;
    if magic != layout::MAGIC_V2 {
        return Err(BatchRefusal::OldMagic { magic });
    }
    let codec = (layout::i16_at(sent, layout::ATTRIBUTES) & 7) as u8;
    if rules.api_version < ZSTD_API_VERSION {
        match Codec::from_id(codec) {
            None => return Err(BatchRefusal::UnknownCodec { id: codec }),
            Some(Codec::Zstd) => return Err(BatchRefusal::ZstdTooEarly),
            Some(_) => {}
        }
    }
    if next_batch(&sent[size..])
        .map_err(BatchRefusal::Corrupt)?
        .is_some()
    {
        return Err(BatchRefusal::SeveralBatches);
    }
    let base_offset = layout::i64_at(sent, layout::BASE_OFFSET);
    if base_offset != 0 {
        return Err(BatchRefusal::BaseOffset { base_offset });
    }
    if size > rules.batch_bytes_max {
        return Err(BatchRefusal::TooLarge {
            size,
            max: rules.batch_bytes_max,
        });
    }
    let view = BatchView::parse(sent).map_err(BatchRefusal::Corrupt)?;
    view.verify_crc().map_err(BatchRefusal::Corrupt)?;
    Ok(view)
}

/// Size of the batch at the start of `bytes`; `None` if there is none that is whole
/// (`ByteBufferLogInputStream.nextBatch`).
fn next_batch(bytes: &[u8]) -> Result<Option<usize>, BatchError> {
    if bytes.len() < layout::LOG_OVERHEAD {
        return Ok(None);
    }
    let length = layout::i32_at(bytes, layout::BATCH_LENGTH);
    if length < layout::LENGTH_MIN {
        return Err(BatchError::TooSmall {
            length,
            min: layout::LENGTH_MIN,
        });
    }
    if bytes.len() <= layout::MAGIC {
        return Ok(None);
    }
    let magic = bytes[layout::MAGIC] as i8;
    if !(0..=layout::MAGIC_V2).contains(&magic) {
        return Err(BatchError::Magic { magic });
    }
    let size = layout::LOG_OVERHEAD + length as usize;
    Ok((size <= bytes.len()).then_some(size))
}

/// `LogValidator.validateBatch` for batches of clients.
fn check_header(h: &BatchHeader) -> Result<(), BatchRefusal> {
    let span = i64::from(h.last_offset_delta) + 1;
    if span <= 0 || h.records_count <= 0 || span != i64::from(h.records_count) {
        return Err(BatchRefusal::Counts {
            count: h.records_count,
            last_offset_delta: h.last_offset_delta,
        });
    }
    if h.is_control() {
        return Err(BatchRefusal::Control);
    }
    if h.has_producer_id() && h.base_sequence < 0 {
        let (producer_id, sequence) = (h.producer_id, h.base_sequence);
        return Err(BatchRefusal::Sequence {
            producer_id,
            sequence,
        });
    }
    Ok(())
}

/// Whether nothing in the header gives a reason to look inside a compressed batch.
fn may_trust_header(h: &BatchHeader, rules: &AppendRules) -> bool {
    let in_range = |t| t == NO_TIMESTAMP || !out_of_range(t, rules);
    rules.compressed_check == CompressedCheck::HeaderOnly
        && !rules.compacted
        && h.timestamp_type() == TimestampType::CreateTime
        && (rules.timestamp_type == TimestampType::LogAppendTime
            || (in_range(h.base_timestamp) && in_range(h.max_timestamp)))
}

/// Kafka's arithmetic, overflow included.
#[inline(always)]
fn out_of_range(timestamp: i64, rules: &AppendRules) -> bool {
    let age = rules.now_ms.wrapping_sub(timestamp);
    age > rules.timestamp_before_max_ms || age.wrapping_neg() > rules.timestamp_after_max_ms
}

struct Walk {
    max_timestamp: i64,
    offsets_in_order: bool,
}

/// Walks all records once.
fn walk(plain: &[u8], h: &BatchHeader, rules: &AppendRules) -> Result<Walk, BatchRefusal> {
    let create_time = rules.timestamp_type == TimestampType::CreateTime;
    let batch_time =
        (h.timestamp_type() == TimestampType::LogAppendTime).then_some(h.max_timestamp);
    let mut out = Walk {
        max_timestamp: NO_TIMESTAMP,
        offsets_in_order: true,
    };
    let mut errors = Vec::new();
    let mut at = 0;
    for index in 0..h.records_count {
        let record = parse_record(plain, &mut at).map_err(|fault| BatchRefusal::Malformed {
            index: index as u32,
            fault,
        })?;
        let timestamp =
            batch_time.unwrap_or_else(|| h.base_timestamp.wrapping_add(record.timestamp_delta));
        out.max_timestamp = out.max_timestamp.max(timestamp);
        out.offsets_in_order &= record.offset_delta == index;
        let fault = if rules.compacted && record.key.is_none() {
            RecordErrorFault::NullKey
        } else if create_time && timestamp != NO_TIMESTAMP {
            if !out_of_range(timestamp, rules) {
                continue;
            }
            RecordErrorFault::Timestamp {
                timestamp,
                offset: i64::from(record.offset_delta),
                from: rules.now_ms.wrapping_sub(rules.timestamp_before_max_ms),
                to: rules.now_ms.wrapping_add(rules.timestamp_after_max_ms),
            }
        } else if batch_time.is_some() {
            RecordErrorFault::TimestampType
        } else {
            continue;
        };
        if errors.len() < RECORD_ERRORS_MAX {
            errors.push(RecordError {
                batch_index: index,
                fault,
            });
        }
    }
    if at != plain.len() {
        return Err(BatchRefusal::TrailingBytes {
            left: plain.len() - at,
        });
    }
    if errors.is_empty() {
        Ok(out)
    } else {
        Err(BatchRefusal::Records(errors))
    }
}

/// The batch as sent, with timestamp fields made true (`DefaultRecordBatch.setMaxTimestamp`).
fn in_place(view: &BatchView<'_>, rules: &AppendRules, max_timestamp: i64) -> Validated {
    let header = view.header;
    let max_timestamp = match rules.timestamp_type {
        TimestampType::CreateTime => max_timestamp,
        TimestampType::LogAppendTime => rules.now_ms,
    };
    if header.timestamp_type() == rules.timestamp_type && header.max_timestamp == max_timestamp {
        return Validated {
            header,
            stored: Stored::AsSent,
        };
    }
    let attributes = header
        .attributes
        .kept_by_broker()
        .with_timestamp_type(rules.timestamp_type);
    let patch = TimestampPatch::of(view.bytes(), attributes, max_timestamp);
    Validated {
        header: patch.applied_to(header),
        stored: Stored::Patched(patch),
    }
}

/// Another batch with the same records in the topic's codec; offsets become 0, 1, 2...
fn rewrite(
    h: &BatchHeader,
    plain: &[u8],
    target: Codec,
    rules: &AppendRules,
    compressor: &mut Compressor,
) -> Result<Validated, BatchRefusal> {
    let producer = ProducerFields {
        producer_id: h.producer_id,
        producer_epoch: h.producer_epoch,
        base_sequence: h.base_sequence,
    };
    let now = (rules.timestamp_type == TimestampType::LogAppendTime).then_some(rules.now_ms);
    let mut builder = BatchBuilder::with_capacity(plain.len())
        .codec(target)
        .producer(producer)
        .transactional(h.is_transactional())
        .leader_epoch(h.partition_leader_epoch)
        .log_append_time(now);
    let batch_time =
        (h.timestamp_type() == TimestampType::LogAppendTime).then_some(h.max_timestamp);
    let mut at = 0;
    for index in 0..h.records_count {
        let r = parse_record(plain, &mut at).map_err(|fault| BatchRefusal::Malformed {
            index: index as u32,
            fault,
        })?;
        let timestamp =
            batch_time.unwrap_or_else(|| h.base_timestamp.wrapping_add(r.timestamp_delta));
        builder
            .push_raw_headers(index, timestamp, r.key, r.value, r.headers)
            .map_err(BatchRefusal::Rewrite)?;
    }
    let bytes = builder
        .finish_with(compressor)
        .map_err(BatchRefusal::Rewrite)?;
    if bytes.len() > rules.batch_bytes_max {
        return Err(BatchRefusal::TooLarge {
            size: bytes.len(),
            max: rules.batch_bytes_max,
        });
    }
    let header = BatchHeader::parse(bytes).map_err(BatchRefusal::Corrupt)?;
    Ok(Validated {
        header,
        stored: Stored::Rewritten(Bytes::copy_from_slice(bytes)),
    })
}
