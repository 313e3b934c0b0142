//! The dynamic group keys of Kafka 4.3.1 (class `GroupConfig`, resource type 32) and the broker
//! key that each inherits from.

use crate::key::{Key, boolean, int, string};
use crate::validator::Validator::{AtLeast, OneOf, ShareOffsetReset};

const CONSUMER: &str = "This release serves the classic group protocol only.";
const SHARE: &str = "Share groups are not part of this release.";
const STREAMS: &str = "Streams groups are not part of this release.";

#[rustfmt::skip]
const KEYS: &[Key] = &[
    int("consumer.session.timeout.ms").default("45000").valid(AtLeast(1)).no_effect(CONSUMER),
    int("consumer.heartbeat.interval.ms").default("5000").valid(AtLeast(1)).no_effect(CONSUMER),
    int("consumer.assignment.interval.ms").default("1000").valid(AtLeast(0)).no_effect(CONSUMER),
    int("share.session.timeout.ms").default("45000").valid(AtLeast(1)).no_effect(SHARE),
    int("share.heartbeat.interval.ms").default("5000").valid(AtLeast(1)).no_effect(SHARE),
    int("share.record.lock.duration.ms").default("30000").valid(AtLeast(1000)).no_effect(SHARE),
    int("share.delivery.count.limit").default("5").valid(AtLeast(2)).no_effect(SHARE),
    int("share.partition.max.record.locks").default("2000").valid(AtLeast(100)).no_effect(SHARE),
    string("share.auto.offset.reset").default("latest").valid(ShareOffsetReset).no_effect(SHARE),
    string("share.isolation.level").default("read_uncommitted").valid(OneOf(&["read_committed", "read_uncommitted"])).no_effect(SHARE),
    boolean("share.renew.acknowledge.enable").default("true").no_effect(SHARE),
    int("share.assignment.interval.ms").default("1000").valid(AtLeast(0)).no_effect(SHARE),
    int("streams.session.timeout.ms").default("45000").valid(AtLeast(1)).no_effect(STREAMS),
    int("streams.heartbeat.interval.ms").default("5000").valid(AtLeast(1)).no_effect(STREAMS),
    int("streams.num.standby.replicas").default("0").valid(AtLeast(0)).no_effect(STREAMS),
    int("streams.initial.rebalance.delay.ms").default("3000").valid(AtLeast(0)).no_effect(STREAMS),
    int("streams.assignment.interval.ms").default("1000").valid(AtLeast(0)).no_effect(STREAMS),
];

#[rustfmt::skip]
const INHERITED: &[(&str, &str)] = &[
    ("consumer.session.timeout.ms", "group.consumer.session.timeout.ms"),
    ("consumer.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms"),
    ("consumer.assignment.interval.ms", "group.consumer.assignment.interval.ms"),
    ("share.session.timeout.ms", "group.share.session.timeout.ms"),
    ("share.heartbeat.interval.ms", "group.share.heartbeat.interval.ms"),
    ("share.record.lock.duration.ms", "group.share.record.lock.duration.ms"),
    ("share.delivery.count.limit", "group.share.delivery.count.limit"),
    ("share.partition.max.record.locks", "group.share.partition.max.record.locks"),
    ("share.assignment.interval.ms", "group.share.assignment.interval.ms"),
    ("streams.session.timeout.ms", "group.streams.session.timeout.ms"),
    ("streams.heartbeat.interval.ms", "group.streams.heartbeat.interval.ms"),
    ("streams.num.standby.replicas", "group.streams.num.standby.replicas"),
    ("streams.initial.rebalance.delay.ms", "group.streams.initial.rebalance.delay.ms"),
    ("streams.assignment.interval.ms", "group.streams.assignment.interval.ms"),
];

pub fn group_keys() -> impl Iterator<Item = &'static Key> {
    KEYS.iter()
}

pub fn group_key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

pub(crate) fn broker_key_of_group(name: &str) -> Option<&'static str> {
    INHERITED.iter().find(|(group, _)| *group == name).map(|(_, broker)| *broker)
}
