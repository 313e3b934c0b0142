//! The outcomes for a batch that is not appended, and the messages that go with them.

use crate::builder::BuildError;
use crate::codec::CodecError;
use crate::error::BatchError;
use crate::records::RecordFault;

/// Produce versions below this may not carry zstd.
pub(super) const ZSTD_API_VERSION: i16 = 7;
/// The most record errors listed in one refusal; Kafka lists all, and an answer would then be
/// larger than its request many times over.
pub const RECORD_ERRORS_MAX: usize = 1000;

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
            | Self::Malformed { fault: RecordFault::LengthTooLong, .. } => Unknown,
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
    errors.iter().any(|e| !matches!(e.fault, RecordErrorFault::NullKey))
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
        let _ = write!(out, "{comma}RecordError(batchIndex={}, message='{e}')", e.batch_index);
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
            RecordErrorFault::Timestamp { timestamp, offset, from, to } => write!(
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
