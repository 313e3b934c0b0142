//! The partition log: segments, retention, flushing, cleaning and time stamps.
//! Names, types, defaults and validators are those of Kafka 4.3.1 (class `KafkaConfig`).

use super::reasons::{CLEANER, FLUSH, JITTER, ONE_DIRECTORY, PACED, PREALLOCATE, THREADS};
use crate::key::{Key, boolean, double, int, list, long, string};
use crate::validator::Validator::{AtLeast, Between, BetweenDouble, EachOneOf, GzipLevel, OneOf};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    int("message.max.bytes").default("1048588").valid(AtLeast(0)).high().dynamic()
        .applied("Largest record batch that is accepted, as compressed by the client."),
    string("compression.type").default("producer").valid(OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])).high().dynamic()
        .applied("Codec of stored batches; producer keeps what the client sent."),
    int("compression.gzip.level").default("-1").valid(GzipLevel).dynamic()
        .applied("Level used when the node itself compresses with gzip."),
    int("compression.lz4.level").default("9").valid(Between(1, 17)).dynamic()
        .applied("Level used when the node itself compresses with lz4."),
    int("compression.zstd.level").default("3").valid(Between(-131_072, 22)).dynamic()
        .applied("Level used when the node itself compresses with zstd."),
    int("log.cleaner.threads").default("1").valid(AtLeast(0)).dynamic()
        .no_effect(THREADS),
    double("log.cleaner.io.max.bytes.per.second").default("1.7976931348623157E308").dynamic()
        .no_effect(CLEANER),
    long("log.cleaner.dedupe.buffer.size").default("134217728").dynamic()
        .no_effect(CLEANER),
    int("log.cleaner.io.buffer.size").default("524288").valid(AtLeast(0)).dynamic()
        .no_effect(CLEANER),
    double("log.cleaner.io.buffer.load.factor").default("0.9").dynamic()
        .no_effect(CLEANER),
    long("log.cleaner.backoff.ms").default("15000").valid(AtLeast(0)).dynamic()
        .applied("Pause of the cleaner when nothing is dirty."),
    double("log.cleaner.min.cleanable.ratio").default("0.5").valid(BetweenDouble(0.0, 1.0)).dynamic()
        .applied("Share of dirty bytes from which a log is worth compacting."),
    boolean("log.cleaner.enable").default("true")
        .applied("Whether compaction runs."),
    long("log.cleaner.delete.retention.ms").default("86400000").valid(AtLeast(0)).dynamic()
        .applied("How long deletion markers survive after they were compacted once."),
    long("log.cleaner.min.compaction.lag.ms").default("0").valid(AtLeast(0)).dynamic()
        .applied("Records younger than this are not compacted."),
    long("log.cleaner.max.compaction.lag.ms").default("9223372036854775807").valid(AtLeast(1)).dynamic()
        .applied("Records older than this are compacted whatever the dirty ratio."),
    list("log.dir").default("/tmp/kafka-logs").high()
        .applied("Directory for data, used when log.dirs is unset."),
    list("log.dirs").high()
        .applied("Directories for data. A node uses the first; the others are not touched."),
    list("cordoned.log.dirs").default("").dynamic()
        .no_effect(ONE_DIRECTORY),
    int("log.segment.bytes").default("1073741824").valid(AtLeast(1_048_576)).high().dynamic()
        .applied("A segment that reaches this size is closed and a new one begun."),
    long("log.roll.ms").high().dynamic()
        .applied("A segment of this age is closed even if it is small; wins over log.roll.hours."),
    int("log.roll.hours").default("168").valid(AtLeast(1)).high()
        .applied("A segment of this age is closed even if it is small."),
    long("log.roll.jitter.ms").high().dynamic()
        .no_effect(JITTER),
    int("log.roll.jitter.hours").default("0").valid(AtLeast(0)).high()
        .no_effect(JITTER),
    long("log.retention.ms").high().dynamic()
        .applied("Age at which closed segments are deleted, -1 for never; wins over minutes and hours."),
    int("log.retention.minutes").high()
        .applied("Age at which closed segments are deleted; wins over hours."),
    int("log.retention.hours").default("168").high()
        .applied("Age at which closed segments are deleted."),
    long("log.retention.bytes").default("-1").high().dynamic()
        .applied("Size per partition above which the oldest segments are deleted, -1 for no limit."),
    long("log.retention.check.interval.ms").default("300000").valid(AtLeast(1))
        .applied("How often retention looks for segments to delete."),
    list("log.cleanup.policy").default("delete").valid(EachOneOf(&["compact", "delete"])).dynamic()
        .applied("What happens to old data: delete it, compact it by key, or both."),
    int("log.index.size.max.bytes").default("10485760").valid(AtLeast(4)).dynamic()
        .applied("Largest index file; a full index closes the segment."),
    int("log.index.interval.bytes").default("4096").valid(AtLeast(0)).dynamic()
        .applied("An index entry is written for every so many bytes of log."),
    long("log.flush.interval.messages").default("9223372036854775807").valid(AtLeast(1)).high().dynamic()
        .no_effect(FLUSH),
    long("log.segment.delete.delay.ms").default("60000").valid(AtLeast(0)).high().dynamic()
        .applied("Time between taking a segment out of the log and deleting its files."),
    long("log.flush.scheduler.interval.ms").default("9223372036854775807").high()
        .no_effect(FLUSH),
    long("log.flush.interval.ms").high().dynamic()
        .no_effect(FLUSH),
    int("log.flush.offset.checkpoint.interval.ms").default("60000").valid(AtLeast(0)).high()
        .no_effect(FLUSH),
    int("log.flush.start.offset.checkpoint.interval.ms").default("60000").valid(AtLeast(0)).high()
        .no_effect(FLUSH),
    boolean("log.preallocate").default("false").dynamic()
        .no_effect(PREALLOCATE),
    int("num.recovery.threads.per.data.dir").default("2").valid(AtLeast(1)).high().dynamic()
        .no_effect(THREADS),
    string("log.message.timestamp.type").default("CreateTime").valid(OneOf(&["CreateTime", "LogAppendTime"])).dynamic()
        .applied("Whether stored time stamps are the client's or the time of appending."),
    long("log.message.timestamp.before.max.ms").default("9223372036854775807").valid(AtLeast(0)).dynamic()
        .applied("Records older than this when they arrive are refused."),
    long("log.message.timestamp.after.max.ms").default("3600000").valid(AtLeast(0)).dynamic()
        .applied("Records dated further in the future than this are refused."),
    long("log.dir.failure.timeout.ms").default("30000").valid(AtLeast(1)).low()
        .no_effect(ONE_DIRECTORY),
    long("log.initial.task.delay.ms").default("30000").valid(AtLeast(0)).low().internal()
        .no_effect(PACED),
];
