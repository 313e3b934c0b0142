//! Consumer, share and streams groups and their internal topics.
//! Names, types, defaults and validators are those of Kafka 4.3.1 (class `KafkaConfig`).

use super::reasons::{
    CONSUMER_PROTOCOL, COORDINATOR_LOG, OFFSETS_AS_COMMITTED, PURGATORY, SHARE, STREAMS, THREADS,
};
use crate::key::{Key, int, list, long, short, string};
use crate::validator::Validator::{AtLeast, Between, EachOneOf, OneOfIgnoringCase};

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    list("group.coordinator.rebalance.protocols").default("classic,consumer,streams").valid(EachOneOf(&["consumer", "classic", "share", "streams"]))
        .no_effect(CONSUMER_PROTOCOL),
    int("group.coordinator.threads").default("4").valid(AtLeast(1)).high()
        .no_effect(THREADS),
    int("group.coordinator.background.threads").default("2").valid(AtLeast(1)).high()
        .no_effect(THREADS),
    int("group.coordinator.append.linger.ms").default("-1").valid(AtLeast(-1))
        .no_effect(COORDINATOR_LOG),
    int("offsets.commit.timeout.ms").default("5000").valid(AtLeast(1)).high()
        .applied("How long a commit may wait to become durable before its client is told to try again."),
    int("offsets.load.buffer.size").default("5242880").valid(AtLeast(1)).high()
        .no_effect(COORDINATOR_LOG),
    short("offsets.topic.replication.factor").default("3").valid(AtLeast(1)).high()
        .applied("Replicas of __consumer_offsets, capped by the number of nodes."),
    int("offsets.topic.num.partitions").default("50").valid(AtLeast(1)).high()
        .applied("Partitions of __consumer_offsets."),
    int("offsets.topic.segment.bytes").default("104857600").valid(AtLeast(1)).high()
        .applied("Segment size of __consumer_offsets."),
    int("offsets.topic.compression.codec").default("0").high()
        .no_effect(OFFSETS_AS_COMMITTED),
    int("group.coordinator.cached.buffer.max.bytes").default("1048588").valid(AtLeast(524_288)).dynamic()
        .no_effect(COORDINATOR_LOG),
    int("offset.metadata.max.bytes").default("4096").high()
        .applied("Longest metadata string of a committed offset."),
    int("offsets.retention.minutes").default("10080").valid(AtLeast(1)).high()
        .applied("Committed offsets are forgotten this long after their group became empty."),
    long("offsets.retention.check.interval.ms").default("600000").valid(AtLeast(1)).high()
        .applied("How often expired offsets are looked for."),
    int("group.min.session.timeout.ms").default("6000")
        .applied("Shortest session timeout that a member of a classic group may ask for."),
    int("group.max.session.timeout.ms").default("1800000")
        .applied("Longest session timeout that a member of a classic group may ask for."),
    int("group.initial.rebalance.delay.ms").default("3000")
        .applied("How long the first rebalance of an empty classic group waits for more members."),
    int("group.max.size").default("2147483647").valid(AtLeast(1))
        .applied("Members that a classic group may have."),
    int("group.consumer.session.timeout.ms").default("45000").valid(AtLeast(1))
        .no_effect(CONSUMER_PROTOCOL),
    int("group.consumer.min.session.timeout.ms").default("45000").valid(AtLeast(1))
        .no_effect(CONSUMER_PROTOCOL),
    int("group.consumer.max.session.timeout.ms").default("60000").valid(AtLeast(1))
        .no_effect(CONSUMER_PROTOCOL),
    int("group.consumer.heartbeat.interval.ms").default("5000").valid(AtLeast(1))
        .no_effect(CONSUMER_PROTOCOL),
    int("group.consumer.min.heartbeat.interval.ms").default("5000").valid(AtLeast(1))
        .no_effect(CONSUMER_PROTOCOL),
    int("group.consumer.max.heartbeat.interval.ms").default("15000").valid(AtLeast(1))
        .no_effect(CONSUMER_PROTOCOL),
    int("group.consumer.max.size").default("2147483647").valid(AtLeast(1))
        .no_effect(CONSUMER_PROTOCOL),
    list("group.consumer.assignors").default("uniform,range")
        .no_effect(CONSUMER_PROTOCOL),
    string("group.consumer.migration.policy").default("bidirectional").valid(OneOfIgnoringCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]))
        .no_effect(CONSUMER_PROTOCOL),
    int("group.consumer.assignment.interval.ms").default("1000").valid(AtLeast(0)).dynamic()
        .no_effect(CONSUMER_PROTOCOL),
    int("group.consumer.min.assignment.interval.ms").default("0").valid(AtLeast(0))
        .no_effect(CONSUMER_PROTOCOL),
    int("group.consumer.max.assignment.interval.ms").default("15000").valid(AtLeast(0))
        .no_effect(CONSUMER_PROTOCOL),
    int("group.consumer.regex.refresh.interval.ms").default("600000").valid(AtLeast(10_000)).internal()
        .no_effect(CONSUMER_PROTOCOL),
    int("group.share.session.timeout.ms").default("45000").valid(AtLeast(1))
        .no_effect(SHARE),
    int("group.share.min.session.timeout.ms").default("45000").valid(AtLeast(1))
        .no_effect(SHARE),
    int("group.share.max.session.timeout.ms").default("60000").valid(AtLeast(1))
        .no_effect(SHARE),
    int("group.share.heartbeat.interval.ms").default("5000").valid(AtLeast(1))
        .no_effect(SHARE),
    int("group.share.min.heartbeat.interval.ms").default("5000").valid(AtLeast(1))
        .no_effect(SHARE),
    int("group.share.max.heartbeat.interval.ms").default("15000").valid(AtLeast(1))
        .no_effect(SHARE),
    int("group.share.max.size").default("200").valid(Between(1, 1_000))
        .no_effect(SHARE),
    list("group.share.assignors").default("simple")
        .no_effect(SHARE),
    int("group.share.assignment.interval.ms").default("1000").valid(AtLeast(0)).dynamic()
        .no_effect(SHARE),
    int("group.share.min.assignment.interval.ms").default("0").valid(AtLeast(0))
        .no_effect(SHARE),
    int("group.share.max.assignment.interval.ms").default("15000").valid(AtLeast(0))
        .no_effect(SHARE),
    int("group.share.initialize.retry.interval.ms").default("30000").valid(AtLeast(1)).low().internal()
        .no_effect(SHARE),
    int("group.streams.session.timeout.ms").default("45000").valid(AtLeast(1))
        .no_effect(STREAMS),
    int("group.streams.min.session.timeout.ms").default("45000").valid(AtLeast(1))
        .no_effect(STREAMS),
    int("group.streams.max.session.timeout.ms").default("60000").valid(AtLeast(1))
        .no_effect(STREAMS),
    int("group.streams.heartbeat.interval.ms").default("5000").valid(AtLeast(1))
        .no_effect(STREAMS),
    int("group.streams.min.heartbeat.interval.ms").default("5000").valid(AtLeast(1))
        .no_effect(STREAMS),
    int("group.streams.max.heartbeat.interval.ms").default("15000").valid(AtLeast(1))
        .no_effect(STREAMS),
    int("group.streams.max.size").default("2147483647").valid(AtLeast(1))
        .no_effect(STREAMS),
    int("group.streams.num.standby.replicas").default("0").valid(AtLeast(0))
        .no_effect(STREAMS),
    int("group.streams.max.standby.replicas").default("2").valid(AtLeast(0))
        .no_effect(STREAMS),
    int("group.streams.initial.rebalance.delay.ms").default("3000").valid(AtLeast(0))
        .no_effect(STREAMS),
    int("group.streams.assignment.interval.ms").default("1000").valid(AtLeast(0)).dynamic()
        .no_effect(STREAMS),
    int("group.streams.min.assignment.interval.ms").default("0").valid(AtLeast(0))
        .no_effect(STREAMS),
    int("group.streams.max.assignment.interval.ms").default("15000").valid(AtLeast(0))
        .no_effect(STREAMS),
    int("group.share.delivery.count.limit").default("5").valid(Between(2, 10))
        .no_effect(SHARE),
    int("group.share.max.delivery.count.limit").default("10").valid(Between(5, 25))
        .no_effect(SHARE),
    int("group.share.min.delivery.count.limit").default("2").valid(Between(2, 5))
        .no_effect(SHARE),
    int("group.share.record.lock.duration.ms").default("30000").valid(Between(1_000, 3_600_000))
        .no_effect(SHARE),
    int("group.share.min.record.lock.duration.ms").default("15000").valid(Between(1_000, 30_000))
        .no_effect(SHARE),
    int("group.share.max.record.lock.duration.ms").default("60000").valid(Between(30_000, 3_600_000))
        .no_effect(SHARE),
    int("group.share.partition.max.record.locks").default("2000").valid(Between(100, 10_000))
        .no_effect(SHARE),
    int("group.share.max.partition.max.record.locks").default("4000").valid(Between(2_000, 10_000))
        .no_effect(SHARE),
    int("group.share.min.partition.max.record.locks").default("100").valid(Between(100, 2_000))
        .no_effect(SHARE),
    int("share.fetch.purgatory.purge.interval.requests").default("1000")
        .no_effect(PURGATORY),
    int("group.share.max.share.sessions").default("2000").valid(AtLeast(1))
        .no_effect(SHARE),
    string("group.share.persister.class.name").default("org.apache.kafka.server.share.persister.DefaultStatePersister").internal()
        .no_effect(SHARE),
    int("share.coordinator.state.topic.num.partitions").default("50").valid(AtLeast(1)).high()
        .no_effect(SHARE),
    short("share.coordinator.state.topic.replication.factor").default("3").valid(AtLeast(1)).high()
        .no_effect(SHARE),
    short("share.coordinator.state.topic.min.isr").default("2").valid(AtLeast(1)).high()
        .no_effect(SHARE),
    int("share.coordinator.state.topic.segment.bytes").default("104857600").valid(AtLeast(1)).high()
        .no_effect(SHARE),
    int("share.coordinator.threads").default("1").valid(AtLeast(1))
        .no_effect(THREADS),
    int("share.coordinator.snapshot.update.records.per.snapshot").default("500").valid(Between(0, 500))
        .no_effect(SHARE),
    int("share.coordinator.load.buffer.size").default("5242880").valid(AtLeast(1)).high()
        .no_effect(SHARE),
    int("share.coordinator.state.topic.compression.codec").default("0").high()
        .no_effect(SHARE),
    int("share.coordinator.append.linger.ms").default("-1").valid(AtLeast(-1))
        .no_effect(SHARE),
    int("share.coordinator.write.timeout.ms").default("5000").valid(AtLeast(1)).high()
        .no_effect(SHARE),
    int("share.coordinator.state.topic.prune.interval.ms").default("300000").valid(AtLeast(1)).low().internal()
        .no_effect(SHARE),
    int("share.coordinator.cold.partition.snapshot.interval.ms").default("300000").valid(AtLeast(1)).low().internal()
        .no_effect(SHARE),
    int("share.coordinator.cached.buffer.max.bytes").default("1048588").valid(AtLeast(524_288)).dynamic()
        .no_effect(SHARE),
];
