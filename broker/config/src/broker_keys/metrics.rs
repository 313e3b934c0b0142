//! Metrics, telemetry and quota windows.
//! Names, types, defaults and validators are those of Kafka 4.3.1 (class `KafkaConfig`).

use super::reasons::{METRICS, QUOTAS, TELEMETRY};
use crate::key::{Key, class, int, list, long, string};
use crate::validator::Validator::AtLeast;

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    int("metrics.num.samples").default("2").valid(AtLeast(1)).low()
        .no_effect(METRICS),
    long("metrics.sample.window.ms").default("30000").valid(AtLeast(1)).low()
        .no_effect(METRICS),
    list("metric.reporters").default("org.apache.kafka.common.metrics.JmxReporter").low().dynamic()
        .no_effect(METRICS),
    string("metrics.recording.level").default("INFO").low()
        .no_effect(METRICS),
    list("kafka.metrics.reporters").default("").low()
        .no_effect(METRICS),
    int("kafka.metrics.polling.interval.secs").default("10").valid(AtLeast(1)).low()
        .no_effect(METRICS),
    int("telemetry.max.bytes").default("1048576").valid(AtLeast(1)).low()
        .no_effect(TELEMETRY),
    int("quota.window.num").default("11").valid(AtLeast(1)).low()
        .no_effect(QUOTAS),
    int("alter.log.dirs.replication.quota.window.num").default("11").valid(AtLeast(1)).low()
        .no_effect(QUOTAS),
    int("quota.window.size.seconds").default("1").valid(AtLeast(1)).low()
        .no_effect(QUOTAS),
    int("alter.log.dirs.replication.quota.window.size.seconds").default("1").valid(AtLeast(1)).low()
        .no_effect(QUOTAS),
    class("client.quota.callback.class").low()
        .no_effect(QUOTAS),
];
