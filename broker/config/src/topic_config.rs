//! One topic's settings in force: its overrides, else the broker's, else the defaults.
//!
//! Resolved once per change and shared by reference; nothing on a hot path looks up text.

use crate::broker_values::BrokerValues;
use crate::throttled_replicas::ThrottledReplicas;
use crate::topic_keys::{broker_key_of_topic, topic_key};
use crate::topic_overrides::TopicOverrides;
use crate::value::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Acknowledged when a majority of the Raft group has synced it.
    Disk,
    /// Acknowledged when a majority has it in memory; synced within milliseconds.
    Memory,
}

/// Both false keeps everything for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    pub delete: bool,
    pub compact: bool,
}

/// Codec that stored batches must have, with the level to compress at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// As the client sent them.
    Producer,
    Uncompressed,
    /// -1 is the library's own choice.
    Gzip(i32),
    Snappy,
    Lz4(i32),
    Zstd(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    pub durability: Durability,
    pub segment_bytes: u64,
    pub segment_ms: i64,
    pub segment_jitter_ms: i64,
    pub segment_index_bytes: u64,
    pub index_interval_bytes: u64,
    /// -1 or less: no limit.
    pub retention_bytes: i64,
    /// -1: for ever.
    pub retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub max_message_bytes: usize,
    pub cleanup_policy: CleanupPolicy,
    pub delete_retention_ms: i64,
    pub min_compaction_lag_ms: i64,
    pub max_compaction_lag_ms: i64,
    pub min_cleanable_dirty_ratio: f64,
    pub min_insync_replicas: i32,
    pub compression: CompressionType,
    pub timestamp_type: TimestampType,
    /// How much older and newer than now a record may be dated.
    pub timestamp_before_max_ms: i64,
    pub timestamp_after_max_ms: i64,
    /// Whose copies to others, and from others, have a rate while they move.
    pub leader_throttled: ThrottledReplicas,
    pub follower_throttled: ThrottledReplicas,
    /// Text of every key in force, for `DescribeConfigs`, in the order of the table.
    texts: Vec<(&'static str, Option<String>)>,
}

impl TopicConfig {
    pub fn resolve(overrides: &TopicOverrides, broker: &BrokerValues) -> TopicConfig {
        let view = View { overrides, broker };
        let policy = view.list("cleanup.policy");
        let texts = crate::topic_keys::topic_keys()
            .map(|key| (key.name, view.value(key.name).map(|value| value.to_text())))
            .collect();
        TopicConfig {
            durability: match view.text("millrace.durability").as_str() {
                "memory" => Durability::Memory,
                _ => Durability::Disk,
            },
            segment_bytes: view.size(match view.value("internal.segment.bytes") {
                Some(_) => "internal.segment.bytes",
                None => "segment.bytes",
            }),
            segment_ms: view.integer("segment.ms"),
            segment_jitter_ms: view.integer("segment.jitter.ms"),
            segment_index_bytes: view.size("segment.index.bytes"),
            index_interval_bytes: view.size("index.interval.bytes"),
            retention_bytes: view.integer("retention.bytes"),
            retention_ms: view.integer("retention.ms"),
            file_delete_delay_ms: view.integer("file.delete.delay.ms"),
            max_message_bytes: view.size("max.message.bytes") as usize,
            cleanup_policy: CleanupPolicy {
                delete: policy.iter().any(|p| p == "delete"),
                compact: policy.iter().any(|p| p == "compact"),
            },
            delete_retention_ms: view.integer("delete.retention.ms"),
            min_compaction_lag_ms: view.integer("min.compaction.lag.ms"),
            max_compaction_lag_ms: view.integer("max.compaction.lag.ms"),
            min_cleanable_dirty_ratio: view.double("min.cleanable.dirty.ratio"),
            min_insync_replicas: view.int("min.insync.replicas"),
            compression: match view.text("compression.type").as_str() {
                "uncompressed" => CompressionType::Uncompressed,
                "gzip" => CompressionType::Gzip(view.int("compression.gzip.level")),
                "snappy" => CompressionType::Snappy,
                "lz4" => CompressionType::Lz4(view.int("compression.lz4.level")),
                "zstd" => CompressionType::Zstd(view.int("compression.zstd.level")),
                _ => CompressionType::Producer,
            },
            timestamp_type: match view.text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_max_ms: view.integer("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: view.integer("message.timestamp.after.max.ms"),
            leader_throttled: view.replicas("leader.replication.throttled.replicas"),
            follower_throttled: view.replicas("follower.replication.throttled.replicas"),
            texts,
        }
    }

    pub(crate) fn text_of(&self, name: &str) -> Option<String> {
        self.texts.iter().find(|(key, _)| *key == name).and_then(|(_, text)| text.clone())
    }
}

struct View<'a> {
    overrides: &'a TopicOverrides,
    broker: &'a BrokerValues,
}

impl View<'_> {
    fn value(&self, name: &str) -> Option<Value> {
        let key = topic_key(name).unwrap_or_else(|| panic!("no topic key is named {name}"));
        if let Some(text) = self.overrides.get(name) {
            let value = Value::parse(key, text);
            return Some(value.unwrap_or_else(|e| panic!("{name} was validated: {e}")));
        }
        self.inherited(name).or_else(|| key.default.and_then(|text| Value::parse(key, text).ok()))
    }

    /// The broker's value, with the keys that come in several units and their priorities.
    fn inherited(&self, name: &str) -> Option<Value> {
        let scaled = |key: &str, ms: i64| {
            let value = self.broker.integer(key)?;
            Some(Value::Integer(value.saturating_mul(ms)))
        };
        const MINUTE: i64 = 60_000;
        const HOUR: i64 = 60 * MINUTE;
        match name {
            "retention.ms" => scaled("log.retention.ms", 1)
                .or_else(|| scaled("log.retention.minutes", MINUTE))
                .or_else(|| scaled("log.retention.hours", HOUR))
                .map(|value| if value.is_negative() { Value::Integer(-1) } else { value }),
            "segment.ms" => scaled("log.roll.ms", 1).or_else(|| scaled("log.roll.hours", HOUR)),
            "segment.jitter.ms" => {
                scaled("log.roll.jitter.ms", 1).or_else(|| scaled("log.roll.jitter.hours", HOUR))
            }
            "flush.ms" => scaled("log.flush.interval.ms", 1)
                .or_else(|| scaled("log.flush.scheduler.interval.ms", 1)),
            _ => self.broker.value(broker_key_of_topic(name)?),
        }
    }

    fn integer(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(Value::Integer(value)) => value,
            other => panic!("{name} is a number with a default, not {other:?}"),
        }
    }

    /// A key of type INT.
    fn int(&self, name: &str) -> i32 {
        self.integer(name) as i32
    }

    /// A key whose validator excludes negative numbers.
    fn size(&self, name: &str) -> u64 {
        self.integer(name).max(0) as u64
    }

    fn double(&self, name: &str) -> f64 {
        match self.value(name) {
            Some(Value::Double(value)) => value,
            other => panic!("{name} is a double with a default, not {other:?}"),
        }
    }

    fn text(&self, name: &str) -> String {
        self.value(name).map(|value| value.to_text()).unwrap_or_default()
    }

    fn replicas(&self, name: &str) -> ThrottledReplicas {
        ThrottledReplicas::parse(&self.list(name))
    }

    fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Some(Value::List(parts)) => parts,
            _ => Vec::new(),
        }
    }
}

impl Value {
    fn is_negative(&self) -> bool {
        matches!(self, Value::Integer(value) if *value < 0)
    }
}
