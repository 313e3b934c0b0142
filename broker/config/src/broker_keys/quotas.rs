//! Keys that Kafka takes only dynamically, or for quota entities; in a file the latter do nothing there
//! either. Kept so that every name of Kafka is known (classes `DynamicConfig`, `QuotaConfig`).

use super::reasons::{ONE_DIRECTORY, QUOTAS};
use crate::key::{Key, double, int, long};
use crate::validator::Validator::AtLeast;

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    long("leader.replication.throttled.rate").default("9223372036854775807").valid(AtLeast(0)).dynamic().internal()
        .applied("Bytes per second that other nodes copy from here of moving partitions that leader.replication.throttled.replicas names."),
    long("follower.replication.throttled.rate").default("9223372036854775807").valid(AtLeast(0)).dynamic().internal()
        .applied("Bytes per second copied to here of moving partitions that follower.replication.throttled.replicas names."),
    long("replica.alter.log.dirs.io.max.bytes.per.second").default("9223372036854775807").valid(AtLeast(0)).dynamic().internal()
        .no_effect(ONE_DIRECTORY),
    long("producer_byte_rate").default("9223372036854775807").internal()
        .no_effect(QUOTAS),
    long("consumer_byte_rate").default("9223372036854775807").internal()
        .no_effect(QUOTAS),
    double("request_percentage").default("2.147483647E9").internal()
        .no_effect(QUOTAS),
    double("controller_mutation_rate").default("2.147483647E9").internal()
        .no_effect(QUOTAS),
    int("connection_creation_rate").default("2147483647").valid(AtLeast(0)).internal()
        .no_effect(QUOTAS),
];
