//! Replication between brokers, leader balance and shutdown.
//! Names, types, defaults and validators are those of Kafka 4.3.1 (class `KafkaConfig`).

use super::reasons::{
    BY_MAJORITY, COMMIT_INDEX, GIVEN_BACK, HANDED_OVER, LINKS, MEETING, NO_WINDOWS, SENT_AT_ONCE,
    THREADS,
};
use crate::key::{Key, boolean, int, long, string};
use crate::validator::Validator::AtLeast;

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    int("num.replica.alter.log.dirs.threads").high()
        .no_effect(THREADS),
    boolean("controlled.shutdown.enable").default("true")
        .no_effect(HANDED_OVER),
    long("replica.lag.time.max.ms").default("30000").high()
        .applied("A replica that has not had everything committed for so long is out of sync."),
    int("replica.socket.timeout.ms").default("30000").high()
        .no_effect(LINKS),
    int("replica.socket.receive.buffer.bytes").default("65536").high()
        .no_effect(LINKS),
    int("replica.fetch.max.bytes").default("1048576").valid(AtLeast(0))
        .no_effect(SENT_AT_ONCE),
    int("replica.fetch.wait.max.ms").default("500").high()
        .no_effect(SENT_AT_ONCE),
    int("replica.fetch.backoff.ms").default("1000").valid(AtLeast(0))
        .no_effect(SENT_AT_ONCE),
    int("replica.fetch.min.bytes").default("1").high()
        .no_effect(SENT_AT_ONCE),
    int("replica.fetch.response.max.bytes").default("10485760").valid(AtLeast(0))
        .no_effect(SENT_AT_ONCE),
    int("num.replica.fetchers").default("1").valid(AtLeast(1)).high().dynamic()
        .no_effect(THREADS),
    long("replica.high.watermark.checkpoint.interval.ms").default("5000").high()
        .no_effect(COMMIT_INDEX),
    boolean("auto.leader.rebalance.enable").default("true").high()
        .applied("Whether a preferred leader gets its partitions back some seconds after it is in sync again."),
    long("leader.imbalance.check.interval.seconds").default("300").valid(AtLeast(1)).high()
        .no_effect(GIVEN_BACK),
    long("unclean.leader.election.interval.ms").default("300000").valid(AtLeast(1)).internal()
        .no_effect(BY_MAJORITY),
    boolean("unclean.leader.election.enable").default("false").high().dynamic()
        .no_effect(BY_MAJORITY),
    string("inter.broker.listener.name")
        .no_effect(MEETING),
    string("replica.selector.class")
        .applied("With org.apache.kafka.common.replica.RackAwareReplicaSelector consumers that name their rack (client.rack) read from a replica there. Java classes of others cannot be loaded."),
    int("min.insync.replicas").default("1").valid(AtLeast(1)).high().dynamic()
        .applied("Replicas that must have an acks=all batch before it is acknowledged."),
    int("replication.quota.window.num").default("11").valid(AtLeast(1)).low()
        .no_effect(NO_WINDOWS),
    int("replication.quota.window.size.seconds").default("1").valid(AtLeast(1)).low()
        .no_effect(NO_WINDOWS),
];
