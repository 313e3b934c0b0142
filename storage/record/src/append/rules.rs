//! What a validation depends on beside the bytes: the topic's and the request's settings, and the
//! buffers of the shard.

use crate::codec::{Codec, Compressor, Decompressor, Levels};
use crate::header::TimestampType;

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
    pub(super) decompressor: Decompressor,
    pub(super) compressor: Compressor,
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
