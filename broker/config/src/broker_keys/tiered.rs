//! Tiered storage.
//! Names, types, defaults and validators are those of Kafka 4.3.1 (class `KafkaConfig`).

use super::reasons::TIERED;
use crate::key::{Key, boolean, double, int, long, string};
use crate::validator::Validator::{AtLeast, BetweenDouble, NonEmpty};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    boolean("remote.log.storage.system.enable").default("false")
        .no_effect(TIERED),
    string("remote.log.storage.manager.impl.prefix").default("rsm.config.").valid(NonEmpty)
        .no_effect(TIERED),
    string("remote.log.metadata.manager.impl.prefix").default("rlmm.config.").valid(NonEmpty)
        .no_effect(TIERED),
    string("remote.log.storage.manager.class.name").valid(NonEmpty)
        .no_effect(TIERED),
    string("remote.log.storage.manager.class.path")
        .no_effect(TIERED),
    string("remote.log.metadata.manager.class.name").default("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager").valid(NonEmpty)
        .no_effect(TIERED),
    string("remote.log.metadata.manager.class.path")
        .no_effect(TIERED),
    string("remote.log.metadata.manager.listener.name").valid(NonEmpty)
        .no_effect(TIERED),
    int("remote.log.metadata.custom.metadata.max.bytes").default("128").valid(AtLeast(0)).low()
        .no_effect(TIERED),
    long("remote.log.index.file.cache.total.size.bytes").default("1073741824").valid(AtLeast(1)).low().dynamic()
        .no_effect(TIERED),
    long("remote.log.index.file.cache.ttl.ms").default("900000").valid(AtLeast(-1)).low().internal()
        .no_effect(TIERED),
    int("remote.log.manager.thread.pool.size").default("2").valid(AtLeast(1))
        .no_effect(TIERED),
    int("remote.log.manager.copier.thread.pool.size").default("10").valid(AtLeast(1)).dynamic()
        .no_effect(TIERED),
    int("remote.log.manager.expiration.thread.pool.size").default("10").valid(AtLeast(1)).dynamic()
        .no_effect(TIERED),
    int("remote.log.manager.follower.thread.pool.size").default("2").valid(AtLeast(1)).dynamic()
        .no_effect(TIERED),
    long("remote.log.manager.task.interval.ms").default("30000").valid(AtLeast(1)).low()
        .no_effect(TIERED),
    long("remote.log.manager.task.retry.backoff.ms").default("500").valid(AtLeast(1)).low().internal()
        .no_effect(TIERED),
    long("remote.log.manager.task.retry.backoff.max.ms").default("30000").valid(AtLeast(1)).low().internal()
        .no_effect(TIERED),
    double("remote.log.manager.task.retry.jitter").default("0.2").valid(BetweenDouble(0.0, 0.5)).low().internal()
        .no_effect(TIERED),
    int("remote.log.reader.threads").default("10").valid(AtLeast(1)).dynamic()
        .no_effect(TIERED),
    int("remote.log.reader.max.pending.tasks").default("100").valid(AtLeast(1))
        .no_effect(TIERED),
    long("log.local.retention.ms").default("-2").valid(AtLeast(-2)).dynamic()
        .no_effect(TIERED),
    long("log.local.retention.bytes").default("-2").valid(AtLeast(-2)).dynamic()
        .no_effect(TIERED),
    long("remote.log.manager.copy.max.bytes.per.second").default("9223372036854775807").valid(AtLeast(1)).dynamic()
        .no_effect(TIERED),
    int("remote.log.manager.copy.quota.window.num").default("11").valid(AtLeast(1))
        .no_effect(TIERED),
    int("remote.log.manager.copy.quota.window.size.seconds").default("1").valid(AtLeast(1))
        .no_effect(TIERED),
    long("remote.log.manager.fetch.max.bytes.per.second").default("9223372036854775807").valid(AtLeast(1)).dynamic()
        .no_effect(TIERED),
    int("remote.log.manager.fetch.quota.window.num").default("11").valid(AtLeast(1))
        .no_effect(TIERED),
    int("remote.log.manager.fetch.quota.window.size.seconds").default("1").valid(AtLeast(1))
        .no_effect(TIERED),
    int("remote.fetch.max.wait.ms").default("500").valid(AtLeast(1)).dynamic()
        .no_effect(TIERED),
    long("remote.list.offsets.request.timeout.ms").default("30000").valid(AtLeast(1)).dynamic()
        .no_effect(TIERED),
    boolean("follower.fetch.last.tiered.offset.enable").default("false").dynamic()
        .no_effect(TIERED),
];
