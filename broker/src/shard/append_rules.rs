//! What a batch must be to be appended: the rules of its topic, as `record` judges by them.
//!
//! Lives on: the shard that owns the partition; pure but for the scratch space in which batches are decompressed.

use bytes::Bytes;
use config::{CompressionType, TimestampType, TopicConfig};
use record::{AppendRules, BatchRefusal, Codec, Levels, Validated, validate_for_append};

use super::{Origin, Shard};

impl Shard {
    pub(super) fn validate(
        &self,
        records: &Bytes,
        config: &TopicConfig,
        origin: Origin,
        now_ms: i64,
    ) -> Result<Validated, BatchRefusal> {
        let rules = rules(config, origin, now_ms);
        let mut scratch = self.scratch.borrow_mut();
        if rules.compression.is_some() {
            scratch.set_levels(levels(config));
        }
        validate_for_append(records, &rules, &mut scratch)
    }
}

/// Kafka refuses some batches before it looks at the log, and tells no log start then.
pub(super) fn is_judged_by_the_log(refusal: &BatchRefusal) -> bool {
    !matches!(
        refusal,
        BatchRefusal::NoBatch
            | BatchRefusal::SeveralBatches
            | BatchRefusal::OldMagic { .. }
            | BatchRefusal::ZstdTooEarly
            | BatchRefusal::Corrupt(_)
            | BatchRefusal::TooLarge { .. }
    )
}

fn rules(config: &TopicConfig, origin: Origin, now_ms: i64) -> AppendRules {
    let api_version = match origin {
        Origin::Client { api_version, .. } => api_version,
        Origin::Coordinator => i16::MAX,
    };
    AppendRules {
        api_version,
        timestamp_type: match config.timestamp_type {
            TimestampType::CreateTime => record::TimestampType::CreateTime,
            TimestampType::LogAppendTime => record::TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: config.timestamp_before_max_ms,
        timestamp_after_max_ms: config.timestamp_after_max_ms,
        now_ms,
        compacted: config.cleanup_policy.compact,
        batch_bytes_max: config.max_message_bytes,
        compression: match config.compression {
            CompressionType::Producer => None,
            CompressionType::Uncompressed => Some(Codec::None),
            CompressionType::Gzip(_) => Some(Codec::Gzip),
            CompressionType::Snappy => Some(Codec::Snappy),
            CompressionType::Lz4(_) => Some(Codec::Lz4),
            CompressionType::Zstd(_) => Some(Codec::Zstd),
        },
        ..AppendRules::default()
    }
}

fn levels(config: &TopicConfig) -> Levels {
    let mut levels = Levels::default();
    match config.compression {
        CompressionType::Gzip(level) => levels.gzip = level,
        CompressionType::Zstd(level) => levels.zstd = level,
        _ => {}
    }
    levels
}
