//! The 33 topic keys of Kafka 4.3.1 (class `LogConfig`), its one internal key, and our own
//! `millrace.durability`; with the broker key that each inherits from.

use crate::key::{Key, boolean, double, int, list, long, string};
use crate::validator::Validator::{
    AtLeast, Between, BetweenDouble, EachOneOf, GzipLevel, OneOf, ThrottledReplicas,
};

const TIERED: &str = "Tiered storage is not part of this release.";
const BY_MAJORITY: &str =
    "A majority elects leaders, and only replicas that have everything committed can win.";
const FLUSH: &str = "Syncing is set by millrace.durability.";

#[rustfmt::skip]
const KEYS: &[Key] = &[
    int("segment.bytes").default("1073741824").valid(AtLeast(1_048_576))
        .applied("A segment that reaches this size is closed and a new one begun."),
    long("segment.ms").default("604800000").valid(AtLeast(1))
        .applied("A segment of this age is closed even if it is small."),
    long("segment.jitter.ms").default("0").valid(AtLeast(0))
        .no_effect("Segments are closed one after the other by the one task of their shard, so there is no rush to spread."),
    int("segment.index.bytes").default("10485760").valid(AtLeast(4))
        .applied("Largest index file; a full index closes the segment."),
    long("flush.messages").default("9223372036854775807").valid(AtLeast(1))
        .no_effect(FLUSH),
    long("flush.ms").default("9223372036854775807").valid(AtLeast(0))
        .no_effect(FLUSH),
    long("retention.bytes").default("-1")
        .applied("Size per partition above which the oldest segments are deleted; -1 for no limit."),
    long("retention.ms").default("604800000").valid(AtLeast(-1))
        .applied("Age at which closed segments are deleted; -1 for never."),
    int("max.message.bytes").default("1048588").valid(AtLeast(0))
        .applied("Largest record batch that is accepted, as compressed by the client."),
    int("index.interval.bytes").default("4096").valid(AtLeast(0))
        .applied("An index entry is written for every so many bytes of log."),
    long("delete.retention.ms").default("86400000").valid(AtLeast(0))
        .applied("How long deletion markers survive after they were compacted once."),
    long("min.compaction.lag.ms").default("0").valid(AtLeast(0))
        .applied("Records younger than this are not compacted."),
    long("max.compaction.lag.ms").default("9223372036854775807").valid(AtLeast(1))
        .applied("Records older than this are compacted whatever the dirty ratio."),
    long("file.delete.delay.ms").default("60000").valid(AtLeast(0))
        .applied("Time between taking a segment out of the log and deleting its files."),
    double("min.cleanable.dirty.ratio").default("0.5").valid(BetweenDouble(0.0, 1.0))
        .applied("Share of dirty bytes from which a log is worth compacting."),
    list("cleanup.policy").default("delete").valid(EachOneOf(&["compact", "delete"]))
        .applied("What happens to old data: delete, compact, both, or neither if the list is empty."),
    boolean("unclean.leader.election.enable").default("false")
        .no_effect(BY_MAJORITY),
    int("min.insync.replicas").default("1").valid(AtLeast(1))
        .applied("Replicas that must have an acks=all batch before it is acknowledged."),
    string("compression.type").default("producer").valid(OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]))
        .applied("Codec of stored batches; producer keeps what the client sent."),
    int("compression.gzip.level").default("-1").valid(GzipLevel)
        .applied("Level used when the node itself compresses with gzip."),
    int("compression.lz4.level").default("9").valid(Between(1, 17))
        .applied("Level used when the node itself compresses with lz4."),
    int("compression.zstd.level").default("3").valid(Between(-131_072, 22))
        .applied("Level used when the node itself compresses with zstd."),
    boolean("preallocate").default("false")
        .no_effect("Segments are written in large pieces from the WAL and need no preallocation."),
    string("message.timestamp.type").default("CreateTime").valid(OneOf(&["CreateTime", "LogAppendTime"]))
        .applied("Whether stored time stamps are the client's or the time of appending."),
    long("message.timestamp.before.max.ms").default("9223372036854775807").valid(AtLeast(0))
        .applied("Records older than this when they arrive are refused."),
    long("message.timestamp.after.max.ms").default("3600000").valid(AtLeast(0))
        .applied("Records dated further in the future than this are refused."),
    list("leader.replication.throttled.replicas").default("").valid(ThrottledReplicas)
        .applied("Partitions (partition:node) whose copies to others are throttled while they move."),
    list("follower.replication.throttled.replicas").default("").valid(ThrottledReplicas)
        .applied("Partitions (partition:node) whose copies from others are throttled while they move."),
    boolean("remote.storage.enable").default("false")
        .no_effect(TIERED),
    long("local.retention.ms").default("-2").valid(AtLeast(-2))
        .no_effect(TIERED),
    long("local.retention.bytes").default("-2").valid(AtLeast(-2))
        .no_effect(TIERED),
    boolean("remote.log.copy.disable").default("false")
        .no_effect(TIERED),
    boolean("remote.log.delete.on.disable").default("false")
        .no_effect(TIERED),
    int("internal.segment.bytes").internal()
        .applied("Segment size below the smallest segment.bytes, for tests."),
    string("millrace.durability").default("disk").valid(OneOf(&["disk", "memory"]))
        .applied("disk acknowledges what is synced; memory acknowledges first and syncs milliseconds later."),
];

/// Broker key under which a topic key is inherited and shown as a synonym
/// (`ServerTopicConfigSynonyms`, first of each list).
#[rustfmt::skip]
const INHERITED: &[(&str, &str)] = &[
    ("segment.bytes", "log.segment.bytes"),
    ("segment.ms", "log.roll.ms"),
    ("segment.jitter.ms", "log.roll.jitter.ms"),
    ("segment.index.bytes", "log.index.size.max.bytes"),
    ("flush.messages", "log.flush.interval.messages"),
    ("flush.ms", "log.flush.interval.ms"),
    ("retention.bytes", "log.retention.bytes"),
    ("retention.ms", "log.retention.ms"),
    ("max.message.bytes", "message.max.bytes"),
    ("index.interval.bytes", "log.index.interval.bytes"),
    ("delete.retention.ms", "log.cleaner.delete.retention.ms"),
    ("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms"),
    ("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
    ("file.delete.delay.ms", "log.segment.delete.delay.ms"),
    ("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio"),
    ("cleanup.policy", "log.cleanup.policy"),
    ("unclean.leader.election.enable", "unclean.leader.election.enable"),
    ("min.insync.replicas", "min.insync.replicas"),
    ("compression.type", "compression.type"),
    ("compression.gzip.level", "compression.gzip.level"),
    ("compression.lz4.level", "compression.lz4.level"),
    ("compression.zstd.level", "compression.zstd.level"),
    ("preallocate", "log.preallocate"),
    ("message.timestamp.type", "log.message.timestamp.type"),
    ("message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms"),
    ("message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms"),
    ("local.retention.ms", "log.local.retention.ms"),
    ("local.retention.bytes", "log.local.retention.bytes"),
    ("millrace.durability", "millrace.durability"),
];

pub fn topic_keys() -> impl Iterator<Item = &'static Key> {
    KEYS.iter()
}

pub fn topic_key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

pub(crate) fn broker_key_of_topic(name: &str) -> Option<&'static str> {
    INHERITED.iter().find(|(topic, _)| *topic == name).map(|(_, broker)| *broker)
}
